"""The inner loops with NumPy and Polars alone."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import polars as pl
from numpy.typing import NDArray

from datagen.similarity.hashing import FMIX32, FMIX64, LENGTH, U32, U64, powers
from datagen.similarity.texts import Bytes, Offsets, Texts, in_batches

Mask = NDArray[np.bool_]

BATCH = 1 << 19
"""Bytes taken at once: what is computed from them stays in the processor's cache."""
SHINGLES = 1 << 13
PAIRED = 1 << 18
"""Shingles of pairs that are compared at once."""
_LIMIT = 1 << 64

_OPERATORS = r"<<|>>|\*\*|//|<=|>=|==|!=|->|=>|:=|[-+*/%&|^]=|&&|\|\||\+\+|--"
AWKWARD = re.compile(rf"{_OPERATORS}|__|[0-9]\.[0-9]|[a-z]\#")
_MARKED = (
    rf"[^\x00-\x7f]|\*|\]\(|(?:^|[\r\n])[ \t]*(?:[-+>#=_]|```|~~~|[0-9]{{1,3}}[.)])"
    rf"|{_OPERATORS}|__|[0-9]\.[0-9]|[A-Za-z]\#"
)

_SPACE = 32
_LOWER = np.arange(256, dtype=np.uint8)
_LOWER[65:91] += 32
_ALPHA, _WORD, _OPERATOR = (np.zeros(256, np.bool_) for _ in range(3))
_ALPHA[97:123] = _WORD[97:123] = _WORD[48:58] = True
_OPERATOR[list(b"<>=+*/%&|^~")] = True


def marked(texts: pl.Series, content: Texts) -> Mask:
    """See `backend.Backend`."""
    return texts.str.contains(_MARKED).to_numpy()


def scan(texts: Texts, whole: Mask) -> Texts:
    """See `backend.Backend`."""
    pieces, lengths = [], []
    for start, batch in in_batches(texts, BATCH):
        data, counts = _scan(batch, whole[start : start + len(batch)])
        pieces.append(data)
        lengths.append(counts)
    if not pieces:
        return texts
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.concatenate(lengths))])
    return Texts(np.concatenate(pieces), offsets)


def _scan(texts: Texts, whole: Mask) -> tuple[Bytes, Offsets]:
    """The normalised bytes of a batch, and how many belong to each text."""
    data = _LOWER[np.insert(texts.data, texts.offsets[1:], _SPACE)]  # a space after each text keeps neighbours apart
    bounds = texts.offsets + np.arange(len(texts.offsets))
    member, single = _members(data)
    if whole.any():
        verbatim = np.repeat(whole, np.diff(bounds))
        member = np.where(verbatim, data != _SPACE, member)
        single &= ~verbatim
    before = _shifted(member, 1)
    kept = member | before  # a token and the byte after it, which becomes the space between two
    glued = np.flatnonzero(member & before & (single | _shifted(single, 1)))
    out = np.where(member, data, np.uint8(_SPACE))[kept]
    places = np.concatenate([np.zeros(1, np.int64), np.cumsum(kept)])
    places = places[bounds] + np.searchsorted(glued, bounds)
    out = np.insert(out, places_of(kept, glued), _SPACE)
    filled = np.diff(places) > 0
    return np.delete(out, places[1:][filled] - 1), np.diff(places) - filled


def places_of(kept: Mask, positions: Offsets) -> Offsets:
    """Where bytes at these positions stand once only `kept` ones are left."""
    return np.cumsum(kept)[positions] - 1 if len(positions) else positions


def _members(data: Bytes) -> tuple[Mask, Mask]:
    """Which bytes belong to a token, and which are a token of their own."""
    word, alpha, operator = _WORD[data], _ALPHA[data], _OPERATOR[data]
    joint = (data == ord("_")) & _shifted(word, 1) & _shifted(word, -1)
    minus = (data == ord("-")) & ~(_shifted(alpha, 1) & _shifted(alpha, -1))
    single = operator | minus
    return word | joint | single, single


def _shifted(mask: Mask, by: int) -> Mask:
    """The mask one place later (1) or earlier (-1)."""
    moved = np.zeros_like(mask)
    if by > 0:
        moved[1:] = mask[:-1]
    else:
        moved[:-1] = mask[1:]
    return moved


def values(texts: Texts) -> U64:
    """See `backend.Backend`."""
    parts = [_slices(b.data, b.offsets[:-1], b.offsets[1:]) for _, b in in_batches(texts, BATCH)]
    return np.concatenate(parts) if parts else np.empty(0, np.uint64)


def _slices(data: Bytes, starts: Offsets, ends: Offsets) -> U64:
    """`hashing.value` of data[start:end] for each pair of bounds."""
    up, down = powers(len(data))
    sums = np.zeros(len(data) + 1, np.uint64)
    np.cumsum(data * up[: len(data)], out=sums[1:])
    hashed = (sums[ends] - sums[starts]) * down[starts] + (ends - starts).astype(np.uint64) * np.uint64(LENGTH)
    for factor in FMIX64:
        hashed ^= hashed >> np.uint64(33)
        hashed *= np.uint64(factor)
    mixed: U64 = hashed ^ (hashed >> np.uint64(33))
    return mixed


