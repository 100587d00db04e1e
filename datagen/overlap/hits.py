"""What a finding of overlap looks like, whoever found it; which methods drop a row."""

from __future__ import annotations

import polars as pl

HITS = {
    "source_id": pl.String, "method": pl.String, "benchmark": pl.String, "item": pl.String, "field": pl.String,
    "start": pl.Int64, "end": pl.Int64, "span": pl.String, "score": pl.Float64,
}  # fmt: skip
"""One line a finding. `field` is the row's column, `span` its text from character `start` to `end`; a finding about a
whole row has the field "" and no span (nulls). `score` is the method's own, from 0 to 1."""

STRONG = ("window", "whole", "containment", "ast")
"""The methods of the strong report that look at words."""

ACTING = (*STRONG, "execution", "judge")
"""The methods whose findings drop a row, besides `openai-min` with its number."""

UNRESOLVED = "unresolved"
"""The method under which stands what could not be decided; it drops a row with a reason of its own."""


def no_hits() -> pl.DataFrame:
    """The empty table of hits."""
    return pl.DataFrame(schema=HITS)
