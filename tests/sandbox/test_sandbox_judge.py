"""From rounds to a verdict."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox import Job, Limits, Status, Tier
from sandbox.contract import TestResult
from sandbox.grader import LOADED
from sandbox.judge import MAX_SOURCE, STRIKES, conclude, judge
from sandbox.worker import Ending, Round

SCREEN, SPLIT = Tier.SCREEN, Tier.SPLIT
PASSED, FAILED = ["result", "pass", ""], ["result", "fail", "got 1, expected 2"]
WEAK, RAISED = ["result", "pass-weak", ""], ["result", "error", "KeyError: 1"]
DIED = ["died", "result", ""]
SEGMENTATION_FAULT = 11
EXIT_0 = 0


def played(*messages, cause="", program=EXIT_0, tests=EXIT_0, alone=False, loaded=True) -> Round:
    """A round in which the program loaded and these messages came."""
    ending = Ending(cause, program, program if alone else tests, 0.5, 10.0)
    return Round(([LOADED], *messages) if loaded else tuple(messages), ending, alone)


def screened(*messages, **ending) -> Round:
    return played(*messages, alone=True, **ending)


class Bench:
    """Plays the given rounds in turn, and remembers what it was asked for."""

    def __init__(self, *rounds, unparsable=()) -> None:
        self._rounds = list(rounds)
        self._unparsable = unparsable
        self.asked = []

    async def compile_tests(self, job):
        error = TestResult(Status.ERROR, "SyntaxError: invalid syntax")
        return [error if test in self._unparsable else test.encode() for test in job.tests]

    async def play(self, tier, program, tests, seed, limits):
        self.asked.append((tier, b"".join(tests).decode(), seed))
        return self._rounds.pop(0)


def split_job(tests: str, **more) -> Job:
    """A job with a test for each letter, judged by the split verdict only."""
    return Job("", tuple(tests), tier=SPLIT, **more)


def statuses(verdict) -> list[str]:
    return [str(result.status) for result in verdict.tests]


async def test_all_passed():
    """A job passes if every test does."""
    assert (await judge(split_job("ab"), Bench(played(PASSED, PASSED)))).status is Status.PASS


async def test_one_weak():
    """One weak test makes the whole weak, which still counts as passed."""
    verdict = await judge(split_job("ab"), Bench(played(PASSED, WEAK)))
    assert (verdict.status, verdict.passed) == (Status.PASS_WEAK, True)


@pytest.mark.parametrize(
    ("test", "runs"),
    [
        ("assert eval(f(2)) == 4", True),
        ("exec( compile (f(1), '', 'exec'))", True),
        ("assert list(map(eval, f(2))) == [4]", True),
        ("from pickle import loads", True),
        ("import cloudpickle", True),
        ("numpy.load('x', allow_pickle=True)", True),
        ("sys.path.append('.')", True),
        ("assert calculator.eval('1') == 1", False),
        ("assert evaluate(2) == 4", False),
        ("assert ast.literal_eval(f(1)) == 1", False),
        ("assert re.compile(f(1)).match('a')", False),
    ],
)
async def test_running_data_as_code_makes_all_weak(test, runs):
    """Where a test may run what the program gives it, no test of the job passes better than weakly."""
    job = Job("", (test, "b", "c"), tier=SPLIT)
    weak = "pass-weak" if runs else "pass"
    assert statuses(await judge(job, Bench(played(PASSED, PASSED, FAILED)))) == [weak, weak, "fail"]


async def test_first_failure_names_the_verdict():
    """The verdict is that of the first test that did not pass, and says which."""
    verdict = await judge(split_job("abc"), Bench(played(PASSED, FAILED, RAISED)))
    assert (verdict.status, verdict.detail) == (Status.FAIL, "test 2: got 1, expected 2")


@pytest.mark.parametrize("tier", [SCREEN, SPLIT])
async def test_rest_runs_after_a_death(tier):
    """Tests after one that killed the program run in a round of their own, in either tier."""
    alone = tier is SCREEN
    last_words = () if alone else (DIED,)
    death = played(PASSED, *last_words, program=SEGMENTATION_FAULT, alone=alone)
    bench = Bench(death, played(PASSED, alone=alone))
    verdict = await judge(Job("", tuple("abc"), tier=tier), bench)
    assert bench.asked == [(tier, "abc", 0), (tier, "c", 0)]
    assert statuses(verdict) == ["pass", "error", "pass"]
    assert "SIGSEGV" in verdict.detail


async def test_shared_limit_is_no_verdict():
    """A test that met its limit after others had used part of it is tried again alone."""
    bench = Bench(played(PASSED, DIED, cause="cpu"), played(PASSED))
    verdict = await judge(split_job("ab"), bench)
    assert bench.asked == [(SPLIT, "ab", 0), (SPLIT, "b", 0)]
    assert verdict.status is Status.PASS


async def test_wall_clock_ends_the_job():
    """One test that used up the wall time ends the job: it would cost nobody CPU, but everybody time."""
    verdict = await judge(split_job("abc"), Bench(played(DIED, cause="wall")))
    assert statuses(verdict) == ["timeout"] * 3


async def test_deaths_in_turn_end_the_job():
    """A program that dies of one test after the other is given up after a few."""
    deaths = [played(DIED, program=SEGMENTATION_FAULT) for _ in range(STRIKES)]
    bench = Bench(*deaths)
    verdict = await judge(split_job("abcdefgh"), bench)
    assert len(bench.asked) == STRIKES
    assert statuses(verdict) == ["error"] * 8
    assert verdict.tests[-1].detail.startswith(f"not run after test {STRIKES}")


async def test_unloaded_program_fails_every_test():
    """A program that does not load has one result for all of its tests, from one round."""
    bench = Bench(screened(["unloaded", "error", "NameError: x"], loaded=False))
    verdict = await judge(Job("", tuple("abc")), bench)
    assert len(bench.asked) == 1
    assert {(r.status, r.detail) for r in verdict.tests} == {(Status.ERROR, "while loading: NameError: x")}


async def test_messages_beyond_the_tests_are_ignored():
    """More results than tests do not make a verdict longer."""
    assert len((await judge(split_job("a"), Bench(played(PASSED, PASSED, PASSED)))).tests) == 1


@pytest.mark.parametrize("tier", [SCREEN, SPLIT])
async def test_silent_round_passes_nothing(tier):
    """A round that reports nothing is an error of the test, never a pass."""
    silence = played(loaded=False, alone=tier is SCREEN)
    verdict = await judge(Job("", ("a", "b"), tier=tier), Bench(silence, silence))
    assert statuses(verdict) == ["error", "error"]


async def test_usage_adds_up():
    """CPU time is the sum of the rounds, memory the largest."""
    verdict = await judge(split_job("ab"), Bench(played(DIED), played(PASSED)))
    assert (verdict.cpu_seconds, verdict.peak_memory_mb) == (1.0, 10.0)


async def test_usage_counts_every_tier():
    """What the screen used counts as well as what the split verdict did."""
    verdict = await judge(Job("", ("a",)), Bench(screened(PASSED), played(PASSED)))
    assert verdict.cpu_seconds == 1.0


def test_no_tests_is_an_error():
    """A job without tests proves nothing."""
    assert conclude([]).status is Status.ERROR


async def test_too_much_source_is_never_run():
    """A job whose sources exceed the limit is an error, and nothing of it is compiled or run."""
    bench = Bench()
    verdict = await judge(Job("#" * (MAX_SOURCE + 1), ("a", "b")), bench)
    assert (statuses(verdict), bench.asked) == (["error", "error"], [])


def test_passed_is_pass_or_weak():
    """Exactly these two statuses count as passed."""
    passed = {status for status in Status if conclude([TestResult(status)]).passed}
    assert passed == {Status.PASS, Status.PASS_WEAK}


def test_limits_have_defaults():
    """A job needs no limits of its own."""
    assert Job("", ()).limits == Limits()


# Tiers


@pytest.mark.parametrize("message", [FAILED, RAISED, ["result", "memory", ""]])
async def test_failed_screen_is_final(message):
    """What fails the screen is not judged again."""
    bench = Bench(screened(PASSED, message))
    verdict = await judge(Job("", ("a", "b")), bench)
    assert bench.asked == [(SCREEN, "ab", 0)]
    assert verdict.status == message[1]


async def test_passed_screen_is_judged_again():
    """What passes the screen gets exactly one split round, whose word counts."""
    bench = Bench(screened(PASSED, PASSED), played(PASSED, WEAK))
    verdict = await judge(Job("", ("a", "b")), bench)
    assert bench.asked == [(SCREEN, "ab", 0), (SPLIT, "ab", 0)]
    assert statuses(verdict) == ["pass", "pass-weak"]


async def test_second_seed_is_the_split_rounds():
    """A second seed costs a right program no further round: the split round runs under it."""
    bench = Bench(screened(PASSED), played(PASSED))
    verdict = await judge(Job("", ("a",), seed=3, second_seed=8), bench)
    assert bench.asked == [(SCREEN, "a", 3), (SPLIT, "a", 8)]
    assert verdict.status is Status.PASS


@pytest.mark.parametrize("tier", [SCREEN, SPLIT])
async def test_second_seed_in_a_single_tier(tier):
    """In one tier alone, a second seed is a second round of that tier."""
    rounds = [played(PASSED, alone=tier is SCREEN) for _ in range(2)]
    bench = Bench(*rounds)
    assert (await judge(Job("", ("a",), tier=tier, seed=1, second_seed=2), bench)).status is Status.PASS
    assert bench.asked == [(tier, "a", 1), (tier, "a", 2)]


@pytest.mark.parametrize("message", [FAILED, RAISED])
async def test_disputed(message):
    """What holds in the program's own process and not in two is disputed, test by test, and says why."""
    bench = Bench(screened(PASSED, PASSED, PASSED), played(PASSED, message, PASSED))
    verdict = await judge(Job("", tuple("abc")), bench)
    assert statuses(verdict) == ["pass", "disputed", "pass"]
    assert (verdict.status, verdict.passed) == (Status.DISPUTED, False)
    assert message[2] in verdict.detail


