"""From rounds to a verdict: which tests still have to run, what ended a round, how the whole is called.

A round runs tests in order in one process of the program until one of them kills it or uses up its limits. The others
then get a fresh process, so that no test hides the result of another.

A full verdict is the screen's for whatever fails it; a program that passes the screen is judged again by the split
verdict, under the second seed if the job has one: one run then shows that the pass is neither forged nor luck.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from sandbox.candidate import CODE, SOURCE
from sandbox.contract import Job, Limits, Status, TestResult, Tier, Verdict
from sandbox.grader import DIED, LOADED, PASS_NODE, RESULT, UNLOADED
from sandbox.sources import Compiled
from sandbox.watch import CPU, OUTPUT, TESTS_CPU, WALL
from sandbox.worker import Ending, Round

STRIKES = 2
MAX_ROUNDS = 10
MAX_SOURCE = 4 << 20
PASSED = (Status.PASS, Status.PASS_WEAK)
_REPORTED = frozenset({Status.PASS, Status.PASS_WEAK, Status.FAIL, Status.ERROR, Status.MEMORY})
_RUNNERS = (
    "eval", "exec", "__import__", "importlib", "runpy", "doctest",
    "pickle", "cloudpickle", "marshal", "shelve", "dill", "joblib",
)  # fmt: skip
"""What runs text or bytes as code, or imports files, by its own name."""
_WORDS = (*_RUNNERS, "compile", "sys.path", "discover")
"""Most tests have none of these, which is seen sooner than that the pattern does not match."""
_RUNS_DATA = re.compile(
    rf"(?<![.\w])(?:(?:{'|'.join(_RUNNERS)})\b|compile\s*\()"
    r"|\bsys\.path\b|\b(?:allow_pickle|read_pickle|discover)\b"
).search
_DETAIL_LENGTH = 500
_PASS = TestResult(Status.PASS)
_SIGNALS = frozenset(signal.Signals)  # real-time signals, which a program can send itself, are not among them


class Bench(Protocol):
    """Where a job's parts are compiled and its rounds run."""

    async def compile_tests(self, job: Job) -> list[Compiled]:
        """The tests as code, or why one is none."""

    async def play(self, tier: Tier, program: bytes, tests: Sequence[bytes], seed: int, limits: Limits) -> Round:
        """One round."""


@dataclass(slots=True)
class Usage:
    """What a job has used so far."""

    cpu_seconds: float = 0.0
    peak_memory_mb: float = 0.0

    def add(self, ending: Ending) -> None:
        """One more process."""
        self.cpu_seconds += ending.cpu_seconds
        self.peak_memory_mb = max(self.peak_memory_mb, ending.peak_memory_mb)


@dataclass(slots=True)
class _Progress:
    tests: Sequence[bytes]
    limits: Limits
    results: list[TestResult] = field(default_factory=list)
    strikes: int = 0
    rounds: int = 0

    @property
    def missing(self) -> int:
        return len(self.tests) - len(self.results)


async def judge(job: Job, bench: Bench, code: Compiled | None = None) -> Verdict:
    """The verdict on a job; what a program does is in it, what the sandbox fails at is raised.

    `code` is the program's, or why it has none, where that is known before.
    """
    if sum(map(len, (job.program, *job.tests))) > MAX_SOURCE:
        return conclude([TestResult(Status.ERROR, f"program and tests exceed {MAX_SOURCE >> 20} MB")] * len(job.tests))
    if not job.tests:
        return conclude([])
    hearing = _Hearing(job, bench, await bench.compile_tests(job), code)
    return conclude(_believed(job, await hearing.results()), hearing.usage)


def _believed(job: Job, results: list[TestResult]) -> list[TestResult]:
    """The results, no better than weak where a test runs what the program gives it as code: it then judges them all."""
    if not any(map(_runs_data, job.tests)):
        return results
    return [replace(result, status=Status.PASS_WEAK) if result.status is Status.PASS else result for result in results]


