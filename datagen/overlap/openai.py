"""OpenAI's procedure to the letter, and with a minimum length where it acts.

Source of the method: OpenAI, "GPT-4 Technical Report" (arXiv 2303.08774), appendix C. Letters and digits only, three
random 50-character substrings of each benchmark question (the whole if shorter), a match if one is inside the row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import polars as pl
import pyarrow as pa

import datagen.overlap.texts as texts
import datagen.overlap.windows as windows
from datagen.config import DecontaminateConfig
from datagen.models import seed_for
from datagen.overlap.hits import FOUND
from datagen.overlap.texts import Folded
from datagen.sets import BenchmarkItem

_PATTERNS = {"number": pl.Int64, "draw": pl.Int64, "draws": pl.Int64, "acts": pl.Boolean, "pattern": pl.String}
_PLACES = {"row": pl.Int64, "pattern": pl.String, "place": pl.Int64}
_ROWS_END, _PATTERNS_END = 1, 2
_CLASSES = ((36, 24), (24, 16), (20, 16))
"""Bytes from which on a pattern that is shorter than the drawn ones is looked for by anchors, and of which size; few
are shorter than all of these."""


def acting(config: DecontaminateConfig) -> str:
    """The name of the method that drops rows: `openai-min` with the number of characters."""
    return f"openai-min{config.minimum}"


def processed(text: pl.Series) -> pl.Series:
    """Each text without all that is not a letter or digit (Unicode categories L and N); case stays, null is ""."""
    return text.fill_null("").str.replace_all(r"[^\p{L}\p{N}]+", "")


def substrings(text: str, item: BenchmarkItem, config: DecontaminateConfig, seed: int) -> list[str]:
    """The drawn substrings of an item's processed text: with replacement, or the whole text where it is no longer."""
    places = len(text) - config.length + 1
    if places <= 1:
        return [text]
    name = f"{item.benchmark}/{item.item}"
    starts = [seed_for(seed, "decontaminate", name, str(draw)) % places for draw in range(config.substrings)]
    return [text[start : start + config.length] for start in starts]


def openai(
    fields: Mapping[str, pl.Series], items: Sequence[BenchmarkItem], config: DecontaminateConfig, *, seed: int
) -> pl.DataFrame:
    """What both methods find in the rows, whose text is that of all fields together; schema FOUND.

    One line per row, item and method, for the first drawn substring that is inside; its score is the share of the drawn
    ones that are.
    """
    patterns = _patterns(items, config, seed)
    if patterns.is_empty() or not fields:
        return pl.DataFrame(schema=FOUND)
    search = _Search(patterns["pattern"].unique(maintain_order=True), config.length)
    whole = _joined(fields)
    parts = [_found(start, part, fields, patterns, search) for start, part in texts.chunks(whole)]
    found = pl.concat([pl.DataFrame(schema=FOUND | {"acts": pl.Boolean}), *parts])
    acts = found.filter("acts").with_columns(method=pl.lit(acting(config)))
    return pl.concat([found, acts]).select(*FOUND)


def _patterns(items: Sequence[BenchmarkItem], config: DecontaminateConfig, seed: int) -> pl.DataFrame:
    """What is looked for: one line per drawn substring; `acts` where the item does, `number` is the item's place."""
    questions = processed(pl.Series([item.question for item in items], dtype=pl.String)).to_list()
    lines = []
    for number, (item, text) in enumerate(zip(items, questions, strict=True)):
        drawn = substrings(text, item, config, seed) if text else []  # an empty string is inside every text
        acts = len(text) >= config.minimum
        lines += [(number, draw, len(drawn), acts, pattern) for draw, pattern in enumerate(drawn)]
    return pl.DataFrame(lines, schema=_PATTERNS, orient="row")


def _joined(fields: Mapping[str, pl.Series]) -> pl.Series:
    """All fields of each row as one text."""
    columns = [column.cast(pl.String).fill_null("").alias(str(place)) for place, column in enumerate(fields.values())]
    return pl.DataFrame(columns).select(text=pl.concat_str(pl.all(), separator="\n"))["text"]


