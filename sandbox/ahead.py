"""Programs of waiting jobs, compiled many at a time while others run.

Compiling where a program runs copies a hundred pages of memory for one use; a server that does it for many costs a
quarter of that, but waking it for each costs as much again. So it is asked for what many waiting jobs will need, and
for nothing that is needed now. It only ever saves work: what it does not know when a job's turn comes, what it gives up
and what kills it is compiled where it runs, within that program's own limits.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Protocol

from sandbox.contract import SandboxError
from sandbox.sources import Compiled

BATCH = 32
"""Programs for which it is worth waking the server."""
MAX_SOURCE = 64 << 10
_SECONDS = 2.0
_MOST_FAILURES = 10


class Compiler(Protocol):
    """What compiles."""

    async def attempt(self, sources: list[bytes], seconds: float) -> list[Compiled | None] | None:
        """A result for each source, None for one that this machine may be to blame for; None if nothing came of it."""

    def close(self) -> None:
        """Let go of what it holds."""


class Ticket:
    """A program whose job waits for its turn."""

    __slots__ = ("_code", "_waiting", "source", "taken")

    def __init__(self, source: bytes, waiting: Tickets) -> None:
        self.source = source
        self.taken: asyncio.Event | None = None
        self._waiting = waiting
        self._code: Compiled | None = None

    def drop(self) -> None:
        """Its turn has come: too late for what was not asked for yet."""
        self._waiting.pop(self, None)

    def answer(self, code: Compiled | None) -> None:
        """What became of it."""
        self._code = code

    async def code(self) -> Compiled | None:
        """The program's code, why it has none, or None: to be compiled where it runs."""
        if self.taken is not None:
            await self.taken.wait()
        return self._code


Tickets = dict[Ticket, None]


class Ahead:
    """The programs of a pool's waiting jobs. After a failure it leaves so many alone that one bad program in many does
    no harm.
    """

    def __init__(self, compiler: Compiler) -> None:
        self._compiler = compiler
        self._waiting: Tickets = {}
        self._asking: asyncio.Task[None] | None = None
        self._failures = 0
        self._resting = 0

    def expect(self, source: bytes) -> Ticket:
        """Compile this when it can be done together with others."""
        ticket = Ticket(source, self._waiting)
        if self._resting:
            self._resting -= 1
        elif 0 < len(source) <= MAX_SOURCE:
            self._waiting[ticket] = None
            if len(self._waiting) >= BATCH and self._asking is None:
                self._asking = asyncio.create_task(self._ask())
        return ticket

    async def close(self) -> None:
        """Ask no more."""
        self._resting = sys.maxsize
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
        self._compiler.close()

    async def _ask(self) -> None:
        tickets = list(self._waiting)
        self._waiting.clear()
        answered = asyncio.Event()
        for ticket in tickets:
            ticket.taken = answered
        try:
            codes = await self._attempt([ticket.source for ticket in tickets])
            for ticket, code in zip(tickets, codes, strict=True):
                ticket.answer(code)
        finally:
            self._asking = None
            answered.set()

    async def _attempt(self, sources: list[bytes]) -> list[Compiled | None]:
        try:
            codes = await self._compiler.attempt(sources, _SECONDS)
        except SandboxError:  # no room for another process, say: the jobs will see for themselves
            codes = None
        if codes is not None:
            self._failures = 0
            return codes
        self._failures = min(self._failures + 1, _MOST_FAILURES)
        self._resting = BATCH << self._failures
        return [None] * len(sources)
