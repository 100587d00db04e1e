"""Finds where the entries of a model's list start, however it numbers them.

Decided by how the numbers run (11, 12, 13 ...), not by one pattern: a list of steps inside an entry starts again at 1
and the outer numbers go on after it, while a new section starts again at 1 and they do not.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

FENCE = re.compile(r"^[ \t]*(?:```+|~~~+)[ \t]*(?P<info>[\w+-]*)[ \t]*$")
HEADING = re.compile(
    r"^\s*(?:[-*_=]{3,}|#{1,6}(?:\s+(?-i:[A-Z])[^.:()=]{0,50}:?)?|(?P<mark>\*\*|__)[^*_:.?!]{1,40}:?(?P=mark):?|"
    r"(?:[-*•] *)?(?:easy|medium|hard|intermediate|beginner|advanced)(?: (?:level )?(?:questions|problems))?:?)\s*$",
    re.IGNORECASE,
)
"""A rule, a Markdown heading, a short line in bold, the name of a level: what stands between questions."""

_OPEN = r"^(?P<indent>[ \t]*)(?P<open>(?:\#{1,6}[ \t]+)?(?:[-*+•][ \t]+)?)(?P<mark>\*{1,3}|_{2,3})?"
_LABELLED = re.compile(
    _OPEN + r"(?P<left>(?:interview )?(?:coding )?(?:question|problem|exercise|task|challenge|q)\b\.?[ \t]*|q)"
    r"(?:no\.?[ \t]*)?[#(\[]?(?P<number>\d{1,4})[)\]]?(?:[ \t]*[(\[](?:easy|medium|hard)[)\]])?"
    r"(?P<right>[*_]{1,3}[ \t]*[:.)–—-]*|[ \t]*[:.)–—-]+[ \t]*(?:[*_]{1,3}(?=\s|$))?|(?=[ \t]*$))(?=\s|$|[A-Z\"'`])",
    re.IGNORECASE,
)
_NUMBERED = re.compile(
    _OPEN + r"(?P<left>[(\[#]?)(?P<number>\d{1,4})"
    r"(?P<right>\\?[.):\]]+(?:[*_]{1,3}(?=\s|$))?|[*_]{1,3}[.):\]]*|[ \t]+[-–—](?=[ \t])"
    r"|(?<=#\d)|(?<=#\d\d)|(?<=#\d{3}))(?=\s|$|[A-Z\"'`*])"
)
_HEADED = re.compile(_OPEN + r"(?P<left>question|problem|q)(?P<right>[*_]{0,3}:[*_]{0,3})(?=\s|$)", re.IGNORECASE)
_BULLET = re.compile(r"^(?P<indent>[ \t]*)(?P<open>[-*+•·–])(?P<mark>)(?P<left>)(?P<right>)(?=[ \t]+\S)")
_FIELD = re.compile(
    r"^[*_]*(?:(?:(?:sample |expected )?(?:inputs?|outputs?)|examples?|constraints?|notes?|hints?|returns?)"
    r"(?: ?\d+)?[*_]*[ \t]*:|for example\b)",
    re.IGNORECASE,
)
_ASKS = re.compile(
    r"^[*_\"'\s]*(?:(?:easy|medium)[:.]\s*|[(\[](?:easy|medium)[)\]]\s*)?"
    r"(?:write|implement|create|define|design|develop|build|given|you (?:are|have|need|get)|"
    r"how (?:do|would|can|could)|can you write|suppose|a function|a program|complete|make a)\b",
    re.IGNORECASE,
)
_SKIPPED = 20  # a number further ahead than this is a year or an amount at the start of a line, not an entry's


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the completion and whether it stands in a closed code fence."""

    text: str
    fenced: bool = False


@dataclass(frozen=True, slots=True)
class Marker:
    """A line that may start an entry: its index, how it is numbered (shape), and the body after the number.

    mark: emphasis that began before the number and does not end with it. before: "heading" if a heading precedes the
    line, "colon" if the text before announces a list, else "".
    """

    line: int
    indent: int
    shape: str
    number: int | None
    body: str
    mark: str
    before: str

    @property
    def labelled(self) -> bool:
        """Numbered as a question ("Q1:", "Question 1"), so that an answer may follow as "A1:"."""
        return self.shape == "label"

    @property
    def asks(self) -> bool:
        return asks(self.body)


def asks(text: str) -> bool:
    """Whether the text opens as a programming question does; a step of a list, a title or a greeting does not."""
    return bool(_ASKS.match(text)) and len(text.split()) >= 5


