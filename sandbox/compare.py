"""Whether a script wrote what it had to, and if not, where it went wrong.

The output is untrusted and the comparison runs in the user's process. Lines and words are therefore looked at one
after the other, without ever holding all of them, and only up to the first that differs.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from functools import partial
from itertools import zip_longest

from sandbox.contract import Compare

SHOWN = 80
_WORD = re.compile(rb"\S+")
_LONGEST_NUMBER = 1000  # characters: any finite float fits, and int() of so many is quick
_SHORT_LINE = 60
_CUT = " ..."

Equal = Callable[[bytes, bytes], bool]
"""Whether two words are equal."""
Where = Callable[[bytes, bytes], str]
"""Where two lines differ, "" if they do not in a way that counts."""


def mismatch(got: bytes, expected: bytes, compare: Compare, tolerance: float) -> str:
    """The first difference in words, "" if there is none that counts.

    Of two words, FLOAT takes each for an integer, a float, or neither. Two integers are equal if they are the same
    number. Any other two numbers are equal if they differ by at most `tolerance`, or by at most `tolerance` times the
    expected one; infinities equal themselves, and so does nan.
    """
    if got == expected:
        return ""
    if compare is Compare.EXACT:
        return _exactly(got, expected)
    equal = same if compare is Compare.WHITESPACE else lambda left, right: near(left, right, tolerance)
    return _by_words(got.rstrip(), expected.rstrip(), equal)


def same(got: bytes, expected: bytes) -> bool:
    """Whether two words are the same."""
    return got == expected


def near(got: bytes, expected: bytes, tolerance: float) -> bool:
    """Whether two words are the same or numbers that are equal within the tolerance."""
    if got == expected:
        return True
    if max(len(got), len(expected)) > _LONGEST_NUMBER or b"_" in got + expected:  # Python's 1_000 is nobody else's
        return False
    try:
        return int(got) == int(expected)
    except ValueError:
        return _close(got, expected, tolerance)


def printable(text: str, most: int = SHOWN) -> str:
    """Text that can be shown on one line of a terminal, of at most `most` characters."""
    shown = text if len(text) <= most else text[: most - len(_CUT)] + _CUT
    return "".join(letter if letter.isprintable() else " " for letter in shown)


def show(data: bytes) -> str:
    """The start of a piece of output, quoted."""
    quoted = repr(data[:SHOWN].decode("utf-8", "replace"))
    return quoted + _CUT if len(data) > SHOWN else quoted


def _close(got: bytes, expected: bytes, tolerance: float) -> bool:
    try:
        left, right = float(got), float(expected)
    except ValueError:
        return False
    if left == right or (left != left and right != right):
        return True
    distance = abs(left - right)
    return distance < float("inf") and distance <= tolerance * max(1.0, abs(right))


def _exactly(got: bytes, expected: bytes) -> str:
    """The first difference of two outputs that are not the same bytes."""
    if got + b"\n" == expected:
        return "the line break at the end is missing"
    if got == expected + b"\n":
        return "one line break too many at the end"
    return _by_lines(got, expected, _byte)


def _by_words(got: bytes, expected: bytes, equal: Equal) -> str:
    return _by_lines(got, expected, partial(_word, equal=equal))


def _by_lines(got: bytes, expected: bytes, where: Where) -> str:
    """The first line that is missing, too many, or different by the lights of `where`."""
    if expected and not got:
        return f"wrote nothing, expected {show(_first_line(expected))}"
    ours, theirs = io.BytesIO(got), io.BytesIO(expected)
    for number, (left, right) in enumerate(zip_longest(ours, theirs), 1):
        if left is None:
            return f"{_lines(right, theirs)} missing, from line {number}: {show(right.rstrip())}"
        if right is None:
            return f"{_lines(left, ours)} too many, from line {number}: {show(left.rstrip())}"
        if left != right and (place := where(left, right)):
            return f"line {number}{_short(left, right) or place}"
    return ""


def _short(left: bytes, right: bytes) -> str:
    """Two lines that are short enough to be shown."""
    if left.removesuffix(b"\n") != right.removesuffix(b"\n"):
        left, right = left.removesuffix(b"\n"), right.removesuffix(b"\n")
    return "" if max(len(left), len(right)) > _SHORT_LINE else f": got {show(left)}, expected {show(right)}"


def _word(left: bytes, right: bytes, equal: Equal) -> str:
    """The first two words that differ, "" if none do."""
    for number, (ours, theirs) in enumerate(zip_longest(_words(left), _words(right)), 1):
        if ours is None or theirs is None or not equal(ours, theirs):
            return f", word {number}: got {_shown_word(ours)}, expected {_shown_word(theirs)}"
    return ""


def _words(line: bytes) -> Iterator[bytes]:
    return (found.group() for found in _WORD.finditer(line))


def _shown_word(word: bytes | None) -> str:
    return "the end of the line" if word is None else show(word)


def _byte(left: bytes, right: bytes) -> str:
    """The first bytes that differ."""
    low, high = 0, min(len(left), len(right))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if left[low:middle] == right[low:middle] else (low, middle - 1)
    return f", byte {low + 1}: got {show(left[low:])}, expected {show(right[low:])}"


def _first_line(data: bytes) -> bytes:
    return data[: data.find(b"\n") + 1 or len(data)].rstrip()


def _lines(first: bytes, rest: Iterator[bytes]) -> str:
    """How many lines are left, `first` among them."""
    count = 1 + sum(1 for _ in rest)
    return "1 line" if count == 1 else f"{count} lines"
