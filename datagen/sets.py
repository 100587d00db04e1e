"""What a whole-set stage answers, and the benchmark items it may be handed: types that stages and callers share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
import polars as pl

from datagen.models import content_id


@dataclass(frozen=True, slots=True)
class Selection:
    """A set split in two, no row lost: len(kept) + len(dropped) is the number of rows that came in.

    `kept` has the input's columns. `dropped` has source_id, reason (a slug of `models.REASONS`), detail and text first,
    then what the stage knows besides.
    """

    kept: pl.DataFrame
    dropped: pl.DataFrame


@dataclass(frozen=True, slots=True)
class Case:
    """What a program reads on its standard input, and what it has to print."""

    input: str
    output: str


@dataclass(frozen=True, slots=True)
class BenchmarkItem:
    """One task of a benchmark.

    `question` is the question or context as the benchmark words it, never its answer. Where the benchmark has them:
    `solution` is the reference solution as a whole program, `tests` are snippets of Python that call `entry_point` and
    assert (as `sandbox.Job` takes them, each complete in itself), `cases` are what a program that is called with no
    function is run on.
    """

    benchmark: str
    item: str
    question: str
    solution: str = ""
    tests: tuple[str, ...] = ()
    entry_point: str = ""
    cases: tuple[Case, ...] = ()


@dataclass(frozen=True, slots=True)
class Nearest:
    """For each row, in order, the places of its k nearest items and their cosine similarities, best first."""

    places: np.ndarray[Any, np.dtype[np.int64]]
    similarities: np.ndarray[Any, np.dtype[np.float32]]

    def of(self, row: int, least: float = 0.0) -> Iterator[tuple[int, float]]:
        """Place and similarity of a row's nearest items that are similar at all, and at least that much."""
        for place, similarity in zip(self.places[row].tolist(), self.similarities[row].tolist(), strict=True):
            if similarity >= least and similarity > 0:
                yield place, round(similarity, 4)


def digest(items: Sequence[BenchmarkItem]) -> str:
    """16 hexadecimal digits that name what was loaded: equal for equal items in the same order."""
    return content_id(*(repr(astuple(item)) for item in items))