def _runs_data(test: str) -> bool:
    return any(word in test for word in _WORDS) and _RUNS_DATA(test) is not None


def conclude(results: Sequence[TestResult], usage: Usage | None = None, part: str = "test") -> Verdict:
    """The verdict on a whole job from the results of its tests, or of what else a `part` of it is called."""
    used = Usage() if usage is None else usage
    figures = (used.cpu_seconds, used.peak_memory_mb)
    if not results:
        return Verdict(Status.ERROR, (), f"the job has no {part}s", *figures)
    for number, result in enumerate(results, 1):
        if result.status not in PASSED:
            return Verdict(result.status, tuple(results), f"{part} {number}: {result.detail}", *figures)
    weak = any(result.status is Status.PASS_WEAK for result in results)
    return Verdict(Status.PASS_WEAK if weak else Status.PASS, tuple(results), "", *figures)


def passed(results: Sequence[TestResult]) -> bool:
    """Whether every test passed, weakly or not."""
    return all(result.status in PASSED for result in results)


class _Hearing:
    """One job before its judge."""

    def __init__(self, job: Job, bench: Bench, tests: Sequence[Compiled], code: Compiled | None) -> None:
        self.usage = Usage()
        self._job = job
        self._bench = bench
        self._tests = tests
        self._refused = code if isinstance(code, TestResult) else None
        if isinstance(code, bytes):
            self._program = CODE + code
        else:
            self._program = SOURCE + job.program.encode("utf-8", "surrogatepass")

    async def results(self) -> list[TestResult]:
        """One result per test, of the tiers and seeds that the job asks for."""
        job = self._job
        first = await self._under(Tier.SPLIT if job.tier is Tier.SPLIT else Tier.SCREEN, job.seed)
        if not passed(first):
            return first
        if job.tier is Tier.FULL:
            return await self._confirmed()
        if job.second_seed is None:
            return first
        return [stable(r) for r in await self._under(job.tier, job.second_seed)]

    async def _confirmed(self) -> list[TestResult]:
        """The split verdict on a program that passed the screen, under the second seed if there is one."""
        job = self._job
        if job.second_seed is None:
            return [_undisputed(result) for result in await self._under(Tier.SPLIT, job.seed)]
        second = await self._under(Tier.SPLIT, job.second_seed)
        if passed(second):
            return second
        first = await self._under(Tier.SPLIT, job.seed)
        return [stable(s) if f.status in PASSED else _undisputed(f) for f, s in zip(first, second, strict=True)]

    async def _under(self, tier: Tier, seed: int) -> list[TestResult]:
        """One result per test, of one tier and seed."""
        progress = _Progress([test for test in self._tests if isinstance(test, bytes)], self._job.limits)
        if self._refused is not None:
            progress.results += [while_loading(self._refused)] * progress.missing
        while progress.missing:
            tests = progress.tests[len(progress.results) :]
            round_ = await self._bench.play(tier, self._program, tests, seed, self._job.limits)
            self.usage.add(round_.ending)
            _advance(progress, round_)
        ran = iter(progress.results)
        return [next(ran) if isinstance(test, bytes) else _unparsable(test) for test in self._tests]


def while_loading(result: TestResult) -> TestResult:
    """The result of each test of a program that does not load."""
    return replace(result, detail=f"while loading: {result.detail}")


def _unparsable(result: TestResult) -> TestResult:
    return replace(result, detail=f"the test does not parse: {result.detail}")


def stable(result: TestResult) -> TestResult:
    """A result under the second seed, of a test that passed under the first."""
    if result.status in PASSED:
        return result
    return TestResult(Status.FLAKY, f"passed once, then under another seed: {result.status}: {result.detail}")


def _undisputed(result: TestResult) -> TestResult:
    """A split result, of a test that passed the screen; a limit that was reached is no dispute."""
    if result.status not in (Status.FAIL, Status.ERROR):
        return result
    return TestResult(Status.DISPUTED, f"passed in the program's own process only: {result.status}: {result.detail}")


