"""The words, numbers and operators that a comparison sees.

`tokens` is the definition. `normalise` gives the same words for a whole column: rows of plain ASCII without markup go
through a backend's scan of the bytes, the others are cleaned one by one first.
"""

from __future__ import annotations

import re
import unicodedata

import numpy as np
import polars as pl

from datagen.similarity.backend import Backend
from datagen.similarity.texts import Texts

_RULE = re.compile(r"^[ \t]*([-*_=])(?:[ \t]*\1){2,}[ \t]*$", re.MULTILINE)
_FENCE = re.compile(r"^[ \t]*(?:`{3,}|~{3,})[ \t]*[\w+#.-]*[ \t]*$", re.MULTILINE)
_LINK = re.compile(r"!?\[([^\[\]\n]*)\]\((?:https?:|mailto:|www\.|[/#])[^()\s]*\)")
_STARS = re.compile(r"(?<![\w*])(\*{1,3})(?=[^\s*])([^*\n]+)(?<=\S)\1(?![\w*])")
_BULLET = re.compile(r"^(?:[ \t]*(?:[-*+•]|>+|#{1,6}|\d{1,3}[.)])[ \t]+)+", re.MULTILINE)
_LETTER = r"[a-z0-9\u0080-\U0010ffff]"
_TOKEN = re.compile(
    rf"[a-z](?:\+\+|\#)(?!{_LETTER})"  # c++, c#, f#
    rf"|\d+(?:\.\d+)+"
    rf"|{_LETTER}+(?:_+{_LETTER}+)*"
    r"|<<=|>>=|\*\*=|//="
    r"|<=|>=|==|!=|->|=>|:=|\+=|-=|\*=|/=|%=|&=|\|=|\^=|\*\*|//|<<|>>|&&|\|\||\+\+|--"
    r"|(?<![^\W\d_])-|-(?![^\W\d_])"  # a minus; a hyphen between two letters is punctuation
    r"|[<>=+*/%&|^~]"
)
_SPACED = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_SAME = {"≤": "<=", "≥": ">=", "≠": "!=", "−": "-", "×": "*", "÷": "/"}  # the sign and its ASCII spelling


def tokens(text: str) -> list[str]:
    """The words, numbers and operators that the comparison sees.

    NFKC and casefold; markdown, punctuation and invisible characters go; operators and c++, c#, f# stay, and so do the
    marks that belong to letters; each Chinese or Japanese character is a word.
    """
    return _TOKEN.findall(_cleaned(text))


def _cleaned(text: str) -> str:
    """The text, folded and without markup, in which the tokens stand."""
    if text.isascii():
        folded = text.lower()
    else:
        folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    plain = re.sub(r"\r\n?", "\n", folded) if "\r" in folded else folded
    plain = _FENCE.sub(" ", _RULE.sub(" ", plain))
    if "](" in plain:
        plain = _LINK.sub(r"\1", plain)
    if "*" in plain:
        plain = _STARS.sub(r"\2", _STARS.sub(r"\2", plain))  # twice: italics inside bold
    plain = _BULLET.sub(" ", plain)
    return plain if plain.isascii() else plain.translate(_CHARACTERS)


class _Characters(dict[int, str | None]):
    """A table for str.translate, filled as characters are met: what each one beyond ASCII becomes."""

    def __missing__(self, code: int) -> str | None:
        self[code] = _becomes(chr(code)) if code > 127 else chr(code)
        return self[code]


def _becomes(character: str) -> str | None:
    category = unicodedata.category(character)
    if character in _SAME:
        return f" {_SAME[character]} "
    if category == "Cf":
        return None
    if category == "Sm" or _SPACED.match(character):
        return f" {character} "
    return character if category[0] in "LNM" else " "


_CHARACTERS = _Characters()


def normalise(texts: pl.Series, backend: Backend) -> Texts:
    """Each text as its `tokens` with one space between; a null is an empty text."""
    raw = texts.fill_null("")
    content = Texts.of(raw)
    odd = np.flatnonzero(backend.marked(raw, content))
    whole = np.zeros(len(raw), np.bool_)
    if len(odd):
        ready = [_ready(text, backend.AWKWARD) for text in raw.gather(odd).to_list()]
        whole[odd] = [done for _, done in ready]
        content = Texts.of(raw.scatter(odd, [text for text, _ in ready]))
    return backend.scan(content, whole)


def _ready(text: str, awkward: re.Pattern[str]) -> tuple[str, bool]:
    """The cleaned text if a scan of its bytes finds the tokens, else the tokens themselves, and which it is."""
    cleaned = _cleaned(text)
    if cleaned.isascii() and not awkward.search(cleaned):
        return cleaned, False
    return " ".join(_TOKEN.findall(cleaned)), True
