"""Solve: tests first, then candidates, of which the first that passes everything is kept."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.config import SolveConfig
from datagen.errors import RequestFailed
from datagen.extract.code import CODE_REASONS
from datagen.extract.tests import TEST_REASONS
from datagen.models import (
    REASONS,
    Completion,
    Job,
    Outcome,
    Question,
    Request,
    Row,
    Sample,
    Sandbox,
    Status,
    TestResult,
    Usage,
    Verdict,
    seed_for,
)
from datagen.prompts import load_prompt, prompt_folders
from datagen.stages.solve import SOLUTIONS_VARIABLES, TESTS_VARIABLES, SolveEngines, SolvePrompts, solve
from sandbox import Pool, Tier

QUESTION = Question(
    "q1", "Write a function add(a, b) that returns the sum.", "numbers", "easy", "a shop", 0, 0, 0, "asker"
)
PROMPTS = SolvePrompts(
    load_prompt("tests", prompt_folders(), TESTS_VARIABLES),
    load_prompt("solutions", prompt_folders(), SOLUTIONS_VARIABLES),
)
ASSERTS = (
    "assert add(1, 2) == 3",
    "assert add(0, 0) == 0",
    "assert add(-1, 1) == 0",
    "assert add(5, 5) == 10",
    "assert add(2, 1) == 3",
)
RIGHT = "def add(a, b):\n    return a + b"
WRONG = "def add(a, b):\n    return a - b"


LUCKY = f"""import random
LUCK = random.random()
def add(a, b):
    return a + b if LUCK == {random.Random(0).random()!r} else 0"""
"""Right under seed 0 only."""


def file_of(*asserts: str) -> str:
    """A completion with these tests."""
    return "[TESTS]\n" + "\n".join(f"#Test case {i}:\n{a}" for i, a in enumerate(asserts, 1)) + "\n[/TESTS]"


def tagged(code: str) -> str:
    """A completion with this program."""
    return f"[PYTHON]\n{code}\n[/PYTHON]"


class Writer:
    """An engine that answers the steps of QUESTION: with these test files, in order, and two or more solutions."""

    model = "writer"

    def __init__(self, files: Sequence[str], solutions: Sequence[str], *, finish_reason: str = "stop") -> None:
        self._files = {seed_for(0, "solve", "q1", f"tests-{i}"): file for i, file in enumerate(files)}
        self._solutions, self._finish = solutions, finish_reason
        self.requests: list[Request] = []

    async def complete(self, request: Request) -> Completion:
        self.requests.append(request)
        texts = [self._files[request.sampling.seed]] if request.sampling.n == 1 else self._solutions
        return Completion(tuple(Sample(text, self._finish) for text in texts), 10, 20)

    async def close(self) -> None:
        """Nothing to free."""


def concluded(results: Sequence[TestResult]) -> Verdict:
    """The verdict that these results make."""
    bad = [result for result in results if result.status is not Status.PASS]
    return Verdict(bad[0].status if bad else Status.PASS, tuple(results), cpu_seconds=0.5)


class InProcess:
    """A sandbox for the harmless programs of these tests: runs them here, and notes every job."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []

    async def run(self, job: Job) -> Verdict:
        self.jobs.append(job)
        results = [self._result(job, test, job.seed) for test in job.tests]
        if job.second_seed is not None and all(result.status is Status.PASS for result in results):
            again = [self._result(job, test, job.second_seed) for test in job.tests]
            results = [r if r.status is Status.PASS else TestResult(Status.FLAKY, "once") for r in again]
        return concluded(results)

    def _result(self, job: Job, test: str, seed: int) -> TestResult:
        names: dict[str, object] = {"__name__": "candidate"}
        random.seed(seed)
        try:
            exec(job.program, names)
            exec(test, names)
        except AssertionError:
            return TestResult(Status.FAIL, "not equal")
        except BaseException as error:
            return TestResult(Status.ERROR, repr(error))
        return TestResult(Status.PASS)


