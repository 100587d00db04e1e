"""One zygote, seen from the user's process: started, given rounds, ended."""

from __future__ import annotations

import asyncio
import errno
import importlib.util
import json
import marshal
import os
import re
import socket
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import sandbox.folders as folders
import sandbox.kernel as kernel
from sandbox.contract import Limits, SandboxError, Tier
from sandbox.grader import LOADED_MESSAGE, LOADED_NODE, PASS_MESSAGE, PASS_NODE
from sandbox.streams import Meter, feed, left, read_all, send, together
from sandbox.wire import Node, ProtocolError, pack_job, unpack

START_SECONDS = 60
HASH_SEEDS = 4
_CHUNK = 1 << 16
_FEW = 20
_RESULT_SIZE, _SLACK = 4096, 1 << 20
_LAST_LINES = 4096
_PAUSES = (0.05, 0.2, 0.5, 1.0)
_DESCRIPTORS = "raise `ulimit -n` or open fewer workers"
_PROCESSES = "no room for another process: raise `ulimit -u` (or the container's limit) or open fewer workers"
_SPACE = "free some space, or set TMPDIR to a folder with more"
_SHORTAGES = {
    errno.EMFILE: _DESCRIPTORS,
    errno.ENFILE: _DESCRIPTORS,
    errno.EAGAIN: _PROCESSES,
    errno.ENOMEM: "free some memory or open fewer workers",
    errno.ENOSPC: _SPACE,
}

_ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
    "TZ": "UTC",
    "MALLOC_ARENA_MAX": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    kernel.BIND_NOW: "1",
}
_BOOT = """
import sys, types
package = types.ModuleType("sandbox")
package.__path__ = [sys.argv[1]]
sys.modules["sandbox"] = package
from sandbox.zygote import main
main(int(sys.argv[2]), sys.argv[3])
"""
"""Makes `sandbox` importable without its __init__, which is the user's side and would weigh on every fork."""


class WorkerDied(Exception):
    """The zygote ended, or could not do a round; another one may."""


class Unreachable(SandboxError):
    """A zygote does not start, at this level."""


class Shortage(SandboxError):
    """This machine, or this user, is out of something just now, at whatever level; nothing was begun."""


@dataclass(frozen=True, slots=True)
class Ending:
    """The zygote's report on a round: the limit that ended it or "", wait statuses (None: it had to be killed), use."""

    cause: str
    program_status: int | None
    tests_status: int | None
    cpu_seconds: float
    peak_memory_mb: float


@dataclass(frozen=True, slots=True)
class Round:
    """What the processes of one round of tests gave; `alone`: the tests ran in the program's own process."""

    messages: tuple[list[Any], ...]
    ending: Ending
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Output:
    """What one run of a script gave: its output, the end of what it wrote to stderr, whether it wrote too much."""

    stdout: bytes
    stderr: bytes
    ending: Ending
    too_much: bool = False


@dataclass(frozen=True, slots=True)
class Setup:
    """How a worker is set up: the level to reach, layers to leave out, the processor to stay on."""

    level: str
    without: tuple[str, ...] = ()
    processor: int | None = None


