"""The levels below L0, on machines that really refuse: a filter around a fresh process does what a container's does."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from ladder_driver import LANDLOCK, NAMESPACES

from sandbox.catalogue.traces import children

ROOT = Path(__file__).parents[2]
NOBODY = 65534
POWERLESS = "powerless root"
OTHER_PYTHON = "/usr/bin/python3"
NO_NAMESPACES = dict.fromkeys(NAMESPACES, errno.EPERM)
NEITHER = NO_NAMESPACES | dict.fromkeys(LANDLOCK, errno.EOPNOTSUPP)


@dataclass(frozen=True)
class Machine:
    """Somebody's machine: who they are there, and the level to reach."""

    level: str
    user: str

    def __str__(self) -> str:
        return f"{self.level} as {self.user}"

    @property
    def opens(self) -> bool:
        """Whether programs have files there."""
        return self.level == "L1" or self.user == "root"


# L1 as root takes the catalogue in test_sandbox_catalogue.py
CATALOGUED = [Machine("L1", "user"), Machine("L2", "root"), Machine("L2", "user")]
MACHINES = [Machine("L1", "root"), *CATALOGUED, Machine("L1", POWERLESS), Machine("L2", POWERLESS)]

REFUSED = "refused, and not only without effect: the file belongs to somebody else"
IN_A_ROOT = {
    "write: the library's mode": REFUSED,
    "write: the library's mode through a descriptor": REFUSED,
}
"""What ends otherwise at L2 in a root of its own than the catalogue says, and why."""

FILES = "nothing that a path leads to can be opened"
NOT_WITHOUT_FILES = {
    "must-pass: tempfile": FILES,
    "must-pass: file in the working folder": FILES,
    "must-pass: file that the test wrote": FILES,
    "must-pass: copying files": FILES,
    "write: the library's mode through a descriptor": FILES,
    "write: 200 MB in one file": FILES,
    "must-pass: a data base of the test's": "only what the zygote has loaded can be imported, and few need sqlite3",
    "must-pass: numpy": "only what the zygote has loaded can be imported, and numpy would weigh on each fork",
    "read: modules of the coordinator": "subprocess is loaded, for asyncio needs it; the zygote has no secret in it",
}
"""What does not hold, or ends otherwise, at L2 without root's rights, and why."""

EXCUSED = {("L2", "root"): IN_A_ROOT, ("L2", "user"): NOT_WITHOUT_FILES}

WAYS_TO_A_FILE = """
import ctypes, mmap, os, shutil
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    if libc.syscall(*arguments) < 0: raise OSError(ctypes.get_errno(), "refused")
HOST, NEW = os.__file__, "new"
X86 = os.uname().machine == "x86_64"
WAYS = {
    "open": lambda: open(HOST), "write": lambda: open(NEW, "w"), "list": lambda: os.listdir("/"),
    "scan": lambda: next(os.scandir(".")), "descriptor": lambda: open("/proc/self/fd/0"),
    "path only": lambda: os.open("/", os.O_PATH), "unnamed": lambda: os.open(".", os.O_TMPFILE | os.O_RDWR),
    "openat": lambda: call(257 if X86 else 56, -100, HOST.encode(), 0),
    "openat2": lambda: call(437, -100, HOST.encode(), bytes(24), 24),
    "creat": lambda: call(85 if X86 else 437, b"new", 0o600), "open_tree": lambda: call(428, -100, b"/", 0),
    "library": lambda: ctypes.CDLL(os.path.realpath(HOST)), "folder": lambda: os.mkdir(NEW),
    "symbolic link": lambda: os.symlink(HOST, NEW), "hard link": lambda: os.link(HOST, NEW),
    "pipe": lambda: os.mkfifo(NEW), "rename": lambda: os.rename(".", NEW), "remove": lambda: os.unlink(HOST),
    "remove folder": lambda: os.rmdir(os.getcwd()), "cut": lambda: os.truncate(HOST, 0),
    "go there": lambda: os.chdir("/"), "new root": lambda: os.chroot("/"), "memory": lambda: os.memfd_create("x"),
    "attribute": lambda: os.setxattr(HOST, "user.x", b""), "program": lambda: os.execv("/bin/true", ["true"]),
    "import": lambda: __import__("turtle"),
}
def f():
    for name, way in WAYS.items():
        try: way()
        except (OSError, ImportError): continue
        raise LookupError(name)
"""

