"""From source to code, seen from the user's process: which server compiles what, and what is known already.

The code is never looked into here: to this process it is bytes, which only sandboxed processes load.
"""

from __future__ import annotations

import asyncio
import socket
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from sandbox.compiler import CODE, UNSURE
from sandbox.contract import SandboxError, Status, TestResult
from sandbox.streams import receive_parts, send
from sandbox.wire import Closed, pack_job

SERVED_BY_ONE = 20_000
_DETAIL_LENGTH = 500

Compiled = bytes | TestResult
"""Code, or why there is none."""
_HARMLESS = b"pass"


class Home(Protocol):
    """Where servers, known by their names, run."""

    async def start_server(self, name: str) -> socket.socket:
        """Start one in the place of an earlier one; the way to talk to it."""

    def end_server(self, name: str) -> None:
        """End one whatever it is busy with."""

    def may_serve(self, name: str) -> bool:
        """Whether what the server needs to live is there, so that it would have to end by itself."""


class _Homeless(Exception):
    """A server ended, and not by itself."""


class Server:
    """One compile server, started when first needed and again when it dies or has served long enough."""

    def __init__(self, name: str, home: Home) -> None:
        self._name = name
        self._home = home
        self._channel: socket.socket | None = None
        self._asking = False
        self._served = 0

    async def compile(self, sources: Sequence[bytes], seconds: float) -> list[Compiled]:
        """One result for each source. What kills two servers in a row, alone, has itself to blame; SandboxError if a
        harmless source kills them too, or if they are killed with what they live in.
        """
        deaths = 0
        while deaths < 2:
            try:
                return [_read(result) for result in await self._patiently(sources, seconds)]
            except Closed:
                deaths += 1
            except TimeoutError:
                return [TestResult(Status.TIMEOUT, f"not compiled after {seconds:g} s")] * len(sources)
        if len(sources) == 1:
            await self._prove(seconds)
            return [TestResult(Status.ERROR, "compiling it ends the compiler's process")]
        return [result for source in sources for result in await self.compile([source], seconds)]

    async def attempt(self, sources: Sequence[bytes], seconds: float) -> list[Compiled | None] | None:
        """A result for each source, None for one that this machine may be to blame for; None if it failed, of which
        any of the sources may be the cause.
        """
        try:
            results = await self._ask(sources, seconds)
        except (Closed, TimeoutError, _Homeless):
            return None
        return [None if result.startswith(UNSURE) else _read(result) for result in results]

    def close(self) -> None:
        """Let go of the server, which then ends; whoever waits for an answer sees its end."""
        channel, self._channel = self._channel, None
        if channel is not None:
            with suppress(OSError):
                channel.shutdown(socket.SHUT_RDWR)
            if not self._asking:  # else that is closed by who waits, for the event loop still looks at it
                channel.close()

    async def _prove(self, seconds: float) -> None:
        """That servers live, or SandboxError."""
        try:
            await self._patiently([_HARMLESS], seconds)
        except (Closed, TimeoutError) as error:
            message = "the compile server does not live to compile anything: run `python -m sandbox check`"
            raise SandboxError(message) from error

    async def _patiently(self, sources: Sequence[bytes], seconds: float) -> list[bytes]:
        """Ask once more if a server ended with its home; Closed if one ended otherwise."""
        for _ in range(2):
            with suppress(_Homeless):
                return await self._ask(sources, seconds)
        raise SandboxError("the sandbox failed twice on one job (compiling it): run `python -m sandbox check`")

    async def _ask(self, sources: Sequence[bytes], seconds: float) -> list[bytes]:
        if self._channel is None or self._served >= SERVED_BY_ONE or _ended(self._channel):
            self.close()
            self._channel, self._served = await self._home.start_server(self._name), 0
        self._served += len(sources)
        channel, self._asking = self._channel, True
        try:
            return await asyncio.wait_for(self._exchange(channel, sources), seconds)
        except Closed as error:
            self._forget(channel)
            if not self._home.may_serve(self._name):
                raise _Homeless from error
            raise
        except BaseException:  # whatever it may still answer belongs to nobody now
            self._forget(channel)
            self._home.end_server(self._name)
            raise
        finally:
            self._asking = False

    def _forget(self, channel: socket.socket) -> None:
        self.close()
        channel.close()

    async def _exchange(self, channel: socket.socket, sources: Sequence[bytes]) -> list[bytes]:
        await send(channel, pack_job(sources))
        return await receive_parts(channel, len(sources))


def _ended(channel: socket.socket) -> bool:
    """Whether the server at the other end has ended by itself."""
    try:
        return not channel.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


Key = tuple[str, str]
"""What a piece of code is known by: server and source."""
_MOST_SETS = 256


class Known:
    """The latest pieces of code, up to a number of bytes: a question's tests serve all of its candidates."""

    def __init__(self, most_bytes: int = 8 << 20) -> None:
        self._left = most_bytes
        self._codes: OrderedDict[Key, bytes] = OrderedDict()
        self._sets: dict[tuple[str, tuple[str, ...]], list[Compiled]] = {}  # of pieces that are all among the codes

    async def compiled(self, name: str, sources: Sequence[str], server: Server, seconds: float) -> list[Compiled]:
        """A result for each source: what is known, and the rest from the server."""
        asked = name, tuple(sources)
        codes = self._sets.get(asked)
        if codes is None:
            codes = await self._each(name, sources, server, seconds)
            if all((name, source) in self._codes for source in sources):
                if len(self._sets) == _MOST_SETS:
                    self._sets.clear()
                self._sets[asked] = codes
        return codes

    async def _each(self, name: str, sources: Sequence[str], server: Server, seconds: float) -> list[Compiled]:
        keys = [(name, source) for source in sources]
        found: dict[Key, Compiled] = {key: self._codes[key] for key in keys if key in self._codes}
        missing = [key for key in dict.fromkeys(keys) if key not in found]
        if missing:  # while they are compiled, other jobs may push what is known out
            encoded = [source.encode("utf-8", "surrogatepass") for _, source in missing]
            found |= zip(missing, await server.compile(encoded, seconds), strict=True)
        for key in keys:
            self._remember(key, found[key])
        return [found[key] for key in keys]

    def _remember(self, key: Key, code: Compiled) -> None:
        if isinstance(code, TestResult):  # another time it may go better: not all that fails is the source's fault
            return
        if key not in self._codes:
            self._codes[key] = code
            self._left -= _weight(key, code)
        self._codes.move_to_end(key)
        while self._left < 0:
            self._left += _weight(*self._codes.popitem(last=False))
            self._sets.clear()


def _read(result: bytes) -> Compiled:
    if result.startswith(CODE):
        return result[1:]
    return TestResult(Status.ERROR, result[1:].decode("utf-8", "replace")[:_DETAIL_LENGTH])


def _weight(key: Key, code: bytes) -> int:
    return len(key[1]) + len(code) + 200
