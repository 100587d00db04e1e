"""Tells whether a model's prose is English and whether it got stuck in a loop; no model, no large word list."""

from __future__ import annotations

import re
from collections.abc import Sequence

_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`|\"[^\"\n]*\"|(?<!\w)'[^'\n]{1,80}'(?!\w)", re.DOTALL)
_WORD = re.compile(r"(?<![\w.])[^\W\d_]+(?:'[^\W\d_]+)?(?![\w(])")
_LETTERS = re.compile(r"[^\W\d_]{2}")
_CAMEL = re.compile(r"[a-z][A-Z]")
_ENGLISH = frozenset(
    re.findall(
        r"\w+",
        """a an the of to in is are that this and or for with which as from by on at be it its if all each every any not
        no you your write given return returns function program takes list string number numbers integer two one how
        what where when into than whether using use find create implement without between can should must has have do
        does called there same first last only array values""",
    )
)
_OTHERS = frozenset(
    re.findall(
        r"\w+",
        """de la el los las un una que en es por para con del al se su le les des et est dans pour une qui du sur au aux
        der die das und ist ein eine einen mit von zu den dem für auf nicht sich wird werden che il lo gli di della per
        sono da na os em um uma não dos com voor het een van met niet op och att som av med til ve bir bu için ile dan
        yang untuk dengan dari adalah sebuah fonction función funktion zwei deux liste lista escribe escriba dado dada
        dato écrire écrivez schreibe gegeben scrivi écris""",
    )
)


def foreign(text: str) -> bool:
    """Whether the prose is mostly not English: letters of another script, or words of another language.

    Code, quoted strings and identifiers do not count; a text of fewer than four words is judged by its letters only.
    """
    prose = _CODE.sub(" ", text)
    letters = [char for char in prose if char.isalpha()]
    if letters and sum(not _latin(char) for char in letters) / len(letters) > 0.3:
        return True
    words = [word.lower() for word in _WORD.findall(prose) if not _CAMEL.search(word)]
    english = sum(word in _ENGLISH for word in words)
    others = sum(word in _OTHERS for word in words)
    return len(words) >= 4 and others > english and others >= 3


def _latin(char: str) -> bool:
    """Whether a letter is of a Latin alphabet, with whatever accents."""
    return char < "\u0250" or "\u1e00" <= char < "\u1f00"


def loops(text: str) -> bool:
    """Whether a phrase of up to 40 words follows itself again and again, at least four times in a row.

    Only exact repeats of words count: calls of a function with different arguments are no loop. Data without words must
    repeat for 60 items, a character 120 times.
    """
    tokens = text.lower().split()
    return any(_cycles(tokens, period) for period in range(1, 41)) or re.search(r"(\S)\1{119,}", text) is not None


def _cycles(tokens: Sequence[str], period: int) -> bool:
    """Whether tokens equal the one `period` before for long enough, words sooner than data."""
    run, enough = 0, max(3 * period, 9)
    for index, (token, before) in enumerate(zip(tokens[period:], tokens, strict=False)):
        run = run + 1 if token == before else 0
        if run >= enough and (run >= 60 or any(map(_LETTERS.search, tokens[index : index + period]))):
            return True
    return False