class Says:
    """A sandbox that has the status of each test said by a function of the job and the test; notes every job."""

    def __init__(self, status: Callable[[Job, str], Status]) -> None:
        self.jobs: list[Job] = []
        self._status = status

    async def run(self, job: Job) -> Verdict:
        self.jobs.append(job)
        return concluded([TestResult(self._status(job, test)) for test in job.tests])


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    """The real sandbox."""
    async with Pool(workers=1) as opened:
        yield opened


async def answer(
    files: Sequence[str], solutions: Sequence[str], sandbox: Sandbox, **changes: object
) -> tuple[Outcome[Row], Writer]:
    """The outcome for QUESTION, and the engine with the requests that it got."""
    engine = Writer(files, solutions, finish_reason=str(changes.pop("finish_reason", "stop")))
    config = replace(SolveConfig(n=len(solutions)), **changes)
    engines = SolveEngines(engine, engine)
    return await solve(QUESTION, engines=engines, sandbox=sandbox, prompts=PROMPTS, config=config, seed=0), engine


def reason(outcome: Outcome[Row]) -> str:
    """The one reason for which the question was dropped."""
    assert outcome.kept == () and len(outcome.drops) == 1
    return outcome.drops[0].reason


async def test_the_first_passing_candidate_is_kept(pool):
    """Of two right candidates the one with the lower index becomes the solution."""
    outcome, _ = await answer(
        [file_of(*ASSERTS)], [tagged(c) for c in (WRONG, RIGHT, "def add(x, y):\n    return x + y")], pool
    )
    row = outcome.kept[0]
    assert (row.chosen_index, row.solution, row.n_candidates, row.n_passed) == (1, RIGHT, 3, 2)


async def test_a_row_says_where_it_comes_from():
    """Messages, tests, model, prompt digest and the seed of the solutions call are in the row."""
    outcome, _ = await answer([file_of(*ASSERTS)], [tagged(WRONG), tagged(RIGHT)], InProcess())
    row = outcome.kept[0]
    assert [(m.role, m.content) for m in row.messages] == [
        ("user", QUESTION.question),
        ("assistant", f"```python\n{RIGHT}\n```"),
    ]
    assert (row.id, row.tests, row.entry_point, row.pass_rate) == ("q1", ASSERTS, "add", 0.5)
    assert (row.model, row.prompt, row.seed) == (
        "writer",
        PROMPTS.solutions.digest,
        seed_for(0, "solve", "q1", "solutions"),
    )


async def test_a_solution_with_a_fence_inside_gets_a_longer_fence():
    """The assistant's message stays one block."""
    code = 'def add(a, b):\n    """```"""\n    return a + b'
    outcome, _ = await answer([file_of(*ASSERTS)], [tagged(code), tagged(code)], InProcess())
    assert outcome.kept[0].messages[1].content == f"````python\n{code}\n````"


async def test_the_worked_examples_of_the_prompts_are_true(pool):
    """The example solution passes the five example tests, and extraction reads both as they stand."""
    tests, solution = (dict(prompt.turns)["assistant"] for prompt in (PROMPTS.tests, PROMPTS.solutions))
    outcome, _ = await answer([tests], [solution, solution], pool)
    assert (len(outcome.kept[0].tests), outcome.kept[0].n_passed, outcome.attempts.dropped_tests) == (5, 2, ())


async def test_tests_are_asked_for_before_solutions_and_without_them():
    """The first request is for tests; no request for tests holds a solution."""
    _, engine = await answer([file_of(*ASSERTS)], [tagged(RIGHT), tagged(RIGHT)], InProcess())
    assert [request.sampling.n for request in engine.requests] == [1, 2]
    assert "return a + b" not in str(engine.requests[0])


async def test_solutions_see_exactly_one_test():
    """The request for solutions holds the shown test and the text of no other."""
    outcome, engine = await answer([file_of(*ASSERTS)], [tagged(RIGHT), tagged(RIGHT)], InProcess())
    text = "".join(message.content for message in engine.requests[-1].messages)
    assert [test for test in ASSERTS if test in text] == [outcome.kept[0].shown_test]


