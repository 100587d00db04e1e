"""Many texts in one UTF-8 buffer, as Arrow lays them out: what the inner loops read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Offsets = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Texts:
    """Text i is data[offsets[i] : offsets[i + 1]]; offsets start at 0."""

    data: Bytes
    offsets: Offsets

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> bytes:
        return self.data[self.offsets[row] : self.offsets[row + 1]].tobytes()

    @staticmethod
    def of(series: pl.Series) -> Texts:
        """The texts of a string column, a null as an empty one."""
        array = series.fill_null("").to_arrow().cast(pa.large_string())
        if len(array) == 0:
            return Texts(np.empty(0, np.uint8), np.zeros(1, np.int64))
        _, offsets, data = array.buffers()
        bounds = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
        content = np.frombuffer(data, np.uint8)[bounds[0] : bounds[-1]] if data is not None else np.empty(0, np.uint8)
        return Texts(content, bounds - bounds[0])

    def series(self) -> pl.Series:
        """The texts as a string column."""
        offsets, data = pa.py_buffer(self.offsets), pa.py_buffer(self.data)
        return pl.Series(pl.from_arrow(pa.LargeStringArray.from_buffers(len(self), offsets, data)))


def in_batches(texts: Texts, size: int) -> Iterator[tuple[int, Texts]]:
    """The texts in runs of about `size` bytes, at least one text each, with the number of the first."""
    start = 0
    while start < len(texts):
        stop = int(np.searchsorted(texts.offsets, texts.offsets[start] + size, side="right")) - 1
        stop = min(max(stop, start + 1), len(texts))
        offsets = texts.offsets[start : stop + 1]
        yield start, Texts(texts.data[offsets[0] : offsets[-1]], offsets - offsets[0])
        start = stop
