"""Pages that forks copy at once: which they are, that they are copies, and that everything works without."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from family import descendants

import sandbox.hotpages as hotpages
from sandbox import Job, Pool, Status

ROOT = Path(__file__).parents[2]
ROOM = """
import ctypes, json, mmap, os, sys, types
package = types.ModuleType("sandbox")
package.__path__ = ["sandbox"]
sys.modules["sandbox"] = package
import sandbox.hotpages as hotpages
PAGE = hotpages.PAGE
room = mmap.mmap(-1, 4 * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for page in range(4):
    room[page * PAGE] = 1
first = ctypes.addressof(ctypes.c_char.from_buffer(room)) // PAGE
tools = hotpages.tools()

def look(pid):
    return sorted(page - first for page in tools.written([pid])[0] if 0 <= page - first < 4)

def child(play):
    ours, theirs = os.pipe()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(writing)
        os.write(theirs, bytes([play()]))
        os.read(reading, 1)
        os._exit(0)
    return pid, os.read(ours, 1)[0], lambda: (os.close(writing), os.waitpid(pid, 0))

def write(page, value):
    room[page * PAGE] = value
    return value
"""
PINNED = """
hotpages.Pins(tools.rings[0], [first + 3, first, first + 1]).hold()
pid, _, end = child(lambda: 0)
own = look(pid)
end()
pid, _, end = child(lambda: write(0, 7))
mine = room[0]
write(0, 9)
end()
_, theirs, end = child(lambda: room[0])
end()
print(json.dumps([own, mine, theirs]))
"""
WRITTEN = """
idle, _, idle_end = child(lambda: 0)
pid, _, end = child(lambda: write(2, 7))
print(json.dumps([look(pid), look(idle)]))
end()
idle_end()
"""
HELD = """
pins = hotpages.Pins(tools.rings[0], [first + 1])
looks = []
for turn in range(2):
    with pins:
        inside, _, end_inside = child(lambda: 0)
    outside, _, end_outside = child(lambda: 0)
    looks.append([look(inside), look(outside)])
    end_outside()  # holds the other's end too
    end_inside()
print(json.dumps(looks))
"""
TRIAL = """
import sandbox.child as child
import sandbox.trials as trials
for number in (child.LINK, child.VERDICT, child.COMPLAINTS):
    os.dup2(0, number)
tools = hotpages.tools()
layers = child.Layers(False, None, None, False, False, True)
fence = child.fence(layers, os.pidfd_open(os.getpid()))
before = len(os.listdir("/proc/self/fd"))
"""
SHARED = """
from sandbox.grader import LOADED_MESSAGE

def role(descriptor, *pages):
    def play():
        for page in pages:
            write(page, 7)
        os.write(descriptor, LOADED_MESSAGE)
    return play

screen, tests = role(child.LINK, 0, 1), role(child.VERDICT, 0, 2, 3)
play = trials.Play(screen, lambda: [write(page, 7) for page in (0, 2)], tests, b"", 0)
print(json.dumps([sorted(page - first for page in pages if 0 <= page - first < 4)
                  for pages in trials.shared(tools, fence, (), play)]))
"""
FAILED = """
play = trials.Play(lambda: os._exit(1), lambda: 0, lambda: 0, b"job", 1)
try:
    trials.shared(tools, fence, (), play, patience=0.5)
except OSError as error:
    print(json.dumps(str(error)))
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    print("no process is left")
print(len(os.listdir("/proc/self/fd")) - before)
"""
REFUSED = """
import asyncio, json, os, sys
sys.path.insert(0, "tests/sandbox")
import ladder_driver
from family import descendants
from pathlib import Path
from sandbox import Job, Pool
ladder_driver.refuse(dict.fromkeys((*ladder_driver.NAMESPACES, "io_uring_setup"), %d))

async def main():
    async with Pool(workers=1) as pool:
        verdicts = [await pool.run(Job("def f(x):\\n    return x\\n", (f"assert f(1) == {n}",))) for n in (1, 2)]
        texts = [Path(f"/proc/{pid}/status").read_text() for pid in descendants(os.getpid())]
        pins = [text.partition("VmPin:")[2].split()[0] for text in texts]
    print(json.dumps([[verdict.status.value for verdict in verdicts], sorted(set(pins))]))

asyncio.run(main())
"""


def offered() -> bool:
    """Whether this machine has io_uring for who asks."""
    tools = hotpages.tools()
    for descriptor in () if tools is None else (*tools.rings, tools.processes):
        os.close(descriptor)
    return tools is not None


needs_io_uring = pytest.mark.skipif(not offered(), reason="this machine has no io_uring to offer")


def say(text: str, *flags: str) -> list[str]:
    """The lines that a fresh interpreter prints."""
    ran = subprocess.run([sys.executable, *flags, "-c", text], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()


@needs_io_uring
def test_fork_copies_pinned_pages_and_no_others():
    """A child that writes to nothing has the pinned pages for itself, and what either side writes to one of them the
    other does not see.
    """
    assert json.loads(say(ROOM + PINNED, "-S")[-1]) == [[0, 1, 3], 1, 9]


@needs_io_uring
def test_pages_held_for_a_while_are_copied_only_then():
    """A child forked in the context of a pin has the page for itself, one forked after it has not, each time anew."""
    assert json.loads(say(ROOM + HELD, "-S")[-1]) == [[[1], []]] * 2


@needs_io_uring
def test_pages_that_all_and_that_pairs_write_to_are_told_apart():
    """Of pages that the screen, the program's and the tests' process write to, those of all three, and those of the
    latter two besides.
    """
    assert json.loads(say(ROOM + TRIAL + SHARED, "-S")[-1]) == [[0], [2]]


@needs_io_uring
def test_pages_that_a_child_wrote_to_are_found():
    """Of four shared pages, the one that a child wrote to is found, and none of a child that only waits."""
    assert json.loads(say(ROOM + WRITTEN, "-S")[-1]) == [[2], []]


@needs_io_uring
def test_trial_that_fails_leaves_nothing_behind():
    """If a child of a trial ends early, that is an OSError, and neither processes nor descriptors are left."""
    assert say(ROOM + TRIAL + FAILED, "-S") == ['"timed out"', "no process is left", "0"]


@needs_io_uring
async def test_every_zygote_pins_some_pages():
    """Each zygote of a pool has between 50 and 500 pages pinned: what every child writes to, not all its memory."""
    others = descendants(os.getpid())  # of tests before this one
    async with Pool(workers=2) as pool:
        for _ in range(4):  # screens and pairs; what is pinned for a pair is let go
            assert (await pool.run(Job("def f():\n    return 1\n", ("assert f() == 1",)))).status is Status.PASS
        zygotes = [pid for pid in descendants(os.getpid()) - others if parent(pid) == os.getpid()]
        pinned = [field(pid, "VmPin") * 1024 // hotpages.PAGE for pid in zygotes]
    assert all(50 <= pages <= 500 for pages in pinned), pinned
    assert len(pinned) >= 2


def test_machine_without_io_uring_is_served_as_well():
    """Where the kernel refuses io_uring, verdicts are the same and nothing is pinned."""
    assert json.loads(say(REFUSED % errno.EPERM)[-1]) == [["pass", "fail"], ["0"]]


async def test_no_child_holds_the_ring():
    """A program finds open what is its own, and no descriptor of the zygote's beyond."""
    program = """
import os
def f():
    found = []
    for number in range(256):
        try:
            os.fstat(number)
            found.append(number)
        except OSError:
            pass
    return found
"""
    async with Pool(workers=1) as pool:
        verdict = await pool.run(Job(program, ("assert f() == [0, 1, 2, 3]",)))
    assert verdict.status is Status.PASS, verdict


def field(pid: int, name: str) -> int:
    return int(Path(f"/proc/{pid}/status").read_text().partition(f"{name}:")[2].split()[0])


def parent(pid: int) -> int:
    return field(pid, "PPid")