def lines_of(text: str) -> list[Line]:
    """The lines of a text. A fence that is never closed hides nothing."""
    rows = text.split("\n")
    fenced = [False] * len(rows)
    opened: int | None = None
    for index, row in enumerate(rows):
        if not (fence := FENCE.match(row)):
            continue
        if opened is None or fence["info"]:  # a fence with a language only opens: the one before it was never closed
            opened = index
        else:
            fenced[opened : index + 1] = [True] * (index + 1 - opened)
            opened = None
    return [Line(row, inside) for row, inside in zip(rows, fenced, strict=True)]


def markers_of(lines: Sequence[Line]) -> list[Marker]:
    """Every line outside code that is numbered, labelled or a bullet."""
    found = []
    before = ""
    for index, line in enumerate(lines):
        if not line.fenced and (marker := _marker(index, line.text, before)):
            found.append(marker)
        before = line.text.strip() or before
    return found


def _marker(index: int, row: str, before: str) -> Marker | None:
    for pattern in (_LABELLED, _NUMBERED, _HEADED, _BULLET):
        if match := pattern.match(row):
            return _from_match(index, match, before, labelled=pattern in (_LABELLED, _HEADED))
    return None


def _from_match(index: int, match: re.Match[str], before: str, *, labelled: bool) -> Marker:
    number = match.groupdict().get("number")
    mark = match["mark"] or ""
    style = f"{match['open'].strip()}{mark}{match['left']}{'N' if number else ''}{match['right']}"
    return Marker(
        line=index,
        indent=len(match["indent"].expandtabs(4)),
        shape="label" if labelled else style,
        number=int(number) if number else None,
        body=_without_label(match.string[match.end() :].strip()),
        mark="" if mark in match["right"] else mark,
        before="heading" if HEADING.match(before) else "colon" if before.endswith(":") else "",
    )


def _without_label(body: str) -> str:
    """`Question 3: Write ...` after `3.` loses its label as well."""
    label = _LABELLED.match(body) or _HEADED.match(body)
    return body[label.end() :].strip() if label else body


def starts_of(markers: Sequence[Marker]) -> list[Marker]:
    """The markers at which an entry starts; the others belong to lists inside entries. `markers` is not empty."""
    first = markers[0]
    numbered = [marker for marker in markers if marker.number is not None]
    bullets = [marker for marker in markers if _alike(marker, first)]
    if first.number is None and numbered and not first.asks and len(bullets) <= len(numbered):
        first = numbered[0]  # the bullets are notes or categories
    if first.number is not None:
        return _by_number([marker for marker in numbered if marker.line >= first.line])
    return [first, *(bullet for bullet in bullets[1:] if not _FIELD.match(bullet.body))]


def _alike(marker: Marker, first: Marker) -> bool:
    """Numbered in the same style, on the same level."""
    return marker.shape == first.shape and marker.indent < first.indent + 2


def _by_number(markers: Sequence[Marker]) -> list[Marker]:
    first = markers[0]
    last_line = {marker.number: marker.line for marker in markers if _alike(marker, first)}
    starts, inner = [first], None
    for marker in markers[1:]:
        expected = (starts[-1].number or 0) + 1
        resumed = last_line.get(expected, -1) > marker.line
        if _opens(marker, expected, alike=_alike(marker, first), resumed=resumed, inner=inner, first=first):
            starts.append(marker)
            inner = None
        else:
            inner = marker
    return starts


def _opens(marker: Marker, expected: int, *, alike: bool, resumed: bool, inner: Marker | None, first: Marker) -> bool:
    """Whether the marker starts an entry, `expected` being the next number of the list, and `first` its first entry.

    resumed: the expected number comes later, in the style of the list. inner: the marker before, if it was a step of a
    list inside an entry.
    """
    number = marker.number or 0
    if inner and number == (inner.number or 0) + 1:
        close = marker.line == inner.line + 1
        if number != expected or (close and (resumed or not (alike and marker.asks))):
            return False
    if number == expected:
        return alike or not resumed
    if number > expected:
        return alike and not resumed and number <= expected + _SKIPPED
    again = number == first.number and marker.body == first.body  # the model loops over its whole list
    return alike and (again or _starts_anew(marker, inner))


def _starts_anew(marker: Marker, inner: Marker | None) -> bool:
    """Whether a number that was there before is one of the list: a new section, or a model that repeats itself."""
    if marker.number != 1 and not inner:  # a list of steps starts at 1
        return True
    return marker.before == "heading" or (marker.asks and marker.before != "colon")
