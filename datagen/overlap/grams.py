"""Rare 5-grams of a benchmark's questions inside rows, and short questions that stand in a row as a whole sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from datagen.overlap.background import background
from datagen.overlap.hits import FOUND
from datagen.overlap.texts import Hashes, Ints, raw
from datagen.overlap.words import Words, same, words_of

N = 5
"""Words of a gram."""

COMMON_AT = 10
"""What more than so many items of one benchmark share, and more than one in a hundred, says nothing about any."""

LEAST_GRAMS = 2
"""So many rare grams an item needs, and so many of them a row, before their share means anything."""

LEAST_WORDS = 4
"""Shorter questions are names of things."""

_BEFORE = re.compile(r"(?:\A|[.?!:;\n\"'`*#>|)(\]]|\d\.)[\s\"'`*_#>|-]*\Z")
_AFTER = re.compile(r"[\s\"'`*_]*(?:\Z|[.?!:;\n\"'`*#<|)(\[])")


@dataclass(frozen=True, slots=True)
class Grams:
    """Some n-grams of the items: hashes sorted, and for each the item and the place of its first word there."""

    words: Words
    n: int
    hashes: Hashes
    item: Ints
    place: Ints
    totals: Ints
    sieve: npt.NDArray[np.bool_]


def rare_grams(questions: pl.Series, groups: Ints, limits: Ints) -> Grams:
    """The 5-grams that few items of any benchmark have and no task has for being one."""
    words = words_of(raw(questions))
    hashes, places = words.grams(N)
    item = words.text[places]
    hashes, item, places = _distinct(hashes, item, places)
    rare = _is_rare(hashes, groups[item], limits)
    rare &= ~np.isin(hashes, words_of(raw(_background())).grams(N)[0])
    return _grams(words, N, hashes[rare], item[rare], places[rare], len(questions))


def whole_grams(questions: pl.Series, groups: Ints, limits: Ints, chosen: Ints) -> list[Grams]:
    """The chosen items as one gram each, by their number of words; those that several tasks share are left out."""
    words = words_of(raw(questions))
    counts = np.bincount(words.text, minlength=len(questions))
    first = np.searchsorted(words.text, np.arange(len(questions)))
    found = []
    for n in np.unique(counts[chosen]).tolist():
        own = chosen[counts[chosen] == n]
        hashes, places = words.grams(n)
        at = np.searchsorted(places, first[own])
        common = np.isin(hashes[at], words_of(raw(_background())).grams(n)[0])
        keep = ~common & _is_rare(hashes[at], groups[own], limits)
        found.append(_grams(words, n, hashes[at][keep], own[keep], first[own][keep], len(questions)))
    return found


def containment(rows: Words, field: str, start: int, known: Grams, threshold: float) -> pl.DataFrame:
    """Rows that hold at least this share of an item's rare grams; the span runs from the first of them to the last."""
    row, item, at, gram = _shared(rows, known)
    frame = pl.DataFrame({"row": row, "number": item, "at": at, "gram": gram})
    counted = frame.group_by("row", "number").agg(
        count=pl.col("gram").n_unique(), first=pl.col("at").min(), last=pl.col("at").max()
    )
    totals = pl.DataFrame({"number": np.arange(len(known.totals)), "total": known.totals})
    scored = counted.join(totals, on="number").with_columns(score=pl.col("count") / pl.col("total"))
    hits = scored.filter((pl.col("score") >= threshold) & (pl.col("count") >= LEAST_GRAMS)).sort("row", "number")
    lines = [
        (
            start + one["row"],
            one["number"],
            "containment",
            field,
            *rows.span(one["first"], one["last"] + N - 1),
            one["score"],
        )
        for one in hits.iter_rows(named=True)
    ]
    return pl.DataFrame(lines, schema=FOUND, orient="row")


def whole(rows: Words, field: str, start: int, known: Sequence[Grams]) -> pl.DataFrame:
    """Rows in which a short item stands as a sentence of its own."""
    lines = [line for grams in known for line in _sentences(rows, grams, field, start)]
    return pl.DataFrame(lines, schema=FOUND, orient="row").unique(["row", "number"], keep="first", maintain_order=True)


def _sentences(
    rows: Words, known: Grams, field: str, start: int
) -> Iterator[tuple[int, int, str, str, int, int, str, float]]:
    for row, item, at, _ in zip(*(array.tolist() for array in _shared(rows, known)), strict=True):
        before, after = rows.around(row, at, at + known.n - 1)
        if _BEFORE.search(before) and _AFTER.match(after):
            yield start + row, item, "whole", field, *rows.span(at, at + known.n - 1), 1.0


def _background() -> pl.Series:
    return pl.Series(background(), dtype=pl.String)


def _distinct(hashes: Hashes, item: Ints, places: Ints) -> tuple[Hashes, Ints, Ints]:
    """Each gram of an item once, by hash."""
    order = np.lexsort((places, item, hashes))
    hashes, item, places = hashes[order], item[order], places[order]
    first = np.ones(len(hashes), np.bool_)
    first[1:] = (np.diff(item) != 0) | (hashes[1:] != hashes[:-1])
    return hashes[first], item[first], places[first]


def _is_rare(hashes: Hashes, group: Ints, limits: Ints) -> npt.NDArray[np.bool_]:
    """For each gram whether no group has more items with it than its limit."""
    frame = pl.DataFrame({"hash": hashes, "group": group, "limit": limits[group]})
    few = frame.select((pl.len().over("hash", "group") <= pl.col("limit")).all().over("hash"))
    return few.to_series().to_numpy()


def _grams(words: Words, n: int, hashes: Hashes, item: Ints, places: Ints, items: int) -> Grams:
    order = np.argsort(hashes, kind="stable")
    bits = int(np.clip(np.ceil(np.log2(8 * max(1, len(hashes)))), 10, 26))
    sieve = np.zeros(1 << bits, np.bool_)
    sieve[hashes >> np.uint64(64 - bits)] = True
    totals = np.bincount(item, minlength=items)
    return Grams(words, n, hashes[order], item[order], places[order], totals, sieve)


def _shared(rows: Words, known: Grams) -> tuple[Ints, Ints, Ints, Ints]:
    """Row, item, place in the row and number of every gram that both have, letter by letter."""
    hashes, at = rows.grams(known.n)
    likely = np.flatnonzero(known.sieve[hashes >> np.uint64(64 - int(np.log2(len(known.sieve))))])
    left = np.searchsorted(known.hashes, hashes[likely], "left")
    counts = np.searchsorted(known.hashes, hashes[likely], "right") - left
    gram = np.repeat(left - (np.cumsum(counts) - counts), counts) + np.arange(int(counts.sum()))
    at = at[np.repeat(likely, counts)]
    sure = same(rows, at, known.words, known.place[gram], known.n)
    return rows.text[at[sure]], known.item[gram[sure]], at[sure], gram[sure]
