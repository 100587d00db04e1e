"""Early stop: the rows of the full run, for fewer candidates."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import replace
from math import prod

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from datagen.config import SolveConfig
from datagen.errors import UsageError
from datagen.extract.tests import split_tests
from datagen.models import (
    Completion,
    Job,
    Outcome,
    Question,
    Request,
    Row,
    Sample,
    Status,
    TestResult,
    Verdict,
    seed_for,
)
from datagen.prompts import load_prompt, prompt_folders
from datagen.selection import contradiction
from datagen.stages.solve import SOLUTIONS_VARIABLES, TESTS_VARIABLES, SolveEngines, SolvePrompts, most, solve
from datagen.waves import BUSY, IDLE, Waves, wave_size
from sandbox.judge import Usage, conclude

QUESTION = Question("q1", "Write add(a, b) that returns the sum.", "numbers", "easy", "a shop", 0, 0, 0, "asker")
PROMPTS = SolvePrompts(
    load_prompt("tests", prompt_folders(), TESTS_VARIABLES),
    load_prompt("solutions", prompt_folders(), SOLUTIONS_VARIABLES),
)
ASSERTS = ("assert add(1, 2) == 3", "assert add(0, 0) == 0", "assert add(5, 5) == 10")
CONFIG = SolveConfig(early_stop=True)
FIRST = seed_for(0, "solve", "q1", "solutions")


def program(*words: str, note: str = "") -> str:
    """A completion whose program does in each test what its word says, such as "pass", "fail" or "0.3pass"."""
    return f"[PYTHON]\ndef add(a, b):\n    return a + b  # {note}does {' '.join(words)}\n[/PYTHON]"


RIGHT, WRONG, LOOP = program("pass"), program("fail"), program("99pass")
SLOW, BUSY_ONE = program("0.3pass"), program("0.06pass")
FLAKY = program("pass", "flaky", "pass")


class Model:
    """An engine whose i-th candidate is the i-th of these, however they are asked for; notes every request."""

    model = "model"

    def __init__(self, candidates: Sequence[str], tests: Sequence[str] = ASSERTS) -> None:
        self.requests: list[Request] = []
        self._candidates, self._tests = candidates, "[TESTS]\n" + "\n".join(tests) + "\n[/TESTS]"

    async def complete(self, request: Request) -> Completion:
        self.requests.append(request)
        first, n = request.sampling.seed - FIRST, request.sampling.n
        if not 0 <= first < len(self._candidates):
            return Completion((Sample(self._tests),), 10, 20)
        return Completion(tuple(map(Sample, self._candidates[first : first + n])), 10, 7 * n)

    async def close(self) -> None:
        """Nothing to free."""

    @property
    def drawn(self) -> list[int]:
        """The sizes of the requests for candidates."""
        return [r.sampling.n for r in self.requests if 0 <= r.sampling.seed - FIRST < len(self._candidates)]


class Clockwork:
    """A sandbox in which programs do what they say, and take as long; stubs fail. Notes every job."""

    def __init__(self, stub_passes: bool = False) -> None:
        self.jobs: list[Job] = []
        self._stub = f"does {'pass' if stub_passes else 'fail'}"

    async def run(self, job: Job) -> Verdict:
        self.jobs.append(job)
        await asyncio.sleep(0)
        words = re.findall(r"does (.*)", f"{job.program}\n{self._stub}")[0].split()
        pairs = [self._result(words[i % len(words)], job) for i in range(len(job.tests))]
        results, used = tuple(result for result, _ in pairs), sum(seconds for _, seconds in pairs)
        return conclude(results, Usage(used))

    def _result(self, word: str, job: Job) -> tuple[TestResult, float]:
        digits, status = re.fullmatch(r"([\d.]*)([\w-]+)", word).groups()
        needs, limit = float(digits or 0.001), job.limits.cpu_seconds
        if needs > limit:
            return TestResult(Status.TIMEOUT, f"no result after {limit:g} s"), limit
        return TestResult(Status(status)), needs


class Sizes(Waves):
    """Waves of given sizes, then of one."""

    def __init__(self, *sizes: int) -> None:
        super().__init__(1)
        self._sizes = list(sizes)

    def size(self, drawn: int, n: int) -> int:
        return min(self._sizes.pop(0) if self._sizes else 1, n - drawn)


def solved(
    model: Model, config: SolveConfig, sandbox: Clockwork | None = None, waves: Waves | None = None
) -> Outcome[Row]:
    """The outcome for QUESTION."""
    return asyncio.run(
        solve(
            QUESTION, engines=SolveEngines(model, model), sandbox=sandbox or Clockwork(), prompts=PROMPTS,
            config=config, seed=0, waves=waves,
        )
    )  # fmt: skip


def both(
    candidates: Sequence[str], waves: Waves | None = None, tests: Sequence[str] = ASSERTS, **sandbox: bool
) -> tuple[Outcome[Row], Outcome[Row], Model]:
    """The outcomes of a full run and of one that stops early, and the model that the latter asked."""
    config, model = replace(CONFIG, n=len(candidates)), Model(candidates, tests)
    full = solved(Model(candidates, tests), replace(config, early_stop=False), Clockwork(**sandbox))
    return full, solved(model, config, Clockwork(**sandbox), waves), model


def unmeasured(outcome: Outcome[Row]) -> tuple[object, ...]:
    """What is kept and dropped, less what early stop does not know."""
    rows = [replace(r, n_tried=0, n_passed=None, pass_rate=None, difficulty=None) for r in outcome.kept]
    return (*rows, *outcome.drops)


WORDS = st.sampled_from(
    ["pass", "pass", "fail", "error", "flaky", "pass-weak", "0.06pass", "0.06fail", "0.3pass", "0.3fail", "99pass"]
)
PROGRAMS = st.one_of(
    st.sampled_from([RIGHT, SLOW, BUSY_ONE, LOOP, FLAKY, WRONG, "", "Sorry.", "[PYTHON]\ndef add(a,"]),
    st.lists(WORDS, min_size=1, max_size=3).map(lambda w: program(*w)),
    st.sampled_from(["pass", "flaky"]).map(lambda word: program("pass", word, note="other ")),
)
SUITES = st.sampled_from([ASSERTS, (*ASSERTS, "assert add(2, 2) == 4", "assert add(9, 1) == 10"), ASSERTS[:2]])


@settings(deadline=None, max_examples=200)
@given(
    st.lists(PROGRAMS, min_size=1, max_size=8), st.lists(st.integers(1, 8), max_size=5), SUITES, st.booleans()
)  # fmt: skip
def test_early_stop_keeps_and_drops_what_the_full_run_does(candidates, sizes, tests, vacuous):
    """Rows and drops are those of the full run, text by text, whatever the sizes of the waves; also where candidates
    are slow, loop, are flaky or cannot be read, and where a stub passes the tests.
    """
    full, early, model = both(candidates, Sizes(*sizes), tests, stub_passes=vacuous)
    assert unmeasured(early) == unmeasured(full)
    assert sum(model.drawn) <= len(candidates)
    event("stopped early" if sum(model.drawn) < len(candidates) else "all drawn")


@settings(deadline=None, max_examples=100)
@given(st.lists(PROGRAMS, min_size=1, max_size=8), st.lists(st.integers(1, 8), max_size=5), st.booleans())
def test_rows_do_not_depend_on_the_waves(candidates, sizes, give_up):
    """Waves of any size give the same rows and drops, to the last field, n_tried and given-up included."""
    config = replace(CONFIG, n=len(candidates), give_up=give_up)
    one, other = (solved(Model(candidates), config, waves=waves) for waves in (Sizes(), Sizes(*sizes)))
    assert (one.kept, one.drops) == (other.kept, other.drops)


def test_what_is_not_drawn_is_not_paid_for():
    """Waves end with the one that holds the first pass; its candidates have the seeds of the full run."""
    full, early, model = both([WRONG, WRONG, RIGHT, WRONG, RIGHT, RIGHT], Sizes(1, 2, 3))
    assert model.drawn == [1, 2]
    assert [r.sampling.seed - FIRST for r in model.requests[1:]] == [0, 1]
    assert early.kept[0].solution == full.kept[0].solution and len(early.attempts.candidates) == 3
    assert (early.usage.completion_tokens, full.usage.completion_tokens) == (20 + 3 * 7, 20 + 6 * 7)


def test_what_is_not_known_is_null():
    """n_passed, pass_rate and difficulty are None; n_tried counts up to the first pass, n_candidates stays n."""
    _, early, _ = both([WRONG, RIGHT, RIGHT, RIGHT], Sizes(4))
    row = early.kept[0]
    assert (row.n_passed, row.pass_rate, row.difficulty) == (None, None, None)
    assert (row.n_tried, row.n_candidates, row.chosen_index) == (2, 4, 1)


def test_a_full_run_tries_all():
    """Without early stop n_tried is n, and the rest is measured."""
    full, _, _ = both([WRONG, RIGHT, RIGHT, RIGHT])
    row = full.kept[0]
    assert (row.n_tried, row.n_passed, row.pass_rate, row.difficulty) == (4, 3, 0.75, "easy")


def test_a_loop_before_the_first_pass_does_not_hold_it_up():
    """What does not pass under its full limit either cannot be what the full run keeps: no more are drawn."""
    _, early, model = both([LOOP, RIGHT, RIGHT, RIGHT], Sizes(2))
    assert model.drawn == [2] and early.kept[0].chosen_index == 1


@pytest.mark.parametrize(("later", "kept"), [(BUSY_ONE, 0), (RIGHT, 1)])
def test_a_slow_candidate_before_the_first_pass_is_left_to_the_full_run(later, kept):
    """Whether it gets its full limit depends on candidates not yet drawn: all are, and the full run's rule decides."""
    full, early, model = both([SLOW, RIGHT, later, WRONG], Sizes(2, 1))
    assert model.drawn == [2, 2]
    assert early.kept[0].chosen_index == full.kept[0].chosen_index == kept


