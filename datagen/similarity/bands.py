"""Signatures to band keys to candidate pairs (Leskovec, Rajaraman, Ullman, "Mining of Massive Datasets", section 3.4).

Two texts are a candidate pair if their signatures agree in all rows of a band. Rows of the state are numbered in order
of priority, so a pair (left, right) has left before right.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from datagen.errors import UsageError
from datagen.similarity.hashing import U32, U64

RECALL = 0.99
"""The least share of the pairs at the threshold that the bands must propose."""
CAP = 64
"""The most rows of a bucket that are all compared with each other."""
AT_ONCE = 1 << 12
"""Pairs whose sketches are looked at together."""
MISSED = 1e-6
"""The share of true pairs that the sketch comparison may lose, at most."""

Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]
Sketch = NDArray[np.uint8]
Pairs = tuple[Rows, Rows]
Steps = Callable[[range], Iterable[int]]
"""How a loop over arrays goes: by `Workspace.relieving`, where they may lie in files."""

_FACTOR = np.uint32(0x9E3779B1)
_ROW = np.uint64(0xFFFFFFFF)


def recall(similarity: float, bands: int, rows: int) -> float:
    """The probability that a pair of this Jaccard similarity agrees in at least one band: 1 - (1 - s^rows)^bands."""
    return float(1 - (1 - similarity**rows) ** bands)


def bands_for(threshold: float, num_perm: int) -> tuple[int, int]:
    """(bands, rows) that reach RECALL at the threshold, with the most rows a band, so the fewest needless pairs."""
    for rows in range(num_perm // 2, 0, -1):
        if recall(threshold, num_perm // rows, rows) >= RECALL:
            return num_perm // rows, rows
    raise UsageError(
        f"{num_perm} permutations cannot find {RECALL:.0%} of the pairs at threshold {threshold}",
        hint="Raise num_perm or the threshold",
    )


def band_keys(signatures: U32, bands: int, rows: int) -> U32:
    """A row per band, a column per text: 32 bits that are equal where the texts agree in that band."""
    keys = np.zeros((bands, len(signatures)), np.uint32)
    for row in range(rows):
        values = signatures[:, row : bands * rows : rows].T
        keys = (keys ^ values) * _FACTOR
        keys ^= keys >> np.uint32(15)
    return keys


def sketches(signatures: U32) -> Sketch:
    """The lowest byte of each value of a signature: enough to see how far two texts agree."""
    return signatures.astype(np.uint8)


def floor_of(threshold: float, num_perm: int) -> int:
    """The fewest equal bytes of two sketches at which the pair is compared exactly.

    A pair at the threshold has fewer with a probability under MISSED: each byte is equal with a probability of at
    least the threshold, on its own, so their number is binomial.
    """
    tail = 0.0
    for equal in range(num_perm if threshold < 1 else 0):
        ways = math.lgamma(num_perm + 1) - math.lgamma(equal + 1) - math.lgamma(num_perm - equal + 1)
        tail += math.exp(ways + equal * math.log(threshold) + (num_perm - equal) * math.log1p(-threshold))
        if tail > MISSED:
            return equal
    return num_perm


@dataclass(slots=True)
class Counts:
    """The work of one run: pairs proposed by the bands, looked at as sketches, compared exactly, found similar; buckets
    over CAP, and the pairs in them that were never compared (an upper bound; 0: nothing was given up).
    """

    proposed: int = 0
    compared: int = 0
    verified: int = 0
    similar: int = 0
    capped_buckets: int = 0
    uncompared: int = 0


@dataclass(frozen=True, slots=True)
class Band:
    """One band's buckets of two rows or more: `rows` bucket after bucket, ascending in each; `sizes` of the buckets."""

    rows: Rows
    sizes: Rows


def buckets(keys: U32) -> Band:
    """The rows that share a key with another, from one band's keys: a sort of (key, row).

    Most rows share none; those whose first bits no other row has are left out of the sort.
    """
    bits = max(1, min(32, len(keys).bit_length() + 1))
    prefix = keys >> np.uint32(32 - bits)
    crowded = np.flatnonzero((np.bincount(prefix, minlength=1 << bits) > 1)[prefix])
    packed: U64 = (keys[crowded].astype(np.uint64) << np.uint64(32)) | crowded.astype(np.uint64)
    packed.sort()
    key = packed >> np.uint64(32)
    edges = np.flatnonzero(key[1:] != key[:-1]) + 1
    bounds = np.concatenate([np.zeros(1, np.int64), edges, np.array([len(key)], np.int64)])
    sizes = np.diff(bounds)
    shared = np.repeat(sizes > 1, sizes)
    return Band((packed[shared] & _ROW).astype(np.int64), sizes[sizes > 1])


def split(band: Band) -> tuple[Band, list[Rows]]:
    """The buckets of at most CAP rows, and each larger one."""
    large = band.sizes > CAP
    if not large.any():
        return band, []
    ends = np.cumsum(band.sizes)
    over = [band.rows[end - size : end] for end, size in zip(ends[large], band.sizes[large], strict=True)]
    return Band(band.rows[np.repeat(~large, band.sizes)], band.sizes[~large]), over


def pairs_of(band: Band, most: int = 1 << 20) -> Iterator[Pairs]:
    """All pairs within the buckets, in pieces of about `most`."""
    ends = np.repeat(np.cumsum(band.sizes), band.sizes)
    place = np.arange(len(band.rows))
    for distance in range(1, int(band.sizes.max(initial=1))):
        place = place[place + distance < ends[place]]
        for start in range(0, len(place), most):
            part = place[start : start + most]
            yield band.rows[part], band.rows[part + distance]


def agreeing(sketch: Sketch, left: Rows, right: Rows, floor: int, steps: Steps = iter) -> Mask:
    """Which pairs have at least `floor` equal bytes in their sketches."""
    out = np.empty(len(left), np.bool_)
    for start in steps(range(0, len(left), AT_ONCE)):
        part = slice(start, start + AT_ONCE)
        out[part] = np.count_nonzero(sketch[left[part]] == sketch[right[part]], axis=1) >= floor
    return out


@dataclass(slots=True)
class Seen:
    """Which pairs an earlier band has proposed: those with an equal key there, unless their bucket was over CAP."""

    keys: U32
    capped: dict[int, Mask]

    def fresh(self, band: int, pairs: Pairs, steps: Steps = iter) -> Pairs:
        """The pairs that no band before this one has compared."""
        left, right = pairs
        for earlier in steps(range(band)):
            row = self.keys[earlier]
            new = row[left] != row[right]
            if earlier in self.capped:
                new |= self.capped[earlier][left]
            left, right = left[new], right[new]
        return left, right

    def cap(self, band: int, large: list[Rows]) -> None:
        """Remembers the rows whose bucket of this band was over CAP."""
        if large:
            mask = np.zeros(self.keys.shape[1], np.bool_)
            mask[np.concatenate(large)] = True
            self.capped[band] = mask
