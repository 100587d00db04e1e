"""Contamination in other words: a model is asked, in both orders, whether a row and a benchmark item are one task.

Only "yes" twice means contaminated, only "no" twice means clean. Everything else is unresolved, never clean. The idea
of asking a model about nearest neighbours is that of arXiv 2311.04850; asking twice, and the third answer, are
this project's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass

import polars as pl

from datagen.models import Attempts, Call, Completion, Engine, Outcome, Request, Sampling, Usage, content_id, seed_for
from datagen.prompts import Prompt
from datagen.sets import BenchmarkItem, Nearest

METHOD = "judge"
UNRESOLVED = "unresolved"
VARIABLES = ("first", "second")

_STEPS = ("judge-0", "judge-1")
_MARKS = " \t\r\n*_`\"'“”‘’.,!:;()[]<>#-"


@dataclass(frozen=True, slots=True)
class Doubt:
    """A row's question and the benchmark item that it may be, by their cosine similarity. `id` names both texts."""

    id: str
    source_id: str
    question: str
    item: BenchmarkItem
    similarity: float


@dataclass(frozen=True, slots=True)
class Judged:
    """What the model says of a doubt: `answer` is yes, no or unresolved; `said` both answers as they came."""

    source_id: str
    benchmark: str
    item: str
    similarity: float
    answer: str
    said: tuple[str, ...] = ()


def doubts(
    rows: pl.DataFrame, items: Sequence[BenchmarkItem], near: Nearest, *, least: float, skip: Set[str]
) -> Iterator[Doubt]:
    """What to ask: each row, but those whose id is in `skip`, with the items near to it, nearest first.

    `near` holds, row by row, places in `items`; what is less similar than `least` is not asked.
    """
    for place, (row_id, question) in enumerate(rows.select(pl.col("id").cast(pl.String), "question").iter_rows()):
        if row_id in skip or not (question or "").strip():
            continue
        for number, similarity in near.of(place, least):
            item = items[number]
            key = content_id(row_id, question, item.benchmark, item.item, item.question)
            yield Doubt(key, row_id, question, item, similarity)


async def judge(doubt: Doubt, *, engine: Engine, prompt: Prompt, seed: int) -> Outcome[Judged]:
    """Asks in both orders at once. A request that fails raises RequestFailed: the doubt is owed, and until it is
    answered its row is unresolved.
    """
    texts = (doubt.question, doubt.item.question)
    requests = [
        _request(prompt, order, seed_for(seed, "judge", doubt.id, step))
        for step, order in zip(_STEPS, (texts, texts[::-1]), strict=True)
    ]
    completions = await _both(engine, requests)
    answers = [_answer(completion) for completion in completions]
    judged = Judged(
        doubt.source_id, doubt.item.benchmark, doubt.item.item, doubt.similarity,
        answer=answers[0] if answers[0] == answers[1] else UNRESOLVED,
        said=tuple(" ".join(completion.samples[0].text.split())[:80] for completion in completions),
    )  # fmt: skip
    pairs = zip(_STEPS, requests, completions, strict=True)
    calls = tuple(Call(step, request.digest(), completion) for step, request, completion in pairs)
    read, written = (sum(getattr(c, f"{kind}_tokens") for c in completions) for kind in ("prompt", "completion"))
    return Outcome(doubt.id, kept=(judged,), attempts=Attempts(calls=calls), usage=Usage(read, written))


def parsed(text: str) -> str:
    """yes or no where the first line that says anything is that word alone, markup and stops aside; else unresolved.

    A word inside a sentence is no answer: "No doubt they are the same" is not no.
    """
    line = next((stripped for line in text.splitlines() if (stripped := line.strip(_MARKS))), "")
    word = line.casefold().removeprefix("answer").strip(_MARKS)
    return word if word in ("yes", "no") else UNRESOLVED


def _answer(completion: Completion) -> str:
    """The parsed answer; a text that max_tokens cut counts only where its first line was whole."""
    sample = completion.samples[0]
    whole = sample.finish_reason != "length" or "\n" in sample.text.strip()
    return parsed(sample.text) if whole else UNRESOLVED


def _request(prompt: Prompt, order: tuple[str, str], seed: int) -> Request:
    messages = prompt.render(first=order[0].strip(), second=order[1].strip())
    return Request(messages, Sampling(**{**prompt.sampling, "n": 1, "seed": seed}))


async def _both(engine: Engine, requests: Sequence[Request]) -> list[Completion]:
    """Both completions; the first failure cancels the other request and is raised as it is."""
    tasks = [asyncio.ensure_future(engine.complete(request)) for request in requests]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
