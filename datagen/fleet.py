"""Several members that do the same work: servers of one model, replicas on a cluster, sandboxes on its nodes.

Each piece of work goes to the member with the least in hand. One that is lost is left out until a check of it passes,
and what it had goes to the others; one that is at work and answers no checks counts as lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from datagen.errors import DatagenError

Answer = TypeVar("Answer")


class Lost(Exception):
    """A member cannot do its work now, another may. `wait`: it lives, and wants to be left alone for these seconds."""

    def __init__(self, reason: str, *, wait: float | None = None) -> None:
        self.wait = wait
        super().__init__(reason)


class AllLost(Exception):
    """No member is left, and none came back in time."""


class Member(Protocol):
    """What a fleet has several of. `check` returns once it can work, raises Lost, or DatagenError if it never will."""

    @property
    def name(self) -> str: ...
    async def check(self) -> None: ...


Kind = TypeVar("Kind", bound=Member)


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds: before a lost member is checked (the first, doubled at each failure, up to the longest), between the
    checks of one at work, for such a check to be answered, and without any member until the fleet is given up.
    """

    first: float = 0.5
    longest: float = 60.0
    every: float = 15.0
    answer: float = 30.0
    patience: float = 60.0


@dataclass(slots=True, eq=False)
class _Place(Generic[Kind]):
    """A member and how it does. `life` counts its recoveries: what failed in an earlier one says nothing of this.

    `strikes` are losses without an answer in between; `missed` says that its loss was told.
    """

    member: Kind
    well: bool = False
    life: int = 0
    strikes: int = 0
    wait: float = 0.0
    missed: bool = False
    down: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: set[asyncio.Future[Any]] = field(default_factory=set)


STEADY = Pace()


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


