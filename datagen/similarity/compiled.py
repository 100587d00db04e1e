"""The inner loops compiled by Numba, kept on disk after the first call; no thread of its own."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

from datagen.similarity import hashing
from datagen.similarity.backend import Rows
from datagen.similarity.hashing import U32, U64
from datagen.similarity.texts import Bytes, Offsets, Texts

Mask = NDArray[np.bool_]

AWKWARD = re.compile(r"(?!)")  # the scan reads everything

_SPACE, _HYPHEN, _UNDERSCORE, _DOT, _HASH, _PLUS = (np.uint8(ord(c)) for c in " -_.#+")
_LETTER, _DIGIT, _BEYOND = 1, 2, 4  # bits of a byte's kind
_KIND = np.zeros(256, np.uint8)
_KIND[65:91] = _KIND[97:123] = _LETTER
_KIND[48:58] = _DIGIT
_KIND[128:] = _BEYOND
_LOWER = np.arange(256, dtype=np.uint8)
_LOWER[65:91] += 32
_SINGLE = np.zeros(256, np.bool_)
_SINGLE[list(b"<>=+*/%&|^~")] = True
_PAIRS = [b"<=", b">=", b"==", b"!=", b"->", b"=>", b":=", b"+=", b"-=", b"*=", b"/=", b"%=", b"&=", b"|=", b"^=",
          b"**", b"//", b"<<", b">>", b"&&", b"||", b"++", b"--"]  # fmt: skip
_PAIR = np.zeros((128, 128), np.bool_)
for _first, _second in _PAIRS:
    _PAIR[_first, _second] = True
_PLAIN = np.where(_KIND, _LOWER, np.uint8(32))  # what a byte becomes by itself; 0 if that depends on its neighbours
_PLAIN[_SINGLE] = _PLAIN[list(b"!-:._#")] = 0
_OPENS_LINE = np.zeros(256, np.bool_)
_OPENS_LINE[list(b"-+>#=_")] = True

_LENGTH = np.uint64(hashing.LENGTH)
_M1, _M2 = (np.uint64(factor) for factor in hashing.FMIX64)
_N1, _N2 = (np.uint32(factor) for factor in hashing.FMIX32)
_STEP = 32
_33, _32 = np.uint64(33), np.uint64(32)


def _compiled(function: Any) -> Any:
    return njit(cache=True, nogil=True, boundscheck=False)(function)


def marked(texts: pl.Series, content: Texts) -> Mask:
    """See `backend.Backend`."""
    out = np.zeros(len(content), np.bool_)
    _mark(content.data, content.offsets, out)
    return out


@_compiled
def _mark(data: Bytes, offsets: Offsets, out: Mask) -> None:
    for row in range(len(out)):
        text = data[offsets[row] : offsets[row + 1]]
        special = False
        for i in range(len(text)):  # without a branch, and so several bytes at once; most rows have nothing of it
            special |= (text[i] >= 128) | (text[i] == 42) | (text[i] == 93) | (text[i] == 10) | (text[i] == 13)
        out[row] = _marked_row(text, 0, len(text)) if special else _opening(text, 0, len(text))


@_compiled
def _opening(data: Bytes, start: int, end: int) -> bool:
    """Whether a line starts with what may be markup."""
    i = start
    while i < end and (data[i] == 32 or data[i] == 9):
        i += 1
    return i < end and (_OPENS_LINE[data[i]] or _fence(data, i, end) or _numbered(data, i, end))


@_compiled
def _marked_row(data: Bytes, start: int, end: int) -> bool:
    fresh = True  # a line has begun
    for i in range(start, end):
        byte = data[i]
        if byte >= 128 or byte == 42 or (byte == 93 and i + 1 < end and data[i + 1] == 40):
            return True
        if fresh and _opening(data, i, end):
            return True
        fresh = byte == 10 or byte == 13
    return False


@_compiled
def _fence(data: Bytes, i: int, end: int) -> bool:
    tick = data[i] == 96 or data[i] == 126
    return tick and i + 2 < end and data[i + 1] == data[i] and data[i + 2] == data[i]


@_compiled
def _numbered(data: Bytes, i: int, end: int) -> bool:
    start = i
    while i < end and _KIND[data[i]] == _DIGIT:
        i += 1
    return 0 < i - start <= 3 and i < end and (data[i] == 46 or data[i] == 41)


def scan(texts: Texts, whole: Mask) -> Texts:
    """See `backend.Backend`."""
    out = np.empty(2 * len(texts.data) + 1, np.uint8)
    offsets = np.zeros(len(texts) + 1, np.int64)
    _scan(texts.data, texts.offsets, whole, out, offsets)
    out.resize(int(offsets[-1]), refcheck=False)  # gives the rest back without a copy
    return Texts(out, offsets)


@_compiled
def _scan(data: Bytes, offsets: Offsets, whole: Mask, out: Bytes, bounds: Offsets) -> None:
    place = 0
    for row in range(len(whole)):
        start, end = offsets[row], offsets[row + 1]
        if whole[row]:
            out[place : place + end - start] = data[start:end]
            place += end - start
        else:
            place = _scan_row(data, start, end, out, place)
        bounds[row + 1] = place


@_compiled
def _scan_row(data: Bytes, start: int, end: int, out: Bytes, begin: int) -> int:
    """Writes the tokens, a space after each but the last, and says where they end.

    A byte that may make more of the word before it, or a token of its own, takes that word back and has it read again
    by `_token`.
    """
    i, place, taken, inside = start, begin, start, np.int64(0)
    while i < end:
        read, written, inside = _words(data[i:end], out[place:], inside)
        i, place = i + read, place + written
        if i == end:
            break
        byte = _alone(data, i, end, inside)
        if byte:
            out[place] = byte
            place += inside
            inside, i = np.int64(byte > _SPACE), i + 1
            continue
        first = i
        while first > taken and (_KIND[data[first - 1]] or data[first - 1] == _UNDERSCORE):
            first -= 1
        stop, place, inside = _token(data, start, first, end), place - (i - first), np.int64(0)
        for at in range(first, stop):
            out[place] = _LOWER[data[at]]
            place += 1
        if stop > first:
            out[place] = _SPACE
            place += 1
        i = taken = max(stop, first + 1)
    return place - 1 if place > begin and not inside else place


@_compiled
def _words(text: Bytes, out: Bytes, inside: int) -> tuple[int, np.int64, np.int64]:
    """Copies words, a space after each, up to a byte that depends on its neighbours: bytes read, written, whether a
    word is open. Without a branch at the end of a word, which a processor would often guess wrongly.
    """
    place, open_ = np.uint64(0), np.uint64(inside)
    for i in range(len(text)):
        byte = _PLAIN[text[i]]
        if byte == 0:
            return i, np.int64(place), np.int64(open_)
        out[place] = byte
        word = np.uint64(byte > _SPACE)
        place += word | open_  # of the spaces in a row, the first
        open_ = word
    return len(text), np.int64(place), np.int64(open_)


@_compiled
def _alone(data: Bytes, i: int, end: int, inside: int) -> np.uint8:
    """A space for a byte that is punctuation for sure, an underscore within a word as it is, 0 for any other."""
    byte, before = data[i], _KIND[data[i - 1]] if inside else np.uint8(0)
    after = data[i + 1] if i + 1 < end else _SPACE
    if byte == _UNDERSCORE:
        return byte if before and _KIND[after] else np.uint8(0)
    if byte == _HYPHEN:
        gap = before == _LETTER and _KIND[after] == _LETTER
    elif byte == _DOT:
        gap = _KIND[after] != _DIGIT
    else:
        gap = after != 61 and (byte == 33 or byte == 58)  # ! and :
    return _SPACE if gap else np.uint8(0)


@_compiled
def _token(data: Bytes, start: int, i: int, end: int) -> int:
    """Where the token that begins at i ends; i itself if none does."""
    kind = _KIND[data[i]]
    if kind == _LETTER and i + 1 < end and (data[i + 1] == _HASH or data[i + 1] == _PLUS):
        stop = i + 2 if data[i + 1] == _HASH else i + 3 if i + 2 < end and data[i + 2] == _PLUS else i
        if stop > i and not (stop < end and _KIND[data[stop]]):
            return stop
    if kind == _DIGIT:
        number: int = _decimal(data, i, end)
        if number > i:
            return number
    found: int = _word(data, i, end) if kind else _operator(data, start, i, end)
    return found


@_compiled
def _decimal(data: Bytes, i: int, end: int) -> int:
    """Where the decimal number or version at i ends; i itself if there is none."""
    start, dots = i, 0
    while True:
        while i < end and _KIND[data[i]] == _DIGIT:
            i += 1
        if not (i + 1 < end and data[i] == _DOT and _KIND[data[i + 1]] == _DIGIT):
            return i if dots else start
        dots += 1
        i += 1


@_compiled
def _word(data: Bytes, i: int, end: int) -> int:
    """Letters and digits, and underscores between them."""
    while True:
        while i < end and _KIND[data[i]]:
            i += 1
        ahead = i
        while ahead < end and data[ahead] == _UNDERSCORE:
            ahead += 1
        if ahead == i or ahead == end or not _KIND[data[ahead]]:
            return i
        i = ahead


@_compiled
def _operator(data: Bytes, start: int, i: int, end: int) -> int:
    byte = data[i]
    after = data[i + 1] if i + 1 < end else _SPACE
    if _PAIR[byte & 127, after & 127] and byte < 128 and after < 128:
        longer = i + 2 < end and data[i + 2] == 61 and byte == after  # <<= >>= **= //=
        return i + 3 if longer and (byte == 60 or byte == 62 or byte == 42 or byte == 47) else i + 2
    if byte == _HYPHEN:
        return i if i > start and _KIND[data[i - 1]] == _LETTER and _KIND[after] == _LETTER else i + 1
    return i + 1 if _SINGLE[byte] else i


def values(texts: Texts) -> U64:
    """See `backend.Backend`."""
    out = np.empty(len(texts), np.uint64)
    up, _ = hashing.powers(int(np.diff(texts.offsets).max(initial=0)))
    _values(texts.data, texts.offsets, up, out)
    return out


@_compiled
def _values(data: Bytes, offsets: Offsets, up: U64, out: U64) -> None:
    for row in range(len(out)):
        text, total = data[offsets[row] : offsets[row + 1]], np.uint64(0)
        even = text[: len(text) // 16 * 16]  # which leaves no rest to the vectorised loop
        for i in range(len(even)):
            total += np.uint64(even[i]) * up[i]
        for i in range(len(even), len(text)):
            total += np.uint64(text[i]) * up[i]
        out[row] = _fmix64(total + np.uint64(len(text)) * _LENGTH)


@_compiled
def _fmix64(value: np.uint64) -> np.uint64:
    value = (value ^ (value >> _33)) * _M1
    value = (value ^ (value >> _33)) * _M2
    return value ^ (value >> _33)


@_compiled
def _shingles(text: Bytes, size: int, down: U64, up: U64, marks: Offsets, sums: U64, hashes: U64) -> int:
    """Fills `hashes` with the value of each shingle of a text; `marks` with where words begin. How many."""
    words: int = _sum_words(text, up, marks, sums)
    count, ahead = max(1, words - size + 1), min(size, words)
    hashes[0] = _fmix64(sums[ahead] + np.uint64(marks[ahead] - 1) * _LENGTH)
    space = np.uint64(_SPACE) * down[1]  # sums end before the space, which is not the shingle's
    begin, end = marks[1:count], marks[1 + ahead : count + ahead]
    before, after, out = sums[1:count], sums[1 + ahead : count + ahead], hashes[1:count]
    for i in range(len(out)):
        length = np.uint64(end[i] - 1 - begin[i])
        out[i] = _fmix64((after[i] - before[i]) * down[np.uint64(begin[i])] - space + length * _LENGTH)
    return count


@_compiled
def _sum_words(text: Bytes, up: U64, marks: Offsets, sums: U64) -> np.int64:
    """Fills `marks` with where each word begins, `sums` with the polynomial up to the space before it, both up to a
    word after the last. How many words.
    """
    words, total = np.uint64(1), np.uint64(0)  # an index without a sign needs no look whether it counts from the end
    marks[0], sums[0] = 0, total
    for i in range(len(text)):
        marks[words], sums[words] = i + 1, total  # of the next word, if this is the space before it
        words += np.uint64(text[i] == _SPACE)
        total += np.uint64(text[i]) * up[i]
    marks[words], sums[words] = len(text) + 1, total
    return np.int64(words)


def signatures(texts: Texts, size: int, a: U32, b: U32) -> U32:
    """See `backend.Backend`."""
    out = np.empty((len(texts), len(a)), np.uint32)
    longest = int(np.diff(texts.offsets).max(initial=0))
    up, down = hashing.powers(longest + 1)
    _sign(texts.data, texts.offsets, size, a, b, up, down, longest, out)
    return out


@_compiled
def _sign(data: Bytes, offsets: Offsets, size: int, a: U32, b: U32, up: U64, down: U64, longest: int, out: U32) -> None:
    marks, sums = np.empty(longest + 3, np.int64), np.empty(longest + 3, np.uint64)
    hashes, mixed = np.empty(longest + 3, np.uint64), np.empty(longest + 3 + _STEP, np.uint32)
    for row in range(len(out)):
        count = _shingles(data[offsets[row] : offsets[row + 1]], size, down, up, marks, sums, hashes)
        _mix(hashes[:count], mixed[:count])
        filled = (count + _STEP - 1) // _STEP
        for i in range(count, filled * _STEP):
            mixed[i] = mixed[0]  # once more changes no minimum, and leaves no rest to the vectorised loop
        for k in range(len(a)):
            least, factor, term = np.uint32(0xFFFFFFFF), a[k], b[k]
            for i in range(filled * _STEP):
                least = min(least, np.uint32(factor * mixed[i] + term))
            out[row, k] = least


@_compiled
def _mix(hashes: U64, out: U32) -> None:
    """What the permutations are applied to: each shingle's 32 bits, finalised."""
    for i in range(len(out)):
        value = np.uint32(hashes[i] >> _32)
        value = np.uint32((value ^ (value >> np.uint32(16))) * _N1)
        value = np.uint32((value ^ (value >> np.uint32(13))) * _N2)
        out[i] = value ^ (value >> np.uint32(16))


