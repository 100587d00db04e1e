"""What the demo model reads in training: conversations of its three jobs, written by the problem generator.

The user's turn is what prompts/demo/*.md render to; the answers keep the formats that the pipeline parses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from random import Random

from datagen.demo.phrasing import TOPICS, named_argument, question
from datagen.demo.problems import Task, assertion, asserts, singles, source, tasks, traces
from datagen.models import Message
from datagen.prompts import Prompt, load_prompt
from datagen.resources import resource

JOBS = ("questions", "tests", "solutions")
JOB_WEIGHTS = (8, 68, 24)
TOPIC_WEIGHTS = {"L": 40, "W": 25, "S": 10, "N": 10, "D": 15}
COUNTS = (5, 6, 7, 8)
WRONG_TEST = 0.15  # share of lessons whose shown test is wrong, as tests written by the model itself will be
UNTESTED = 0.15  # share of lessons that show no test
SINGLE = 0.3  # share of questions that ask for one operation alone


@dataclass(frozen=True, slots=True)
class Lesson:
    """One conversation: the job, the messages of the prompt and the answer."""

    job: str
    messages: tuple[Message, ...]
    answer: str


@cache
def prompt(job: str) -> Prompt:
    """The demo prompt of a job, from prompts/demo."""
    return load_prompt(job, [resource("prompts/demo")], ("count", "topic", "question", "test"))


def lesson(rng: Random) -> Lesson:
    """A random conversation of a random job."""
    job = rng.choices(JOBS, JOB_WEIGHTS)[0]
    return _TEACHERS[job](rng)


def lesson_in_questions(rng: Random) -> Lesson:
    """A numbered list of questions about a topic; common tasks are asked more often than rare ones."""
    kind = rng.choices(tuple(TOPIC_WEIGHTS), tuple(TOPIC_WEIGHTS.values()))[0]
    asked = [question(popular(kind, rng), rng) for _ in range(rng.choice(COUNTS))]
    answer = "\n".join(f"{number}. {text}" for number, text in enumerate(asked, 1))
    return Lesson("questions", prompt("questions").render(count=len(asked), topic=TOPICS[kind]), answer)


def lesson_in_tests(rng: Random) -> Lesson:
    """Five tests; each comment works the result out step by step before the assert states it."""
    task = any_task(rng)
    text = question(task, rng)
    cases = [case(task, number, states) for number, states in enumerate(traces(task, rng, 5), 1)]
    return Lesson("tests", prompt("tests").render(question=text), "\n".join(["[TESTS]", *cases, "[/TESTS]"]))


def case(task: Task, number: int, states: Sequence[object]) -> str:
    """A numbered comment with the trace, and the assert."""
    return f"#Test case {number}: {' -> '.join(map(repr, states))}\n{assertion(task.name, tuple(states))}"


def lesson_in_solutions(rng: Random) -> Lesson:
    """A solution in one of several styles; the shown test may be wrong or missing."""
    task = any_task(rng)
    text = question(task, rng)
    messages = prompt("solutions").render(question=text, test=shown_test(task, rng))
    return Lesson("solutions", messages, f"[PYTHON]\n{solution(task, text, rng)}\n[/PYTHON]")


def shown_test(task: Task, rng: Random) -> str:
    """One assert: mostly right, sometimes with another input's result, sometimes none at all."""
    if rng.random() < UNTESTED:
        return ""
    if rng.random() >= WRONG_TEST:
        return asserts(task, rng, 1)[0]
    one, other = traces(task, rng, 2)
    return assertion(task.name, (*one[:-1], other[-1]))


def solution(task: Task, text: str, rng: Random) -> str:
    """The task solved in a random style, with the argument that the question names."""
    argument = named_argument(task, text)
    codes = (rng.choice((0, 0, 1)), rng.choice((0, 0, 1)))
    return source(task, task.name, argument, codes, inline=rng.random() < 0.2 and _nests(task))


def _nests(task: Task) -> bool:
    """Whether the first operation's expression can stand inside the second's."""
    return task.steps[0].gives in "LW" and " + " not in task.steps[0].codes[0] and "[" in task.steps[0].codes[0][:1]


def any_task(rng: Random) -> Task:
    """A task of the training set; single operations are drawn three times as often as pairs."""
    return rng.choice(singles()) if rng.random() < 0.15 else rng.choice(tasks())


def popular(kind: str, rng: Random) -> Task:
    """A task that takes `kind`, drawn with weights that fall off: some tasks are asked again and again."""
    alone, combined = _by_popularity()[kind]
    group = alone if rng.random() < SINGLE else combined
    return group[int(len(group) * rng.random() ** 1.5)]


@cache
def _by_popularity() -> Mapping[str, tuple[tuple[Task, ...], tuple[Task, ...]]]:
    shuffled = sorted(tasks(), key=lambda task: Random(task.key).random())
    by_kind = {kind: [task for task in shuffled if task.takes == kind] for kind in TOPICS}
    return {
        kind: (tuple(t for t in group if len(t.steps) == 1), tuple(t for t in group if len(t.steps) == 2))
        for kind, group in by_kind.items()
    }


_TEACHERS = {"questions": lesson_in_questions, "tests": lesson_in_tests, "solutions": lesson_in_solutions}
