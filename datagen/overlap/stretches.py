"""Every window of 50 characters that a row and an item have in common, and whether it is of that item at all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

import datagen.overlap.texts as texts
import datagen.overlap.windows as windows
from datagen.overlap.background import background
from datagen.overlap.grams import COMMON_AT
from datagen.overlap.hits import COMMON, FOUND
from datagen.overlap.texts import Folded, Hashes, Ints
from datagen.sets import BenchmarkItem

Flags = npt.NDArray[np.bool_]

LENGTH = 50
"""Characters of a window."""

ITEMS_END, ROWS_END = 2, 1
"""The bytes after each text of either side: not the same, so that no match runs over an end."""

_SAMPLE = 8
"""A stretch is rare if an anchor at one of its every so many places is."""


@dataclass(frozen=True, slots=True)
class Items:
    """The items, prepared once for all rows.

    `groups` are the numbers of their benchmarks, `limits` says of each benchmark by how many items what is rare may be
    shared, `characters` are the letters and digits of each item.
    """

    groups: Ints
    limits: Ints
    characters: Ints
    anchors: windows.Anchors
    background: Hashes


def items_of(items: Sequence[BenchmarkItem], questions: Folded) -> Items:
    """The items with their questions, folded and ended by ITEMS_END."""
    groups, limits = _groups(items)
    plain = texts.fold(texts.raw(pl.Series(background(), dtype=pl.String)), end=ITEMS_END)
    known = windows.anchors(questions, LENGTH)
    return Items(groups, limits, _characters(questions), known, windows.anchor_hashes(plain, LENGTH))


def every_window(rows: Folded, name: str, start: int, known: Items) -> pl.DataFrame:
    """The longest stretch of at least LENGTH letters and digits that a row and an item have in common, for each pair.

    Its score is its share of the item. COMMON where it holds nothing but what more than ten items of the benchmark, or
    the background, hold as well.
    """
    longest: dict[tuple[int, int], tuple[int, int, int]] = {}
    acts: dict[tuple[int, int], bool] = defaultdict(bool)
    for found in windows.matches(rows, known.anchors):
        enough = found.length >= LENGTH
        start_, other, length = found.start[enough], found.other[enough], found.length[enough]
        pairs = zip(rows.text_of(start_), known.anchors.texts.text_of(other), strict=True)
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


def _groups(items: Sequence[BenchmarkItem]) -> tuple[Ints, Ints]:
    """The number of each item's benchmark; of each benchmark, by how many of its items what is rare may be shared."""
    names = {name: number for number, name in enumerate(dict.fromkeys(item.benchmark for item in items))}
    groups = np.array([names[item.benchmark] for item in items], np.int64)
    return groups, np.maximum(COMMON_AT, np.bincount(groups, minlength=len(names)) // 100)


def _is_rare(known: Items, places: Ints, lengths: Ints) -> Flags:
    """Whether a stretch of an item holds an anchor that few items of the benchmark and no background have."""
    size = known.anchors.size
    counts = (lengths - size) // _SAMPLE + 1
    owner = np.repeat(np.arange(len(places)), counts)
    step = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    hashes = windows.hashed(known.anchors.texts.data, places[owner] + _SAMPLE * step, size)
    rare = known.anchors.counts(hashes) <= COMMON_AT
    for number in np.flatnonzero(~rare):
        rare[number] = _few(known, known.anchors.items(hashes[number]))
    rare &= ~np.isin(hashes, known.background)
    return np.bincount(owner[rare], minlength=len(places)) > 0


def _few(known: Items, items: Ints) -> bool:
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