class Fleet(Generic[Kind]):
    """Gives work to its members, each of which is tended by a task until `close`. A piece is tried `tries` times."""

    def __init__(
        self,
        members: Iterable[Kind],
        *,
        tries: int = 6,
        pace: Pace = STEADY,
        say: Callable[[str], None] = _to_stderr,
    ) -> None:
        self._tries, self._pace, self._say = tries, pace, say
        self._places: list[_Place[Kind]] = []
        self._tending: dict[_Place[Kind], asyncio.Task[None]] = {}
        self._first: dict[_Place[Kind], asyncio.Future[None]] = {}
        self._some_well = asyncio.Event()
        self._retired: DatagenError | None = None
        self._broken: BaseException | None = None
        for member in members:
            self.add(member)

    @property
    def members(self) -> list[Kind]:
        """Those that were not given up, well or not."""
        return [place.member for place in self._places]

    def add(self, member: Kind) -> None:
        """One more, which takes work as soon as its check passes."""
        place = _Place(member)
        self._places.append(place)
        self._first[place] = asyncio.get_running_loop().create_future()
        self._tending[place] = asyncio.create_task(self._tend(place))
        self._tending[place].add_done_callback(self._ended)

    def _ended(self, tending: asyncio.Task[None]) -> None:
        """A check that raised what none should is our mistake, and comes out of whatever is asked next."""
        if not tending.cancelled() and (error := tending.exception()) is not None:
            self._broken = error
            for first in self._first.values():
                if not first.done():
                    first.set_exception(error)
                    first.exception()
            self._some_well.set()

    def remove(self, member: Kind) -> None:
        """Lets go of one; what it has in hand goes to others."""
        for place in [place for place in self._places if place.member is member]:
            self._places.remove(place)
            self._set(place, False)
            self._tending.pop(place).cancel()
            _give_up(place)

    async def ready(self, *, everyone: bool = False) -> None:
        """Waits for the first member that can work; with `everyone`, for the first check of each.

        DatagenError as a check raised it; AllLost if the first check of each has failed.
        """
        pending = set(self._first.values())
        while pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for first in done:
                if (error := first.exception()) is not None and not isinstance(error, Lost):
                    raise error
            if self._some_well.is_set() and not everyone:
                return
        if not self._some_well.is_set():
            raise AllLost("; ".join(str(first.exception()) for first in self._first.values()))

    async def ask(self, work: Callable[[Kind], Awaitable[Answer]]) -> Answer:
        """What `work` makes of the member with the least in hand; of another, where that one is lost meanwhile.

        Raises Lost after `tries` members in a row; AllLost where there is none and none comes back; DatagenError if the
        last one left raised it: that is for good.
        """
        lost = Lost("")
        for _ in range(self._tries):
            place = await self._chosen()
            life = place.life
            try:
                answer = await self._worked(place, work)
            except Lost as error:
                lost = error
                self._lose(place, life, error)
            except DatagenError as error:
                self._retire(place, error)
            else:
                place.strikes = 0
                return answer
        raise lost

    async def close(self) -> None:
        """Ends the tending; members are closed by who made them."""
        for task in self._tending.values():
            task.cancel()
        await asyncio.gather(*self._tending.values(), return_exceptions=True)

    async def _chosen(self) -> _Place[Kind]:
        while True:
            if self._broken is not None:
                raise self._broken
            if not self._places and self._retired is not None:
                raise self._retired
            if not self._some_well.is_set():
                await self._some_back()
            if well := [place for place in self._places if place.well]:
                return min(well, key=lambda place: len(place.tasks))

    async def _some_back(self) -> None:
        try:
            async with asyncio.timeout(self._pace.patience):
                await self._some_well.wait()
        except TimeoutError as error:
            raise AllLost(f"none of {len(self._places)} came back in {self._pace.patience:g} s") from error

    async def _worked(self, place: _Place[Kind], work: Callable[[Kind], Awaitable[Answer]]) -> Answer:
        """The member's answer; Lost if whoever tends it gave up waiting."""
        task = asyncio.ensure_future(work(place.member))
        place.tasks.add(task)
        try:
            await asyncio.wait({task})
        finally:
            task.cancel()
            place.tasks.discard(task)
        if task.cancelled():
            raise Lost("stopped answering")
        return task.result()

    def _lose(self, place: _Place[Kind], life: int, error: Lost) -> None:
        if not place.well or place.life != life:
            return
        self._set(place, False)
        place.wait = max(error.wait or 0.0, min(self._pace.longest, self._pace.first * 2**place.strikes))
        place.strikes += 1
        place.down.set()
        if error.wait is None:
            place.missed = True
            self._tell(place, f"lost ({error})")

    def _retire(self, place: _Place[Kind], error: DatagenError) -> None:
        if place in self._places:
            self._retired = error
            self.remove(place.member)
            self._tell(place, f"given up ({error})")

    def _tell(self, place: _Place[Kind], what: str) -> None:
        left = sum(place.well for place in self._places)
        self._say(f"{place.member.name}: {what}; {left} of {len(self._places)} at work")

    def _set(self, place: _Place[Kind], well: bool) -> None:
        place.well = well
        if any(place.well for place in self._places) or (not self._places and self._retired is not None):
            self._some_well.set()
        else:
            self._some_well.clear()

    async def _tend(self, place: _Place[Kind]) -> None:
        """A member's whole life: checked until it is well, watched while it works, checked again once it is lost."""
        while True:
            await self._recover(place)
            place.down.clear()
            place.life += 1
            self._set(place, True)
            if place.missed:
                self._tell(place, "back")
            place.missed = False
            await self._watch(place)
            await asyncio.sleep(place.wait)

    async def _recover(self, place: _Place[Kind]) -> None:
        """Returns when a check passes."""
        wait = self._pace.first
        while True:
            try:
                await place.member.check()
            except (Lost, DatagenError) as error:
                self._settle(place, error)
            else:
                self._settle(place, None)
                return
            await asyncio.sleep(wait)
            wait = min(self._pace.longest, 2 * wait)

    def _settle(self, place: _Place[Kind], error: Exception | None) -> None:
        """Tells `ready` how the first check ended."""
        first = self._first[place]
        if first.done():
            return
        if error is None:
            first.set_result(None)
            return
        first.set_exception(error)
        first.exception()  # nobody may be waiting for it
        place.missed = True
        self._tell(place, f"not there ({error})")

    async def _watch(self, place: _Place[Kind]) -> None:
        """Returns when the member is lost; two checks in a row without an answer, while it has work, are a loss too."""
        silent = 0
        while place.well:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pace.every):
                    await place.down.wait()
            if not place.well or not place.tasks:
                continue
            silent = 0 if await self._answers(place.member) else silent + 1
            if silent == 2 and place.well:
                self._lose(place, place.life, Lost("answers no checks"))
                _give_up(place)

    async def _answers(self, member: Kind) -> bool:
        try:
            async with asyncio.timeout(self._pace.answer):
                await member.check()
        except (Lost, DatagenError, TimeoutError):
            return False
        return True


def _give_up(place: _Place[Kind]) -> None:
    for task in place.tasks:
        task.cancel()