def test_vacuous_tests_end_a_question_at_once():
    """Once a candidate passes, the stubs decide, as in the full run: nothing that is drawn later can save it."""
    _, early, model = both([RIGHT, RIGHT, RIGHT], Sizes(1), stub_passes=True)
    assert (early.drops[0].reason, model.drawn) == ("tests-vacuous", [1])


def test_no_program_runs_twice_under_the_same_limit():
    """Later waves, and the full run's rule at the end, go on from the runs that there are."""
    sandbox = Clockwork()
    solved(Model([LOOP, SLOW, RIGHT, BUSY_ONE, WRONG]), replace(CONFIG, n=5), sandbox, Sizes(1, 1, 2))
    assert len(sandbox.jobs) == len(set(sandbox.jobs))


def given_up(candidates: Sequence[str], tests: Sequence[str] = ASSERTS, **changes: bool) -> tuple[str, Model]:
    """The reason for which the question was dropped, "" if it was kept, and the model."""
    model = Model(candidates, tests)
    outcome = solved(model, replace(CONFIG, n=len(candidates), give_up=True, **changes), waves=Sizes(1, 2, 9))
    return "".join(drop.reason for drop in outcome.drops), model


def test_tests_that_half_of_the_candidates_all_fail_are_given_up():
    """With --give-up the other half is not drawn; the reason is one of its own."""
    reason, model = given_up([WRONG, WRONG, WRONG, RIGHT, RIGHT, RIGHT])
    assert (reason, model.drawn) == ("given-up", [1, 2])


