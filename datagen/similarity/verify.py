"""The exact Jaccard similarity of candidate pairs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl
from numpy.typing import NDArray

from datagen.similarity.backend import Backend
from datagen.similarity.bands import Pairs
from datagen.similarity.select import Edges
from datagen.similarity.texts import Texts

BATCH = 1 << 13
"""Pairs verified at once; the memory is that of their texts."""


def shingles(text: str, size: int) -> set[str]:
    """The sets of `size` neighbouring words of a normalised text; a shorter text is one shingle."""
    words = text.split(" ")
    return {" ".join(words[start : start + size]) for start in range(max(1, len(words) - size + 1))}


def jaccard(common: NDArray[np.int64], union: NDArray[np.int64]) -> NDArray[np.float64]:
    """common / union, correctly rounded, so that a similarity of exactly 7/10 reaches a threshold of 0.7."""
    return common / union


def verified(texts: pl.Series, pairs: Pairs, *, size: int, threshold: float, backend: Backend) -> Iterator[Edges]:
    """The pairs whose exact similarity reaches the threshold, batch by batch."""
    left, right = pairs
    for start in range(0, len(left), BATCH):
        yield _verified(texts, (left[start : start + BATCH], right[start : start + BATCH]), size, threshold, backend)


def _verified(texts: pl.Series, pairs: Pairs, size: int, threshold: float, backend: Backend) -> Edges:
    rows, places = np.unique(np.concatenate(pairs), return_inverse=True)
    here = len(pairs[0])
    content = Texts.of(texts.gather(rows))
    common, union = backend.overlaps(content, size, places[:here], places[here:])
    similarity = jaccard(common, union)
    return Edges(*pairs, similarity, np.zeros(here, np.bool_)).where(similarity >= threshold)
