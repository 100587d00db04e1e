"""What the zygote does once so that none of its children has to: imports, and a few rounds of every role.

A child shares the zygote's memory until it writes to it, and each page that it writes to is copied for it first. An
interpreter writes much when it runs code for the first times: it specialises byte code, builds caches, grows tables.
After a rehearsal of the very code that children run, a child copies a quarter less (measured: 417 pages before, 342
after).
"""

from __future__ import annotations

import _sitebuiltins
import _socket
import builtins
import gc
import importlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

import sandbox.candidate as candidate
import sandbox.compiler as compiler
import sandbox.grader as grader
import sandbox.hugepages as hugepages
import sandbox.kernel as kernel
import sandbox.mappings as mappings
import sandbox.screen as screen
from sandbox.wire import pack_job

if TYPE_CHECKING:
    import io

PROGRAM_FILE = "program.py"
THREAD_STACK = 4 << 20
PRELOADED = """
    abc bisect cmath collections.abc contextlib copy dataclasses datetime decimal enum fractions functools heapq io
    itertools json math operator random re string struct time types typing
"""
_COLLECT_AFTER = 10_000  # objects; a collection writes to each of them
_TIMES = 10
_EMPTY = sys.getsizeof(b"")
_LARGEST_SMALL = 512  # bytes of an object that CPython takes from its own pools
_IN_LINE = 8  # so many objects in line lie in memory that was never used
_FILLERS: list[bytes] = []
_PROGRAM = b'''
from typing import List

def f(items: List[int], start=0):
    """Text."""
    total = start
    for index, item in enumerate(items):
        if item > 0 and index % 2 == 0:
            total += item * 2
        else:
            total -= item // 2
    return {"total": total, "all": sorted(items), "text": f"{total} of {len(items)}"}

class C:
    def __init__(self, x):
        self.x = [y ** 2 for y in range(x)]

    def get(self):
        return tuple(self.x)
'''
_PASSING = 4  # of the tests, the first
_TESTS = (
    b"assert f([1, 2, 3]) == {'total': 7, 'all': [1, 2, 3], 'text': '7 of 3'}",
    b"assert f([3], start=1)['total'] == 7",
    b"result = f([])\nassert result['all'] == []\nassert 'of' in result['text']",
    b"assert C(3).get() == (0, 1, 4)",
    b"assert f([2]) == 5",
    b"assert f(None) == 5",
)


def prepare() -> None:
    """Import, set up the interpreter as programs find it, rehearse."""
    hugepages.back_code()
    for name in PRELOADED.split():
        importlib.import_module(name)
    sys.argv[:] = sys.orig_argv[:] = [PROGRAM_FILE]
    os.environ.pop(kernel.BIND_NOW, None)  # it has served, and is none of a program's business
    for name in ("exit", "quit"):  # made by `site`, which the zygote does without
        setattr(builtins, name, _sitebuiltins.Quitter(name, "Ctrl-D (i.e. EOF)"))
    threading.stack_size(THREAD_STACK)
    gc.set_threshold(_COLLECT_AFTER)
    for stream in (sys.stdout, sys.stderr):
        cast("io.TextIOWrapper", stream).reconfigure(errors="backslashreplace")
    tests = [compiler.made(test, compiler.TESTS) for test in _TESTS]
    modules = set(sys.modules)
    parts = candidate.SOURCE + _PROGRAM, candidate.CODE + compiler.made(_PROGRAM, compiler.PROGRAMS)
    for part in parts * _TIMES:
        _rehearse_screen(part, tests)
        _rehearse_split(part, tests)
    for name in set(sys.modules) - modules:
        del sys.modules[name]
    candidate.set_seed(candidate.SEEDED, anew=True)
    sys.dont_write_bytecode = True
    mappings.join()
    gc.collect()
    _FILLERS.extend(_fillers())


def job() -> tuple[bytes, int]:
    """A program with tests that pass, packed as children get it, and their number."""
    tests = [compiler.made(test, compiler.TESTS) for test in _TESTS[:_PASSING]]
    return pack_job([b"0", candidate.CODE + compiler.made(_PROGRAM, compiler.PROGRAMS), *tests]), len(tests)


def _fillers() -> Iterator[bytes]:
    """Objects for the gaps that freed ones left all over the memory: what a child makes then comes to lie together, on
    a tenth fewer pages.
    """
    for size in range(_EMPTY + 15, _LARGEST_SMALL + 1, 16):
        last, in_line = 0, 0
        while in_line < _IN_LINE:
            filler = bytes(size - _EMPTY)
            in_line = in_line + 1 if id(filler) == last + size else 0
            last = id(filler)
            yield filler


def _rehearse_screen(part: bytes, tests: list[bytes]) -> None:
    ours, theirs = _socket.socketpair()
    ours.sendall(pack_job([b"0", part, *tests]))
    screen.judge(screen.ready(theirs.fileno()))
    ours.close()
    theirs.close()


def _rehearse_split(part: bytes, tests: list[bytes]) -> None:
    ours, verdict = _socket.socketpair()
    program_end, grader_end = _socket.socketpair()
    program = threading.Thread(target=candidate.ready(program_end.fileno()).serve_forever)
    program.start()
    ours.sendall(pack_job([b"0", part, *tests]))
    grader.judge(grader.ready(grader_end.fileno(), verdict.fileno()))
    grader_end.close()
    program.join()
    while len(os.listdir("/proc/self/task")) > 1:  # the kernel may still know the thread, and refuse namespaces
        time.sleep(0.001)
    for channel in (ours, verdict, program_end):
        channel.close()