async def test_the_shown_test_is_drawn_per_question():
    """Over many questions every test is shown to some."""
    shown = set()
    for index in range(40):
        engine = Fixed(file_of(*ASSERTS), tagged(RIGHT))
        question = replace(QUESTION, id=f"q{index}")
        engines = SolveEngines(engine, engine)
        outcome = await solve(
            question, engines=engines, sandbox=InProcess(), prompts=PROMPTS, config=SolveConfig(n=2), seed=0
        )
        shown.add(outcome.kept[0].shown_test)
    assert shown == set(ASSERTS)


class Fixed:
    """An engine that gives every call for tests, and every candidate, the same text."""

    model = "fixed"

    def __init__(self, tests: str, solution: str) -> None:
        self._tests, self._solution = tests, solution

    async def complete(self, request: Request) -> Completion:
        text = self._tests if request.sampling.n == 1 else self._solution
        return Completion((Sample(text),) * request.sampling.n)

    async def close(self) -> None:
        """Nothing to free."""


async def test_a_candidate_that_fits_only_the_shown_test_is_rejected(pool):
    """Whatever test is shown, returning its value is not enough."""
    outcome, _ = await answer(
        [file_of(*ASSERTS)], [tagged(f"def add(a, b):\n    return {v}") for v in (0, 3, 10)], pool
    )
    assert reason(outcome) == "none-passed"


@pytest.mark.parametrize(
    "body",
    [
        "import sys\n    sys.exit(0)",
        "import os\n    os._exit(0)",
        "raise SystemExit(0)",
        "import atexit, os\n    atexit.register(os._exit, 0)",
    ],
)
async def test_a_candidate_that_leaves_is_never_kept(body, pool):
    """Ending the process successfully is not passing."""
    outcome, _ = await answer([file_of(*ASSERTS)], [tagged(f"def add(a, b):\n    {body}")] * 2, pool)
    assert reason(outcome) == "none-passed"


@pytest.mark.parametrize(
    ("asserts", "right"),
    [
        (["assert add(1, 2)", "assert add(3, 2)", "assert add(2, 2)"], RIGHT),
        (["assert add(1, 0) == 1", "assert add(2, 0) == 2", "assert add(3, 0) == 3"], RIGHT),
        (["assert add([], []) == []", "assert add([], list()) == []", "assert not add([], [])"], RIGHT),
    ],
)
async def test_tests_that_a_stub_passes_are_vacuous(asserts, right, pool):
    """Tests that True, the first argument or an empty list satisfies prove nothing, though a candidate passes them."""
    outcome, _ = await answer([file_of(*asserts)], [tagged(right), tagged(WRONG)], pool)
    assert reason(outcome) == "tests-vacuous"


async def test_a_class_is_an_entry_point_and_its_stubs_are_classes():
    """Class tests that a class of empty methods passes are vacuous; others are solved by a class."""
    stack = (
        "class Stack:\n    items = []\n    def push(self, x):\n        self.items.append(x)\n"
        "    def pop(self):\n        return self.items.pop()"
    )
    pushes = [f"s = Stack()\ns.push({i})\nassert s.pop() == {i}" for i in (1, 2, 3)]
    nothing = [f"s = Stack()\nassert s.push({i}) is None" for i in (1, 2, 3)]
    solved, _ = await answer([file_of(*pushes)], [tagged(stack)] * 2, InProcess())
    vacuous, _ = await answer([file_of(*nothing)], [tagged(stack)] * 2, InProcess())
    assert (solved.kept[0].entry_point, reason(vacuous)) == ("Stack", "tests-vacuous")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I cannot write tests.", "tests-unparsable"),
        ("", "tests-unparsable"),
        (file_of("assert add(1, 2) ==", "assert add(("), "tests-unparsable"),
        (file_of(*ASSERTS[:2]), "tests-too-few"),
        (file_of("assert 1 == 1", "assert len([1]) == 1", "assert 2 == 2"), "tests-too-few"),
        (
            "[TESTS]\nimport random\n" + "\n".join(f"assert add(random.random(), {i}) > {i}" for i in range(5)),
            "tests-too-few",
        ),
    ],
)
async def test_tests_that_are_of_no_use_drop_the_question(text, expected):
    """A question whose tests cannot be read, or too few of them, is dropped before any solution is asked for."""
    outcome, engine = await answer([text], [tagged(RIGHT)] * 2, InProcess())
    assert reason(outcome) == expected
    assert len(engine.requests) == 1