ONLY_TMP = """
import os
def writable():
    for folder, _, names in os.walk("/"):
        for name in [*names, "new"]:
            try: os.close(os.open(os.path.join(folder, name), os.O_WRONLY | os.O_CREAT))
            except OSError: continue
            yield os.path.join(folder, name)
def f():
    found = {path for path in writable() if not path.startswith(("/dev/", "/tmp/"))}
    if found: raise LookupError(sorted(found))
"""

OUT_OF_THE_ROOT = """
import os
def f():
    os.mkdir("inner")
    climb = lambda: [os.chdir("..") for _ in range(99)]
    for move in (lambda: os.chroot("inner"), climb, lambda: os.chdir("/proc/1/root")):
        try: move()
        except OSError: pass
    strange = set(os.listdir(".")) & {"bin", "boot", "home", "proc", "sys", "var"}
    passwd = [up for up in range(20) if os.path.exists("../" * up + "etc/passwd")]
    if strange or passwd: raise LookupError(strange, passwd)
"""

MESS = """
import contextlib, os
os.makedirs("a/b/c")
os.makedirs(".1/.2")
os.mkdir("shut", 0)
for number in range(500): open(f"{number}" + "x" * 200, "w").close()
for change in (lambda: os.utime(".", (7, 7)), lambda: os.chmod(".", 0)):
    with contextlib.suppress(OSError): change()
def f(): pass
"""

TIDY = """
import os
STATE = os.stat(".")
USUAL = (STATE.st_mode & 0o700, STATE.st_size < 50_000, STATE.st_mtime > 7)
def f(): assert (os.listdir(), USUAL) == ([], (0o700, True, True))
"""

LOOK = "import os, time\ntime.sleep(0.6)\nos.listdir()\ndef f(): pass"

# the zygote looks once, right after making the folder
UNSEEN = "import os\nSTATE = os.stat('.')\ndef f(): assert STATE.st_atime - STATE.st_mtime < 0.5"

WHOLE_LIBRARY = """
import bz2, ctypes, curses, decimal, hashlib, lzma, sqlite3, ssl, unittest.mock, xml.dom.minidom, zlib, zoneinfo
def f():
    assert sqlite3.connect(":memory:").execute("select 1").fetchone() == (1,)
    assert str(zoneinfo.ZoneInfo("Europe/Berlin").utcoffset(None)) == "None"
"""

SPREAD = """
import asyncio, bisect, calendar, concurrent.futures, dataclasses, datetime, heapq, statistics, textwrap, typing, uuid
def f():
    with concurrent.futures.ThreadPoolExecutor(2) as pool: assert list(pool.map(abs, [-1])) == [1]
    assert datetime.datetime.strptime("2001", "%Y").year == 2001
    assert "\\u00e4".encode("utf-16").decode("utf-16") == "\\u00e4"
    assert statistics.median([1, 2, 3]) == 2
"""

SHUT = """
import contextlib, os
with contextlib.suppress(OSError):
    os.makedirs("a/b")
    os.mkdir("shut", 0)
    os.chmod("a", 0)
while True: pass
"""


@dataclass(frozen=True)
class Python:
    """An interpreter, as somebody."""

    path: str
    user: int | None

    def start(self, *arguments: str, folder: str) -> subprocess.Popen[str]:
        """A process with that folder for what it makes, and the package on its path."""
        identity = {} if self.user is None else {"user": self.user, "group": self.user, "extra_groups": []}
        return subprocess.Popen(
            [self.path, "-B", *arguments],
            cwd=ROOT,
            env={"TMPDIR": folder, "PYTHONPATH": f"{ROOT}:{ROOT}/tests/sandbox", "PATH": os.environ["PATH"]},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **identity,
        )


@cache
def python_of(user: str) -> Python:
    """An interpreter for root or for an ordinary user, whichever runs the tests; skips where there is none."""
    if user != "user":
        if os.geteuid() != 0:
            pytest.skip("needs root")
        return Python(sys.executable, None)
    if os.geteuid() != 0:
        return Python(sys.executable, None)
    if not Path(OTHER_PYTHON).exists() or not (ROOT / "sandbox").stat().st_mode & 0o005:
        pytest.skip("needs an interpreter and a checkout that others can read")
    found = Python(OTHER_PYTHON, NOBODY)
    process = found.start("-c", "import sys, sandbox; print(sys.version_info >= (3, 11))", folder="/tmp")
    if process.communicate(timeout=60)[0] != "True\n":
        pytest.skip("needs an interpreter of 3.11 or later, and a way to the checkout, that others can use")
    return found