class Worker:
    """A zygote of one level and one hash seed; one round at a time."""

    def __init__(self, process: subprocess.Popen[bytes], channel: socket.socket, folder: str | None) -> None:
        self._process = process
        self._channel = channel
        self._folder = folder
        self._loop: asyncio.AbstractEventLoop | None = None
        self._awaited: asyncio.Future[bytes] | None = None
        self._arrived: deque[bytes] = deque()
        self._over = False

    @property
    def pid(self) -> int:
        """The zygote's process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the zygote's process runs."""
        return self._process.poll() is None

    @classmethod
    async def start(cls, setup: Setup, hash_seed: int) -> Worker:
        """A zygote that has reached the level; SandboxError says what this machine refuses."""
        for pause in _PAUSES:
            with suppress(BlockingIOError):  # no room for a process just now
                worker = cls._begin(setup, hash_seed)
                break
            await asyncio.sleep(pause)
        else:
            raise Shortage(f"the sandbox's process does not start: {_PROCESSES}")
        try:
            await worker._greet(setup.level)
        except BaseException:
            worker.kill()
            raise
        return worker

    @classmethod
    def _begin(cls, setup: Setup, hash_seed: int) -> Worker:
        with ExitStack() as undo:
            try:
                ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                undo.callback(ours.close)
                undo.callback(theirs.close)
                folder = None if setup.level == "L0" else _make_folder()
                undo.callback(_remove, folder)
                process = _launch(setup, folder, hash_seed, theirs.fileno())
            except BlockingIOError:
                raise
            except OSError as error:
                raise _failure("the sandbox's process does not start", str(error)) from error
            undo.pop_all()
        theirs.close()
        ours.setblocking(False)
        return cls(process, ours, folder)

    async def tests(self, tier: Tier, parts: Sequence[bytes], limits: Limits) -> Round:
        """Run tests on a program, in one fresh process (the screen) or in two.

        `parts` are the seed, the program's source and the tests' code.
        """
        if self._folder is not None:
            await self._room(self._folder, limits)
        ours, theirs = _socketpair()
        with ours:
            with theirs:
                self._order(tier.value, limits, theirs)
            await send(ours, pack_job(parts))
            most = _SLACK + _RESULT_SIZE * len(parts)
            # few results fit the socket: one look at the end spares a wake-up for each
            early = b"" if len(parts) <= _FEW else await read_all(ours, most)
            ending = await self._ending()
            messages = _split(early + left(ours, most), len(parts))
        return Round(tuple(messages), ending, alone=tier is Tier.SCREEN)

    async def script(self, parts: Sequence[bytes], stdin: bytes, limits: Limits) -> Output:
        """Run a script's code on an input: `parts` are the seed and the code."""
        if self._folder is not None:
            await self._room(self._folder, limits)
        with ExitStack() as doors:
            ours, theirs = (doors.enter_context(end) for end in _socketpair())
            our_errors, their_errors = (doors.enter_context(end) for end in _socketpair())
            self._order("script", limits, theirs, their_errors)
            theirs.close()
            their_errors.close()
            meter = Meter(limits.output_kb << 10)
            stdout, stderr, _ = await together(
                meter.read(ours), meter.read(our_errors, keep=_LAST_LINES), feed(ours, pack_job(parts) + stdin)
            )
            return Output(stdout, stderr, await self._ending(), meter.exceeded)

    async def serve_compiler(self, name: str) -> socket.socket:
        """Start the compile server of that name, in the place of an earlier one; the way to talk to it."""
        ours, theirs = _socketpair()
        with ours:
            with theirs:
                self._order("compiler", Limits(), theirs, server=name)
            report = await self._report()
            if "started" not in report:
                raise WorkerDied(f"not a report: {report}")
            return socket.socket(fileno=ours.detach())

    def kill(self) -> None:
        """End the zygote and with it everything that it started."""
        self._end()
        if self._awaited is None:  # else whoever waits for the report sees the end of it, and kills again
            self._hang_up()
            self._channel.close()
        _remove(self._folder)

    async def _room(self, folder: str, limits: Limits) -> None:
        """Where a program's files are the machine's, see to it that they fit; another's may be gone in a moment."""
        for pause in _PAUSES:
            if _fits(folder, limits.file_mb):
                return
            await asyncio.sleep(pause)
        raise Shortage(f"there are less than {limits.file_mb} MB left in {folder}: {_SPACE}")

    def _order(self, kind: str, limits: Limits, *doors: socket.socket, **more: str) -> None:
        header = {"kind": kind, **{name: getattr(limits, name) for name in limits.__slots__}, **more}
        try:
            socket.send_fds(self._channel, [marshal.dumps(header)], [door.fileno() for door in doors])
        except OSError as error:
            raise WorkerDied(str(error)) from error

    async def _ending(self) -> Ending:
        report = await self._report()
        return Ending(report["cause"], report["program"], report["tests"], report["cpu"], report["peak_mb"])

    async def _report(self) -> dict[str, Any]:
        report = await self._receive()
        if report.get("broken"):
            raise WorkerDied(report["broken"])
        return report

    async def _greet(self, level: str) -> None:
        try:
            hello = await asyncio.wait_for(self._receive(), START_SECONDS)
        except (WorkerDied, TimeoutError) as error:
            raise _failure("the sandbox's process does not start", str(error) or "no answer") from error
        if "broken" in hello:
            raise _failure(f"level {level} is out of reach", hello["broken"], files=self._folder is not None)

    async def _receive(self) -> dict[str, Any]:
        data = self._arrived.popleft() if self._arrived else b"" if self._over else await self._next()
        if not data:
            raise WorkerDied(self._end() or "it was killed")
        return cast("dict[str, Any]", marshal.loads(data))

    async def _next(self) -> bytes:
        self._awaited = self._listen().create_future()
        try:
            return await self._awaited
        finally:
            self._awaited = None

    def _listen(self) -> asyncio.AbstractEventLoop:
        """One reader for all rounds: adding and removing one for each would be a tenth of what a round costs here.

        In the loop that runs now, for a pool may outlive the one that it was opened in.
        """
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._stop_listening()
            self._loop = loop
            loop.add_reader(self._channel, self._hear)
        return loop

    def _hang_up(self) -> None:
        self._over = True
        self._stop_listening()

    def _stop_listening(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._channel)
        self._loop = None

    def _hear(self) -> None:
        """A message from the zygote, or its end."""
        try:
            data = self._channel.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._hang_up()
        if self._awaited is None or self._awaited.done():
            self._arrived.append(data)
        else:
            self._awaited.set_result(data)

    def _end(self) -> str:
        """Make sure that the process is over; the last line that it wrote in distress."""
        self._process.kill()
        if self._process.stderr is None or self._process.stderr.closed:
            return ""
        _, noise = self._process.communicate()
        return noise.decode("utf-8", "replace").strip().rpartition("\n")[2]