async def test_every_dropped_test_is_kept_with_its_reason():
    """Duplicates, prints and tautologies are in the attempts."""
    text = file_of(*ASSERTS, ASSERTS[0], "print(add(1, 2) == 3)", "assert add(1, 1) == add(1, 1)")
    outcome, _ = await answer([text], [tagged(RIGHT)] * 2, InProcess())
    assert [drop.reason for drop in outcome.attempts.dropped_tests] == ["not-an-assert", "duplicate", "tautology"]


async def test_candidates_without_a_program_are_counted_not_run():
    """Each candidate has a row: a reason where there is no program."""
    sandbox = InProcess()
    outcome, _ = await answer([file_of(*ASSERTS)], ["", "Sorry.", tagged("def f(: pass")], sandbox)
    assert reason(outcome) == "solutions-unparsable"
    assert [c.status for c in outcome.attempts.candidates] == ["empty", "unparsable", "unparsable"]
    assert sandbox.jobs == []


async def test_candidates_cut_by_max_tokens_are_truncated():
    """A finish reason of length makes an unfinished function a truncated one, though it parses."""
    cut = "[PYTHON]\ndef add(a, b):\n    c = a + b\n    return c"
    outcome, _ = await answer([file_of(*ASSERTS)], [cut, cut], InProcess(), finish_reason="length")
    assert outcome.drops[0].detail == "2 truncated"


async def test_the_matrix_has_a_row_for_each_candidate_and_a_column_for_each_test():
    """What each candidate did on each test is kept, also of a dropped question."""
    outcome, _ = await answer(
        [file_of(*ASSERTS)], [tagged(WRONG), tagged("def add(a, b):\n    return 3 // b")], InProcess()
    )
    first, second = outcome.attempts.candidates
    assert first.results == ("fail", "pass", "fail", "fail", "fail")
    assert (first.n_passed, first.status, second.status) == (1, "fail", "fail")
    assert second.results == ("fail", "error", "fail", "fail", "pass")


async def test_equal_programs_run_once():
    """Ten equal candidates cost one run, and eight stubs."""
    sandbox = InProcess()
    outcome, _ = await answer([file_of(*ASSERTS)], [tagged(RIGHT)] * 10, sandbox)
    assert (outcome.kept[0].n_passed, len(sandbox.jobs)) == (10, 9)


async def test_candidates_are_judged_fully_and_under_two_seeds():
    """A candidate's job asks for the full verdict and a second seed; stubs, which are ours, are only screened."""
    sandbox = InProcess()
    await answer([file_of(*ASSERTS)], [tagged(RIGHT), tagged(WRONG)], sandbox)
    assert [(job.tier, job.second_seed) for job in sandbox.jobs[:2]] == [(Tier.FULL, 1)] * 2
    assert {(job.tier, job.second_seed) for job in sandbox.jobs[2:]} == {(Tier.SCREEN, None)}


async def test_a_loop_costs_the_first_limit_only(pool):
    """Beside a candidate that answers at once, a loop is given up after the short limit, in words without figures."""
    loop = "def add(a, b):\n    while True:\n        pass"
    outcome, _ = await answer([file_of(*ASSERTS)], [tagged(loop), tagged(RIGHT)], pool, first_cpu_seconds=0.1)
    candidate = outcome.attempts.candidates[0]
    assert (outcome.kept[0].chosen_index, candidate.status, outcome.usage.cpu_seconds < 1) == (1, "timeout", True)
    assert candidate.detail == "no result after 0.1 s of CPU time; siblings were quicker"


async def test_honest_work_gets_the_full_limit(pool):
    """Where every candidate computes for longer than the first limit, they are judged under their own."""
    work = "import time\ndef add(a, b):\n    while time.process_time() < 0.3:\n        pass\n    return a + b"
    outcome, _ = await answer([file_of(*ASSERTS)], [tagged(work), tagged(f"{work} + 0")], pool, first_cpu_seconds=0.1)
    assert outcome.kept[0].n_passed == 2


