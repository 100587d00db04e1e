"""Runs without a model: questions of the demo's problem generator, and answers that are right, wrong or endless.

Everything follows from the seeds, so that two runs ask and answer the same. What a question asks for is found again by
the signature in it; a made-up sentence about its purpose keeps questions apart, where a few thousand tasks in a few
dozen wordings would be near-duplicates of one another.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from datagen.codec import schema_of, to_plain
from datagen.demo.lessons import any_task, case, solution
from datagen.demo.phrasing import ARGUMENTS, question
from datagen.demo.problems import Task, heldout, singles, source, tasks, traces
from datagen.files import make_folder, write_json
from datagen.models import Completion, Question, Request, Sample, content_id
from datagen.tables import write_table

PLAIN = 0.16
"""Share of questions without a sentence of their own: most of them are duplicates."""
WRONG_TEST = 0.3
"""Share of test files with a wrong assert: no right candidate passes them."""
RIGHT, LOOPING = 0.35, 0.01
"""Shares of candidates; the rest solves another task, or is no Python."""
UNREADABLE = 0.03
CHARACTERS_PER_TOKEN = 3.0
_SIGNATURE = re.compile(r"`(\w+)\((\w+)\)`")
_WORDS = """\
baker gardener librarian pilot sailor teacher nurse painter farmer judge tailor miner banker cook hunter
letter invoice recipe harvest voyage lesson ticket parcel painting meadow window bridge lantern kettle
quiet early careful narrow golden distant sudden gentle hollow bright frozen ancient humble steady
"""
_WHO, _WHAT, _HOW = (line.split() for line in _WORDS.splitlines())


def purpose(rng: Random) -> str:
    """A sentence that changes nothing about the task."""
    return (
        f"The {rng.choice(_HOW)} {rng.choice(_WHO)} needs it for each {rng.choice(_HOW)} {rng.choice(_WHAT)} of the "
        f"{rng.choice(_HOW)} {rng.choice(_WHO)} before the {rng.choice(_WHAT)} and the {rng.choice(_WHAT)} arrive."
    )


def asked(rng: Random) -> str:
    """A question."""
    text = question(any_task(rng), rng)
    return text if rng.random() < PLAIN else f"{text} {purpose(rng)}"


@cache
def _by_signature() -> dict[tuple[str, str], Task]:
    every = (*singles(), *tasks(), *heldout())
    return {(task.name, argument): task for task in every for argument in ARGUMENTS[task.takes]}


def answer(request: Request) -> Completion:
    """What stands in for a model's answer to one of the demo's three prompts; token counts are by length."""
    prompt, sampling = request.messages[-1].content, request.sampling
    texts = [_text(prompt, Random(sampling.seed + index)) for index in range(sampling.n)]
    return Completion(tuple(map(Sample, texts)), _tokens(prompt), sum(map(_tokens, texts)))


def _tokens(text: str) -> int:
    return 1 + int(len(text) / CHARACTERS_PER_TOKEN)


def _text(prompt: str, rng: Random) -> str:
    if wanted := re.match(r"Ask (\d+) questions", prompt):
        return "\n".join(f"{number}. {asked(rng)}" for number in range(1, int(wanted[1]) + 1))
    found = _SIGNATURE.search(prompt)
    task = _by_signature()[found[1], found[2]] if found else any_task(rng)
    return tests(task, rng) if prompt.startswith("Write five tests") else candidate(task, prompt, rng)


def tests(task: Task, rng: Random) -> str:
    """A test file of the task; in a share of WRONG_TEST, one assert is another task's."""
    cases = [case(task, number, states) for number, states in enumerate(traces(task, rng, 5), 1)]
    if rng.random() < WRONG_TEST:
        cases[-1] = re.sub(r"==.*", "== 'another task'", cases[-1])
    return "\n".join(["[TESTS]", *cases, "[/TESTS]"])


def candidate(task: Task, prompt: str, rng: Random) -> str:
    """A solution, right in a share of RIGHT, endless in a share of LOOPING."""
    fate = rng.random()
    if fate < RIGHT:
        code = solution(task, prompt, rng)
    elif fate < RIGHT + LOOPING:
        code = f"def {task.name}(value):\n    while True:\n        value = value"
    elif fate < RIGHT + LOOPING + UNREADABLE:
        code = f"def {task.name}(value\n    return value"
    else:
        code = source(_other(task, rng), task.name)
    return f"[PYTHON]\n{code}  # {rng.random()}\n[/PYTHON]"


def _other(task: Task, rng: Random) -> Task:
    """A task that takes the same."""
    return next(other for other in iter(lambda: any_task(rng), None) if other.takes == task.takes and other != task)


def questions(count: int, seed: int = 0) -> list[Question]:
    """`count` different questions, in the order of their ids' places."""
    unique = islice(dict.fromkeys(_endless(seed, 2 * count + 100)), count)
    return [
        Question(content_id(text), text, "generated", "easy", "", 0, place, 0, "generated")
        for place, text in enumerate(unique)
    ]


def _endless(seed: int, count: int) -> Iterator[str]:
    rng = Random(f"questions {seed}")
    return (asked(rng) for _ in range(count))


def write_stage(run: Path, stage: str, kept: Iterable[Any]) -> None:
    """Makes `stage` of a run look finished, with these questions kept: what comes after it can run."""
    folder = run / stage
    make_folder(folder)
    rows = sorted(kept, key=lambda item: item.id)
    write_table(folder / "kept.parquet", (to_plain(row) for row in rows), schema_of(Question))
    report = {"stage": stage, "inputs": len(rows), "parsed": len(rows), "kept": len(rows)}
    write_json(folder / "settings.json", {})
    write_json(folder / "report.json", report)