async def test_death_in_the_split_round_is_disputed():
    """A program that ends its process only where the tests have their own is disputed."""
    bench = Bench(screened(PASSED), played(DIED, program=SEGMENTATION_FAULT))
    assert (await judge(Job("", ("a",)), bench)).status is Status.DISPUTED


@pytest.mark.parametrize(("cause", "status"), [("cpu", "timeout"), ("wall", "timeout"), ("output", "output")])
async def test_limit_in_the_split_round_is_that_limits(cause, status):
    """A limit that is reached in the split round only is no dispute."""
    bench = Bench(screened(PASSED), played(DIED, cause=cause))
    assert (await judge(Job("", ("a",)), bench)).status == status


@pytest.mark.parametrize("message", [FAILED, RAISED, ["result", "memory", ""]])
async def test_flaky(message):
    """What holds under the first seed in both tiers, and not under the second, is flaky; the detail says what came."""
    bench = Bench(screened(PASSED, PASSED), played(PASSED, message), played(PASSED, PASSED))
    verdict = await judge(Job("", ("a", "b"), second_seed=1), bench)
    assert bench.asked == [(SCREEN, "ab", 0), (SPLIT, "ab", 1), (SPLIT, "ab", 0)]
    assert statuses(verdict) == ["pass", "flaky"]
    assert str(message[1]) in verdict.detail