def disputed(job: Job, test: str) -> Status:
    """RIGHT passes; what says "forged" passes but for the second test, which it wins in its own process only."""
    if "forged" in job.program:
        return Status.DISPUTED if test == ASSERTS[1] else Status.PASS
    return Status.PASS if "a + b" in job.program else Status.FAIL


async def test_a_disputed_pass_is_never_kept():
    """The candidate is stored as disputed, test by test, and the next one is taken."""
    forged = "def add(a, b):\n    return 'forged'"
    outcome, _ = await answer([file_of(*ASSERTS)], [tagged(forged), tagged(RIGHT)], Says(disputed))
    candidate = outcome.attempts.candidates[0]
    assert (outcome.kept[0].chosen_index, outcome.kept[0].n_passed, candidate.status) == (1, 1, "disputed")
    assert candidate.results == ("pass", "disputed", "pass", "pass", "pass")


async def test_a_question_with_disputed_candidates_only_says_so():
    """Nothing passed, and the detail counts the disputed."""
    forged = "def add(a, b):\n    return 'forged'"
    outcome, _ = await answer([file_of(*ASSERTS)], [tagged(forged), tagged(WRONG)], Says(disputed))
    assert (reason(outcome), outcome.drops[0].detail) == ("none-passed", "the best passes 4 of 5 tests; 1 disputed")


async def test_a_candidate_that_fails_under_another_seed_is_passed_over(pool):
    """A candidate whose result depends on the seed of `random` is marked flaky and the next one is taken."""
    outcome, _ = await answer([file_of(*ASSERTS)], [tagged(LUCKY), tagged(RIGHT)], pool)
    assert (outcome.kept[0].chosen_index, outcome.attempts.candidates[0].status) == (1, "flaky")


async def test_a_question_with_flaky_candidates_only_is_dropped(pool):
    """Passing once is not enough, and a program alone is to blame itself, however often it was written."""
    outcome, _ = await answer([file_of(*ASSERTS)], [tagged(LUCKY), tagged(WRONG), tagged(LUCKY)], pool)
    assert (reason(outcome), outcome.attempts.dropped_tests) == ("flaky", ())


def flaky_in(*tests: str) -> Callable[[Job, str], Status]:
    """Programs that add pass, these tests under the first seed only; with one of them, "late" passes twice."""

    def status(job: Job, test: str) -> Status:
        if "a + b" not in job.program:
            return Status.FAIL
        return Status.FLAKY if test in tests and "late" not in job.program else Status.PASS

    return status


SUMS = [tagged(RIGHT), tagged(f"{RIGHT} + 0"), tagged(WRONG)]


async def test_a_test_that_no_candidate_passes_twice_is_flaky_itself():
    """It is dropped with its reason, and the first candidate is kept by the others."""
    outcome, _ = await answer([file_of(*ASSERTS)], SUMS, Says(flaky_in(ASSERTS[3])))
    row, dropped = outcome.kept[0], outcome.attempts.dropped_tests
    assert (row.tests, row.n_passed) == ((*ASSERTS[:3], ASSERTS[4]), 2)
    assert [(d.reason, d.text) for d in dropped] == [("flaky", ASSERTS[3])]
    assert [c.status for c in outcome.attempts.candidates] == ["pass", "pass", "fail"]


async def test_what_is_kept_without_the_flaky_test_ran_without_it():
    """The chosen candidate has a full verdict, under both seeds, on exactly the tests of the row."""
    sandbox = Says(flaky_in(ASSERTS[3]))
    outcome, _ = await answer([file_of(*ASSERTS)], SUMS, sandbox)
    row = outcome.kept[0]
    runs = [job for job in sandbox.jobs if (job.program, job.tests) == (row.solution, row.tests)]
    assert [(job.tier, job.second_seed) for job in runs] == [(Tier.FULL, 1)]


