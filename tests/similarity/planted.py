"""Texts with planted near-duplicates, and what is true of them by comparing every pair."""

from __future__ import annotations

import random
from collections.abc import Sequence

from datagen.similarity.normalise import tokens
from datagen.similarity.verify import shingles

VOCABULARY = [f"word{number}" for number in range(3000)]


def sentence(draw: random.Random, words: int) -> list[str]:
    return [draw.choice(VOCABULARY) for _ in range(words)]


def corpus(seed: int, size: int = 400) -> list[str]:
    """Random texts, a third of them copies of earlier ones with a few words changed, moved or cut."""
    draw = random.Random(seed)
    texts: list[list[str]] = []
    for _ in range(size):
        if texts and draw.random() < 0.35:
            words = list(draw.choice(texts))
            for _ in range(draw.randint(0, 4)):
                words[draw.randrange(len(words))] = draw.choice(VOCABULARY)
            texts.append(words[draw.randint(0, 3) :])
        else:
            texts.append(sentence(draw, draw.randint(25, 70)))
    return [" ".join(words) for words in texts]


def truth(texts: Sequence[str], threshold: float, size: int = 3) -> dict[tuple[int, int], float]:
    """The exact similarity of every pair that reaches the threshold, the earlier row first."""
    sets = [shingles(" ".join(tokens(text)), size) for text in texts]
    found = {}
    for right, mine in enumerate(sets):
        for left in range(right):
            common = len(mine & sets[left])
            similarity = common / (len(mine) + len(sets[left]) - common)
            if similarity >= threshold:
                found[left, right] = similarity
    return found
