"""Rare 5-grams of a benchmark's questions inside rows, and short questions that stand in a row as a whole sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator
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


@dataclass(frozen=True, slots=True)
class Whole:
    """Short items by their last words; of every item the place of its first word and their number."""

    last: Grams
    first: Ints
    counts: Ints


def rare_grams(questions: pl.Series, groups: Ints, limits: Ints) -> Grams:
    """The 5-grams that few items of any benchmark have and no task has for being one."""
    words = words_of(raw(questions))
    hashes, places = words.grams(N)
    item = words.text[places]
    hashes, item, places = _distinct(hashes, item, places)
    rare = _is_rare(hashes, groups[item], limits)
    rare &= ~np.isin(hashes, words_of(raw(_background())).grams(N)[0])
    return _grams(words, N, hashes[rare], item[rare], places[rare], len(questions))


def whole_items(questions: pl.Series, groups: Ints, limits: Ints, chosen: Ints) -> Whole:
    """The chosen items as a whole; those that several tasks share are left out."""
    words = words_of(raw(questions))
    counts = np.bincount(words.text, minlength=len(questions))
    first = np.searchsorted(words.text, np.arange(len(questions)))
    hashes, places = words.grams(LEAST_WORDS)
    last = np.searchsorted(places, first[chosen] + counts[chosen] - LEAST_WORDS)
    keep = _is_own(words, first[chosen], counts[chosen], groups[chosen], limits)
    own = chosen[keep]
    known = _grams(words, LEAST_WORDS, hashes[last][keep], own, places[last][keep], len(questions))
    return Whole(known, first, counts)


def _is_own(words: Words, first: Ints, counts: Ints, group: Ints, limits: Ints) -> npt.NDArray[np.bool_]:
    """Whether items are neither a phrase of the background nor shared by many of their benchmark."""
    background_words = words_of(raw(_background()))
    found = np.zeros(len(first), np.bool_)
    for n in np.unique(counts):
        own = counts == n
        hashes, places = words.grams(int(n))
        at = hashes[np.searchsorted(places, first[own])]
        found[own] = _is_rare(at, group[own], limits) & ~np.isin(at, background_words.grams(int(n))[0])
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


def whole(rows: Words, field: str, start: int, known: Whole) -> pl.DataFrame:
    """Rows in which a short item stands as a sentence of its own."""
    lines = list(_sentences(rows, known, field, start))
    return pl.DataFrame(lines, schema=FOUND, orient="row").unique(["row", "number"], keep="first", maintain_order=True)


def _sentences(
    rows: Words, known: Whole, field: str, start: int
) -> Iterator[tuple[int, int, str, str, int, int, str, float]]:
    """Where a row has all of an item's words, and nothing else in the same sentence."""
    for row, item, first, last in _copies(rows, known):
        before, after = rows.around(row, first, last)
        if _BEFORE.search(before) and _AFTER.match(after):
            yield start + row, item, "whole", field, *rows.span(first, last), 1.0


def _copies(rows: Words, known: Whole) -> Iterator[tuple[int, int, int, int]]:
    """Row, item, first and last word wherever an item's last words are and those before them, too."""
    row, item, ends, _ = _shared(rows, known.last)
    count = known.counts[item]
    first = ends - (count - LEAST_WORDS)
    inside = first >= 0
    inside[inside] = rows.text[first[inside]] == row[inside]
    for n in np.unique(count[inside]).tolist():
        own = np.flatnonzero(inside & (count == n))
        own = own[same(rows, first[own], known.last.words, known.first[item[own]], n)]
        yield from zip(
            row[own].tolist(), item[own].tolist(), first[own].tolist(), (first[own] + n - 1).tolist(), strict=True
        )


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
    order = np.lexsort((group, hashes))
    sorted_hashes, sorted_group = hashes[order], group[order]
    new = np.ones(len(order), np.bool_)
    new[1:] = (sorted_hashes[1:] != sorted_hashes[:-1]) | (np.diff(sorted_group) != 0)
    starts = np.flatnonzero(new)
    counts = np.diff(starts, append=len(order))
    common = np.unique(sorted_hashes[starts][counts > limits[sorted_group[starts]]])
    return np.isin(hashes, common, invert=True)


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
