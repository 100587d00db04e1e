"""Reads the answer out of a completion, in the way that its protocol says; strictly, so that scores stay comparable."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

from datagen.extract.blocks import PYTHON, fenced, tagged

_NUMBER = re.compile(r"-?\$?\d[\d,]*(?:\.\d+)?")
_FENCE_LINE = re.compile(r"^```.*$", re.MULTILINE)


def until(text: str, stops: Sequence[str]) -> str:
    """The text before the first of the stops: engines cut there too, recorded samples need not have been."""
    return text[: min((at for stop in stops if (at := text.find(stop)) >= 0), default=len(text))]


def program(text: str, entry: str) -> str:
    """The program of a chat answer: of its [PYTHON] parts, else its fences, the first that defines `entry`.

    Where none does, the first part; where there are no parts, the whole text without fence lines.
    """
    parts = [block.text for block in tagged(text, "PYTHON") if block.text.strip()]
    parts = [_unfenced(part) for part in parts] or [b.text for b in fenced(text) if b.language in PYTHON]
    defining = [part for part in parts if entry and defines(part, entry)]
    return (defining or parts or [_unfenced(text)])[0].strip("\n") + "\n"


def defines(code: str, entry: str) -> bool:
    """Whether a line of the code begins the function or class of that name."""
    return re.search(rf"^(?:async\s+)?(?:def|class)\s+{re.escape(entry)}\b", code, re.MULTILINE) is not None


def last_number(text: str) -> str:
    """The number after the last "####", else the last number of the text, plainly written; empty without one."""
    _, marked, tail = text.rpartition("####")
    found = _NUMBER.findall(tail)
    if not found:
        return ""
    return _plain(found[0] if marked else found[-1])


def _plain(number: str) -> str:
    """18.00, $18 and 18 are one number, 1,000 is 1000."""
    try:
        value = Decimal(number.replace(",", "").replace("$", ""))
    except InvalidOperation:
        return ""
    return format(value.normalize() if value else Decimal(0), "f")


def _unfenced(text: str) -> str:
    return _FENCE_LINE.sub("", text)
