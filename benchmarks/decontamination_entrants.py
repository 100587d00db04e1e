"""Who looks for overlap in the benchmark of decontamination: this project's methods, and the usual ways.

Each gets the rows as a column of texts and the items' questions, and answers how many rows it flags. Preparing the
items and normalising the rows is part of the work.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from importlib.util import find_spec

import polars as pl

from datagen.config import DecontaminateConfig
from datagen.overlap import openai as ours
from datagen.overlap import stretches, texts
from datagen.overlap.strong import prepare, strong
from datagen.sets import BenchmarkItem
from datagen.stages.decontaminate import scan

CONFIG = DecontaminateConfig()
Entrant = Callable[[pl.Series, Sequence[BenchmarkItem]], int]
NAIVE_ROWS = 400
"""Rows that the naive loop gets; its time is linear in them and is scaled up."""

_OTHER = re.compile(r"[^\w]|_")
_WORD = re.compile(r"\w+")


def drawn(items: Sequence[BenchmarkItem]) -> list[str]:
    """OpenAI's substrings of all items, each once."""
    questions = ours.processed(pl.Series([item.question for item in items])).to_list()
    lists = (ours.substrings(text, item, CONFIG, 0) for text, item in zip(questions, items, strict=True))
    return list(dict.fromkeys(part for parts in lists for part in parts if len(part) >= CONFIG.minimum))


def naive(rows: pl.Series, items: Sequence[BenchmarkItem]) -> int:
    """One `in` for every row and substring."""
    parts = drawn(items)
    flagged = 0
    for text in rows:
        plain = _OTHER.sub("", text)
        flagged += sum(part in plain for part in parts) > 0
    return flagged


def polars_any(rows: pl.Series, items: Sequence[BenchmarkItem]) -> int:
    """polars' contains_any, an Aho-Corasick automaton, over OpenAI's substrings."""
    return int(ours.processed(rows).str.contains_any(drawn(items)).sum())


def aho_corasick(rows: pl.Series, items: Sequence[BenchmarkItem]) -> int:
    """pyahocorasick over the same."""
    import ahocorasick

    automaton = ahocorasick.Automaton()
    for part in drawn(items):
        automaton.add_word(part, part)
    automaton.make_automaton()
    return sum(next(automaton.iter(_OTHER.sub("", text)), None) is not None for text in rows)


def gram_set(rows: pl.Series, items: Sequence[BenchmarkItem], n: int = 8) -> int:
    """Sets of word n-grams in plain Python, any of them shared."""
    known = {gram for item in items for gram in grams(item.question, n)}
    return sum(not known.isdisjoint(grams(text, n)) for text in rows)


def grams(text: str, n: int) -> set[tuple[str, ...]]:
    """The n-grams of a text's words in lower case."""
    words = _WORD.findall(text.lower())
    return set(zip(*(words[at:] for at in range(n)), strict=False))


def openai(rows: pl.Series, items: Sequence[BenchmarkItem]) -> int:
    """Ours: OpenAI's procedure, both methods."""
    return ours.openai({"question": rows}, items, CONFIG, seed=0)["row"].n_unique()


def windows(rows: pl.Series, items: Sequence[BenchmarkItem]) -> int:
    """Ours: every window of 50 characters."""
    questions = pl.Series([item.question for item in items])
    known = stretches.items_of(items, texts.fold(texts.raw(questions), end=stretches.ITEMS_END))
    parts = [
        stretches.every_window(texts.fold(texts.raw(part), end=stretches.ROWS_END), "question", start, known)
        for start, part in texts.chunks(rows)
    ]
    return pl.concat(parts)["row"].n_unique()


def whole_report(rows: pl.Series, items: Sequence[BenchmarkItem]) -> int:
    """Ours: the strong report."""
    return strong({"question": rows}, prepare(items, CONFIG.minimum), CONFIG.containment)["row"].n_unique()


def everything(rows: pl.Series, items: Sequence[BenchmarkItem]) -> int:
    """Ours: both reports and the coverage, as the command runs them."""
    return scan(pl.DataFrame({"question": rows}), items, CONFIG, seed=0).hits["source_id"].n_unique()


ENTRANTS: dict[str, Entrant] = {
    "naive `in` loop": naive,
    "pyahocorasick, 3 x 50": aho_corasick,
    "polars contains_any, 3 x 50": polars_any,
    "Python sets, 8-grams": gram_set,
    "ours: openai, 3 x 50": openai,
    "ours: every window": windows,
    "ours: strong": whole_report,
    "ours: both reports": everything,
}
NAIVE, POLARS, AHO, OPENAI, WINDOWS, BOTH = (
    "naive `in` loop", "polars contains_any, 3 x 50", "pyahocorasick, 3 x 50", "ours: openai, 3 x 50",
    "ours: every window", "ours: both reports",
)  # fmt: skip


def missing(name: str) -> str:
    """Why somebody cannot take part; "" if he can."""
    return "pip install pyahocorasick" if name == AHO and find_spec("ahocorasick") is None else ""
