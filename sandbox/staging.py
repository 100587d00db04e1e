"""Staged CPU limits for sibling programs, such as candidates for one question: a short limit for all of them first, the
full one only where a sibling shows that there is work to do.

Endless loops decide what a run costs. Measured on two cores: 520,000 programs of which 5 % loop take 36 h under a limit
of 10 s, 3.7 h under 1 s, 0.5 h under 0.1 s, and 8 min without the loops. A short limit for everybody would fail the
few programs that honestly compute for a second, but those are recognised by their siblings, which face the same tests:
where some of them answer within milliseconds, a program that has no answer after a quarter of a second loops.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from sandbox.contract import Job, ScriptJob, Status, Verdict

HARD_WORK = 0.2
"""The share of the first limit that a sibling has to use, over all of its tests, to count as evidence of real work."""

_USED_UP = 0.5
_CUT_SHORT = frozenset({Status.TIMEOUT, Status.MEMORY, Status.OUTPUT})

AnyJob = TypeVar("AnyJob", Job, ScriptJob)


async def run_siblings(
    run: Callable[[AnyJob], Awaitable[Verdict]], jobs: Sequence[AnyJob], first_seconds: float = 0.25
) -> list[Verdict]:
    """A verdict for each job, in their order; the jobs are programs that face the same tests.

    All run under a CPU limit of `first_seconds`, or their own if that is lower. Of those that used it up without a
    result:

    - all run again under their own limit, if a sibling that no limit stopped used HARD_WORK of the first;
    - else one scout does, the first of them, if there is a test without any sibling's result; the others follow if that
      test, or another such, has a result from the scout;
    - else the short verdict stands, and says so in the details: in words that a repeated run gives again in those of
      the tests, with the siblings' seconds in the verdict's own.

    The CPU seconds of a verdict are those of both runs together. All decisions are taken when all first runs are over,
    so that the order in which runs end plays no part. Measured times are noisy and enter twice, each with room: a
    program that used up its limit has all of it on its clock and one that sleeps next to nothing, the line is at half;
    ordinary programs need a few milliseconds, a tenth of what HARD_WORK asks of the default, and a sibling's time is
    that of all its tests together. An error either way changes the verdict only of a program that needs more than the
    first limit and less than its own, and leans to running it again.

    The first failure of `run` ends the other runs and is raised as it is; so does cancellation. No task outlives this.
    """
    verdicts = await _all(run, [capped(job, first_seconds) for job in jobs])
    late = [index for index, job in enumerate(jobs) if is_late(job, verdicts[index], first_seconds)]
    if not late or _most_used(verdicts) >= HARD_WORK * first_seconds:
        return await _again(run, jobs, verdicts, late)
    unanswered = _unanswered(verdicts)
    if not unanswered:
        return _left_as(verdicts, late, "siblings were quicker", _figure(verdicts))
    scout, *others = late
    verdicts = await _again(run, jobs, verdicts, [scout])
    if any(verdicts[scout].tests[test].status is not Status.TIMEOUT for test in unanswered):
        return await _again(run, jobs, verdicts, others)
    return _left_as(verdicts, others, f"a sibling had none after {jobs[scout].limits.cpu_seconds:g} s")


def capped(job: AnyJob, seconds: float) -> AnyJob:
    """The job as its first run has it: under a CPU limit of `seconds`, or its own if that is lower."""
    return replace(job, limits=replace(job.limits, cpu_seconds=min(seconds, job.limits.cpu_seconds)))


def is_late(job: AnyJob, verdict: Verdict, first_seconds: float) -> bool:
    """Whether CPU time ran out in a job's first run that its own limit still has, so that siblings decide about it.

    A program that slept for too long has used none.
    """
    timeout = any(result.status is Status.TIMEOUT for result in verdict.tests)
    return timeout and job.limits.cpu_seconds > first_seconds and verdict.cpu_seconds >= _USED_UP * first_seconds


def _finished(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Those that ended by themselves: what a runaway used until it had no more memory says nothing about the work."""
    return [v for v in verdicts if _CUT_SHORT.isdisjoint(result.status for result in v.tests)]


def _most_used(verdicts: Sequence[Verdict]) -> float:
    """The most CPU seconds that a program needed which ended by itself."""
    return max((verdict.cpu_seconds for verdict in _finished(verdicts)), default=0.0)


def _unanswered(verdicts: Sequence[Verdict]) -> list[int]:
    """The tests at which every program ran out of time."""
    columns = zip(*(verdict.tests for verdict in verdicts), strict=True)
    return [test for test, column in enumerate(columns) if all(r.status is Status.TIMEOUT for r in column)]


def _figure(verdicts: Sequence[Verdict]) -> str:
    return f"siblings needed {_most_used(verdicts):.1g} s" if _finished(verdicts) else ""


async def _again(
    run: Callable[[AnyJob], Awaitable[Verdict]], jobs: Sequence[AnyJob], verdicts: list[Verdict], which: Sequence[int]
) -> list[Verdict]:
    """The verdicts, with those of `which` from a run under the job's own limits."""
    found = dict(zip(which, await _all(run, [jobs[index] for index in which]), strict=True))
    return [_summed(verdict, found.get(index)) for index, verdict in enumerate(verdicts)]


def _summed(first: Verdict, second: Verdict | None) -> Verdict:
    if second is None:
        return first
    peak = max(first.peak_memory_mb, second.peak_memory_mb)
    return replace(second, cpu_seconds=first.cpu_seconds + second.cpu_seconds, peak_memory_mb=peak)


def _left_as(verdicts: Sequence[Verdict], which: Sequence[int], why: str, figure: str = "") -> list[Verdict]:
    """The verdicts, of which those of `which` say why they stand; `figure` says it better, but not twice the same."""
    return [_explained(v, why, figure or why) if index in which else v for index, v in enumerate(verdicts)]


def _explained(verdict: Verdict, why: str, figure: str) -> Verdict:
    tests = tuple(
        replace(result, detail=_joined(result.detail, why)) if result.status is Status.TIMEOUT else result
        for result in verdict.tests
    )
    late = verdict.status is Status.TIMEOUT
    return replace(verdict, tests=tests, detail=_joined(verdict.detail, figure) if late else verdict.detail)


def _joined(detail: str, more: str) -> str:
    return f"{detail}; {more}" if detail else more


async def _all(run: Callable[[AnyJob], Awaitable[Verdict]], jobs: Sequence[AnyJob]) -> list[Verdict]:
    """All verdicts in order; when this ends, however it ends, so have all runs."""
    tasks = [asyncio.create_task(_one(run, job)) for job in jobs]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _one(run: Callable[[AnyJob], Awaitable[Verdict]], job: AnyJob) -> Verdict:
    return await run(job)
