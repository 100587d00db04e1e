"""The strong report: every window, rare n-grams, whole short items, and the shape of solutions.

Each field of a row is looked at by itself. What is rare is learned from the benchmarks and a fixed background, never
from the rows: contamination that is repeated often must not make itself common.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

import datagen.overlap.grams as grams
import datagen.overlap.stretches as stretches
import datagen.overlap.texts as texts
from datagen.overlap.hits import FOUND
from datagen.overlap.shapes import LEAST_NODES, Shape, shapes
from datagen.overlap.texts import Ints
from datagen.overlap.words import words_of
from datagen.sets import BenchmarkItem

Flags = npt.NDArray[np.bool_]

_CHUNK = 1 << 23


@dataclass(frozen=True, slots=True)
class Known:
    """The items, prepared once for all rows."""

    windows: stretches.Items
    words: Ints
    rare: grams.Grams
    whole: grams.Whole
    prints: Mapping[str, Sequence[int]]

    @property
    def checkable(self) -> Flags:
        """Whether an item has enough rare grams for containment."""
        return self.rare.totals >= grams.LEAST_GRAMS


def prepare(items: Sequence[BenchmarkItem], minimum: int) -> Known:
    """What the four methods look for; an item looked for as a whole has at least `minimum` letters and digits."""
    questions = pl.Series([item.question for item in items], dtype=pl.String)
    folded = texts.fold(texts.raw(questions), end=stretches.ITEMS_END)
    known = stretches.items_of(items, folded)
    words = np.bincount(words_of(folded.raw).text, minlength=len(items))
    short = (known.characters >= minimum) & (known.characters < stretches.LENGTH) & (words >= grams.LEAST_WORDS)
    rare = grams.rare_grams(questions, known.groups, known.limits)
    whole = grams.whole_items(questions, known.groups, known.limits, np.flatnonzero(short))
    return Known(known, words, rare, whole, _prints(items))


def strong(fields: Mapping[str, pl.Series], known: Known, threshold: float) -> pl.DataFrame:
    """What the methods STRONG find in each field of the rows, and COMMON windows; schema FOUND."""
    found = [pl.DataFrame(schema=FOUND)]
    for name, column in fields.items():
        for start, part in texts.chunks(column, _CHUNK):
            rows = texts.raw(part)
            words = words_of(rows)
            found += [
                stretches.every_window(texts.fold(rows, end=stretches.ROWS_END), name, start, known.windows),
                grams.whole(words, name, start, known.whole),
                grams.containment(words, name, start, known.rare, threshold),
                same_shape(part, name, start, known),
            ]
    return pl.concat(found)


def same_shape(column: pl.Series, name: str, start: int, known: Known) -> pl.DataFrame:
    """Functions of the rows that are an item's entry point but for their names."""
    if not known.prints:
        return pl.DataFrame(schema=FOUND)
    lines = []
    likely = column.str.contains("def ", literal=True).fill_null(False)
    for row, text in zip(likely.arg_true().to_list(), column.filter(likely).to_list(), strict=True):
        for shape in shapes(text):
            lines += [
                (start + row, number, "ast", name, *shape.span(text), 1.0)
                for number in known.prints.get(shape.print, ())
            ]
    return pl.DataFrame(lines, schema=FOUND, orient="row").unique(["row", "number"], keep="first", maintain_order=True)


def entry_shape(item: BenchmarkItem) -> Shape | None:
    """The shape of an item's entry point (where it names none: of its only function), if it is large enough to tell."""
    found = shapes(item.solution)
    named = [shape for shape in found if shape.name == item.entry_point] or (found if len(found) == 1 else [])
    return named[-1] if named and named[-1].nodes >= LEAST_NODES else None


def _prints(items: Sequence[BenchmarkItem]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for number, item in enumerate(items):
        if (shape := entry_shape(item)) is not None:
            found[shape.print].append(number)
    return dict(found)