@pytest.mark.parametrize("promising", [program("fail", "pass", "fail"), SLOW, FLAKY])
def test_a_single_test_passed_is_reason_to_go_on(promising):
    """Also one that takes longer than the first limit, or was passed under one seed only."""
    reason, model = given_up([WRONG, promising, WRONG, RIGHT, WRONG, WRONG])
    assert reason == "" and sum(model.drawn) > 3


def test_candidates_that_cannot_be_read_say_nothing_of_the_tests():
    """A question is not given up because the first half of the answers held no program."""
    assert given_up(["", "Sorry.", RIGHT, RIGHT])[0] == ""


def test_contradictory_tests_are_given_up_before_a_candidate_is_drawn():
    """No answer is paid for where two tests claim different results of one call."""
    reason, model = given_up([RIGHT] * 4, (*ASSERTS, "assert add(1, 2) == 4"))
    assert (reason, model.drawn) == ("given-up", [])


def test_without_give_up_contradictory_tests_are_tried():
    """It is the sandbox that says so: all n candidates run, as in the full run."""
    tests = (*ASSERTS, "assert add(1, 2) == 4")
    full, early, model = both([program("pass", "pass", "pass", "fail")] * 4, Sizes(), tests)
    assert unmeasured(early) == unmeasured(full) and sum(model.drawn) == 4


