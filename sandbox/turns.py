"""Jobs that wait for room, in order: whoever is done with it hands it to the next, and what works ahead knows a few."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from sandbox.ahead import Ticket

Room = TypeVar("Room")


class Place(Generic[Room]):
    """One that waits: its turn comes with room for it; its ticket, once it is among the next."""

    __slots__ = ("source", "ticket", "turn")

    def __init__(self, source: Callable[[], bytes]) -> None:
        self.source = source
        self.ticket: Ticket | None = None
        self.turn: asyncio.Future[Room] = asyncio.get_running_loop().create_future()


class Turns(Generic[Room]):
    """Rooms for jobs. The next `ahead` jobs in line are `expected`: their programs are handed to it as they come up.

    No queue of asyncio's, of which a job would need two, and wake up twice.
    """

    def __init__(self, expected: Callable[[bytes], Ticket], ahead: int) -> None:
        self._expected = expected
        self._ahead = ahead
        self._idle: deque[Room] = deque()
        self._waiting: deque[Place[Room]] = deque()

    def free(self, room: Room) -> None:
        """Hand room to the job that has waited longest."""
        while self._waiting:
            place = self._waiting.popleft()
            if len(self._waiting) >= self._ahead:
                self._announce(self._waiting[self._ahead - 1])
            if not place.turn.done():  # else it was cancelled
                place.turn.set_result(room)
                return
        self._idle.append(room)

    async def wait(self, source: Callable[[], bytes]) -> tuple[Room, Ticket | None]:
        """Room, when it is this job's turn, and what became of its program meanwhile."""
        if self._idle:
            return self._idle.popleft(), None
        place = Place[Room](source)
        self._waiting.append(place)
        if len(self._waiting) <= self._ahead:
            self._announce(place)
        try:
            return await place.turn, place.ticket
        except asyncio.CancelledError:
            if not place.turn.cancelled():  # room had come already
                self.free(place.turn.result())
            raise
        finally:
            if place.ticket is not None:
                place.ticket.drop()

    def _announce(self, place: Place[Room]) -> None:
        if not place.turn.done():
            place.ticket = self._expected(place.source())
