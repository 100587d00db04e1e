"""The measure of the demo model: what counts as right, shown with engines that are plain functions."""

from __future__ import annotations

from random import Random

import pytest

from datagen.demo.phrasing import match
from datagen.demo.problems import asserts, singles
from datagen.demo.score import Score, Sizes, is_right, listed, measure, outside, program
from datagen.models import Job, Request, Status, Verdict

TOTAL = next(task for task in singles() if task.name == "total")
SMALL = Sizes(lists=2, files=3, problems=4)


def perfect(request: Request) -> str:
    """Answers each of the three jobs as the reference would."""
    text = request.messages[-1].content
    if text.startswith("Ask"):
        return "1. Given a word, reverse the word. Call the function `flip(word)`.\n2. What time is it?"
    asked = match(text.removeprefix("Write five tests.\n").split("\nassert")[0])
    if text.startswith("Write five tests."):
        return "\n".join(asserts(asked, Random(0)))
    return f"[PYTHON]\n{asked.reference}\n[/PYTHON]"


def answer(requests):
    return [[perfect(request)] * request.sampling.n for request in requests]


def execute(job: Job) -> Verdict:
    """Runs programs of this test's own making."""
    scope: dict[str, object] = {}
    try:
        exec(job.program, scope)
        for line in job.tests:
            exec(line, scope)
    except (AssertionError, NameError):
        return Verdict(Status.FAIL, ())
    return Verdict(Status.PASS, ())


def run(jobs):
    return [execute(job) for job in jobs]


def test_a_perfect_model_scores_one():
    """An engine that answers with the references gets every test and solution right."""
    scores = measure(answer, run, SMALL)
    assert scores["asserts right"].value == scores["test files all right"].value == 1
    assert scores["solutions pass@1"].value == scores["heldout solutions pass@10"].value == 1


def test_a_silent_model_scores_zero():
    """An engine that says nothing is measured, not an error."""
    scores = measure(lambda requests: [[""] * request.sampling.n for request in requests], run, SMALL)
    assert {score.value for score in scores.values()} == {0}


def test_questions_outside_the_generator_lower_the_share():
    """Of two listed questions the one that describes no task counts against the model."""
    scores = measure(answer, run, SMALL)
    assert scores["questions that describe a task"] == Score(0.5, 4)
    assert scores["questions that are unique"] == Score(0.5, 4)


def test_the_same_seed_asks_the_same():
    """Two measurements send equal requests."""
    sent: list[list[Request]] = []
    for _ in range(2):
        measure(lambda requests: sent.append(list(requests)) or answer(requests), run, SMALL)
    assert sent[:4] == sent[4:]


@pytest.mark.parametrize(
    ("line", "right"),
    [
        ("assert total([1, 2]) == 3", True),
        ("assert total([1, 2]) == 4", False),
        ("assert total([1, 2]) == 3.0", False),
        ("assert total(['a']) == 3", False),
        ("assert total(open('x')) == 3", False),
        ("assert total([1, 2) == 3", False),
        ("assert True", False),
    ],
)
def test_an_assert_is_right_if_the_reference_agrees(line, right):
    """Wrong values, wrong types, code instead of literals and broken syntax are not right."""
    assert is_right(line, TOTAL) is right


def test_a_program_needs_both_tags():
    """A solution cut before its end counts as none."""
    assert program("[PYTHON]\nx = 1\n[/PYTHON]") == "x = 1"
    assert program("[PYTHON]\nx = 1") == ""


def test_listed_questions_lose_their_numbers():
    """Only numbered lines are questions."""
    assert listed("Here you are:\n1. One?\n2. Two?\nBye") == ["One?", "Two?"]


def test_intervals_widen_with_fewer_units():
    """A second measurement over fewer units may fall further off."""
    low, high = Score(0.5, 300).interval(20)
    nearer = Score(0.5, 300).interval(200)
    assert low < nearer[0] < 0.5 < nearer[1] < high


def test_scores_outside_their_intervals_are_named():
    """Whoever rebuilt the model learns which score moved."""
    scores = {"a": Score(0.9, 10), "b": Score(0.5, 10)}
    assert list(outside(scores, {"a": (0.1, 0.5), "b": (0.4, 0.6)})) == ["a: 0.900 is not in 0.100 to 0.500"]