def overlaps(texts: Texts, size: int, left: Rows, right: Rows) -> tuple[Rows, Rows]:
    """See `backend.Backend`."""
    longest = int(np.diff(texts.offsets).max(initial=0))
    up, down = hashing.powers(longest + 1)
    first = _first_shingles(texts.data, texts.offsets, size)
    hashes, bounds = np.empty(first[-1], np.uint64), np.empty((2, first[-1]), np.int64)
    _hash_all(texts.data, texts.offsets, size, up, down, longest, first, hashes, bounds)
    common, union = np.empty(len(left), np.int64), np.empty(len(left), np.int64)
    table = np.empty(1 + _fill_mask(int(np.diff(first).max(initial=1))), np.int64)
    order = np.argsort(left, kind="stable")
    _overlap(texts.data, first, hashes, bounds, left, right, order, table, common, union)
    return common, union


@_compiled
def _first_shingles(data: Bytes, offsets: Offsets, size: int) -> Offsets:
    """Where the shingles of each text begin among those of all; the total at the end."""
    first = np.zeros(len(offsets), np.int64)
    for row in range(len(offsets) - 1):
        words = 1
        for i in range(offsets[row], offsets[row + 1]):
            words += data[i] == _SPACE
        first[row + 1] = first[row] + max(1, words - size + 1)
    return first


