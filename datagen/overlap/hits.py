"""What a finding of overlap looks like, whoever found it; which methods drop a row."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from datagen.sets import BenchmarkItem

HITS = {
    "source_id": pl.String, "method": pl.String, "benchmark": pl.String, "item": pl.String, "field": pl.String,
    "start": pl.Int64, "end": pl.Int64, "span": pl.String, "score": pl.Float64,
}  # fmt: skip
"""One line a finding. `field` is the row's column, `span` its text from character `start` to `end`; a finding about a
whole row, or one that runs from a field into the next, has the field "" and no places (nulls); the `span` of a judge's
is what it said. `score` is the method's own, from 0 to 1."""

FOUND = {"row": pl.Int64, "number": pl.Int64} | {
    name: kind for name, kind in HITS.items() if name in ("method", "field", "start", "end", "span", "score")
}
"""The same with the places of row and item in what was given."""

STRONG = ("window", "whole", "containment", "ast")
"""The methods of the strong report that look at the text."""

COMMON = "window-common"
"""The method of windows that many items of a benchmark, or any task at all, have in common: reported only."""

ACTING = (*STRONG, "execution", "judge")
"""The methods whose findings drop a row, besides `openai-min` with its number."""

UNRESOLVED = "unresolved"
"""The method under which stands what could not be decided; it drops a row with a reason of its own."""


def no_hits() -> pl.DataFrame:
    """The empty table of hits."""
    return pl.DataFrame(schema=HITS)


def named(found: pl.DataFrame, ids: pl.Series, items: Sequence[BenchmarkItem]) -> pl.DataFrame:
    """Findings with the ids of rows and items instead of their places, in the order of rows, items, as found."""
    about = pl.DataFrame(
        [(number, item.benchmark, item.item) for number, item in enumerate(items)],
        schema={"number": pl.Int64, "benchmark": pl.String, "item": pl.String},
        orient="row",
    )
    rows = pl.DataFrame({"row": pl.int_range(len(ids), eager=True), "source_id": ids.cast(pl.String)})
    ordered = found.sort("row", "number", maintain_order=True)
    joined = ordered.join(about, on="number", how="left", maintain_order="left")
    return joined.join(rows, on="row", how="left", maintain_order="left").select(*HITS)
