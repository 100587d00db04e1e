"""The words of many texts and their n-grams, as hashes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

import datagen.overlap.texts as texts
from datagen.overlap.texts import Bytes, Hashes, Ints, Raw, words_at

_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_OTHER = np.uint64(0xC2B2AE3D27D4EB4F)
_STEP = 8


@dataclass(frozen=True, slots=True)
class Words:
    """The words of some texts, in order: hash, first and last byte, and the number of the text."""

    raw: Raw
    data: Bytes
    hashes: Hashes
    starts: Ints
    ends: Ints
    text: Ints

    def grams(self, n: int) -> tuple[Hashes, Ints]:
        """A hash for each n words in a row within a text, and the place of the first."""
        if len(self.hashes) < n:
            return np.zeros(0, np.uint64), np.zeros(0, np.int64)
        last = len(self.hashes) - n + 1
        found = self.hashes[:last].copy()
        for step in range(1, n):
            found = (found ^ (found >> np.uint64(29))) * _FACTOR + self.hashes[step : step + last]
        first = np.flatnonzero(self.text[:last] == self.text[n - 1 :])
        return found[first] * _OTHER, first

    def span(self, first: int, last: int) -> tuple[int, int, str]:
        """From one word to another of a text: first and last character, and what is there."""
        low, high = int(self.starts[first]), int(self.ends[last])
        start = self.raw.characters(int(self.text[first]), low)
        text = self.raw.data[low:high].tobytes().decode()
        return start, start + len(text), text

    def around(self, text: int, first: int, last: int) -> tuple[str, str]:
        """The text before a word and after another."""
        start, stop = self.raw.bounds[text], self.raw.bounds[text + 1] - 1
        before = self.raw.data[start : self.starts[first]]
        return before.tobytes().decode(), self.raw.data[self.ends[last] : stop].tobytes().decode()


def same(one: Words, at: Ints, two: Words, and_at: Ints, n: int) -> npt.NDArray[np.bool_]:
    """Whether the n words from each pair of places on are the same, letter by letter (ASCII ones in any case)."""
    found = np.ones(len(at), np.bool_)
    for step in range(n):
        found &= _same_word(one, at + step, two, and_at + step)
    return found


def _same_word(one: Words, at: Ints, two: Words, and_at: Ints) -> npt.NDArray[np.bool_]:
    size = one.ends[at] - one.starts[at]
    equal: npt.NDArray[np.bool_] = size == two.ends[and_at] - two.starts[and_at]
    first, second = words_at(one.data), words_at(two.data)
    active = np.flatnonzero(equal)
    offset = 0
    while active.size:
        left = size[active] - offset
        mask = _MASKS[np.minimum(left, _STEP)]
        differ = (first[one.starts[at[active]] + offset] ^ second[two.starts[and_at[active]] + offset]) & mask
        equal[active[differ != 0]] = False
        offset += _STEP
        active = active[(left > _STEP) & (differ == 0)]
    return equal


def words_of(column: Raw) -> Words:
    """Runs of letters and digits; ASCII letters count in lower case."""
    mapped = texts.mapped_bytes(column, lower=True)
    data = np.concatenate([np.zeros(1, np.uint8), mapped, np.zeros(texts.PADDING, np.uint8)])
    edges = np.flatnonzero(np.diff((data[: len(mapped) + 2] != 0).view(np.int8)))
    starts, ends = edges[::2], edges[1::2]
    text = np.repeat(np.arange(len(column.bounds) - 1), np.diff(np.searchsorted(starts, column.bounds)))
    return Words(column, data[1:], _hashes(data[1:], starts, ends - starts), starts, ends, text)


def _hashes(data: texts.Bytes, starts: Ints, sizes: Ints) -> Hashes:
    """A 64-bit hash of each word, eight bytes at a time."""
    read = words_at(data)
    found = sizes.astype(np.uint64) * _OTHER
    active = np.arange(len(starts))
    offset = 0
    while active.size:
        left = sizes[active] - offset
        word = read[starts[active] + offset] & _MASKS[np.minimum(left, _STEP)]
        found[active] = (found[active] ^ word) * _FACTOR
        found[active] ^= found[active] >> np.uint64(32)
        offset += _STEP
        active = active[left > _STEP]
    return found


_MASKS = np.array([(1 << (8 * count)) - 1 for count in range(9)], np.uint64)