async def test_a_test_that_one_candidate_passes_twice_is_not_flaky():
    """Then the others are."""
    solutions = [*SUMS[:2], tagged(f"{RIGHT}  # late")]
    outcome, _ = await answer([file_of(*ASSERTS)], solutions, Says(flaky_in(ASSERTS[3])))
    assert (outcome.kept[0].chosen_index, outcome.kept[0].tests) == (2, ASSERTS)
    assert [c.status for c in outcome.attempts.candidates] == ["flaky", "flaky", "pass"]


async def test_too_few_tests_without_the_flaky_ones_drop_the_question_as_flaky():
    """The tests are named, the reason stays."""
    outcome, _ = await answer([file_of(*ASSERTS)], SUMS, Says(flaky_in(*ASSERTS[2:])))
    assert reason(outcome) == "flaky"
    assert [d.text for d in outcome.attempts.dropped_tests if d.reason == "flaky"] == list(ASSERTS[2:])


async def test_a_test_that_reads_the_order_of_a_set_is_found_out(pool):
    """Its text is left to chance, so one program that loses it under another hash seed is enough."""
    words = "{" + ", ".join(repr(f"word{i}") for i in range(16)) + "}"
    show = [sys.executable, "-c", f"print(list({words}))"]
    order = subprocess.run(show, env={"PYTHONHASHSEED": "0"}, capture_output=True, text=True, check=True).stdout
    chancy = f"assert add(list({words}), []) == {order.strip()}"
    outcome, _ = await answer([file_of(*ASSERTS, chancy)], [tagged(RIGHT), tagged(WRONG)], pool)
    assert (outcome.kept[0].tests, outcome.attempts.dropped_tests[0].text) == (ASSERTS, chancy)


async def test_in_consensus_a_flaky_test_goes_too():
    """What the candidates agree with may still be left to chance."""
    files = [file_of(*ASSERTS, "assert add(2, 1) == 4"), file_of("assert add(7, 1) == 8"), file_of(ASSERTS[0])]

    def status(job: Job, test: str) -> Status:
        if test == "assert add(2, 1) == 4":
            return Status.FAIL
        once = flaky_in(ASSERTS[3])(job, test)
        return Status.PASS if once is Status.FLAKY and "assert add(2, 1) == 4" in job.tests else once

    outcome, _ = await answer(files, SUMS, Says(status), tests="consensus")
    reasons = {d.text: d.reason for d in outcome.attempts.dropped_tests}
    assert (reasons[ASSERTS[3]], reasons["assert add(2, 1) == 4"]) == ("flaky", "too-few-votes")
    assert outcome.kept[0].tests == (*ASSERTS[:3], ASSERTS[4], "assert add(7, 1) == 8")


def won_the_screen_only(job: Job, test: str) -> Status:
    """Every program fails 2 + 1 == 4; without that test the forger is found out."""
    if test == "assert add(2, 1) == 4" or not ("forged" in job.program or "a + b" in job.program):
        return Status.FAIL
    alone = "assert add(2, 1) == 4" not in job.tests
    return Status.DISPUTED if alone and "forged" in job.program and test == ASSERTS[0] else Status.PASS


FORGED_FILES = [file_of(*ASSERTS[:4], "assert add(2, 1) == 4"), file_of(ASSERTS[0]), file_of(ASSERTS[1])]


async def test_in_consensus_the_screens_passes_are_confirmed_on_the_chosen_tests():
    """A candidate that failed another test has only the screen's word for those agreed on; that is not enough."""
    solutions = [tagged("def add(a, b):\n    return 'forged'"), tagged(RIGHT), tagged(WRONG)]
    outcome, _ = await answer(FORGED_FILES, solutions, Says(won_the_screen_only), tests="consensus")
    assert (outcome.kept[0].chosen_index, outcome.kept[0].n_passed) == (1, 1)
    assert [c.status for c in outcome.attempts.candidates] == ["disputed", "pass", "fail"]


async def test_passes_that_are_not_confirmed_are_none():
    """Where only forgers passed, nothing did, and the detail counts how they ended."""
    solutions = [tagged("def add(a, b):\n    return 'forged'"), tagged(WRONG)]
    outcome, _ = await answer(FORGED_FILES, solutions, Says(won_the_screen_only), tests="consensus")
    assert (reason(outcome), outcome.drops[0].detail) == ("none-passed", "no pass was confirmed: 1 disputed")


