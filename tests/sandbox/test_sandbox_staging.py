"""Sibling programs: a short CPU limit first, the full one where a sibling shows that there is work to do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox import Case, Job, Limits, SandboxError, ScriptJob, Status, TestResult, Verdict
from sandbox.staging import HARD_WORK, run_siblings

TESTS = ("assert f(1) == 1", "assert f(2) == 2")
FOREVER = 1e9
FIRST = 0.25


def concluded(results: Sequence[TestResult], cpu_seconds: float, peak_memory_mb: float) -> Verdict:
    """A verdict in the sandbox's own words."""
    bad = [(number, result) for number, result in enumerate(results, 1) if result.status is not Status.PASS]
    status = bad[0][1].status if bad else Status.PASS if results else Status.ERROR
    detail = f"test {bad[0][0]}: {bad[0][1].detail}" if bad else ""
    return Verdict(status, tuple(results), detail, cpu_seconds, peak_memory_mb)


class Machine:
    """Runs programs that say for how long each test computes: "0.01 0.5" answers its second test after 0.5 s.

    A word may end in the status that it then gets ("0.01fail"); "sleep" waits until the wall limit. Notes every job.
    """

    def __init__(self, pause: Callable[[int], float] = lambda index: 0.0) -> None:
        self.jobs: list[Job | ScriptJob] = []
        self._pause = pause

    async def run(self, job: Job | ScriptJob) -> Verdict:
        self.jobs.append(job)
        await asyncio.sleep(self._pause(len(self.jobs)))
        needs = [self._need(word, job.limits.cpu_seconds) for word in job.program.split()]
        return concluded([result for result, _ in needs], sum(used for _, used in needs), 10.0 + len(self.jobs))

    def _need(self, word: str, limit: float) -> tuple[TestResult, float]:
        if word == "sleep":
            return TestResult(Status.TIMEOUT, "no result after 20 s"), 0.001
        digits = word.rstrip("abcdefghijklmnopqrstuvwxyz")
        if float(digits) > limit:
            return TestResult(Status.TIMEOUT, f"no result after {limit:g} s of CPU time"), limit
        return TestResult(Status(word[len(digits) :] or "pass")), float(digits)

    def again(self) -> list[str]:
        """The programs that ran under more than the first limit."""
        return [job.program for job in self.jobs if job.limits.cpu_seconds > FIRST]


def jobs_of(*programs: str, limits: Limits = Limits()) -> list[Job]:  # noqa: B008  # frozen
    """A job for each program; a program of one word does the same in both tests."""
    return [Job(p if " " in p else f"{p} {p}", TESTS, limits) for p in programs]


async def judged(*programs: str, machine: Machine | None = None) -> tuple[list[Verdict], Machine]:
    """Verdicts of siblings, and the machine that gave them."""
    machine = machine or Machine()
    return await run_siblings(machine.run, jobs_of(*programs), FIRST), machine


async def test_quick_programs_run_once_under_the_short_limit():
    """Whoever answers in time, rightly or not, has a verdict after one run."""
    verdicts, machine = await judged("0.01", "0.01fail", "0.01error")
    assert [v.status for v in verdicts] == [Status.PASS, Status.FAIL, Status.ERROR]
    assert [job.limits.cpu_seconds for job in machine.jobs] == [FIRST] * 3


async def test_a_loop_beside_quick_siblings_is_not_run_again():
    """Siblings that answer within milliseconds show that there is nothing to wait for."""
    verdicts, machine = await judged("0.005", str(FOREVER), "0.004fail")
    assert (verdicts[1].status, machine.again()) == (Status.TIMEOUT, [])


async def test_a_short_verdict_that_stands_says_why():
    """The verdict has the siblings' seconds; the tests have words that a repeated run gives again."""
    (_, loop), _ = await judged("0.005", f"0.01 {FOREVER}")
    assert loop.detail == "test 2: no result after 0.25 s of CPU time; siblings needed 0.01 s"
    assert loop.tests[1].detail == "no result after 0.25 s of CPU time; siblings were quicker"
    assert loop.tests[0].detail == ""


async def test_what_failed_for_another_reason_keeps_its_reason():
    """A verdict that is no timeout does not talk of the siblings' time."""
    (_, loop), _ = await judged("0.005", f"0.01fail {FOREVER}")
    assert (loop.status, "siblings" in loop.detail) == (Status.FAIL, False)


async def test_a_sibling_that_works_hard_gives_the_others_their_full_limit():
    """One sibling near the first limit is enough; the late ones then run under their own limit and may pass."""
    verdicts, machine = await judged("0.1", "0.001", "0.6", str(FOREVER))
    assert [v.status for v in verdicts] == [Status.PASS, Status.PASS, Status.PASS, Status.TIMEOUT]
    assert machine.again() == ["0.6 0.6", f"{FOREVER} {FOREVER}"]