async def test_dispute_goes_before_flakiness():
    """What fails the split verdict under the first seed too is disputed, whatever the second says."""
    bench = Bench(screened(PASSED), played(FAILED), played(FAILED))
    assert (await judge(Job("", ("a",), second_seed=1), bench)).status is Status.DISPUTED


@pytest.mark.parametrize(("cause", "status"), [("cpu", "timeout"), ("wall", "timeout"), ("output", "output")])
async def test_limit_under_both_seeds_stays_what_it_is(cause, status):
    """A limit that the split verdict reaches under both seeds is neither flaky nor disputed."""
    bench = Bench(screened(PASSED), *[played(DIED, cause=cause)] * 2)
    assert (await judge(Job("", ("a",), second_seed=1), bench)).status == status


@pytest.mark.parametrize("tier", [SCREEN, SPLIT])
async def test_flaky_in_a_single_tier(tier):
    """In one tier alone, a test that fails under the second seed is flaky."""
    alone = tier is SCREEN
    bench = Bench(played(PASSED, alone=alone), played(FAILED, alone=alone))
    assert (await judge(Job("", ("a",), tier=tier, second_seed=1), bench)).status is Status.FLAKY


# Tests that are none


async def test_unparsable_test_is_an_error_in_its_place():
    """A test that does not parse is an error that says so; the others run, and the job is not judged again."""
    bench = Bench(screened(PASSED, PASSED), unparsable="b")
    verdict = await judge(Job("", tuple("abc")), bench)
    assert bench.asked == [(SCREEN, "ac", 0)]
    assert statuses(verdict) == ["pass", "error", "pass"]
    assert verdict.tests[1].detail == "the test does not parse: SyntaxError: invalid syntax"


async def test_unparsable_tests_alone_run_nothing():
    """Where no test parses, no round is played."""
    bench = Bench(unparsable="ab")
    assert statuses(await judge(Job("", ("a", "b")), bench)) == ["error", "error"]
    assert bench.asked == []


# A hostile screen: program and tests share a process, so its messages may be the program's own