def _advance(progress: _Progress, round_: Round) -> None:
    """Take over what the round gave, and decide on the test at which it ended."""
    reached = _reached(round_, progress.missing)
    progress.results += reached
    progress.rounds += 1
    if not progress.missing:
        return
    unloaded = _unloaded(round_, progress.limits)
    if unloaded is not None:
        progress.results += [unloaded] * progress.missing
        return
    if reached and round_.ending.cause and progress.rounds < MAX_ROUNDS:
        return  # the limit was used up by several tests together: this one has a process of its own coming
    ended = _interruption(round_, progress.limits)
    progress.results.append(ended)
    progress.strikes += STRIKES if round_.ending.cause == WALL else 1
    if progress.strikes >= STRIKES or progress.rounds >= MAX_ROUNDS:
        unrun = TestResult(ended.status, f"not run after test {len(progress.results)}: {ended.detail}")
        progress.results += [unrun] * progress.missing


def _reached(round_: Round, most: int) -> list[TestResult]:
    found: list[TestResult] = []
    for message in round_.messages[1:] if _loaded(round_) else ():
        result = _result(message)
        if result is None or len(found) == most:
            break
        found.append(result)
    return found


def _loaded(round_: Round) -> bool:
    return round_.messages[:1] == ([LOADED],)


def _result(message: list[object]) -> TestResult | None:
    """A test's result, None for anything else: the sender may be the program."""
    if message == PASS_NODE:
        return _PASS
    if len(message) != 3 or message[0] != RESULT:
        return None
    _, status, detail = message
    if type(status) is not str or status not in _REPORTED or type(detail) is not str:
        return None
    return TestResult(Status(status), detail[:_DETAIL_LENGTH])


def _unloaded(round_: Round, limits: Limits) -> TestResult | None:
    """The result of every test of a program that does not load."""
    if _loaded(round_):
        return None
    first = round_.messages[0] if round_.messages else []
    reason = _result([RESULT, *first[1:]]) if first[:1] == [UNLOADED] else None
    if reason is not None and reason.status not in PASSED:
        return while_loading(reason)
    return while_loading(_interruption(round_, limits))


def _interruption(round_: Round, limits: Limits) -> TestResult:
    """The result of the test during which the round ended."""
    cause = limit(round_.ending.cause, limits)
    if cause is not None:
        return cause
    last = round_.messages[-1] if round_.messages else []
    if not round_.alone and last[:1] != [DIED]:
        return TestResult(Status.ERROR, f"the test ended its own process: {how(round_.ending.tests_status)}")
    if not round_.alone and last[-1]:
        return TestResult(Status.ERROR, str(last[-1]))
    return death(round_.ending.program_status)


def limit(cause: str, limits: Limits) -> TestResult | None:
    """The result of what a limit ended."""
    if cause in (CPU, TESTS_CPU):
        return TestResult(Status.TIMEOUT, f"no result after {limits.cpu_seconds:g} s of CPU time")
    if cause == WALL:
        return TestResult(Status.TIMEOUT, f"no result after {limits.wall_seconds:g} s")
    return TestResult(Status.OUTPUT, f"wrote more than {limits.output_kb} KB") if cause == OUTPUT else None


def death(status: int | None) -> TestResult:
    """The result of a test during which the program's process ended by itself."""
    if _signal(status) == signal.SIGKILL:
        return TestResult(Status.MEMORY, "killed by the system, which was out of memory")
    return TestResult(Status.ERROR, f"the program ended its process: {how(status)}")


def _signal(status: int | None) -> int | None:
    return os.WTERMSIG(status) if status is not None and os.WIFSIGNALED(status) else None


def how(status: int | None) -> str:
    """A wait status in words."""
    if status is None:
        return "it closed its connection"
    number = _signal(status)
    if number is None:
        return f"exit code {os.waitstatus_to_exitcode(status)}"
    return signal.Signals(number).name if number in _SIGNALS else f"signal {number}"