def signatures(texts: Texts, size: int, a: U32, b: U32) -> U32:
    """See `backend.Backend`."""
    out, product = np.empty((len(texts), len(a)), np.uint32), np.empty(0, np.uint32)
    for start, batch in in_batches(texts, BATCH):
        starts, ends, first = _shingles(batch, size)
        hashes = _fmix32((_slices(batch.data, starts, ends) >> np.uint64(32)).astype(np.uint32))
        for row, stop, shingle in _runs(first, len(hashes)):
            part = hashes[first[row] : shingle]
            bounds = first[row:stop] - first[row]
            product = product if len(part) <= len(product) else np.empty(len(part), np.uint32)
            values = product[: len(part)]
            for k in range(len(a)):
                np.multiply(part, a[k], out=values)
                np.add(values, b[k], out=values)
                out[start + row : start + stop, k] = np.minimum.reduceat(values, bounds)
    return out


def _runs(first: Offsets, total: int) -> Iterator[tuple[int, int, int]]:
    """(row, row after the last, shingle after the last) of runs of rows with about SHINGLES shingles."""
    row = 0
    while row < len(first):
        stop = max(row + 1, int(np.searchsorted(first, first[row] + SHINGLES, side="right")) - 1)
        stop = len(first) if first[row] + SHINGLES >= total else stop
        yield row, stop, int(first[stop]) if stop < len(first) else total
        row = stop


def _shingles(texts: Texts, size: int) -> tuple[Offsets, Offsets, Offsets]:
    """The bounds of every shingle, text by text, and the number of each text's first."""
    spaces = np.flatnonzero(texts.data == _SPACE)
    words = np.diff(np.searchsorted(spaces, texts.offsets)) + 1
    last = np.cumsum(words) - 1
    first = last - words + 1
    starts = np.insert(spaces + 1, first - np.arange(len(texts)), texts.offsets[:-1])
    ends = np.insert(spaces, last - np.arange(len(texts)), texts.offsets[1:])
    word = np.arange(len(starts))
    until = np.repeat(last, words)
    taken = (word + size - 1 <= until) | (word == np.repeat(first, words))
    end = np.minimum(word + size - 1, until)[taken]
    counts = np.maximum(1, words - size + 1)
    return starts[taken], ends[end], np.cumsum(counts) - counts


def _fmix32(hashes: U32) -> U32:
    for shift, factor in zip((16, 13), FMIX32, strict=True):
        hashes = (hashes ^ (hashes >> np.uint32(shift))) * np.uint32(factor)
    return hashes ^ (hashes >> np.uint32(16))


def overlaps(texts: Texts, size: int, left: Offsets, right: Offsets) -> tuple[Offsets, Offsets]:
    """See `backend.Backend`."""
    codes, counts, radix = _coded(texts, size)
    if radix * max(len(texts), len(left)) >= _LIMIT:
        codes, radix = _ranked(codes)
    keys = np.repeat(np.arange(len(texts), dtype=np.uint64) * np.uint64(radix), counts) + codes
    keys.sort()
    keys = keys[np.concatenate([np.ones(min(1, len(keys)), np.bool_), keys[1:] != keys[:-1]])]
    row, code = np.divmod(keys, np.uint64(radix))
    sizes = np.bincount(row.astype(np.int64), minlength=len(texts))
    common = np.zeros(len(left), np.int64)
    for start, stop in _spans(sizes[left] + sizes[right]):
        common[start:stop] = _common(code, sizes, left[start:stop], right[start:stop], radix)
    return common, sizes[left] + sizes[right] - common


def _coded(texts: Texts, size: int) -> tuple[U64, Offsets, int]:
    """A number for each shingle of each text, the same for the same words; how many a text has; more than any number.

    Words are numbered by Polars, which compares them as bytes, and a shingle is its words' numbers as digits.
    """
    words = texts.series().str.split(" ")
    counts = words.list.len().to_numpy().astype(np.int64)
    number = words.explode().cast(pl.Categorical).to_physical().to_numpy().astype(np.uint64) + np.uint64(1)
    base, last = int(number.max(initial=0)) + 1, np.repeat(np.cumsum(counts), counts)
    place = np.arange(len(number))
    taken = place[(place + size <= last) | (place == last - np.repeat(counts, counts))]
    codes, radix = np.zeros(len(taken), np.uint64), 1
    for word in range(size):
        if radix * base >= _LIMIT:
            codes, radix = _ranked(codes)
        digit = number[np.minimum(taken + word, len(number) - 1)]  # 0 beyond the end of a text that is shorter
        codes = codes * np.uint64(base) + np.where(taken + word < last[taken], digit, np.uint64(0))
        radix *= base
    return codes, np.maximum(1, counts - size + 1), radix


def _ranked(codes: U64) -> tuple[U64, int]:
    distinct, rank = np.unique(codes, return_inverse=True)
    return rank.astype(np.uint64), max(1, len(distinct))


def _spans(work: Offsets) -> Iterator[tuple[int, int]]:
    """Runs of pairs with about PAIRED shingles."""
    ends = np.cumsum(work)
    start = 0
    while start < len(work):
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + PAIRED, side="right")))
        yield start, stop
        start = stop


def _common(code: U64, sizes: Offsets, left: Offsets, right: Offsets, radix: int) -> Offsets:
    """How many numbers the two texts of each pair share: those that occur twice among a pair's."""
    first = np.cumsum(sizes) - sizes
    row = np.concatenate([left, right])
    pair = np.concatenate([np.arange(len(left)), np.arange(len(left))])
    length = sizes[row]
    offset = np.repeat(first[row] - (np.cumsum(length) - length), length)
    keys = np.repeat(pair.astype(np.uint64) * np.uint64(radix), length) + code[np.arange(len(offset)) + offset]
    keys.sort()
    twice = keys[1:][keys[1:] == keys[:-1]] // np.uint64(radix)
    return np.bincount(twice.astype(np.int64), minlength=len(left))
