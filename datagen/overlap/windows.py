"""Finds what two sets of texts have in common, in characters: hashed anchors, each match verified byte by byte.

Every stretch of `length` bytes holds an anchor of `size` bytes at one of any `length - size + 1` consecutive places. So
all anchors of the benchmark are hashed, and of the rows only those at every such place; where hashes agree the match is
extended to both sides as far as the bytes agree.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from datagen.overlap.texts import Bytes, Folded, Hashes, Ints, words_at

LEAST = 8
"""Shorter stretches have no anchor."""

_PAIRS = 1 << 21
_MANY = 64
_FACTORS = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93)


@dataclass(frozen=True, slots=True)
class Anchors:
    """The anchors of some texts by hash: hashes sorted, the place of each, and a sieve that most strangers fail."""

    texts: Folded
    length: int
    size: int
    hashes: Hashes
    places: Ints
    sieve: npt.NDArray[np.bool_]

    def counts(self, hashes: Hashes) -> Ints:
        """How many anchors of the texts have each hash."""
        return np.searchsorted(self.hashes, hashes, "right") - np.searchsorted(self.hashes, hashes, "left")

    def items(self, hashed: np.uint64) -> Ints:
        """The texts that have an anchor of this hash, each once."""
        left, right = np.searchsorted(self.hashes, hashed, "left"), np.searchsorted(self.hashes, hashed, "right")
        return np.unique(self.texts.text_of(self.places[left:right]))


@dataclass(frozen=True, slots=True)
class Matches:
    """Equal stretches: data[start : start + length] of the rows, data[other : other + length] of the others."""

    start: Ints
    other: Ints
    length: Ints


def anchors(texts: Folded, length: int, size: int = 0) -> Anchors:
    """Prepares the search for stretches of `length` bytes (at least LEAST) of these texts.

    `size` is that of an anchor, a multiple of LEAST (0: as anchor_size says): larger ones are rarer, and looked for at
    more places of the rows.
    """
    size = size or anchor_size(length)
    places = _inside(texts, length, size)
    hashes = hashed(texts.data, places, size)
    order = np.argsort(hashes)
    bits = int(np.clip(np.ceil(np.log2(8 * max(1, len(places)))), 16, 26))
    sieve = np.zeros(1 << bits, np.bool_)
    sieve[hashes >> np.uint64(64 - bits)] = True
    hashes, places = hashes[order], places[order]
    needed = _needed(hashes, places, size, length - size + 1)
    return Anchors(texts, length, size, hashes[needed], places[needed], sieve)


def anchor_hashes(texts: Folded, length: int) -> Hashes:
    """Those of all anchors of the texts, as `anchors` for this length makes them."""
    size = anchor_size(length)
    return np.unique(hashed(texts.data, _inside(texts, size, size), size))


def anchor_size(length: int) -> int:
    """About two thirds, in whole words of eight bytes."""
    return LEAST * min(len(_FACTORS), max(1, length * 2 // 3 // LEAST))


def hashed(data: Bytes, places: Ints | slice, size: int) -> Hashes:
    """A 64-bit hash of the `size` bytes from each place on."""
    words = words_at(data)
    found = np.zeros(0, np.uint64)
    for number in range(size // LEAST):
        word = words[LEAST * number :][places]
        found = word * np.uint64(_FACTORS[number]) if number == 0 else (found + word) * np.uint64(_FACTORS[number])
        found ^= found >> np.uint64(31)
    return found * np.uint64(_FACTORS[0])


def matches(rows: Folded, known: Anchors) -> Iterator[Matches]:
    """All maximal equal stretches that hold an anchor; any of `known.length` bytes is inside one of them."""
    step = known.length - known.size + 1
    stop = len(rows.data) - known.size - LEAST
    hashes = hashed(rows.data, slice(0, max(stop, 0), step), known.size)
    bits = np.uint64(64 - int(np.log2(len(known.sieve))))
    likely = np.flatnonzero(known.sieve[hashes >> bits])
    left = np.searchsorted(known.hashes, hashes[likely], "left")
    counts = np.searchsorted(known.hashes, hashes[likely], "right") - left
    some = counts > 0
    places, left, counts = likely[some] * step, left[some], counts[some]
    for part in _portions(counts):
        yield _extended(rows, known, *_pairs(known, places[part], left[part], counts[part]))


def _inside(texts: Folded, length: int, size: int) -> Ints:
    """The places of all anchors that lie inside one text, of texts that are long enough."""
    lengths = texts.lengths()
    counts = np.where(lengths >= length, lengths - size + 1, 0)
    first = np.repeat(texts.bounds[:-1] - (np.cumsum(counts) - counts), counts)
    found: Ints = first + np.arange(int(counts.sum()))
    return found


def _needed(hashes: Hashes, places: Ints, size: int, step: int) -> npt.NDArray[np.bool_]:
    """All anchors but those in the middle of a text that repeats itself, such as a thousand zeros.

    There one anchor comes again and again, and two such texts would be compared at every shift. What they have in
    common is found by the anchors within a step of where the repetition begins or ends.
    """
    needed = np.ones(len(hashes), np.bool_)
    edges = (
        np.flatnonzero(np.concatenate([[True], hashes[1:] != hashes[:-1], [True]])) if len(hashes) else np.zeros(1, int)
    )
    for group in np.flatnonzero(np.diff(edges) > _MANY).tolist():
        own = slice(edges[group], edges[group + 1])
        order = np.argsort(places[own])
        at = places[own][order]
        apart = np.flatnonzero(np.diff(at) > size)
        first, last = at[np.concatenate([[0], apart + 1])], at[np.concatenate([apart, [len(at) - 1]])]
        sizes = np.diff(np.concatenate([[0], apart + 1, [len(at)]]))
        middle = (at - np.repeat(first, sizes) >= step) & (np.repeat(last, sizes) - at >= step)
        needed[np.arange(own.start, own.stop)[order[middle]]] = False
    return needed


def _portions(counts: Ints) -> Iterator[slice]:
    """Slices of about so many pairs each that memory holds them."""
    total = np.cumsum(counts)
    start = 0
    while start < len(counts):
        before = total[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(total, before + _PAIRS, "right")))
        yield slice(start, stop)
        start = stop


def _pairs(known: Anchors, places: Ints, left: Ints, counts: Ints) -> tuple[Ints, Ints]:
    """Each place with each anchor of its hash; of overlapping ones on one diagonal, which are one match, the first."""
    step = known.length - known.size + 1
    row = np.repeat(places, counts)
    other = known.places[np.repeat(left - (np.cumsum(counts) - counts), counts) + np.arange(len(row))]
    if known.size < step:
        return row, other
    diagonal = row - other
    order = np.lexsort((row, diagonal))
    row, other, diagonal = row[order], other[order], diagonal[order]
    follows = (np.diff(diagonal, prepend=diagonal[:1] - 1) == 0) & (np.diff(row, prepend=row[:1]) == step)
    return row[~follows], other[~follows]


def _extended(rows: Folded, known: Anchors, row: Ints, other: Ints) -> Matches:
    right = _agreeing(rows.data, row, known.texts.data, other, 1)
    sure = right >= known.size  # else two anchors of one hash
    row, other, right = row[sure], other[sure], right[sure]
    left = _agreeing(rows.data, row - 1, known.texts.data, other - 1, -1)
    return Matches(row - left, other - left, left + right)


def _agreeing(one: Bytes, at: Ints, two: Bytes, and_at: Ints, step: int) -> Ints:
    """How many bytes agree from each pair of places on; texts end in bytes that differ between the two arrays."""
    found = np.zeros(len(at), np.int64)
    active = np.arange(len(at))
    one_at, two_at = at.copy(), and_at.copy()
    while active.size:
        within = (one_at >= 0) & (two_at >= 0)
        same = within & (one[one_at] == two[two_at])
        active, one_at, two_at = active[same], one_at[same] + step, two_at[same] + step
        found[active] += 1
    return found