@_compiled
def _hash_all(
    data: Bytes,
    offsets: Offsets,
    size: int,
    up: U64,
    down: U64,
    longest: int,
    first: Offsets,
    hashes: U64,
    bounds: Offsets,
) -> None:
    marks, sums = np.empty(longest + 3, np.int64), np.empty(longest + 3, np.uint64)
    for row in range(len(offsets) - 1):
        begin = first[row]
        count = _shingles(data[offsets[row] : offsets[row + 1]], size, down, up, marks, sums, hashes[begin:])
        for i in range(count):
            bounds[0, begin + i] = offsets[row] + marks[i]
            bounds[1, begin + i] = offsets[row] + marks[i + size] - 1 if count > 1 else offsets[row + 1]


@_compiled
def _same(data: Bytes, bounds: Offsets, a: int, b: int, more: int = 1) -> bool:
    """Whether two shingles are the same bytes; with `more`, whether they and those after each are."""
    start, other = bounds[0, a], bounds[0, b]
    length = bounds[1, a + more - 1] - start
    if bounds[1, b + more - 1] - other != length:
        return False
    one, two = data[start : start + length], data[other : other + length]
    differ = np.uint8(0)
    for i in range(len(one)):
        differ |= one[i] ^ two[i]
    same: bool = differ == 0
    return same


