"""Packs lessons into rows of equal length for training: whole lessons only, none sees another, nothing is cut."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

POOL = 256


def rows(draw: Callable[[], list[int]], length: int) -> Iterator[list[list[int]]]:
    """Endless rows of whole lessons, at most `length` tokens in all: of a pool, the longest that still fits comes next.

    A row starts with the lesson that has waited longest, so that none waits for ever; `draw` gives none over `length`.
    """
    pool: list[list[int]] = []
    while True:
        pool += [draw() for _ in range(POOL - len(pool))]
        row = [pool.pop(0)]
        room = length - len(row[0])
        while (best := _longest(pool, room)) is not None:
            row.append(pool.pop(best))
            room -= len(row[-1])
        yield row


def _longest(pool: list[list[int]], room: int) -> int | None:
    fitting = [(len(lesson), -index) for index, lesson in enumerate(pool) if len(lesson) <= room]
    return -max(fitting)[1] if fitting else None


def arrays(batch: list[list[list[int]]], length: int) -> tuple[Any, Any, Any]:
    """int64 arrays (rows, length): token ids, positions restarting with each lesson, its number (0: padding)."""
    ids, positions, owners = (np.zeros((len(batch), length), dtype=np.int64) for _ in range(3))
    for index, row in enumerate(batch):
        start = 0
        for number, lesson in enumerate(row, 1):
            end = start + len(lesson)
            ids[index, start:end] = lesson
            positions[index, start:end] = np.arange(len(lesson))
            owners[index, start:end] = number
            start = end
    return ids, positions, owners