@pytest.mark.parametrize(
    ("tests", "found"),
    [
        (["f(1) == 2", "f(1) == 3"], True),
        (["f(1) == 2", "3 == f(1)"], True),
        (["f(1)", "not f(1)"], True),
        (["f(1) == 0", "f(1)"], True),
        (["f(1) is None", "f(1) == []"], True),
        (["f(1) == 1", "f(1) == 1.0", "f(1) == True", "f(1)"], False),
        (["f(1) == 2", "f(2) == 3"], False),
        (["f(1) == f(2)", "f(1) == 3"], False),
        (["f(1) > 2", "not f(1) > 3"], False),
        (["not f(1) == 2", "f(1) == 3"], False),
        (["f(1) != 2", "f(1) == 3"], False),
    ],
)
def test_contradictions_are_found_where_they_are_plain(tests, found):
    """Two results of one call, or two truths; nothing that a program might still satisfy."""
    assert (contradiction([f"assert {test}" for test in tests], "f") is not None) == found


def test_setup_lines_are_part_of_the_call():
    """`f(x)` after `x = 1` and after `x = 2` are two calls."""
    text = "[TESTS]\nx = 1\nassert f(x) == 2\nx = 2\nassert f(x) == 3\n[/TESTS]"
    assert contradiction(split_tests(text).tests, "f") is None


@pytest.mark.parametrize(
    ("wrong", "says"),
    [({"early_stop": True, "tests": "consensus"}, "consensus"), ({"give_up": True}, "--early-stop")],
)
def test_settings_that_exclude_each_other_are_refused(wrong, says):
    """Consensus needs the votes of all candidates; giving up happens between waves."""
    with pytest.raises(UsageError, match=says):
        SolveConfig(**wrong)


CHANCES = st.lists(st.floats(0, 1), min_size=1, max_size=12)


@given(CHANCES, st.floats(0, 1), st.floats(0, 1))
def test_waves_are_never_smaller_on_an_idler_engine(chances, one, other):
    """1 to all that is left, and no fewer where more of the engine has nothing to do."""
    busy, idle = (wave_size(chances, share) for share in sorted((one, other)))
    assert 1 <= busy <= idle <= len(chances)


@given(CHANCES, CHANCES, st.floats(0, 1))
def test_waves_are_never_larger_where_candidates_pass_more_often(one, other, idle):
    """Higher chances, fewer drawn together."""
    pairs = list(zip(one, other, strict=False))
    worse, better = [min(p) for p in pairs], [max(p) for p in pairs]
    assert wave_size(better, idle) <= wave_size(worse, idle)


@given(CHANCES, st.floats(0, 1))
def test_no_candidate_is_drawn_at_more_than_the_accepted_risk(chances, idle):
    """The last of a wave is in vain with at most the bound's chance, and one more would be over it."""
    bound, size = BUSY + (IDLE - BUSY) * idle, wave_size(chances, idle)
    vain = [1 - prod(1 - chance for chance in chances[:before]) for before in range(len(chances))]
    assert size == 1 or vain[size - 1] <= bound + 1e-9
    assert size == len(chances) or vain[size] > bound - 1e-9


def test_chances_and_waves_follow_what_was_seen():
    """Where the first candidates pass, one is drawn; where late ones never did, all that is left."""
    waves = Waves()
    for _ in range(50):
        waves.saw(0, 1, 0)
        waves.saw(0, 1, None)
        waves.saw(1, 10, None)
    assert waves.chance(0) == pytest.approx(0.5, abs=0.03) and waves.chance(5) < 0.05
    assert waves.size(0, 10) == 1 and waves.size(1, 10) == 9


def test_an_idle_engine_is_given_more():
    """The same chances, drawn one by one while the engine is busy, two together where it would idle."""
    idle = [0.0]
    waves = Waves(lambda: idle[0])
    for number in range(50):
        for index in range(10):
            waves.saw(index, index + 1, index if number % 5 == 0 else None)
    assert waves.size(0, 10) == 1
    idle[0] = 1.0
    assert waves.size(0, 10) == 2


@pytest.mark.parametrize("config", [SolveConfig(), SolveConfig(tests="consensus", test_files=3), CONFIG])
@pytest.mark.parametrize("candidate", [RIGHT, WRONG])
def test_a_question_writes_what_it_can_write_at_most(config, candidate):
    """All its requests together ask for no more tokens than `most` says; those of a full run for exactly as many."""
    model = Model([candidate] * config.n)
    solved(model, config)
    asked = sum(request.sampling.n * request.sampling.max_tokens for request in model.requests)
    bound = sum(most(PROMPTS, config).values())
    assert asked <= bound and (config.early_stop or asked == bound)
