"""Many texts as one array of bytes: which bytes count, and where each stood in the text that was given."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import polars as pl

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]

PADDING = 64
"""Zero bytes behind the last text, so that eight bytes can be read at any place."""

_CHUNK = 1 << 24
_PUNCTUATION = r"[^\p{L}\p{N}]"


@dataclass(frozen=True, slots=True)
class Raw:
    """Texts in UTF-8 with a zero byte after each; text i is data[bounds[i] : bounds[i + 1] - 1]."""

    data: Bytes
    bounds: Ints

    def text(self, number: int) -> str:
        """A text as it was given; null has become the empty one."""
        return self.data[self.bounds[number] : self.bounds[number + 1] - 1].tobytes().decode()

    def characters(self, number: int, place: int) -> int:
        """How many characters of a text end before a byte of the array."""
        before = self.data[self.bounds[number] : place]
        return int(np.count_nonzero((before & 0xC0) != 0x80))


@dataclass(frozen=True, slots=True)
class Folded:
    """Letters and digits only, a byte `end` after each text; text i is data[bounds[i] : bounds[i + 1] - 1]."""

    data: Bytes
    bounds: Ints
    raw: Raw
    kept: npt.NDArray[np.bool_]

    def text_of(self, places: Ints) -> Ints:
        """The number of the text in which each place lies."""
        return np.searchsorted(self.bounds, places, side="right") - 1

    def lengths(self) -> Ints:
        """Of each text in bytes."""
        return np.diff(self.bounds) - 1

    def span(self, number: int, start: int, end: int) -> tuple[int, int, str]:
        """Where data[start:end], which lies in one text, stood in it: first and last character, and what is there."""
        first, last = self.raw.bounds[number], self.raw.bounds[number + 1]
        places = first + np.flatnonzero(self.kept[first:last])
        offset = self.bounds[number]
        low, high = int(places[start - offset]), int(places[end - offset - 1]) + 1
        text = self.raw.data[low:high].tobytes().decode()
        start_character = self.raw.characters(number, low)
        return start_character, start_character + len(text), text


def raw(texts: pl.Series) -> Raw:
    """The UTF-8 of a column of texts."""
    column = (texts.cast(pl.String).fill_null("") + "\0").rechunk().to_arrow()
    _, offsets, values = column.buffers()
    bounds = np.frombuffer(offsets, np.int64)[column.offset : column.offset + len(column) + 1]
    data = np.frombuffer(values, np.uint8) if values is not None else np.zeros(0, np.uint8)
    return Raw(data, bounds)


def fold(texts: Raw, *, end: int, lower: bool = True) -> Folded:
    """Only what is a letter or digit (Unicode categories L and N); `lower`: ASCII letters in lower case."""
    mapped = mapped_bytes(texts, lower=lower)
    mapped[texts.bounds[1:] - 1] = end
    kept = mapped != 0
    data = np.concatenate([mapped[kept], np.zeros(PADDING, np.uint8)])
    counts = np.flatnonzero(data == end) + 1
    return Folded(data, np.concatenate([[0], counts]), texts, kept)


def mapped_bytes(texts: Raw, *, lower: bool) -> Bytes:
    """The bytes, where those of characters that are no letter and no digit are 0."""
    mapped: Bytes = _table(lower)[texts.data]
    leads = np.flatnonzero(texts.data >= 0xC0)
    if leads.size:
        _map_wide(texts.data, leads, mapped)
    return mapped


def chunks(texts: pl.Series, size: int = _CHUNK) -> Iterator[tuple[int, pl.Series]]:
    """A column in pieces of about so many bytes, each with the number of its first row."""
    total = texts.str.len_bytes().fill_null(0).cum_sum().to_numpy()
    start = 0
    while start < len(texts):
        before = total[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(total, before + size, side="right")))
        yield start, texts.slice(start, stop - start)
        start = stop


def words_at(data: Bytes) -> npt.NDArray[np.uint64]:
    """The eight bytes from each place on, as one number; the last seven places are missing."""
    return np.ndarray((len(data) - 7,), dtype="<u8", buffer=data, strides=(1,))


@lru_cache(maxsize=2)
def _table(lower: bool) -> Bytes:
    table = np.zeros(256, np.uint8)
    for code in range(128):
        if chr(code).isalnum():
            table[code] = ord(chr(code).lower()) if lower else code
    return table


def _map_wide(data: Bytes, leads: Ints, mapped: Bytes) -> None:
    """The same for characters beyond ASCII: `mapped` gets the bytes of those that are letters or digits."""
    padded = np.concatenate([data, np.zeros(4, np.uint8)])
    lead = data[leads].astype(np.uint32)
    size = np.select([lead >= 0xF0, lead >= 0xE0], [4, 3], 2)
    code = lead & np.select([size == 4, size == 3], [0x07, 0x0F], 0x1F)
    for step in (1, 2, 3):
        more = size > step
        code[more] = (code[more] << 6) | (padded[leads[more] + step] & 0x3F)
    known, place = np.unique(code, return_inverse=True)
    characters = pl.Series([chr(number) for number in known], dtype=pl.String)
    counts = ~characters.str.contains(_PUNCTUATION).to_numpy()
    chosen = counts[place]
    for step in range(4):
        places = leads[chosen & (size > step)] + step
        mapped[places] = data[places]
