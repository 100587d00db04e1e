"""Questions that differ in one word that turns the task around: minimum and maximum, ascending and descending.

Their Jaccard similarity is about 0.93 for a question of a hundred words, more than that of many a rewording: no
threshold tells them apart, a list of such words does.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher

import numpy as np
import polars as pl
from numpy.typing import NDArray

DROP, KEEP, CAP = "drop", "keep", "cap"
CHOICES = (DROP, KEEP, CAP)
MOST = 2
"""Places in which two texts may differ."""

_GROUPS = """
    min max | minimum maximum | minimal maximal | smallest largest biggest greatest | least most | lowest highest
    ascending descending | increasing decreasing | increase decrease | smaller larger bigger greater | fewer more less
    first last | start end | starts ends | beginning end | prefix suffix | before after | left right | top bottom
    front back | head tail | leftmost rightmost | earliest latest | next previous | forward backward | oldest newest
    even odd | even-numbered odd-numbered | positive negative | sum product difference quotient average median mode
    add subtract multiply divide | upper lower | uppercase lowercase | vowel consonant | vowels consonants
    row column | rows columns | horizontal vertical | and or | any all | all none | with without | including excluding
    include exclude | inclusive exclusive | union intersection | push pop | insert delete remove | encode decode
    encrypt decrypt | compress decompress | serialize deserialize | true false | same different | equal unequal
    sorted unsorted | shortest longest | shorter longer | row-wise column-wise | bfs dfs | recursive iterative
    breadth-first depth-first | singular plural | > < >= <= == != | + - * / // % **
    python java javascript typescript c c++ c# go rust ruby swift kotlin php perl scala haskell sql bash
    one two three four five six seven eight nine ten | once twice | single double triple
    second seconds minute minutes hour hours day days week weeks month months year years
    integer integers float floats string strings | list tuple set dictionary | array matrix | stack queue
    north south east west | celsius fahrenheit kelvin | kilometers miles | binary octal decimal hexadecimal
"""
_NEGATIONS = frozenset({"not", "no", "never", "without", "non", "un", "don", "isn", "cannot", "except"})


def _members() -> dict[str, frozenset[int]]:
    found: dict[str, set[int]] = {}
    for number, group in enumerate(part for line in _GROUPS.splitlines() for part in line.split("|") if part.strip()):
        for word in group.split():
            found.setdefault(word, set()).add(number)
    return {word: frozenset(groups) for word, groups in found.items()}


_GROUP = _members()


def opposite(left: str, right: str) -> bool:
    """Whether one word in the place of the other makes another task: words of one group, or two numbers."""
    if left.isdigit() and right.isdigit():
        return left != right
    return left != right and bool(_GROUP.get(left, frozenset()) & _GROUP.get(right, frozenset()))


def turned(left: Sequence[str], right: Sequence[str]) -> bool:
    """Whether two texts differ in at most MOST places, and in each by opposite words or a negation."""
    if abs(len(left) - len(right)) > MOST:
        return False
    if len(left) == len(right):
        changed = [(a, b) for a, b in zip(left, right, strict=True) if a != b]
        if len(changed) <= MOST:
            return bool(changed) and all(opposite(a, b) for a, b in changed)
    return _negated(left, right)


def _negated(left: Sequence[str], right: Sequence[str]) -> bool:
    """Whether all that one text has more than the other is a negation or two."""
    steps = [step for step in SequenceMatcher(None, left, right, autojunk=False).get_opcodes() if step[0] != "equal"]
    if not 0 < len(steps) <= MOST or any(kind == "replace" for kind, *_ in steps):
        return False
    return all(_NEGATIONS.issuperset([*left[a:b], *right[c:d]]) for _, a, b, c, d in steps)


def flipped(texts: pl.Series, left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which pairs of rows are `turned`; the texts are normalised."""
    pairs = zip(texts.gather(left).to_list(), texts.gather(right).to_list(), strict=True)
    return np.fromiter((turned(a.split(" "), b.split(" ")) for a, b in pairs), np.bool_, len(left))
