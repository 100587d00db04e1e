"""From rounds to a verdict: which tests still have to run, what ended a round, how the whole is called.

A round runs tests in order in one process of the program until one of them kills it or uses up its limits. The others
then get a fresh process, so that no test hides the result of another.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from sandbox.contract import Job, Limits, Status, TestResult, Verdict
from sandbox.grader import DIED, RESULT, UNLOADED
from sandbox.watch import CPU, OUTPUT, TESTS_CPU, WALL
from sandbox.worker import Round

STRIKES = 2
MAX_ROUNDS = 10
MAX_SOURCE = 4 << 20

Play = Callable[[str, tuple[str, ...], int, Limits], Awaitable[Round]]


@dataclass(slots=True)
class _Progress:
    results: list[TestResult] = field(default_factory=list)
    strikes: int = 0
    rounds: int = 0
    cpu_seconds: float = 0.0
    peak_memory_mb: float = 0.0


async def judge(job: Job, play: Play) -> Verdict:
    """Play rounds until every test has a result; after two tests that had to be ended, the rest are given up unrun."""
    if sum(map(len, (job.program, *job.tests))) > MAX_SOURCE:
        return conclude([TestResult(Status.ERROR, f"program and tests exceed {MAX_SOURCE >> 20} MB")] * len(job.tests))
    progress = _Progress()
    while len(progress.results) < len(job.tests):
        round_ = await play(job.program, job.tests[len(progress.results) :], job.seed, job.limits)
        progress.rounds += 1
        progress.cpu_seconds += round_.cpu_seconds
        progress.peak_memory_mb = max(progress.peak_memory_mb, round_.peak_memory_mb)
        _advance(progress, job, round_)
    return conclude(progress.results, progress.cpu_seconds, progress.peak_memory_mb)


def conclude(results: list[TestResult], cpu_seconds: float = 0.0, peak_memory_mb: float = 0.0) -> Verdict:
    """The verdict on a whole job from the results of its tests."""
    if not results:
        return Verdict(Status.ERROR, (), "the job has no tests", cpu_seconds, peak_memory_mb)
    for number, result in enumerate(results, 1):
        if result.status not in (Status.PASS, Status.PASS_WEAK):
            detail = f"test {number}: {result.detail}"
            return Verdict(result.status, tuple(results), detail, cpu_seconds, peak_memory_mb)
    weak = any(result.status is Status.PASS_WEAK for result in results)
    return Verdict(Status.PASS_WEAK if weak else Status.PASS, tuple(results), "", cpu_seconds, peak_memory_mb)


def _advance(progress: _Progress, job: Job, round_: Round) -> None:
    """Take over what the round gave, and decide on the test at which it ended."""
    reached = _reached(round_, len(job.tests) - len(progress.results))
    progress.results += reached
    missing = len(job.tests) - len(progress.results)
    if not missing:
        return
    unloaded = _unloaded(round_, job.limits)
    if unloaded is not None:
        progress.results += [unloaded] * missing
        return
    if reached and round_.cause and progress.rounds < MAX_ROUNDS:
        return  # the limit was used up by several tests together: this one has a process of its own coming
    ended = _interruption(round_, job.limits)
    progress.results.append(ended)
    progress.strikes += STRIKES if round_.cause == WALL else 1
    if progress.strikes >= STRIKES or progress.rounds >= MAX_ROUNDS:
        unrun = TestResult(ended.status, f"not run after test {len(progress.results)}: {ended.detail}")
        progress.results += [unrun] * (missing - 1)


def _reached(round_: Round, most: int) -> list[TestResult]:
    found = []
    for message in round_.messages[:most]:
        if message[0] != RESULT or len(message) != 3:
            break
        found.append(TestResult(Status(message[1]), str(message[2])))
    return found


def _unloaded(round_: Round, limits: Limits) -> TestResult | None:
    """The result of every test of a program that does not load."""
    last = round_.messages[-1] if round_.messages else ["", ""]
    if last[0] == UNLOADED:
        return TestResult(Status(last[1]), f"while loading: {last[2]}")
    if last[0] == DIED and last[1] == UNLOADED:
        ended = _interruption(round_, limits)
        return TestResult(ended.status, f"while loading: {ended.detail}")
    return None


def _interruption(round_: Round, limits: Limits) -> TestResult:
    """The result of the test during which the round ended."""
    if round_.cause in (CPU, TESTS_CPU):
        return TestResult(Status.TIMEOUT, f"no result after {limits.cpu_seconds:g} s of CPU time")
    if round_.cause == WALL:
        return TestResult(Status.TIMEOUT, f"no result after {limits.wall_seconds:g} s")
    if round_.cause == OUTPUT:
        return TestResult(Status.OUTPUT, f"wrote more than {limits.output_kb} KB")
    last = round_.messages[-1] if round_.messages else ["", "", ""]
    if last[0] != DIED:
        return TestResult(Status.ERROR, f"the test ended its own process: {_how(round_.tests_status)}")
    if last[2]:
        return TestResult(Status.ERROR, str(last[2]))
    if _signal(round_.program_status) == signal.SIGKILL:
        return TestResult(Status.MEMORY, "killed by the system, which was out of memory")
    return TestResult(Status.ERROR, f"the program ended its process: {_how(round_.program_status)}")


def _signal(status: int | None) -> int | None:
    return os.WTERMSIG(status) if status is not None and os.WIFSIGNALED(status) else None


def _how(status: int | None) -> str:
    """A wait status in words."""
    if status is None:
        return "it closed its connection"
    number = _signal(status)
    return f"exit code {os.waitstatus_to_exitcode(status)}" if number is None else signal.Signals(number).name
