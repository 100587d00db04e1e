"""What the demo model reads in training: right answers in the formats that the pipeline parses."""

from __future__ import annotations

from random import Random

from datagen.demo.lessons import lesson, lesson_in_questions, lesson_in_solutions, lesson_in_tests
from datagen.demo.phrasing import match
from datagen.demo.problems import asserts, is_heldout
from datagen.demo.score import assert_lines, is_right, listed, program


def test_the_same_seed_draws_the_same_lessons():
    """Lessons are a function of the seed."""
    assert [lesson(Random(4)) for _ in range(20)] == [lesson(Random(4)) for _ in range(20)]


def test_listed_questions_describe_tasks_of_training():
    """Each entry of a list of questions maps back to a task that is not held out."""
    rng = Random(0)
    found = [match(text) for _ in range(100) for text in listed(lesson_in_questions(rng).answer)]
    assert found and all(task is not None and not is_heldout(task) for task in found)


def test_written_tests_are_right():
    """A lesson on tests holds five asserts, each true of the question's task."""
    rng = Random(1)
    for _ in range(200):
        drawn = lesson_in_tests(rng)
        task = match(drawn.messages[-1].content.removeprefix("Write five tests."))
        assert task is not None and not is_heldout(task)
        assert [is_right(line, task) for line in assert_lines(drawn.answer)] == [True] * 5


def test_written_solutions_pass():
    """A lesson on solutions answers with a program that passes the task's tests, in whichever style."""
    rng = Random(2)
    for _ in range(300):
        drawn = lesson_in_solutions(rng)
        task = match(drawn.messages[-1].content.splitlines()[0])
        scope: dict[str, object] = {}
        exec(program(drawn.answer), scope)
        for line in asserts(task, rng):
            exec(line, scope)


def test_few_shown_tests_are_wrong():
    """The test in a solution's prompt is wrong in fewer than a fifth of the lessons, but not never."""
    rng = Random(3)
    prompts = [lesson_in_solutions(rng).messages[-1].content.splitlines() for _ in range(500)]
    shown = [is_right(lines[1], match(lines[0])) for lines in prompts if len(lines) == 2]
    assert 0.02 < shown.count(False) / len(shown) < 0.2