@pytest.fixture
def folder() -> Iterator[str]:
    """A temporary folder for anybody, which must be empty in the end; pytest's own are for one user."""
    with open_folder() as path:
        yield path
        assert os.listdir(path) == []


@contextmanager
def open_folder() -> Iterator[str]:
    path = tempfile.mkdtemp()
    try:
        os.chmod(path, 0o1777)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@cache
def report(machine: Machine) -> dict:
    """What the driver says of that machine; one run serves all tests."""
    programs = {
        "ways to a file": WAYS_TO_A_FILE,
        "only /tmp": ONLY_TMP,
        "out of the root": OUT_OF_THE_ROOT,
        "whole library": WHOLE_LIBRARY,
        "spread": SPREAD,
        "mess": MESS,
        "tidy": TIDY,
        "look": LOOK,
        "unseen": UNSEEN,
    }
    plan = {
        "level": machine.level,
        "errors": NO_NAMESPACES if machine.level == "L1" else NEITHER,
        "powerless": machine.user == POWERLESS,
        "catalogue": machine in CATALOGUED,
        "programs": programs,
    }
    python = python_of(machine.user)
    with open_folder() as path:
        process = python.start(str(ROOT / "tests/sandbox/ladder_driver.py"), json.dumps(plan), folder=path)
        output, noise = process.communicate(timeout=120)
    assert process.returncode == 0, noise
    return json.loads(output)


@pytest.mark.parametrize("machine", CATALOGUED, ids=str)
def test_catalogue_holds(machine):
    """Escapes are refused and unusual programs pass at L1 and L2, save the listed ones where nothing can be opened."""
    found = report(machine)
    assert found["ran"] > 150
    excused = EXCUSED.get((machine.level, machine.user), {})
    assert {title: line for title, line in found["faults"].items() if title not in excused} == {}


@pytest.mark.parametrize(("level", "user"), EXCUSED)
def test_excuses_are_needed(level, user):
    """No program is excused that works all the same."""
    found = report(Machine(level, user))["faults"]
    assert set(EXCUSED[level, user]) - set(found) <= {"must-pass: numpy"}  # which has to be installed


@pytest.mark.parametrize("machine", MACHINES, ids=str)
def test_nothing_is_left(machine):
    """No process and no folder outlives the pools."""
    found = report(machine)
    assert (found["processes"], found["files"]) == (0, [])


@pytest.mark.parametrize("machine", [machine for machine in MACHINES if machine.opens], ids=str)
@pytest.mark.parametrize(("deed", "claim"), [("mess", "tidy"), ("look", "unseen")])
def test_folder_says_nothing_to_the_next(machine, deed, claim):
    """Whatever a program does to its temporary folder, the next finds another: empty, of the usual size, never read."""
    found = report(machine)["programs"]
    assert (found[deed], found[claim]) == ("", "")


@pytest.mark.parametrize("user", [POWERLESS, "user"])
def test_no_path_leads_to_a_file_without_rights(user):
    """At L2, without the right to a root of its own, a program can open, make, change and remove nothing by a path."""
    assert report(Machine("L2", user))["programs"]["ways to a file"] == ""


@pytest.mark.parametrize("user", [POWERLESS, "user"])
def test_usual_modules_are_there_without_files(user):
    """At L2 without files, what programs import most works."""
    assert report(Machine("L2", user))["programs"]["spread"] == ""


@pytest.mark.parametrize("claim", ["only /tmp", "out of the root", "whole library", "spread"])
def test_root_of_its_own(claim):
    """At L2, root's programs see only the library and can write only to /tmp; no way leads out; all modules work."""
    assert report(Machine("L2", "root"))["programs"][claim] == ""


