"""Rows of the problem generator with reference solutions: what a person would write by hand as seed data."""

from __future__ import annotations

from random import Random
from typing import Any

from datagen.demo.lessons import any_task, shown_test, solution
from datagen.demo.phrasing import question
from datagen.models import content_id


def seed_rows(count: int, seed: int) -> list[dict[str, Any]]:
    """`count` different questions of the training set's tasks, in the columns of a run's rows; none is held out."""
    rng = Random(f"seed rows {seed}")
    rows: dict[str, dict[str, Any]] = {}
    while len(rows) < count:
        task = any_task(rng)
        text = question(task, rng)
        row = {"question": text, "solution": solution(task, text, rng), "shown_test": shown_test(task, rng)}
        rows.setdefault(text, {"id": content_id(text), "entry_point": task.name} | row)
    return list(rows.values())