class _Search:
    """Patterns, prepared once: those of full length, middling and short ones are each looked for in their own way."""

    def __init__(self, patterns: pl.Series, length: int) -> None:
        sizes = patterns.str.len_bytes()
        classes = [(length, 0)] * (length >= _CLASSES[0][0]) + [*_CLASSES]
        self._sets = []
        for least, size in classes:
            if len(one := patterns.filter(sizes >= least)):
                folded = texts.fold(texts.raw(one), end=_PATTERNS_END, lower=False)
                self._sets.append((one, windows.anchors(folded, least, size)))
            patterns, sizes = patterns.filter(sizes < least), sizes.filter(sizes < least)
        self._short = patterns.to_list()

    def places(self, rows: Folded) -> pl.DataFrame:
        """Row, pattern and the first place of it in the row, for every pattern that is inside."""
        found = [
            pl.DataFrame(schema=_PLACES),
            *(part for one, known in self._sets for part in _whole(rows, one, known)),
        ]
        found += [_short(rows, self._short)] if self._short else []
        return pl.concat(found).group_by("row", "pattern").agg(pl.col("place").min())


def _whole(rows: Folded, patterns: pl.Series, known: windows.Anchors) -> Iterator[pl.DataFrame]:
    """The matches that are a pattern from end to end."""
    for found in windows.matches(rows, known):
        number = known.texts.text_of(found.other)
        complete = (found.other == known.texts.bounds[number]) & (found.length == known.texts.lengths()[number])
        place = found.start[complete]
        pattern = patterns.gather(number[complete])
        yield pl.DataFrame({"row": rows.text_of(place), "pattern": pattern, "place": place}, schema=_PLACES)


def _short(rows: Folded, patterns: list[str]) -> pl.DataFrame:
    """Patterns too short for an anchor, by Aho-Corasick."""
    buffers = [None, pa.py_buffer(rows.bounds), pa.py_buffer(rows.data)]
    column = pl.Series(pa.Array.from_buffers(pa.large_string(), len(rows.bounds) - 1, buffers))
    frame = pl.DataFrame({"row": np.arange(len(column)), "text": column}).filter(
        pl.col("text").str.contains_any(patterns)
    )
    each = frame.with_columns(pattern=pl.col("text").str.extract_many(patterns, overlapping=True).list.unique())
    lines = each.explode("pattern").select("row", "text", "pattern").rows()
    places = [
        (row, pattern, int(rows.bounds[row]) + text.encode().index(pattern.encode())) for row, text, pattern in lines
    ]
    return pl.DataFrame(places, schema=_PLACES, orient="row")


def _found(
    start: int, part: pl.Series, fields: Mapping[str, pl.Series], patterns: pl.DataFrame, search: _Search
) -> pl.DataFrame:
    """The findings of `openai` in some rows, and whether the item acts."""
    rows = texts.fold(texts.raw(part), end=_ROWS_END, lower=False)
    drawn = search.places(rows).join(patterns, on="pattern").sort("row", "number", "draw")
    first = drawn.group_by("row", "number", maintain_order=True).agg(
        pl.first("place", "pattern", "acts"), score=pl.len() / pl.first("draws")
    )
    lines = [
        (*_line(rows, start, row, number, place, pattern, fields), score, acts)
        for row, number, place, pattern, acts, score in first.rows()
    ]
    return pl.DataFrame(lines, schema=FOUND | {"acts": pl.Boolean}, orient="row")


def _line(
    rows: Folded, start: int, row: int, number: int, place: int, pattern: str, fields: Mapping[str, pl.Series]
) -> tuple[int, int, str, str, int | None, int | None, str]:
    """Where a pattern stands in its row: in which field, or, if it runs from one into another, in none."""
    low, high, span = rows.span(row, place, place + len(pattern.encode()))
    for name, column in fields.items():
        size = len(str(column[start + row] or ""))
        if low >= 0 and high <= size:
            return start + row, number, "openai", name, low, high, span
        low, high = low - size - 1, high - size - 1
    return start + row, number, "openai", "", None, None, span