def _launch(setup: Setup, folder: str | None, hash_seed: int, channel: int) -> subprocess.Popen[bytes]:
    settings = {
        "level": setup.level,
        "folder": folder or "",
        "packages": packages(),
        "coordinator": os.getpid(),
        "without": setup.without,
        "processor": setup.processor,
    }
    return subprocess.Popen(
        [sys.executable, "-P", "-s", "-S", "-c", _BOOT, str(Path(__file__).parent), str(channel), json.dumps(settings)],
        env={**_ENVIRONMENT, "PYTHONHASHSEED": str(hash_seed)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd="/",
        pass_fds=(channel,),
        start_new_session=True,
    )


def _remove(folder: str | None) -> None:
    if folder is not None:
        folders.remove(folder)


def _make_folder() -> str:
    try:
        return tempfile.mkdtemp(prefix="sandbox-")
    except OSError as error:
        os.close(os.open("/", os.O_RDONLY))  # where no descriptor is left, the error becomes the true one
        message = f"no temporary folder can be made ({error.strerror}): set TMPDIR to a folder that you can write to"
        raise Shortage(message) from error


def _fits(folder: str, size_mb: int) -> bool:
    try:
        state = os.statvfs(folder)
    except OSError as error:
        raise WorkerDied(str(error)) from error
    return state.f_bavail * state.f_frsize >= size_mb << 20 and (state.f_favail > 0 or not state.f_files)


def remedy(reason: str, *, files: bool = True) -> str:
    """What to do about the system's error in `reason`, if it is that something is used up; else nothing. Where there
    are no `files`, ENOSPC is about namespaces.
    """
    found = re.search(r"\[Errno (\d+)\]", reason)
    number = int(found[1]) if found else errno.EAGAIN if "can't start new thread" in reason else 0
    return _SHORTAGES.get(number, "") if files or number != errno.ENOSPC else ""


def _failure(what: str, reason: str, *, files: bool = True) -> SandboxError:
    advice = remedy(reason, files=files)
    return Shortage(f"{what}: {reason}: {advice}") if advice else Unreachable(f"{what}: {reason}")


def packages() -> list[str]:
    """Folders of the packages that programs may import beyond the standard library: numpy, where it is installed."""
    found = importlib.util.find_spec("numpy")
    if found is None or found.origin is None:
        return []
    home = Path(found.origin).parent
    return [str(path) for path in (home, home.parent / "numpy.libs") if path.is_dir()]


def _socketpair() -> tuple[socket.socket, socket.socket]:
    """Our end of a round's socket, which does not block, and the other's."""
    try:
        ours, theirs = socket.socketpair()
    except OSError as error:
        raise _failure("no socket for a round", str(error)) from error
    ours.setblocking(False)
    return ours, theirs


def _split(data: bytes, most: int) -> list[list[Any]]:
    """The whole messages at the start of `data`, up to `most`; what a program scribbled on the channel ends them."""
    passes = most - 2
    if data == LOADED_MESSAGE + PASS_MESSAGE * passes:  # as most are
        return [LOADED_NODE] + [PASS_NODE] * passes
    messages: list[list[Any]] = []
    at = 0
    while len(data) >= at + 4 and len(messages) < most:
        end = at + 4 + int.from_bytes(data[at : at + 4], "big")
        message = _message(data[at:end])
        if len(data) < end or message is None:
            break
        messages.append(message)
        at = end
    return messages


def _message(data: bytes) -> list[Any] | None:
    if data == PASS_MESSAGE:  # most of all there are
        return PASS_NODE
    try:
        message: Node = unpack(data[4:])
    except ProtocolError:
        return None
    return message if type(message) is list else None
