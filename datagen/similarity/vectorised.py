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

BATCH = 1 << 17
"""Bytes taken at once: what is computed from them stays in the processor's cache."""
SIGNED = 1 << 19
"""Bytes whose shingles are signed at once: the fewer steps, the less each costs."""
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
    data, single = _blanked(texts, whole)
    member = data != _SPACE
    goes_on = np.append(member, False)
    goes_on[texts.offsets] = False
    follows = goes_on[1:]  # whether the same text has a token's byte next
    dropped = np.flatnonzero(~(member | follows))  # of a gap the byte before a token stays
    beside = np.zeros(len(data), np.bool_)
    beside[single] = beside[single - 1] = True  # the last byte, for -1, is followed by none
    glued = np.flatnonzero(beside & member & follows) + 1
    out = np.insert(_without(data, dropped), glued - np.searchsorted(dropped, glued), _SPACE)
    bounds = texts.offsets - np.searchsorted(dropped, texts.offsets) + np.searchsorted(glued, texts.offsets)
    counts = np.diff(bounds)
    filled = np.flatnonzero(counts)
    leading = filled[out[bounds[filled]] == _SPACE]  # texts that do not start with a token
    counts[leading] -= 1
    return _without(out, bounds[leading]), counts


def _without(data: Bytes, places: Offsets) -> Bytes:
    return np.delete(data, places) if len(places) else data


def _blanked(texts: Texts, whole: Mask) -> tuple[Bytes, Offsets]:
    """The bytes in lower case, a space for each that belongs to no token, and where a token of one byte is."""
    data = texts.data + (texts.data - 65 < 26).view(np.uint8) * np.uint8(32)
    other = np.flatnonzero(~((data - 97 < 26) | (data - 48 < 10) | (data == _SPACE)))
    bound = np.zeros(len(data) + 1, np.bool_)
    bound[texts.offsets] = True
    byte = data[other]
    before = np.where(bound[other], _SPACE, data[other - 1])
    after = np.where(bound[other + 1], _SPACE, data.take(other + 1, mode="clip"))
    joint = (byte == ord("_")) & _WORD[before] & _WORD[after]
    minus = (byte == ord("-")) & ~(_ALPHA[before] & _ALPHA[after])
    single = _OPERATOR[byte] | minus
    if whole.any():
        verbatim = whole[np.searchsorted(texts.offsets, other, side="right") - 1]
        joint |= verbatim
        single &= ~verbatim
    data[other[~(joint | single)]] = _SPACE
    return data, other[single]


def values(texts: Texts) -> U64:
    """See `backend.Backend`."""
    out = np.zeros(len(texts), np.uint64)
    for start, batch in in_batches(texts, BATCH):
        up, down = powers(len(batch.data))
        lengths = np.diff(batch.offsets)
        filled = np.flatnonzero(lengths)
        starts = batch.offsets[filled]
        sums = np.add.reduceat(batch.data * up[: len(batch.data)], starts)
        out[start + filled] = _hashed(sums * down[starts], lengths[filled])
    return out


def _hashed(sums: U64, lengths: Offsets) -> U64:
    """`hashing.value` of slices of some bytes, from their sums and lengths."""
    hashed = sums + lengths.astype(np.uint64) * np.uint64(LENGTH)
    for factor in FMIX64:
        hashed ^= hashed >> np.uint64(33)
        hashed *= np.uint64(factor)
    mixed: U64 = hashed ^ (hashed >> np.uint64(33))
    return mixed


def signatures(texts: Texts, size: int, a: U32, b: U32) -> U32:
    """See `backend.Backend`."""
    out = np.empty((len(a), len(texts)), np.uint32)
    for start, batch in in_batches(texts, SIGNED):
        parts = [_shingles(part, size) for _, part in in_batches(batch, BATCH)]
        hashes, counts = (np.concatenate(each) for each in zip(*parts, strict=True))
        first, values = np.cumsum(counts) - counts, np.empty_like(hashes)
        for k in range(len(a)):
            np.multiply(hashes, a[k], out=values)
            np.add(values, b[k], out=values)
            np.minimum.reduceat(values, first, out=out[k, start : start + len(batch)])
    return out.T


def _shingles(texts: Texts, size: int) -> tuple[U32, Offsets]:
    """The mixed hashes of every shingle, text by text, and how many a text has."""
    spaces = np.flatnonzero(texts.data == _SPACE)
    words = np.diff(np.searchsorted(spaces, texts.offsets)) + 1
    first, last, until, taken = _windows(words, size)
    starts = np.insert(spaces + 1, first - np.arange(len(texts)), texts.offsets[:-1])
    ends = np.insert(spaces, last - np.arange(len(texts)), texts.offsets[1:])
    starts, ends = starts[taken], ends[until[taken]]
    up, down = powers(len(texts.data))
    sums = np.zeros(len(texts.data) + 1, np.uint64)
    np.multiply(texts.data, up[: len(texts.data)], out=sums[1:])
    np.cumsum(sums, out=sums)
    hashes = _hashed((sums[ends] - sums[starts]) * down[starts], ends - starts) >> np.uint64(32)
    return _fmix32(hashes.astype(np.uint32)), np.maximum(1, words - size + 1)


def _windows(words: Offsets, size: int) -> tuple[Offsets, Offsets, Offsets, Mask]:
    """The first and last word of each text, by how many each has; the last one of the shingle that starts at each word,
    and whether one does.
    """
    last = np.cumsum(words) - 1
    first = last - words + 1
    until = np.arange(size - 1, size - 1 + int(words.sum()))
    until[first] = np.minimum(until[first], last)  # the only shingle of a text that is shorter
    return first, last, until, until <= np.repeat(last, words)


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
    first, _, _, taken = _windows(counts, size)
    base = radix = int(number.max(initial=0)) + 1
    padded, codes = np.append(number, np.zeros(size, np.uint64)), number
    for word in range(1, size):
        if radix * base >= _LIMIT:
            codes, radix = _ranked(codes)
        digit = padded[word : word + len(codes)].copy()
        digit[first[counts <= word]] = 0  # beyond the end of a text that is shorter
        codes = codes * np.uint64(base) + digit
        radix *= base
    return codes[taken], np.maximum(1, counts - size + 1), radix


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
