"""One zygote, seen from the user's process: started, given rounds, ended."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from sandbox.contract import Limits, SandboxError
from sandbox.wire import Node, ProtocolError, pack, unpack

START_SECONDS = 60
HASH_SEEDS = 4
_CHUNK = 1 << 16
_MOST_PARTS = 10_000
_FEW = 60

_ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
    "TZ": "UTC",
    "MALLOC_ARENA_MAX": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
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


@dataclass(frozen=True, slots=True)
class Round:
    """What one pair of processes gave: the tests' process's messages and the zygote's report."""

    messages: tuple[list[Any], ...]
    cause: str
    program_status: int | None
    tests_status: int | None
    cpu_seconds: float
    peak_memory_mb: float


class Worker:
    """A zygote of one level and one hash seed; one round at a time."""

    def __init__(self, process: subprocess.Popen[bytes], channel: socket.socket, folder: str | None) -> None:
        self._process = process
        self._channel = channel
        self._folder = folder
        self._busy = False

    @property
    def pid(self) -> int:
        """The zygote's process id."""
        return self._process.pid

    @classmethod
    async def start(cls, level: str, hash_seed: int) -> Worker:
        """A zygote that has reached `level`; SandboxError says what this machine refuses."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        folder = None if level == "L0" else tempfile.mkdtemp(prefix="sandbox-")
        settings = {"level": level, "folder": folder or "", "packages": packages(), "coordinator": os.getpid()}
        arguments = [str(Path(__file__).parent), str(theirs.fileno()), json.dumps(settings)]
        process = subprocess.Popen(
            [sys.executable, "-P", "-s", "-S", "-B", "-c", _BOOT, *arguments],
            env={**_ENVIRONMENT, "PYTHONHASHSEED": str(hash_seed)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd="/",
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
        )
        theirs.close()
        ours.setblocking(False)
        worker = cls(process, ours, folder)
        try:
            await worker._greet(level)
        except BaseException:
            worker.kill()
            raise
        return worker

    async def round(self, program: str, tests: tuple[str, ...], seed: int, limits: Limits) -> Round:
        """Have the zygote run the tests on the program in two fresh processes."""
        self._busy = True
        try:
            return await self._round(program, tests, seed, limits)
        finally:
            self._busy = False

    async def _round(self, program: str, tests: tuple[str, ...], seed: int, limits: Limits) -> Round:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with ours:
            with theirs:
                self._order(limits, theirs)
            await _send(ours, pack([program, list(tests), seed]))
            # few results fit the socket: one look at the end spares a wake-up for each
            early = [] if len(tests) <= _FEW else await _read_all(ours)
            report = await self._receive()
            messages = _split(b"".join([*early, *_left(ours)]))
        if "broken" in report:
            raise WorkerDied(report["broken"])
        usage = (report["cpu"], report["peak_mb"])
        return Round(tuple(messages), report["cause"], report["program"], report["tests"], *usage)

    def kill(self) -> None:
        """End the zygote and with it everything that it started."""
        self._end()
        if not self._busy:  # else whoever waits for the round's report sees its end, and kills again
            self._channel.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _order(self, limits: Limits, verdict: socket.socket) -> None:
        header = json.dumps({name: getattr(limits, name) for name in limits.__slots__})
        try:
            socket.send_fds(self._channel, [header.encode()], [verdict.fileno()])
        except OSError as error:
            raise WorkerDied(str(error)) from error

    async def _greet(self, level: str) -> None:
        try:
            hello = await asyncio.wait_for(self._receive(), START_SECONDS)
        except (WorkerDied, TimeoutError) as error:
            raise SandboxError(f"the sandbox's process does not start: {error or 'no answer'}") from error
        if "broken" in hello:
            raise SandboxError(f"level {level} is out of reach: {hello['broken']}")

    async def _receive(self) -> dict[str, Any]:
        try:
            data = await asyncio.get_running_loop().sock_recv(self._channel, _CHUNK)
        except OSError as error:
            raise WorkerDied(str(error)) from error
        if not data:
            raise WorkerDied(self._end() or "it was killed")
        return cast("dict[str, Any]", json.loads(data))

    def _end(self) -> str:
        """Make sure that the process is over; the last line that it wrote in distress."""
        self._process.kill()
        if self._process.stderr is None or self._process.stderr.closed:
            return ""
        _, noise = self._process.communicate()
        return noise.decode("utf-8", "replace").strip().rpartition("\n")[2]


def packages() -> list[str]:
    """Folders of the packages that programs may import beyond the standard library: numpy, where it is installed."""
    found = importlib.util.find_spec("numpy")
    if found is None or found.origin is None:
        return []
    home = Path(found.origin).parent
    return [str(path) for path in (home, home.parent / "numpy.libs") if path.is_dir()]


async def _send(channel: socket.socket, job: bytes) -> None:
    with suppress(BrokenPipeError, ConnectionResetError):  # it died before it had read all: the report will say how
        await asyncio.get_running_loop().sock_sendall(channel, job)


async def _read_all(channel: socket.socket) -> list[bytes]:
    """What the tests' process writes until it is gone, or until it has written too much for a report."""
    loop, parts = asyncio.get_running_loop(), list[bytes]()
    with suppress(ConnectionResetError):
        while (part := await loop.sock_recv(channel, _CHUNK)) and len(parts) < _MOST_PARTS:
            parts.append(part)
    return parts


def _left(channel: socket.socket) -> Iterator[bytes]:
    """What lies in the channel of a process that is gone."""
    try:
        while part := channel.recv(_CHUNK):
            yield part
    except (BlockingIOError, ConnectionResetError):
        return


def _split(data: bytes) -> list[list[Any]]:
    """The whole messages at the start of `data`; what a test scribbled on the channel ends them."""
    messages: list[list[Any]] = []
    while len(data) >= 4:
        size = int.from_bytes(data[:4], "big")
        if len(data) < 4 + size:
            break
        try:
            message: Node = unpack(data[4 : 4 + size])
        except ProtocolError:
            break
        if type(message) is not list:
            break
        messages.append(message)
        data = data[4 + size :]
    return messages