@_compiled
def _find(data: Bytes, hashes: U64, bounds: Offsets, table: Offsets, mask: int, shingle: int) -> np.int64:
    """The slot of the table that holds this shingle, or the free one where it belongs."""
    slot = np.int64(hashes[shingle] & np.uint64(mask))
    while table[slot] >= 0:
        held = table[slot]
        if hashes[held] == hashes[shingle] and _same(data, bounds, held, shingle):
            break
        slot = (slot + 1) & mask
    return slot


@_compiled
def _overlap(
    data: Bytes,
    first: Offsets,
    hashes: U64,
    bounds: Offsets,
    left: Rows,
    right: Rows,
    order: Rows,
    table: Offsets,
    common: Rows,
    union: Rows,
) -> None:
    distinct, done = np.empty(len(first) - 1, np.int64), 0
    alike = np.empty(len(table), np.int64)  # for each shingle of the text, the first that is the same
    met = np.full(len(table), -1, np.int64)  # the pair that met it last: a shingle counts once in each
    for row in range(len(distinct)):
        begin, end = first[row], first[row + 1]
        mask = _fill_mask(end - begin)
        distinct[row] = _fill(data, hashes, bounds, table, mask, begin, end, alike)
        while done < len(order) and left[order[done]] == row:
            pair, done = order[done], done + 1
            start, stop = first[right[pair]], first[right[pair] + 1]
            common[pair] = _shared(data, hashes, bounds, table, mask, begin, end, start, stop, alike, met, pair)
            if common[pair] < 0:
                common[pair] = _shared_slowly(data, hashes, bounds, table, mask, start, stop)
    for pair in range(len(left)):
        union[pair] = distinct[left[pair]] + distinct[right[pair]] - common[pair]