async def test_both_runs_are_paid_for():
    """CPU seconds of the short and of the full run are summed; memory is the larger."""
    (_, late), machine = await judged("0.1", "0.6")
    assert late.cpu_seconds == pytest.approx(2 * FIRST + 1.2)
    assert late.peak_memory_mb == 10.0 + len(machine.jobs)


@pytest.mark.parametrize("status", ["memory", "output"])
async def test_a_runaway_is_no_evidence_of_work(status):
    """What a program burns until its memory or its output ends it gives nobody more time."""
    _, machine = await judged(f"0.2{status}", "0.001", str(FOREVER))
    assert machine.again() == []


async def test_where_nobody_has_a_result_one_scout_goes_ahead():
    """Ten loops cost one full run: the first program's."""
    verdicts, machine = await judged(*[str(FOREVER + i) for i in range(10)])
    assert [job.program for job in machine.jobs[10:]] == [f"{FOREVER} {FOREVER}"]
    assert {v.status for v in verdicts} == {Status.TIMEOUT}
    assert verdicts[9].tests[0].detail == "no result after 0.25 s of CPU time; a sibling had none after 2 s"


async def test_the_others_follow_a_scout_that_has_a_result():
    """A test that takes every program half a second is answered by every program."""
    verdicts, machine = await judged("0.5", "0.6fail", str(FOREVER))
    assert [v.status for v in verdicts] == [Status.PASS, Status.FAIL, Status.TIMEOUT]
    assert [job.program.split()[0] for job in machine.jobs[3:]] == ["0.5", "0.6fail", str(FOREVER)]


async def test_a_scout_is_sent_for_a_single_test_that_nobody_answers():
    """Results of the other test do not hide that one test takes its time."""
    verdicts, _ = await judged("0.01 0.5", "0.02 0.7")
    assert [v.status for v in verdicts] == [Status.PASS, Status.PASS]


async def test_where_each_test_has_an_answer_from_somebody_nobody_runs_again():
    """Two programs that loop in different tests answer each other's."""
    verdicts, machine = await judged(f"0.01 {FOREVER}", f"{FOREVER} 0.01")
    assert [v.tests[i].status for v, i in zip(verdicts, (1, 0), strict=True)] == [Status.TIMEOUT] * 2
    assert (machine.again(), verdicts[0].detail) == (
        [],
        "test 2: no result after 0.25 s of CPU time; siblings were quicker",
    )


async def test_a_program_alone_gets_its_full_limit():
    """Without siblings there is nobody to suggest that it loops."""
    (verdict,), machine = await judged("0.5")
    assert (verdict.status, len(machine.jobs)) == (Status.PASS, 2)


async def test_a_sleeper_does_not_sleep_twice():
    """A program that ran out of wall time has CPU time left: more of it would not help."""
    verdicts, machine = await judged("sleep", "sleep")
    assert (len(machine.jobs), verdicts[0].tests[0].detail) == (2, "no result after 20 s")


async def test_a_limit_below_the_first_stays():
    """A job that may use less than the first limit runs once, under its own."""
    machine = Machine()
    limits = Limits(cpu_seconds=0.1)
    await run_siblings(machine.run, jobs_of("0.2", "0.05", limits=limits), FIRST)
    assert [job.limits for job in machine.jobs] == [limits, limits]


async def test_only_the_cpu_limit_is_staged():
    """All else about a job is the same in both runs."""
    machine = Machine()
    job = Job("0.5 0.5", TESTS, Limits(memory_mb=99, wall_seconds=3), seed=5, second_seed=6)
    await run_siblings(machine.run, [job], FIRST)
    assert machine.jobs == [replace(job, limits=replace(job.limits, cpu_seconds=FIRST)), job]


async def test_scripts_are_staged_as_functions_are():
    """A ScriptJob's limits are per case, and staged the same way."""
    machine = Machine()
    cases = (Case("1", "1"), Case("2", "2"))
    verdicts = await run_siblings(machine.run, [ScriptJob(p, cases) for p in ("0.5 0.5", "0.1 0.1")], FIRST)
    assert [v.status for v in verdicts] == [Status.PASS, Status.PASS]
    assert [job.limits.cpu_seconds for job in machine.jobs] == [FIRST, FIRST, 2.0]


async def test_no_jobs_no_verdicts():
    """An empty question costs nothing."""
    assert await run_siblings(Machine().run, [], FIRST) == []


