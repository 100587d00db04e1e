"""A stand-in for the two things of pytest that generated tests use: `raises` and `approx`."""

from __future__ import annotations

import math
import re
import types
from collections.abc import Callable
from typing import Any


class ExceptionInfo:
    """What `with raises(...) as info` gives: `info.value`, `info.type`."""

    value: BaseException
    type: type[BaseException]


class Raises:
    """A context that holds only if an exception of the kind leaves it, with a message that matches the pattern."""

    def __init__(self, kind: Any, match: str | None) -> None:
        self._kind = kind
        self._match = match
        self._info = ExceptionInfo()

    def __enter__(self) -> ExceptionInfo:
        return self._info

    def __exit__(self, kind: Any, value: BaseException | None, trace: object) -> bool:
        if value is None:
            raise AssertionError(f"{self._kind!r} was not raised")
        if not isinstance(value, self._kind):
            return False
        if self._match is not None and not re.search(self._match, str(value)):
            raise AssertionError(f"the message {str(value)!r} does not match {self._match!r}")
        self._info.value, self._info.type = value, type(value)
        return True


class Approx:
    """Equal to numbers, and to sequences and dicts of numbers, within a tolerance."""

    def __init__(self, expected: Any, rel: float | None, absolute: float | None) -> None:
        self._expected = expected
        self._absolute = 1e-12 if absolute is None else absolute
        self._relative = (1e-6 if absolute is None else 0.0) if rel is None else rel

    def __eq__(self, other: object) -> bool:
        return self._close(self._expected, other)

    def __repr__(self) -> str:
        return f"approximately {self._expected!r}"

    __hash__ = None  # type: ignore[assignment]  # nothing approximate can be a key

    def _close(self, expected: Any, got: Any) -> bool:
        if isinstance(expected, dict):
            same = isinstance(got, dict) and expected.keys() == got.keys()
            return same and all(self._close(expected[key], got[key]) for key in expected)
        if isinstance(expected, (list, tuple)):
            same = isinstance(got, (list, tuple)) and len(got) == len(expected)
            return same and all(map(self._close, expected, got))
        if isinstance(expected, (int, float)) and isinstance(got, (int, float)):
            return got == expected or math.isclose(got, expected, rel_tol=self._relative, abs_tol=self._absolute)
        return bool(expected == got)


def raises(kind: Any, *call: Any, match: str | None = None, **named: Any) -> Any:
    """As pytest's: a context, or a call that must raise."""
    if not call:
        return Raises(kind, match)
    function: Callable[..., Any] = call[0]
    with Raises(kind, match) as info:
        function(*call[1:], **named)
    return info


def approx(expected: Any, rel: float | None = None, abs: float | None = None, nan_ok: bool = False) -> Approx:  # noqa: A002  # pytest's name
    """As pytest's."""
    return Approx(expected, rel, abs)


def pytest() -> types.ModuleType:
    """The module that a test's `import pytest` finds."""
    module = types.ModuleType("pytest")
    vars(module).update(raises=raises, approx=approx)
    return module
