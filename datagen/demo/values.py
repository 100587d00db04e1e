"""Random inputs for the demo problems: short lists of digits, short words, small numbers and small dictionaries."""

from __future__ import annotations

from random import Random

Value = object

WORDS = (
    "cat", "dog", "sun", "box", "cup", "owl", "ant", "egg", "ice", "arm", "bird", "fish",
    "tree", "moon", "star", "leaf", "door", "ring", "apple", "house", "river", "stone", "train", "oak",
)  # fmt: skip
LENGTHS = (2, 2, 3, 3, 3, 3, 3, 4)


def value(kind: str, rng: Random) -> Value:
    """A random input of type L, W, S, N or D (see operations.py)."""
    return _MAKERS[kind](rng)


def _numbers(rng: Random) -> list[int]:
    return [rng.randrange(10) for _ in range(rng.choice(LENGTHS))]


def _words(rng: Random) -> list[str]:
    return rng.sample(WORDS, min(rng.choice(LENGTHS), 4))


def _word(rng: Random) -> str:
    return rng.choice(WORDS)


def _number(rng: Random) -> int:
    return rng.randrange(1, 21)


def _table(rng: Random) -> dict[str, int]:
    return {word: rng.randrange(1, 10) for word in rng.sample(WORDS, rng.choice((2, 3, 3)))}


_MAKERS = {"L": _numbers, "W": _words, "S": _word, "N": _number, "D": _table}
