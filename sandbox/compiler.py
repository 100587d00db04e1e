"""The compile server: a child of the zygote that turns source into code, for many programs, and runs none of it.

It stays, warm, behind a filter that leaves it memory and its one socket; it is restarted when it dies, and now and
then anyway. A question's tests are compiled once for all of its candidates, a script once for all of its cases,
programs that tests call many at a time (ahead.py).

One server takes scripts, another tests, a third programs, so that nothing of a program comes near what judges it.
"""

from __future__ import annotations

import gc
import marshal
import os
import time
import warnings
from collections.abc import Callable

from sandbox.candidate import compiled
from sandbox.failures import text_of
from sandbox.snippets import Snippet, prepare
from sandbox.wire import Closed, Frames, ProtocolError

SCRIPTS, TESTS, PROGRAMS = "scripts", "tests", "programs"
CODE, REFUSED, UNSURE = b"\0", b"\1", b"\2"
CALLS = """
    read write mmap munmap mremap mprotect madvise brk futex exit exit_group rt_sigreturn close clock_gettime getrandom
"""
_MANY = 200
_HEAVY_SECONDS = 0.25
"""CPU time of one message after which a server ends: what took so long also left its memory large."""
_MOST_CODE = 1 << 20
"""Bytes of a program's code; more is compiled where it runs, within that program's limits."""


def main(descriptor: int, kind: str) -> None:
    """Answer each message of sources with one of results, until the other end closes.

    A result is CODE and marshalled code (for a test: the parts of a Snippet), or the reason why there is none: after
    REFUSED if the source is no Python, after UNSURE if it may be for lack of memory or stack.
    """
    warnings.simplefilter("ignore")
    frames, make, served = Frames(descriptor), _MAKERS[kind], 0
    try:
        while True:
            sources, started = frames.receive_job(), time.process_time()
            frames.send_parts([_result(source, make) for source in sources])
            if time.process_time() - started > _HEAVY_SECONDS:
                os._exit(0)
            served += 1
            if served % _MANY == 0:
                gc.collect()
    except (Closed, ProtocolError, OSError):
        os._exit(0)


def made(source: bytes, kind: str) -> bytes:
    """The code of a source that compiles; also loads what compiling needs from files, which a server cannot open."""
    compiled("\u00e9 = '\\N{DIGIT ONE}'")
    return _result(source, _MAKERS[kind]).removeprefix(CODE)


def unpack_snippet(data: bytes) -> Snippet:
    """A test's code, as a server for tests sent it."""
    return Snippet(*marshal.loads(data))


def _result(source: bytes, make: Callable[[str], bytes]) -> bytes:
    try:
        return CODE + make(source.decode("utf-8", "surrogatepass"))
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError) as error:
        kind = REFUSED if isinstance(error, (SyntaxError, ValueError)) else UNSURE
        return kind + text_of(error).encode("utf-8", "backslashreplace")


def _whole(source: str) -> bytes:
    return marshal.dumps(compiled(source))


def _program(source: str) -> bytes:
    code = _whole(source)
    if len(code) > _MOST_CODE:
        raise MemoryError(f"{len(code)} bytes of code")
    return code


def _test(source: str) -> bytes:
    return marshal.dumps(tuple(prepare(source)))


_MAKERS: dict[str, Callable[[str], bytes]] = {SCRIPTS: _whole, TESTS: _test, PROGRAMS: _program}