async def test_jobs_without_tests_have_nothing_to_wait_for():
    """Their verdicts are errors, as ever."""
    verdicts = await run_siblings(Machine().run, [Job("", ()), Job("", ())], FIRST)
    assert [v.status for v in verdicts] == [Status.ERROR, Status.ERROR]


NEEDS = st.sampled_from(["0.001", "0.01fail", "0.04", "0.06", "0.2", "0.2memory", "0.5", "1.9", "9", "sleep"])
PROGRAMS = st.lists(st.tuples(NEEDS, NEEDS).map(" ".join), max_size=6)


@given(PROGRAMS, st.lists(st.sampled_from([0.0, 0.001, 0.002]), min_size=12, max_size=12))
@settings(max_examples=60, deadline=None)
def test_the_order_in_which_runs_end_plays_no_part(programs, pauses):
    """Verdicts are the same, words included, however long each run keeps us waiting."""

    def outcome(machine: Machine) -> Sequence[Verdict]:
        verdicts, _ = asyncio.run(judged(*programs, machine=machine))
        return [replace(verdict, peak_memory_mb=0.0) for verdict in verdicts]

    assert outcome(Machine()) == outcome(Machine(lambda index: pauses[(index - 1) % 12]))


@given(PROGRAMS)
@settings(max_examples=60, deadline=None)
def test_a_verdict_is_that_of_the_short_run_or_of_the_full_run(programs):
    """The results of a program are those of one of its runs, never a mixture."""
    machine = Machine()
    verdicts, _ = asyncio.run(judged(*programs, machine=machine))
    for program, verdict in zip(programs, verdicts, strict=True):
        runs = [asyncio.run(Machine().run(job)) for job in machine.jobs if job.program == program]
        possible = [tuple(result.status for result in run.tests) for run in runs]
        assert tuple(result.status for result in verdict.tests) in possible


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
async def test_ordinary_programs_are_far_from_the_line_even_when_measured_wrongly(factor):
    """A sibling of 10 ms measured at half or twice its time is no hard work; one of 0.15 s always is."""
    line = HARD_WORK * FIRST
    assert 2 * 0.010 * factor < line < 2 * 0.15 * factor


class Stuck:
    """Runs that never end, but for the program "broken", which breaks the sandbox."""

    def __init__(self) -> None:
        self.running = 0

    async def run(self, job: Job) -> Verdict:
        self.running += 1
        try:
            await asyncio.sleep(0 if job.program == "broken" else FOREVER)
        finally:
            await asyncio.sleep(0)
            self.running -= 1
        raise SandboxError("no fork")


async def test_a_broken_sandbox_ends_every_run_and_says_so():
    """The error comes out as it is, when no sibling runs any more."""
    stuck = Stuck()
    with pytest.raises(SandboxError, match="no fork"):
        await run_siblings(stuck.run, [Job(p, TESTS) for p in ("loop", "broken", "loop too")])
    assert (stuck.running, asyncio.all_tasks()) == (0, {asyncio.current_task()})


async def test_cancelling_leaves_no_run():
    """When the cancelled call is over, so is every run of it."""
    stuck = Stuck()
    task = asyncio.create_task(run_siblings(stuck.run, [Job("loop", TESTS), Job("loop too", TESTS)]))
    while stuck.running < 2:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (stuck.running, asyncio.all_tasks()) == (0, {asyncio.current_task()})


async def test_a_run_that_fails_before_it_starts_leaves_none():
    """A `run` that is a plain function and raises at once ends the others too."""
    stuck = Stuck()

    def run(job: Job):
        if job.program == "refused":
            raise SandboxError("closed")
        return stuck.run(job)

    with pytest.raises(SandboxError, match="closed"):
        await run_siblings(run, [Job("loop", TESTS), Job("refused", TESTS)])
    assert (stuck.running, asyncio.all_tasks()) == (0, {asyncio.current_task()})


def test_real_loops_cost_the_short_limit_beside_a_quick_sibling(best):
    """In the real sandbox a loop is given up at the short limit, and an honest half second is not."""
    loop = "def f(n):\n    while True: pass"
    right = "def f(n):\n    return n"
    late = "def f(n):\n    import time\n    while time.process_time() < 0.5: pass\n    return n"

    async def run(job: Job) -> Verdict:
        return await asyncio.to_thread(best.run, job.program, *job.tests, limits=job.limits)

    def verdicts(*programs: str) -> list[Verdict]:
        return asyncio.run(run_siblings(run, [Job(p, TESTS[:1]) for p in programs]))

    assert verdicts(right, loop)[1].cpu_seconds < 1
    assert [v.status for v in verdicts(late, late, loop)] == [Status.PASS, Status.PASS, Status.TIMEOUT]
