"""Measures the demo model with fixed seeds: how many of its questions, tests and solutions are right.

The engine and the sandbox come in as functions, so the same measure serves the model card, the tests and any model.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import sqrt
from random import Random

from datagen.demo.lessons import any_task, prompt
from datagen.demo.phrasing import TOPICS, match, question
from datagen.demo.problems import Task, asserts, fresh_inputs, heldout, result
from datagen.models import Job, Message, Request, Sampling, Status, Verdict

Generate = Callable[[Sequence[Request]], Sequence[Sequence[str]]]
Run = Callable[[Sequence[Job]], Sequence[Verdict]]
CANDIDATES = 10
CHECKS = 10
PASSED = {Status.PASS, Status.PASS_WEAK}


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many completions of questions, test files, and tasks to solve (per set) a measurement samples."""

    lists: int = 50
    files: int = 160
    problems: int = 80


@dataclass(frozen=True, slots=True)
class Score:
    """A share and the number of independent units (questions, test files, tasks) that it was taken over."""

    value: float
    units: int

    def interval(self, units: int, deviations: float = 2.6) -> tuple[float, float]:
        """Where a second measurement over `units` units falls in 99 of 100 cases, or more often."""
        share = min(max(self.value, 0.02), 0.98)
        width = deviations * sqrt(share * (1 - share) * (1 / self.units + 1 / units))
        return max(0.0, self.value - width), min(1.0, self.value + width)


def measure(generate: Generate, run: Run, sizes: Sizes, seed: int = 0) -> dict[str, Score]:
    """All scores by name; `generate` answers each request with its n texts, `run` each job with a verdict."""
    rng = Random(f"score {seed}")
    known = [any_task(rng) for _ in range(sizes.problems)]
    unseen = Random(f"held out {seed}").sample(heldout(), min(sizes.problems, len(heldout())))
    return {
        **scores_of_questions(generate, sizes.lists, seed),
        **scores_of_tests(generate, [any_task(rng) for _ in range(sizes.files)], rng),
        **scores_of_solutions(generate, run, known, rng, "solutions"),
        **scores_of_solutions(generate, run, unseen, rng, "heldout solutions"),
    }


def scores_of_questions(generate: Generate, lists: int, seed: int) -> dict[str, Score]:
    """The share of listed questions that describe a task, and of those texts that stand in the lists once only."""
    topics = list(TOPICS.values())
    asked = [
        _request("questions", number, {"count": 8, "topic": topics[number % len(topics)]}, seed=seed)
        for number in range(lists)
    ]
    found = [text for texts in generate(asked) for text in listed(texts[0])]
    mapped = [task for text in found if (task := match(text))]
    return {
        "questions that describe a task": _share(len(mapped), len(found)),
        "questions that are unique": _share(len(set(found)), len(found)),
    }


def scores_of_tests(generate: Generate, asked: Sequence[Task], rng: Random) -> dict[str, Score]:
    """The share of asserts that agree with the reference, and of files with five such asserts."""
    requests = [_request("tests", n, {"question": question(task, rng)}) for n, task in enumerate(asked)]
    files = [
        [is_right(line, task) for line in assert_lines(texts[0])]
        for task, texts in zip(asked, generate(requests), strict=True)
    ]
    right, written = sum(map(sum, files)), sum(map(len, files))
    whole = sum(len(file) == 5 and all(file) for file in files)
    return {
        "asserts right": Score(right / max(written, 1), len(files)),
        "test files all right": _share(whole, len(files)),
    }


def scores_of_solutions(
    generate: Generate, run: Run, asked: Sequence[Task], rng: Random, label: str
) -> dict[str, Score]:
    """pass@1 and pass@10 against the reference's results on ten inputs; the model is shown one right test."""
    requests = [
        _request("solutions", n, {"question": question(task, rng), "test": asserts(task, rng, 1)[0]}, n=CANDIDATES)
        for n, task in enumerate(asked)
    ]
    jobs = [
        Job(program(text), checks(task, rng))
        for task, texts in zip(asked, generate(requests), strict=True)
        for text in texts
    ]
    passed = [verdict.status in PASSED for verdict in run(jobs)]
    groups = [passed[start : start + CANDIDATES] for start in range(0, len(passed), CANDIDATES)]
    return {
        f"{label} pass@1": Score(sum(passed) / max(len(passed), 1), len(groups)),
        f"{label} pass@10": _share(sum(map(any, groups)), len(groups)),
    }


def checks(task: Task, rng: Random, count: int = CHECKS) -> tuple[str, ...]:
    """Asserts on fresh inputs, calling the function by the task's name."""
    return tuple(f"assert {task.name}({given}) == {expected}" for given, expected in fresh_inputs(task, rng, count))


def listed(text: str) -> list[str]:
    """The entries of a numbered list, without numbers; the whole of each line."""
    return [found[1] for line in text.splitlines() if (found := re.match(r"\d+\. (.+)", line))]


def assert_lines(text: str) -> list[str]:
    """The lines that are asserts."""
    return [line for line in text.splitlines() if line.startswith("assert ")]


def program(text: str) -> str:
    """What stands between [PYTHON] and [/PYTHON]; empty if there is none."""
    found = re.search(r"\[PYTHON\]\n(.*?)\n\[/PYTHON\]", text, re.DOTALL)
    return found[1] if found else ""


def is_right(line: str, task: Task) -> bool:
    """Whether `assert f(literal) == literal` agrees with the task's reference; anything of another form does not."""
    parts = _literals(line)
    if parts is None:
        return False
    try:
        return repr(result(task, parts[0])) == repr(parts[1])
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):  # the reference rejects the input
        return False


def _literals(line: str) -> tuple[object, object] | None:
    """The only argument and the expected value of an assert of the usual form."""
    try:
        statement = ast.parse(line).body[0]
        match statement:
            case ast.Assert(test=ast.Compare(left=ast.Call(args=[given]), ops=[ast.Eq()], comparators=[expected])):
                return ast.literal_eval(given), ast.literal_eval(expected)
    except (SyntaxError, ValueError):
        return None
    return None


def _request(job: str, number: int, values: dict[str, str | int], n: int = 1, seed: int = 0) -> Request:
    shown = prompt(job)
    settings = {key: shown.sampling[key] for key in ("temperature", "top_p", "max_tokens")}
    messages: tuple[Message, ...] = shown.render(**values)
    return Request(messages, Sampling(n=n, seed=1_000_003 * seed + 1_000 * number, **settings))


def _share(hits: int, units: int) -> Score:
    return Score(hits / max(units, 1), units)


def outside(scores: dict[str, Score], intervals: dict[str, tuple[float, float]]) -> Iterable[str]:
    """The names of scores that fall outside their intervals, with both, for people."""
    for name, score in scores.items():
        low, high = intervals[name]
        if not low <= score.value <= high:
            yield f"{name}: {score.value:.3f} is not in {low:.3f} to {high:.3f}"