HOSTILE = {
    "a word": ["pass"],
    "a result without a status": ["result"],
    "a result that is too short": ["result", "pass"],
    "a result that is too long": ["result", "pass", "", ""],
    "another kind": ["results", "pass", ""],
    "a status that is a number": ["result", 1, ""],
    "a status that is true": ["result", True, ""],
    "a status that is a list": ["result", ["pass"], ""],
    "no status": ["result", None, ""],
    "a detail that is a number": ["result", "pass", 1],
    "a detail that is a list": ["result", "pass", []],
    "an unknown status": ["result", "great", ""],
    "an empty status": ["result", "", ""],
    "the verdict's own statuses": ["result", "disputed", ""],
    "flaky": ["result", "flaky", ""],
    "a limit": ["result", "timeout", ""],
    "another limit": ["result", "output", ""],
    "capitals": ["result", "PASS", ""],
    "loaded once more": [LOADED],
    "last words": ["died", "result", "pass"],
    "nested": [["result", "pass", ""]],
    "numbers": [0, 1.5, None],
}


@pytest.mark.parametrize("message", HOSTILE.values(), ids=HOSTILE)
async def test_malformed_result_is_no_pass(message):
    """Whatever a program sends in the place of a result is an error of the test, and is not judged again."""
    bench = Bench(*[screened(message, PASSED)] * STRIKES)
    verdict = await judge(Job("", ("a", "b")), bench)
    assert statuses(verdict) == ["error", "error"]
    assert {tier for tier, _, _ in bench.asked} == {SCREEN}


@pytest.mark.parametrize("message", [*HOSTILE.values(), PASSED], ids=[*HOSTILE, "a result"])
async def test_without_loaded_nothing_passes(message):
    """Results that no report of having loaded precedes count for nothing."""
    if message == [LOADED]:
        message = [LOADED, ""]
    bench = Bench(screened(message, PASSED, PASSED, PASSED, loaded=False))
    verdict = await judge(Job("", ("a", "b")), bench)
    assert statuses(verdict) == ["error", "error"]


@pytest.mark.parametrize(
    "first", [[], ["unloaded"], ["unloaded", "pass"], ["unloaded", ["x"], None], ["unloaded", 1, 2]]
)
async def test_malformed_load_report_is_an_error(first):
    """Whatever a program sends in the place of the report on its loading is an error."""
    verdict = await judge(Job("", ("a",)), Bench(screened(first, PASSED, loaded=False)))
    assert verdict.status is Status.ERROR


@pytest.mark.parametrize("status", ["pass", "pass-weak"])
async def test_unloaded_and_passed_is_no_pass(status):
    """A program that claims not to have loaded, with a status that passes, does not get the split verdict spared."""
    bench = Bench(screened(["unloaded", status, ""], loaded=False), played(FAILED))
    assert not (await judge(Job("", ("a",)), bench)).passed


async def test_long_detail_is_cut():
    """A detail of a megabyte becomes one of at most 500 characters, and the program's verdict little more."""
    verdict = await judge(Job("", ("a",)), Bench(screened(["result", "fail", "x" * (1 << 20)])))
    assert len(verdict.tests[0].detail) == 500
    assert len(verdict.detail) < 550


async def test_screen_cannot_make_more_results():
    """A screen that sends more results than there are tests gets a split round like any other."""
    bench = Bench(screened(*[PASSED] * 100), played(FAILED, FAILED))
    assert statuses(await judge(Job("", ("a", "b")), bench)) == ["disputed", "disputed"]


NODES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["result", "pass", "loaded"]),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=6,
)


@given(
    st.lists(st.lists(NODES, max_size=4), max_size=5),
    st.booleans(),
    st.sampled_from(["", "cpu", "wall", "output", "tests-cpu"]),
    st.none()
    | st.integers(0, 255).map(lambda code: code << 8)
    | st.integers(1, 64)
    | st.just(128 | SEGMENTATION_FAULT),
)
async def test_no_screen_passes_or_breaks_the_judge(messages, loaded, cause, program):
    """Whatever a screen says and however it ends, the verdict has a result per test, and no pass without the split
    verdict.
    """
    rounds = itertools.repeat(screened(*messages, loaded=loaded, cause=cause, program=program), 20)
    bench = Bench(*rounds)
    verdict = await judge(Job("", ("a", "b"), tier=SCREEN), bench)
    assert len(verdict.tests) == 2
    honest = loaded and [m for m in messages if type(m) is list and m[:1] == ["result"] and len(m) == 3]
    assert honest or not verdict.passed
