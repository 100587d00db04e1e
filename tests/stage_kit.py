"""Plain objects that the tests of the pipeline and the store share: small outcomes and a stage that gives them."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

from datagen.interrupt import Interrupt
from datagen.ledger import read_outcomes
from datagen.models import Drop, Outcome, Question, content_id
from datagen.pipeline import Canary, Driven, drive
from datagen.progress import Progress
from datagen.spending import Meter
from datagen.store import StageFolder

OUTPUTS = ("kept.parquet", "dropped.parquet", "report.json")


def question(number: int, text: str = "") -> Question:
    """The number-th question, the same every time."""
    return Question(content_id(str(number)), text or f"question {number}", "lists", "easy", "a shop", 0, number, 0, "m")


def answer(item: Question) -> Outcome[Question]:
    """Keeps two questions of three; drops the third as too-short."""
    if item.prompt_index % 3:
        return Outcome(item.id, kept=(item,))
    return Outcome(item.id, drops=(Drop("too-short", "2 words", item.question),))


async def work(item: Question) -> Outcome[Question]:
    """`answer` as a stage."""
    return answer(item)


def quiet() -> Progress:
    """Progress that nobody sees."""
    return Progress("stage", stream=io.StringIO(), clock=lambda: 0.0)


def run_stage(
    folder: StageFolder,
    items: Iterable[Question],
    stage: Callable[[Question], Awaitable[Outcome[Question]]] = work,
    *,
    concurrency: int = 8,
    interrupt: Interrupt | None = None,
    canary: Canary | None = None,
    meter: Meter | None = None,
) -> Driven:
    """`drive` with everything that a test does not care about filled in."""
    return asyncio.run(
        drive(
            items, stage, folder, item_id=lambda item: item.id, concurrency=concurrency, progress=quiet(),
            interrupt=interrupt or Interrupt(), canary=canary, meter=meter,
        )
    )  # fmt: skip


def outputs(stage: Path, names: Iterable[str] = OUTPUTS) -> dict[str, bytes]:
    """The bytes of what a stage wrote."""
    return {name: (stage / name).read_bytes() for name in names}


def ledger_set(stage: Path) -> set[str]:
    """The stage's ledger as a set: what must be equal whatever happened on the way."""
    outcomes: Iterable[Outcome[Any]] = read_outcomes(stage / "ledger", dict)
    return {repr(outcome) for outcome in outcomes}