@_compiled
def _fill_mask(shingles: int) -> int:
    """One less than the size of the table for a text: a power of two, at least four times its shingles."""
    slots = 4
    while slots < 4 * shingles:
        slots *= 2
    return slots - 1


@_compiled
def _fill(
    data: Bytes, hashes: U64, bounds: Offsets, table: Offsets, mask: int, begin: int, end: int, alike: Offsets
) -> int:
    """Puts a text's shingles into the table and says how many differ."""
    distinct = 0
    table[: mask + 1] = -1
    for shingle in range(begin, end):
        slot = _find(data, hashes, bounds, table, mask, shingle)
        if table[slot] < 0:
            table[slot] = shingle
            distinct += 1
        alike[shingle - begin] = table[slot]
    return distinct


@_compiled
def _shared(
    data: Bytes,
    hashes: U64,
    bounds: Offsets,
    table: Offsets,
    mask: int,
    begin: int,
    end: int,
    start: int,
    stop: int,
    alike: Offsets,
    met: Rows,
    pair: int,
) -> int:
    """How many distinct shingles from `start` on are in the table, which holds those from `begin` on; -1 if a hash
    turns out to be that of two. Shingles that follow each other in both texts are compared as bytes in one go.
    """
    both, at, run = 0, end, 0  # the last `run` shingles are those before `at`
    for shingle in range(start, stop):
        if at == end or hashes[at] != hashes[shingle]:
            if run and not _same(data, bounds, at - run, shingle - run, run):
                return -1
            at, run = _hashed(hashes, table, mask, shingle), 0
            if at < 0:
                at = end
                continue
        place = alike[at - begin] - begin
        both += met[place] != pair
        met[place] = pair
        at, run = at + 1, run + 1
    return both if not run or _same(data, bounds, at - run, stop - run, run) else -1


@_compiled
def _hashed(hashes: U64, table: Offsets, mask: int, shingle: int) -> np.int64:
    """A shingle in the table with the same hash; -1 if there is none."""
    slot = np.int64(hashes[shingle] & np.uint64(mask))
    while table[slot] >= 0 and hashes[table[slot]] != hashes[shingle]:
        slot = (slot + 1) & mask
    held: np.int64 = table[slot]
    return held


@_compiled
def _shared_slowly(data: Bytes, hashes: U64, bounds: Offsets, table: Offsets, mask: int, start: int, stop: int) -> int:
    """`_shared`, whatever the hashes: each shingle is compared as bytes by itself."""
    met = np.zeros(mask + 1, np.bool_)
    for shingle in range(start, stop):
        slot = _find(data, hashes, bounds, table, mask, shingle)
        met[slot] |= table[slot] >= 0
    both: int = met.sum()
    return both
