"""What a test saw when it failed, in words; asks the program nothing."""

from __future__ import annotations

import operator
import reprlib
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from sandbox.handles import Handle, describe
from sandbox.snippets import TEST, Snippet

_LENGTH = 160
_MAX_BITS = 2000

_PLAIN = frozenset(
    {int, float, complex, bool, str, bytes, bytearray, list, tuple, dict, set, frozenset, range, slice, type(None)}
    | {type(...), deque, Counter, defaultdict, OrderedDict, Decimal, Fraction, date, datetime, time, timedelta}
)

_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
    "is": operator.is_, "is not": operator.is_not,
    "in": lambda left, right: left in right, "not in": lambda left, right: left not in right,
}  # fmt: skip


class Comparison:
    """The last comparison that an assertion made, if it did not hold."""

    def __init__(self) -> None:
        self.failed: tuple[str, Any, Any] | None = None

    def check(self, name: str, left: Any, right: Any) -> bool:
        """Compare as the assertion did; remembers both sides if it does not hold."""
        self.failed = None
        if _OPERATORS[name](left, right):
            return True
        self.failed = (name, left, right)
        return False


class _Repr(reprlib.Repr):
    """Short text of plain data; anything that may be an object of the program is only named."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = self.maxlong = 80
        self.maxlist = self.maxtuple = self.maxdict = self.maxset = self.maxfrozenset = self.maxdeque = 12

    def repr1(self, x: Any, level: int) -> str:
        if isinstance(x, Handle):
            return describe(x)
        if type(x) is int and x.bit_length() > _MAX_BITS:
            return f"an integer of {x.bit_length()} bits"
        if type(x) not in _PLAIN:
            return f"<{type.__dict__['__name__'].__get__(type(x))} object>"
        return super().repr1(x, level)


_REPR = _Repr()


def show(value: object) -> str:
    """A value in at most 160 characters."""
    text = _REPR.repr(value)
    return text if len(text) <= _LENGTH else text[: _LENGTH - 3] + "..."


def describe_failure(error: AssertionError, snippet: Snippet, comparison: Comparison) -> str:
    """ "got 3, expected 4", with the test's own message where it has one."""
    message = f": {show(error.args[0])}" if error.args else ""
    if comparison.failed is None:
        return f"does not hold: {_failed_line(error, snippet)}{message}"
    name, left, right = comparison.failed
    if name == "==":
        return f"got {show(left)}, expected {show(right)}{message}"
    return f"got {show(left)}, expected it {name} {show(right)}{message}"


def _failed_line(error: AssertionError, snippet: Snippet) -> str:
    number, trace = 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == TEST:
            number = trace.tb_lineno
        trace = trace.tb_next
    line = snippet.lines[number - 1].strip() if 0 < number <= len(snippet.lines) else ""
    return line[:_LENGTH]
