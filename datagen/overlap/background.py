"""Phrases that any programming task may hold, whatever it asks for: they are evidence of nothing."""

from __future__ import annotations

from functools import lru_cache

from datagen.resources import resource


@lru_cache(maxsize=1)
def background() -> tuple[str, ...]:
    """The paragraphs of data/background.txt, which is fixed: what is rare must not depend on the rows scanned."""
    text = resource("data/background.txt").read_text(encoding="utf-8")
    return tuple(part.strip() for part in text.split("\n\n") if part.strip())
