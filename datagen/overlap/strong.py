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

from datagen.overlap import grams, texts, windows
from datagen.overlap.background import background
from datagen.overlap.hits import COMMON, FOUND
from datagen.overlap.shapes import LEAST_NODES, Shape, shapes
from datagen.overlap.texts import Folded, Hashes, Ints
from datagen.overlap.words import words_of
from datagen.sets import BenchmarkItem

Flags = npt.NDArray[np.bool_]

LENGTH = 50
"""Characters of a window."""

_ROWS_END, _ITEMS_END = 1, 2
_CHUNK = 1 << 23
_SAMPLE = 8
"""A stretch is rare if an anchor at one of its every so many places is."""


@dataclass(frozen=True, slots=True)
class Known:
    """The items, prepared once for all rows."""

    groups: Ints
    limits: Ints
    characters: Ints
    words: Ints
    windows: windows.Anchors
    background: Hashes
    rare: grams.Grams
    whole: Sequence[grams.Grams]
    prints: Mapping[str, Sequence[int]]

    @property
    def checkable(self) -> Flags:
        """Whether an item has enough rare grams for containment."""
        return self.rare.totals >= grams.LEAST_GRAMS


def prepare(items: Sequence[BenchmarkItem], minimum: int) -> Known:
    """What the four methods look for; an item looked for as a whole has at least `minimum` letters and digits."""
    questions = pl.Series([item.question for item in items], dtype=pl.String)
    folded = texts.fold(texts.raw(questions), end=_ITEMS_END)
    groups, limits = _groups(items)
    characters = _characters(folded)
    words = np.bincount(words_of(folded.raw).text, minlength=len(items))
    short = (characters >= minimum) & (characters < LENGTH) & (words >= grams.LEAST_WORDS)
    whole = grams.whole_grams(questions, groups, limits, np.flatnonzero(short))
    return Known(
        groups, limits, characters, words, windows.anchors(folded, LENGTH), _background(),
        grams.rare_grams(questions, groups, limits), whole, _prints(items),
    )  # fmt: skip


def _groups(items: Sequence[BenchmarkItem]) -> tuple[Ints, Ints]:
    """The number of each item's benchmark; of each benchmark, by how many of its items what is rare may be shared."""
    names = {name: number for number, name in enumerate(dict.fromkeys(item.benchmark for item in items))}
    groups = np.array([names[item.benchmark] for item in items], np.int64)
    return groups, np.maximum(grams.COMMON_AT, np.bincount(groups, minlength=len(names)) // 100)


def strong(fields: Mapping[str, pl.Series], known: Known, threshold: float) -> pl.DataFrame:
    """What the methods STRONG find in each field of the rows, and COMMON windows; schema FOUND."""
    found = [pl.DataFrame(schema=FOUND)]
    for name, column in fields.items():
        for start, part in texts.chunks(column, _CHUNK):
            rows = texts.raw(part)
            words = words_of(rows)
            found += [
                every_window(texts.fold(rows, end=_ROWS_END), name, start, known),
                grams.whole(words, name, start, known.whole),
                grams.containment(words, name, start, known.rare, threshold),
                same_shape(part, name, start, known),
            ]
    return pl.concat(found)


def every_window(rows: Folded, name: str, start: int, known: Known) -> pl.DataFrame:
    """The longest stretch of at least LENGTH letters and digits that a row and an item have in common, for each pair.

    Its score is its share of the item. COMMON where it holds nothing but what more than ten items of the benchmark, or
    the background, hold as well.
    """
    longest: dict[tuple[int, int], tuple[int, int, int]] = {}
    acts: dict[tuple[int, int], bool] = defaultdict(bool)
    for found in windows.matches(rows, known.windows):
        enough = found.length >= LENGTH
        start_, other, length = found.start[enough], found.other[enough], found.length[enough]
        pairs = zip(rows.text_of(start_), known.windows.texts.text_of(other), strict=True)
        rare = _is_rare(known, other, length)
        for key, low, size, own in zip(pairs, start_.tolist(), length.tolist(), rare.tolist(), strict=True):
            low, high = _whole_characters(rows, low, low + size)
            count = _count(rows, low, high)
            if count >= LENGTH:
                pair = (int(key[0]), int(key[1]))
                acts[pair] |= own
                longest[pair] = max(longest.get(pair, (0, 0, 0)), (count, -low, -high))
    lines = [
        (
            start + row, number, "window" if acts[row, number] else COMMON, name,
            *rows.span(row, -low, -high), count / int(known.characters[number]),
        )
        for (row, number), (count, low, high) in sorted(longest.items())
    ]  # fmt: skip
    return pl.DataFrame(lines, schema=FOUND, orient="row")


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


def _background() -> Hashes:
    folded = texts.fold(texts.raw(pl.Series(background(), dtype=pl.String)), end=_ITEMS_END)
    return windows.anchor_hashes(folded, LENGTH)


def _is_rare(known: Known, places: Ints, lengths: Ints) -> Flags:
    """Whether a stretch of an item holds an anchor that few items of the benchmark and no background have."""
    size = known.windows.size
    counts = (lengths - size) // _SAMPLE + 1
    owner = np.repeat(np.arange(len(places)), counts)
    step = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    hashes = windows.hashed(known.windows.texts.data, places[owner] + _SAMPLE * step, size)
    rare = known.windows.counts(hashes) <= grams.COMMON_AT
    for number in np.flatnonzero(~rare):
        rare[number] = _few(known, known.windows.items(hashes[number]))
    rare &= ~np.isin(hashes, known.background)
    return np.bincount(owner[rare], minlength=len(places)) > 0


def _few(known: Known, items: Ints) -> bool:
    """Whether no benchmark has more of these items than may share what is rare."""
    return bool((np.bincount(known.groups[items], minlength=len(known.limits)) <= known.limits).all())


def _characters(folded: Folded) -> Ints:
    """Letters and digits of each text."""
    total = np.concatenate([[0], np.cumsum((folded.data & 0xC0) != 0x80)])
    found: Ints = total[folded.bounds[1:] - 1] - total[folded.bounds[:-1]]
    return found


def _whole_characters(rows: Folded, low: int, high: int) -> tuple[int, int]:
    """The stretch without parts of characters at its ends."""
    while low < high and rows.data[low] & 0xC0 == 0x80:
        low += 1
    while high > low and rows.data[high] & 0xC0 == 0x80:
        high -= 1
    return low, high


def _count(rows: Folded, low: int, high: int) -> int:
    return int(np.count_nonzero((rows.data[low:high] & 0xC0) != 0x80))
