"""Runs entries of the catalogue, several side by side, and says of each whether its verdict is true and whether it left
anything behind.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sandbox.catalogue.cases import ESCAPES, NUMPY, PASSING, Entry, Kind
from sandbox.catalogue.traces import Traces, children, left_behind, look
from sandbox.contract import Job, Limits, SandboxError, Tier, Verdict
from sandbox.pool import Pool

_PATIENCE = 10.0
_SETTLING = 2.0
_EASY = Job("def f(): return 1\n", ("assert f() == 1",), Limits(wall_seconds=60.0), second_seed=1)


class Fault(StrEnum):
    """What is wrong with an outcome."""

    NONE = ""
    FORGED = "forged"
    ESCAPED = "escaped"
    HUNG = "hung"
    WRONGLY_FAILED = "wrongly failed"
    MISJUDGED = "misjudged"
    LEFT_BEHIND = "left something behind"
    BROKE = "broke the sandbox"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one entry went; `verdict` is None if the sandbox broke."""

    entry: Entry
    tier: Tier
    verdict: Verdict | None
    seconds: float
    fault: Fault
    remark: str

    def describe(self) -> str:
        """A line for people: what was got, what would have been true."""
        expected = " or ".join(sorted(self.entry.allowed(self.tier)))
        got = "nothing" if self.verdict is None else f"{self.verdict.status} ({self.verdict.detail})"
        remark = f"; {self.remark}" if self.remark else ""
        return f"{self.fault or 'right'}: {self.entry.title}: got {got}, expected {expected}{remark}"


def applicable(entries: Iterable[Entry], level: str) -> list[Entry]:
    """The entries whose needs this machine meets at that level, the longest first."""
    has = {level, os.uname().machine}
    if importlib.util.find_spec("numpy") is not None:
        has |= NUMPY
    return sorted((entry for entry in entries if entry.needs <= has), key=_weight)


async def run_catalogue(
    entries: Sequence[Entry], level: str, tier: Tier, lanes: int, tell: Callable[[Outcome], None] = lambda _: None
) -> list[Outcome]:
    """One outcome per entry, in the order in which they ended; `lanes` workers, each with a pool of its own.

    SandboxError if a worker cannot be started.
    """
    left, outcomes, opening = list(reversed(entries)), list[Outcome](), asyncio.Lock()

    async def work() -> None:
        lane = Lane(level, opening)
        try:
            while left:
                outcomes.append(await lane.play(left.pop(), tier))
                tell(outcomes[-1])
        finally:
            await lane.close()

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(lanes):
                group.create_task(work())
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return outcomes


class Lane:
    """A pool of one worker, so that what ran before on it is known, and the zygotes that it has."""

    def __init__(self, level: str, opening: asyncio.Lock) -> None:
        self._level = level
        self._opening = opening  # one lane at a time, so that it can tell its zygotes from the others'
        self._pool: Pool | None = None
        self._before: dict[int, Traces] = {}

    async def play(self, entry: Entry, tier: Tier) -> Outcome:
        """Run one entry and look at what it left."""
        pool = self._pool or await self._open()
        started, verdict, remark = time.monotonic(), None, ""
        try:
            if entry.before:
                await pool.run(Job(f"{entry.before}\n", entry.tests, entry.limits, tier=tier))
            verdict = await pool.run(entry.job(tier))
        except Exception as error:  # whatever a program makes the sandbox raise is the sandbox's fault
            remark = f"{type(error).__name__}: {error}"
        seconds = time.monotonic() - started
        left = await self._left()
        if left:
            await self.close()
        return Outcome(entry, tier, verdict, seconds, judge(entry, tier, verdict, seconds, left), remark or left)

    async def close(self) -> None:
        """End the pool; the next entry gets a new one."""
        if self._pool is not None:
            await self._pool.close()
            self._pool = None

    async def _open(self) -> Pool:
        async with self._opening:
            others = set(children(os.getpid()))
            self._pool = await Pool(workers=1, levels=(self._level,)).__aenter__()
            verdict = await self._pool.run(_EASY)
            if not verdict.passed:
                raise SandboxError(f"a level {self._level} sandbox starts but judges wrongly: {verdict}")
            self._before = {zygote: look(zygote) for zygote in set(children(os.getpid())) - others}
        return self._pool

    async def _left(self) -> str:
        """What is left, once what is about to go is gone."""
        end = time.monotonic() + _SETTLING
        while True:
            found = {left_behind(before, look(zygote)) for zygote, before in self._before.items()} - {""}
            if not found or time.monotonic() > end:
                return ", ".join(sorted(found))
            await asyncio.sleep(0.05)


def judge(entry: Entry, tier: Tier, verdict: Verdict | None, seconds: float, left: str) -> Fault:
    """What is wrong, the worst first."""
    if verdict is None:
        return Fault.BROKE
    if verdict.status not in entry.allowed(tier):
        return _wrong(entry, verdict)
    if not verdict.passed and not re.search(entry.says, verdict.detail, re.DOTALL):
        return Fault.MISJUDGED
    if left:
        return Fault.LEFT_BEHIND
    return Fault.HUNG if seconds > entry.limits.wall_seconds + _PATIENCE else Fault.NONE


def _wrong(entry: Entry, verdict: Verdict) -> Fault:
    if entry.kind is Kind.MUST_PASS:
        return Fault.WRONGLY_FAILED
    if verdict.status not in PASSING:
        return Fault.MISJUDGED
    return Fault.ESCAPED if entry.kind in ESCAPES else Fault.FORGED


def _weight(entry: Entry) -> float:
    return -entry.limits.wall_seconds if entry.kind is Kind.HANG else 0.0
