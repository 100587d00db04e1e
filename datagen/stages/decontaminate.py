"""Finds and drops rows that overlap a benchmark, as OpenAI did it, with one guard added where it acts.

Source of the method: OpenAI, "GPT-4 Technical Report" (arXiv 2303.08774), appendix C. Letters and digits only, three
random 50-character substrings of each benchmark question (the whole if shorter), a match if one is inside the row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from datagen.config import DecontaminateConfig
from datagen.errors import UsageError
from datagen.models import seed_for
from datagen.sets import BenchmarkItem, Selection

HITS = {"source_id": pl.String, "method": pl.String, "benchmark": pl.String, "item": pl.String, "span": pl.String}
DROPPED = ("source_id", "reason", "detail", "text", "method", "benchmark", "item", "span")
_PATTERNS = {"number": pl.Int64, "benchmark": pl.String, "item": pl.String, "long": pl.Boolean, "span": pl.String}


def processed(text: pl.Series) -> pl.Series:
    """Each text without all that is not a letter or digit (Unicode categories L and N); case stays, null is ""."""
    return text.fill_null("").str.replace_all(r"[^\p{L}\p{N}]+", "")


def scan(rows: pl.DataFrame, items: Sequence[BenchmarkItem], config: DecontaminateConfig, *, seed: int) -> pl.DataFrame:
    """The hits: source_id, method, benchmark, item and span (the processed substring found), one per row, item, method.

    Method `openai` is the procedure to the letter, for comparison. Method `openai-min20` (the number is
    `config.minimum`) is the same with the same substrings, except that items of fewer processed characters match
    nothing. An item without a letter or digit never matches. In the order of rows, items; `openai` first. The
    substrings depend on the seed and the item only, so other rows or benchmarks beside it change nothing. UsageError
    for a setting under 1.
    """
    _check(config)
    patterns = _patterns(items, config, seed)
    if patterns.is_empty():
        return pl.DataFrame(schema=HITS)
    found = _found(rows["id"], processed(_texts(rows)), patterns)
    acting = f"openai-min{config.minimum}"
    hits = [
        found.with_columns(method=pl.lit("openai"), rank=0),
        found.filter("long").with_columns(method=pl.lit(acting), rank=1),
    ]
    return pl.concat(hits).sort("row", "number", "rank").select(*HITS)


def decontaminate(
    rows: pl.DataFrame, items: Sequence[BenchmarkItem], config: DecontaminateConfig, *, seed: int
) -> tuple[Selection, pl.DataFrame, dict[str, Any]]:
    """Drops the rows that `openai-min20` hits; also returns every hit of `scan` and a report of plain JSON data.

    A dropped row names its first hit. The report counts, per method and benchmark, the items, those too short to act,
    the rows hit and the items hit.
    """
    hits = scan(rows, items, config, seed=seed)
    acting = f"openai-min{config.minimum}"
    first = hits.filter(pl.col("method") == acting).unique("source_id", keep="first", maintain_order=True)
    contaminated = rows["id"].cast(pl.String).is_in(first["source_id"].to_list())
    selection = Selection(rows.filter(~contaminated), _dropped(rows.filter(contaminated), first))
    return selection, hits, _report(rows, items, hits, config, seed)


def substrings(text: str, item: BenchmarkItem, config: DecontaminateConfig, seed: int) -> list[str]:
    """The drawn substrings of an item's processed text: with replacement, or the whole text where it is no longer."""
    places = len(text) - config.length + 1
    if places <= 1:
        return [text]
    name = f"{item.benchmark}/{item.item}"
    starts = [seed_for(seed, "decontaminate", name, str(draw)) % places for draw in range(config.substrings)]
    return [text[start : start + config.length] for start in starts]


def _check(config: DecontaminateConfig) -> None:
    for name in ("substrings", "length", "minimum"):
        if (value := getattr(config, name)) < 1:
            raise UsageError(f"{name} = {value} is less than 1", hint="Leave it out for the published procedure")


def _texts(rows: pl.DataFrame) -> pl.Series:
    """Question, solution and tests of each row as one text."""
    tests = pl.col("tests").cast(pl.List(pl.String)).list.join("\n")
    parts = (pl.col("question").cast(pl.String), pl.col("solution").cast(pl.String), tests)
    return rows.select(text=pl.concat_str(parts, separator="\n", ignore_nulls=True))["text"]


def _patterns(items: Sequence[BenchmarkItem], config: DecontaminateConfig, seed: int) -> pl.DataFrame:
    """What is looked for: one line per drawn substring; `long` where the item acts, `number` is the item's place."""
    texts = processed(pl.Series([item.question for item in items], dtype=pl.String)).to_list()
    lines = [
        (number, item.benchmark, item.item, len(text) >= config.minimum, span)
        for number, (item, text) in enumerate(zip(items, texts, strict=True))
        for span in substrings(text, item, config, seed)
        if span  # an empty string is inside every text
    ]
    return pl.DataFrame(lines, schema=_PATTERNS, orient="row")


def _found(ids: pl.Series, texts: pl.Series, patterns: pl.DataFrame) -> pl.DataFrame:
    """The first drawn pattern of each item found in each text; columns of _PATTERNS, source_id and row."""
    spans = patterns["span"].unique(maintain_order=True).to_list()
    frame = pl.DataFrame({"source_id": ids.cast(pl.String), "text": texts}).with_row_index("row")
    some = frame.filter(pl.col("text").str.contains_any(spans))
    matched = some.select(
        "row", "source_id", span=pl.col("text").str.extract_many(spans, overlapping=True).list.unique()
    )
    drawn = patterns.with_row_index("draw")
    return (
        matched.explode("span")
        .join(drawn, on="span", maintain_order="left_right")
        .sort("row", "draw")
        .unique(["row", "number"], keep="first", maintain_order=True)
    )


def _dropped(rows: pl.DataFrame, first: pl.DataFrame) -> pl.DataFrame:
    detail = pl.format("{} of {} by {}: {}", "item", "benchmark", "method", "span")
    texts = rows.select(source_id=pl.col("id").cast(pl.String), text="question")
    joined = texts.join(first, on="source_id", how="left", maintain_order="left")
    return joined.with_columns(reason=pl.lit("contaminated"), detail=detail).select(*DROPPED)


def _report(
    rows: pl.DataFrame, items: Sequence[BenchmarkItem], hits: pl.DataFrame, config: DecontaminateConfig, seed: int
) -> dict[str, Any]:
    methods = {"openai": 1, f"openai-min{config.minimum}": config.minimum}
    names = list(dict.fromkeys(item.benchmark for item in items))
    return {
        "rows": len(rows),
        "seed": seed,
        "substrings": config.substrings,
        "length": config.length,
        "acts": f"openai-min{config.minimum}",
        "methods": {
            method: {name: _counts(name, items, hits.filter(pl.col("method") == method), least) for name in names}
            for method, least in methods.items()
        },
    }


def _counts(benchmark: str, items: Sequence[BenchmarkItem], hits: pl.DataFrame, least: int) -> dict[str, Any]:
    """One benchmark's line: coverage (items, too short to act and which) and hits."""
    own = [item for item in items if item.benchmark == benchmark]
    lengths = processed(pl.Series([item.question for item in own], dtype=pl.String)).str.len_chars().to_list()
    short = [item.item for item, length in zip(own, lengths, strict=True) if length < least]
    of_this = hits.filter(pl.col("benchmark") == benchmark)
    return {
        "items": len(own),
        "too_short": len(short),
        "too_short_items": short,
        "rows_hit": of_this["source_id"].n_unique(),
        "items_hit": of_this["item"].n_unique(),
    }