async def test_confirmation_has_the_full_limit_at_once():
    """Programs that answered before do not loop: only the first look at them is staged."""
    sandbox = Says(won_the_screen_only)
    await answer(FORGED_FILES, [tagged(RIGHT), tagged(WRONG)], sandbox, tests="consensus", cpu_seconds=1.5)
    limits = [job.limits.cpu_seconds for job in sandbox.jobs if job.program == RIGHT]
    assert limits == [0.25, 1.5]


async def test_consensus_removes_a_wrong_test_that_plain_selection_stumbles_over(pool):
    """A wrong assert fails every candidate in plain mode; where the candidates agree otherwise it goes."""
    files = [
        file_of(*ASSERTS[:4], "assert add(2, 1) == 4"),
        file_of(*ASSERTS[:2]),
        file_of("assert add(7, 1) == 8"),
    ]
    solutions = [tagged(RIGHT), tagged("def add(x, y):\n    return x + y"), tagged(WRONG)]
    plain, _ = await answer(files, solutions, pool)
    consensus, _ = await answer(files, solutions, pool, tests="consensus")
    assert reason(plain) == "none-passed"
    assert consensus.kept[0].tests == (*ASSERTS[:4], "assert add(7, 1) == 8")
    assert (consensus.attempts.passed_plain, consensus.attempts.passed_consensus) == (False, True)


async def test_of_rival_tests_the_one_with_more_votes_stays():
    """Two files claim different outcomes of one call: the candidates decide."""
    files = [
        file_of(*ASSERTS[:3], "assert add(5, 5) == 0"),
        file_of("assert add(5, 5) == 10"),
        file_of(ASSERTS[0]),
    ]
    solutions = [tagged(f"def add(a, b):\n    return a + b + {i} - {i}") for i in range(3)] + [tagged(WRONG)] * 2
    outcome, _ = await answer(files, solutions, InProcess(), tests="consensus")
    outvoted = [(d.text, d.detail) for d in outcome.attempts.dropped_tests if d.reason == "outvoted"]
    assert outvoted == [("assert add(5, 5) == 0", "2 of 5 candidates pass it")]
    assert "assert add(5, 5) == 10" in outcome.kept[0].tests


async def test_too_little_agreement_is_no_consensus():
    """Where candidates disagree on everything no test is left, and the reason says so."""
    solutions = [tagged(f"def add(a, b):\n    return {value}") for value in (3, 0, 10, 77, 78)]
    outcome, _ = await answer([file_of(*ASSERTS)] * 3, solutions, InProcess(), tests="consensus", consensus=0.6)
    assert reason(outcome) == "tests-no-consensus"


async def test_the_plain_figure_of_a_consensus_run_is_what_a_plain_run_gives():
    """Consensus mode shows the same test, asks for the same solutions, and selects plainly beside its own way."""
    files = [file_of(*ASSERTS), file_of("assert add(9, 1) == 10"), file_of("assert add(9, 2) == 10")]
    plain, one = await answer(files, [tagged(WRONG), tagged(RIGHT)], InProcess())
    consensus, other = await answer(files, [tagged(WRONG), tagged(RIGHT)], InProcess(), tests="consensus")
    assert one.requests[-1] == other.requests[-1]
    assert plain.attempts.passed_plain is consensus.attempts.passed_plain is True
    assert plain.attempts.passed_consensus is None


class Weak(InProcess):
    """A sandbox in which the programs with a class of their own pass weakly."""

    async def run(self, job: Job) -> Verdict:
        verdict = await super().run(job)
        weak = "class" in job.program
        results = [TestResult(Status.PASS_WEAK) if weak and r.status is Status.PASS else r for r in verdict.tests]
        return replace(
            verdict, status=Status.PASS_WEAK if weak and verdict.passed else verdict.status, tests=tuple(results)
        )


async def test_a_weak_pass_is_a_pass_and_says_so():
    """A candidate whose own equality took part is kept, with the status pass-weak."""
    own = f"class Point:\n    x = 0\n\n{RIGHT}"
    outcome, _ = await answer([file_of(*ASSERTS)], [tagged(WRONG), tagged(own)], Weak())
    assert (outcome.kept[0].chosen_index, outcome.attempts.candidates[1].status) == (1, "pass-weak")


