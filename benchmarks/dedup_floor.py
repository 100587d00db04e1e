"""What any method with MinHash signatures must do: hash every shingle once and permute it 125 times."""

from __future__ import annotations

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

PERMUTATIONS = 125


def signatures(texts: pl.Series) -> NDArray[np.uint32]:
    """The least of each permutation over a text's shingles of three words, which are taken as they come."""
    arrow = texts.cast(pl.String).rechunk().to_arrow()
    _, offsets, data = arrow.buffers()
    starts = np.frombuffer(offsets, dtype=np.int64)[arrow.offset : arrow.offset + len(arrow) + 1]
    rng = np.random.default_rng(1)
    a, b = (rng.integers(1, 1 << 32, size=PERMUTATIONS, dtype=np.uint32) for _ in range(2))
    return _signatures(np.frombuffer(data, dtype=np.uint8), starts, a | np.uint32(1), b)  # type: ignore[no-any-return]


@njit(cache=True, boundscheck=False)
def _signatures(data, starts, a, b):  # noqa: ANN001, ANN202 - numba infers the types
    out = np.empty((len(starts) - 1, len(a)), dtype=np.uint32)
    hashes = np.empty(16, dtype=np.uint32)
    for row in range(len(starts) - 1):
        start, end = starts[row], starts[row + 1]
        if len(hashes) < end - start + 1:
            hashes = np.empty(2 * (end - start + 1), dtype=np.uint32)
        count, word = 0, np.uint64(0)
        last = before = np.uint64(0)
        for at in range(start, end + 1):
            if at == end or data[at] == 32:
                mixed = (before * np.uint64(31) + last) * np.uint64(0x9E3779B97F4A7C15) + word
                mixed = (mixed ^ (mixed >> np.uint64(32))) * np.uint64(0xBF58476D1CE4E5B9)
                hashes[count] = np.uint32(mixed >> np.uint64(32))
                count, before, last, word = count + 1, last, word, np.uint64(0)
            else:
                word = (word ^ np.uint64(data[at])) * np.uint64(1099511628211)
        first = min(2, count - 1)
        for permutation in range(len(a)):
            times, plus, least = a[permutation], b[permutation], np.uint32(0xFFFFFFFF)
            for place in range(first, count):
                least = min(least, np.uint32(hashes[place] * times + plus))
            out[row, permutation] = least
    return out
