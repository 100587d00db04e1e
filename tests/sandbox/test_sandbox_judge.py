"""From rounds to a verdict."""

from __future__ import annotations

from sandbox import Job, Limits, Status
from sandbox.contract import TestResult
from sandbox.judge import conclude, judge
from sandbox.worker import Round


def played(*messages, cause="", program=None, tests=0) -> Round:
    return Round(tuple(messages), cause, program, tests, 0.5, 10.0)


def player(*rounds):
    """Plays the given rounds, and remembers with which tests."""
    left, asked = list(rounds), []

    async def play(program, tests, seed, limits):
        asked.append(tests)
        return left.pop(0)

    return play, asked


PASSED, FAILED = ["result", "pass", ""], ["result", "fail", "got 1, expected 2"]
WEAK, DIED = ["result", "pass-weak", ""], ["died", "result", ""]


async def test_all_passed():
    """A job passes if every test does."""
    play, _ = player(played(PASSED, PASSED))
    assert (await judge(Job("", ("a", "b")), play)).status is Status.PASS


async def test_one_weak():
    """One weak test makes the whole weak, which still counts as passed."""
    play, _ = player(played(PASSED, WEAK))
    verdict = await judge(Job("", ("a", "b")), play)
    assert (verdict.status, verdict.passed) == (Status.PASS_WEAK, True)


async def test_first_failure_names_the_verdict():
    """The verdict is that of the first test that did not pass, and says which."""
    play, _ = player(played(PASSED, FAILED, ["result", "error", "KeyError: 1"]))
    verdict = await judge(Job("", ("a", "b", "c")), play)
    assert (verdict.status, verdict.detail) == (Status.FAIL, "test 2: got 1, expected 2")


async def test_rest_runs_after_a_death():
    """Tests after one that killed the program run in a round of their own."""
    play, asked = player(played(PASSED, DIED, program=139), played(PASSED))
    verdict = await judge(Job("", ("a", "b", "c")), play)
    assert asked == [("a", "b", "c"), ("c",)]
    assert [result.status for result in verdict.tests] == ["pass", "error", "pass"]


async def test_shared_limit_is_no_verdict():
    """A test that met its limit after others had used part of it is tried again alone."""
    play, asked = player(played(PASSED, DIED, cause="cpu"), played(PASSED))
    verdict = await judge(Job("", ("a", "b")), play)
    assert asked == [("a", "b"), ("b",)]
    assert verdict.status is Status.PASS


async def test_wall_clock_ends_the_job():
    """One test that used up the wall time ends the job: it would cost nobody CPU, but everybody time."""
    play, _ = player(played(DIED, cause="wall"))
    verdict = await judge(Job("", ("a", "b", "c")), play)
    assert [result.status for result in verdict.tests] == ["timeout"] * 3


async def test_messages_beyond_the_tests_are_ignored():
    """More results than tests do not make a verdict longer."""
    play, _ = player(played(PASSED, PASSED, PASSED))
    assert len((await judge(Job("", ("a",)), play)).tests) == 1


async def test_silent_round_passes_nothing():
    """A round that reports nothing is an error of the test, never a pass."""
    play, _ = player(played(tests=0), played(tests=0))
    verdict = await judge(Job("", ("a", "b")), play)
    assert verdict.status is Status.ERROR


async def test_usage_adds_up():
    """CPU time is the sum of the rounds, memory the largest."""
    play, _ = player(played(DIED), played(PASSED))
    verdict = await judge(Job("", ("a", "b")), play)
    assert (verdict.cpu_seconds, verdict.peak_memory_mb) == (1.0, 10.0)


def test_no_tests_is_an_error():
    """A job without tests proves nothing."""
    assert conclude([]).status is Status.ERROR


def test_passed_is_pass_or_weak():
    """Exactly these two statuses count as passed."""
    passed = {status for status in Status if conclude([TestResult(status)]).passed}
    assert passed == {Status.PASS, Status.PASS_WEAK}


def test_limits_have_defaults():
    """A job needs no limits of its own."""
    assert Job("", ()).limits == Limits()