POOL = """
import asyncio
from ladder_driver import refuse
from sandbox import Pool, Job, Limits, SandboxError
refuse({errors!r})
async def main():
    async with Pool(workers=1, {arguments}) as pool:
        print(pool.level, flush=True)
        job = Job({program!r}, ("f()",), Limits(cpu_seconds=60, wall_seconds=60))
        verdict = await asyncio.wait_for(pool.run(job), {patience})
        print(verdict.status, verdict.detail)
try:
    asyncio.run(main())
except SandboxError as error:
    print(error)
except TimeoutError:
    print("gave up")
"""
EASY = "def f(): return 1"
USERS = ["root", "user"]


def opened(
    user: str, errors: dict[str, int], folder: str, arguments: str = "", program: str = EASY, patience: float = 60.0
) -> subprocess.Popen[str]:
    """A process that opens a pool on a machine that gives these errors, and runs a program for a while."""
    text = POOL.format(errors=errors, arguments=arguments, program=program, patience=patience)
    return python_of(user).start("-c", text, folder=folder)


def said(process: subprocess.Popen[str]) -> str:
    output, noise = process.communicate(timeout=60)
    assert process.returncode == 0, noise
    return output


@pytest.mark.parametrize("user", USERS)
def test_level_without_namespaces(user, folder):
    """Where namespaces are refused, as in a default container, the pool falls back to L1."""
    assert said(opened(user, NO_NAMESPACES, folder)).split() == ["L1", "pass"]


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM])
def test_refusal_without_namespaces_and_landlock(number, folder):
    """Below L1 the sandbox does not start, whatever the error; the message names what is missing and how to go on."""
    output = said(opened("root" if os.geteuid() == 0 else "user", {**NEITHER, LANDLOCK[0]: number}, folder))
    for part in ("unshare", "Landlock", "python -m sandbox check", "--unsafe-sandbox"):
        assert part in output


@pytest.mark.parametrize("user", USERS)
def test_second_level_on_request(user, folder):
    """With `allow_unsafe` it runs there, at L2, and says so."""
    assert said(opened(user, NEITHER, folder, "allow_unsafe=True")).split() == ["L2", "pass"]


@pytest.mark.parametrize("user", USERS)
def test_unsafe_on_request(user, folder):
    """With `allow_unsafe`, where not even a system call filter is to be had, it runs without, and says so."""
    errors = {**NEITHER, "seccomp": errno.EINVAL}
    assert said(opened(user, errors, folder, "allow_unsafe=True")).split() == ["unsafe", "pass"]


@pytest.mark.parametrize("user", USERS)
def test_unsafe_is_never_tried_first(user, folder):
    """`allow_unsafe` costs nothing where a level can be reached."""
    assert said(opened(user, NO_NAMESPACES, folder, "allow_unsafe=True")).split() == ["L1", "pass"]


def test_files_are_within_reach_without_a_level(folder):
    """What L2 keeps from a program is open to it one step further down."""
    program = "def f(): open('/etc/passwd').close()"
    user = "root" if os.geteuid() == 0 else "user"
    assert said(opened(user, NEITHER, folder, "levels=('unsafe',)", program)).split() == ["unsafe", "pass"]
    assert said(opened(user, NEITHER, folder, "levels=('L2',)", program)).startswith("L2\nerror")


@pytest.mark.parametrize("user", USERS)
def test_cancelled_job_leaves_no_folder(user, folder):
    """A job cancelled while its program runs leaves nothing on the host's disk, not even a folder that it has shut."""
    assert said(opened(user, NO_NAMESPACES, folder, program=SHUT, patience=0.5)).split() == ["L1", "gave", "up"]
    assert os.listdir(folder) == []


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("level", ["L1", "L2"])
def test_nothing_survives_the_coordinator(level, user, folder):
    """Killed in the middle of a job, the user's process leaves no process and no folder behind."""
    process = opened(user, NEITHER if level == "L2" else NO_NAMESPACES, folder, f"levels=({level!r},)", SHUT)
    assert process.stdout.readline() == f"{level}\n"
    assert soon(lambda: len(below(process.pid)) >= 3)  # the zygote, a compile server, the program
    family = below(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert soon(lambda: not os.listdir(folder) and not any(map(alive, family)))


def below(parent: int) -> list[int]:
    return [pid for child in children(parent) for pid in (child, *below(child))]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def soon(holds: Callable[[], bool]) -> bool:
    """Whether it becomes true in time."""
    end = time.monotonic() + 10
    while not holds() and time.monotonic() < end:
        time.sleep(0.02)
    return holds()