async def test_calls_and_usage_are_recorded_in_order():
    """Each call is kept with its request's digest and its samples; tokens and CPU seconds are summed."""
    sandbox = InProcess()
    outcome, engine = await answer([file_of(*ASSERTS)] * 3, [tagged(WRONG)] * 2, sandbox, tests="consensus")
    calls = outcome.attempts.calls
    assert [call.step for call in calls] == ["tests-0", "tests-1", "tests-2", "solutions"]
    assert {call.request for call in calls} == {request.digest() for request in engine.requests}
    assert outcome.usage == Usage(40, 80, 0.5 * len(sandbox.jobs))


async def test_flags_override_the_prompts_sampling():
    """Temperature, top_p and max_tokens of the settings reach the requests; the prompt gives the rest."""
    changes = {"temperature": 0.1, "top_p": 0.2, "max_tokens": 33, "tests_temperature": 0.9}
    _, engine = await answer([file_of(*ASSERTS)], [tagged(RIGHT)] * 2, InProcess(), **changes)
    tests, solutions = (request.sampling for request in engine.requests)
    assert (tests.temperature, tests.stop) == (0.9, ("[/TESTS]",))
    assert (solutions.temperature, solutions.top_p, solutions.max_tokens, solutions.n) == (0.1, 0.2, 33, 2)


class Failing(Fixed):
    """An engine whose solutions fail."""

    async def complete(self, request: Request) -> Completion:
        if request.sampling.n > 1:
            raise RequestFailed("the server answered 500")
        return await super().complete(request)


async def test_a_failing_engine_is_not_a_drop():
    """RequestFailed leaves the stage as it is: the driver knows that the item is owed again."""
    engine = Failing(file_of(*ASSERTS), "")
    engines = SolveEngines(engine, engine)
    with pytest.raises(RequestFailed):
        await solve(QUESTION, engines=engines, sandbox=InProcess(), prompts=PROMPTS, config=SolveConfig(), seed=0)


TEXTS = st.sampled_from(
    [
        "",
        "no",
        file_of(*ASSERTS),
        file_of(*ASSERTS[:2]),
        file_of(*ASSERTS[:3], "assert add(2, 1) == 4"),
        file_of("assert add(1)"),
    ]
)
PROGRAMS = st.sampled_from(
    [
        *("", "no", tagged(RIGHT), tagged(WRONG), tagged(LUCKY), tagged(f"{LUCKY} + 0")),
        *(tagged("def plus(a, b):\n    return b + a"), "[PYTHON]\ndef add(a,"),
    ]
)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(TEXTS, min_size=3, max_size=3),
    st.lists(PROGRAMS, min_size=2, max_size=5),
    st.sampled_from(["plain", "consensus"]),
    st.sampled_from(["stop", "length"]),
)
def test_every_question_is_kept_or_dropped_once_and_the_same_each_time(files, solutions, mode, finish):
    """One kept row or one drop with a documented reason, equal in a second run with the same seed."""
    one, other = (
        asyncio.run(answer(files, solutions, InProcess(), tests=mode, finish_reason=finish))[0] for _ in range(2)
    )
    assert one == other
    assert len(one.kept) + len(one.drops) == 1
    assert all(drop.reason in REASONS for drop in one.drops)
    assert all(drop.reason in TEST_REASONS for drop in one.attempts.dropped_tests)
    statuses = {status.value for status in Status} | set(CODE_REASONS)
    assert all(candidate.status in statuses for candidate in one.attempts.candidates)


@pytest.mark.parametrize(
    "slug", [*TEST_REASONS, *CODE_REASONS, *(s for s in REASONS if s.startswith(("tests-", "solutions-")))]
)
def test_every_reason_is_documented(slug):
    """docs/solve.md has a line for each reason of a question, a test and a candidate."""
    page = Path(__file__).parents[2] / "docs" / "solve.md"
    assert f"| `{slug}` |" in page.read_text(encoding="utf-8")
