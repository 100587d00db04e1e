"""Which rows of a corpus are truly near-duplicates, found by an exact join; and how a method's choice compares.

The join is that of prefix filtering (Chaudhuri, Ganti, Kaushik, "A primitive operator for similarity joins in data
cleaning", 2006; Bayardo, Ma, Srikant, "Scaling up all pairs similarity search", 2007): two sets of which one has n
shingles can only reach a Jaccard similarity of t if they share one of its n - ceil(t n) + 1 rarest. Whoever shares one
is compared in full, so no pair is missed and none is made up, but for a collision of 64-bit hashes of shingles.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

Pairs = NDArray[np.int64]
"""Two columns, the earlier row first; every pair once."""


@dataclass(frozen=True, slots=True)
class Score:
    """Of a method: true pairs of which both rows were kept, rows removed though nothing is like them, and rows removed
    for something that was itself removed.
    """

    removed: int
    leaked: int
    false: int
    orphan: int


def score(kept: NDArray[np.bool_], pairs: Pairs) -> Score:
    """Compares what was kept with the truth."""
    left, right = pairs[:, 0], pairs[:, 1]
    alike, excused = np.zeros(len(kept), dtype=bool), np.zeros(len(kept), dtype=bool)
    for one, other in ((left, right), (right, left)):
        alike[one] = True
        excused[one[kept[other]]] = True
    removed = ~kept
    leaked = int((kept[left] & kept[right]).sum())
    return Score(int(removed.sum()), leaked, int((removed & ~alike).sum()), int((removed & alike & ~excused).sum()))


def truth(corpus: Path, threshold: float, shingle: int = 3) -> Pairs:
    """All pairs of a corpus at or over the threshold; kept beside the corpus."""
    path = corpus.with_suffix(f".{threshold:g}-{shingle}.npy")
    if not path.exists():
        pairs = exact_join(pl.read_parquet(corpus, columns=["text"])["text"], threshold, shingle)
        draft = path.with_suffix(".part.npy")
        np.save(draft, pairs)
        draft.replace(path)
    found: Pairs = np.load(path)
    return found


def exact_join(texts: pl.Series, threshold: float, shingle: int = 3) -> Pairs:
    """All pairs of texts whose sets of `shingle` neighbouring words reach the threshold."""
    arrow = texts.cast(pl.String).rechunk().to_arrow()
    _, offsets, data = arrow.buffers()
    starts = np.frombuffer(offsets, dtype=np.int64)[arrow.offset : arrow.offset + len(arrow) + 1]
    hashes, bounds = _sets(np.frombuffer(data, dtype=np.uint8), starts, shingle)
    bits = min(26, max(12, math.ceil(math.log2(len(hashes) + 1)) + 1))
    counts = _frequencies(hashes, np.uint64(64 - bits), 1 << bits)
    order = np.argsort(np.diff(bounds), kind="stable")
    left, right = _join(hashes, bounds, order, counts, np.uint64(64 - bits), threshold)
    pairs = np.sort(np.stack([left, right], axis=1), axis=1)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


@njit(cache=True)
def _sets(data, starts, size):  # noqa: ANN001, ANN202 - numba infers the types
    """The distinct shingles of each text as sorted 64-bit hashes, one text after the other, and their bounds."""
    out = np.empty(len(data) // 2 + 2 * len(starts), dtype=np.uint64)
    bounds = np.zeros(len(starts), dtype=np.int64)
    words = np.empty(16, dtype=np.uint64)
    used = 0
    for row in range(len(starts) - 1):
        count, word, begin = 0, np.uint64(14695981039346656037), used
        if len(words) < starts[row + 1] - starts[row] + 1:
            words = np.empty(2 * (starts[row + 1] - starts[row] + 1), dtype=np.uint64)
        for at in range(starts[row], starts[row + 1] + 1):
            if at == starts[row + 1] or data[at] == 32:
                words[count] = word
                count += 1
                word = np.uint64(14695981039346656037)
            else:
                word = (word ^ np.uint64(data[at])) * np.uint64(1099511628211)
        for start in range(max(1, count - size + 1)):
            mixed = np.uint64(0)
            for word in words[start : min(start + size, count)]:
                mixed = (mixed ^ word) * np.uint64(0x9E3779B97F4A7C15)
                mixed ^= mixed >> np.uint64(29)
                mixed *= np.uint64(0xBF58476D1CE4E5B9)
                mixed ^= mixed >> np.uint64(32)
            out[used] = mixed
            used += 1
        distinct = np.unique(out[begin:used])
        out[begin : begin + len(distinct)] = distinct
        used = begin + len(distinct)
        bounds[row + 1] = used
    return out[:used].copy(), bounds


@njit(cache=True)
def _frequencies(hashes, shift, size):  # noqa: ANN001, ANN202
    """How often shingles of each bucket occur; any order of shingles makes the join right, this one makes it fast."""
    counts = np.zeros(size, dtype=np.int32)
    for hashed in hashes:
        counts[hashed >> shift] += 1
    return counts


@njit(cache=True)
def _prefix(own, counts, shift, threshold):  # noqa: ANN001, ANN202
    """The buckets of a set's rarest shingles: enough that a similar set must share one."""
    length = len(own) - int(np.ceil(threshold * len(own) - 1e-9)) + 1
    buckets = own >> shift
    frequency = np.empty(len(own), dtype=np.int64)
    for place in range(len(own)):
        frequency[place] = counts[buckets[place]]
    return buckets[np.argsort(frequency * (len(counts) + 1) + buckets.astype(np.int64))[:length]]


@njit(cache=True)
def _common(a, b):  # noqa: ANN001, ANN202
    i = j = common = 0
    while i < len(a) and j < len(b):
        if a[i] == b[j]:
            common += 1
            i += 1
            j += 1
        elif a[i] < b[j]:
            i += 1
        else:
            j += 1
    return common


@njit(cache=True)
def _join(hashes, bounds, order, counts, shift, threshold):  # noqa: ANN001, ANN202
    """Sets in ascending order of size; each meets those before it that hold one of its prefix's buckets."""
    heads = np.full(len(counts), -1, dtype=np.int64)  # of a linked list for each bucket: entry -> row, next entry
    rows, following = np.empty(1024, dtype=np.int64), np.empty(1024, dtype=np.int64)
    left, right = np.empty(1024, dtype=np.int64), np.empty(1024, dtype=np.int64)
    seen = np.full(len(bounds), -1, dtype=np.int64)
    entries = found = 0
    for row in order:
        own = hashes[bounds[row] : bounds[row + 1]]
        prefix = _prefix(own, counts, shift, threshold)
        for bucket in prefix:
            entry = heads[bucket]
            while entry >= 0:
                other = rows[entry]
                entry = following[entry]
                size = bounds[other + 1] - bounds[other]
                if seen[other] == row or size < threshold * len(own) - 1e-9:
                    continue
                seen[other] = row
                common = _common(own, hashes[bounds[other] : bounds[other + 1]])
                if common / (len(own) + size - common) >= threshold:
                    if found == len(left):
                        left, right = np.concatenate((left, left)), np.concatenate((right, right))
                    left[found], right[found] = row, other
                    found += 1
        for bucket in prefix:
            if entries == len(rows):
                rows, following = np.concatenate((rows, rows)), np.concatenate((following, following))
            rows[entries], following[entries] = row, heads[bucket]
            heads[bucket] = entries
            entries += 1
    return left[:found].copy(), right[:found].copy()
