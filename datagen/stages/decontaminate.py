"""Finds rows that overlap a benchmark and drops them: scan, then (elsewhere) verify, then apply.

`scan` makes two reports side by side. `openai` is OpenAI's procedure to the letter, for comparison; `openai-min20` is
the same where it acts. `strong` looks at every window, at rare 5-grams, at whole short items and at the shape of
solutions. Execution and a judge add hits of their own; `apply` drops what any acting method found.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from datagen.config import DecontaminateConfig
from datagen.errors import UsageError
from datagen.overlap import ACTING, COMMON, HITS, STRONG, UNRESOLVED, acting, ids_of, processed, scan_rows, substrings
from datagen.overlap.scan import Scanned
from datagen.sets import BenchmarkItem, Selection, digest

__all__ = ["DROPPED", "HITS", "apply", "decontaminate", "processed", "report", "scan", "substrings"]

DROPPED = (
    "source_id", "reason", "detail", "text", "method", "benchmark", "item", "field", "start", "end", "span", "score",
)  # fmt: skip


def scan(
    rows: pl.DataFrame,
    items: Sequence[BenchmarkItem],
    config: DecontaminateConfig,
    *,
    seed: int,
    columns: Sequence[str] = (),
) -> Scanned:
    """The hits of both reports in each of the columns (default: question, solution, tests), and the items' coverage.

    One hit per row, item, method and field (`openai`: per row, item and method), in the order of rows, items, methods.
    Method `openai` is the procedure to the letter. Method `openai-min20` (the number is `config.minimum`) is the same
    with the same substrings, except that items of fewer processed characters match nothing. An item without a letter or
    digit never matches. The substrings depend on the seed and the item only, so other rows or benchmarks beside it
    change nothing. UsageError for a setting under 1.
    """
    _check(config)
    return scan_rows(rows, items, config, seed=seed, columns=columns)


def apply(rows: pl.DataFrame, hits: pl.DataFrame, config: DecontaminateConfig) -> Selection:
    """Drops the rows with a hit of an acting method as `contaminated`, of others those that are `unresolved`.

    The hits are those of `scan` and whatever verified them. A dropped row names its first hit.
    """
    acts = pl.col("method").is_in([acting(config), *ACTING])
    chosen = hits.with_columns(
        reason=pl.when(acts)
        .then(pl.lit("contaminated"))
        .when(pl.col("method") == UNRESOLVED)
        .then(pl.lit("unresolved"))
    )
    found_by = pl.col("method").replace(UNRESOLVED, "judge")
    ordered = chosen.filter(pl.col("reason").is_not_null()).sort("reason", maintain_order=True)
    first = ordered.unique("source_id", keep="first", maintain_order=True).with_columns(
        detail=pl.format("{} of {} by {}: {}", "item", "benchmark", found_by, pl.col("span").fill_null("the whole row"))
    )
    ids = ids_of(rows)
    found = ids.is_in(first["source_id"].implode())
    return Selection(rows.filter(~found), _dropped(rows.filter(found), ids.filter(found), first))


def decontaminate(
    rows: pl.DataFrame,
    items: Sequence[BenchmarkItem],
    config: DecontaminateConfig,
    *,
    seed: int,
    further: pl.DataFrame | None = None,
) -> tuple[Selection, pl.DataFrame, dict[str, Any]]:
    """Scan and apply in one; also returns every hit, those of `further` included, and a report of plain JSON data."""
    scanned = scan(rows, items, config, seed=seed)
    hits = scanned.hits if further is None else pl.concat([scanned.hits, further.select(*HITS)])
    return apply(rows, hits, config), hits, report(rows, items, Scanned(hits, scanned.coverage), config, seed)


def report(
    rows: pl.DataFrame, items: Sequence[BenchmarkItem], scanned: Scanned, config: DecontaminateConfig, seed: int
) -> dict[str, Any]:
    """Plain JSON data: per method and benchmark the items, those that it cannot check, the rows hit and the items hit.

    In `methods`, strong is all its methods together; `strong` tells them apart. `unchecked`: the items that none of the
    acting ones can check, execution and judge aside. `digests` name what was loaded.
    """
    names = list(dict.fromkeys(item.benchmark for item in items))
    others = [name for name in ("execution", "judge", UNRESOLVED) if name in scanned.hits["method"]]
    methods = {name: (name,) for name in ("openai", acting(config))} | {"strong": STRONG}
    methods |= {name: (name,) for name in others}

    def counted(methods: Sequence[str]) -> dict[str, Any]:
        return {name: _counts(name, scanned, methods) for name in names}

    return {
        "rows": len(rows),
        "seed": seed,
        "substrings": config.substrings,
        "length": config.length,
        "acts": [acting(config), *ACTING],
        "digests": {name: digest([item for item in items if item.benchmark == name]) for name in names},
        "unchecked": {name: _unchecked(scanned.coverage, name, config) for name in names},
        "methods": {label: counted(own) for label, own in methods.items()},
        "strong": {method: _without_names(counted((method,))) for method in (*STRONG, COMMON)},
    }


def _check(config: DecontaminateConfig) -> None:
    for name in ("substrings", "length", "minimum"):
        if (value := getattr(config, name)) < 1:
            raise UsageError(f"{name} = {value} is less than 1", hint="Leave it out for the published procedure")


def _dropped(rows: pl.DataFrame, ids: pl.Series, first: pl.DataFrame) -> pl.DataFrame:
    text = next((name for name in ("question", "text", "prompt", "solution") if name in rows.columns), rows.columns[0])
    texts = pl.DataFrame({"source_id": ids, "text": rows[text].cast(pl.String, strict=False)})
    return texts.join(first, on="source_id", how="left", maintain_order="left").select(*DROPPED)


def _checkable(coverage: pl.DataFrame, methods: Sequence[str]) -> pl.Series:
    known = [name for name in methods if name in coverage.columns]
    if not known:
        return pl.repeat(True, len(coverage), eager=True)
    return coverage.select(pl.any_horizontal(known)).to_series()


def _unchecked(coverage: pl.DataFrame, benchmark: str, config: DecontaminateConfig) -> list[str]:
    own = coverage.filter(pl.col("benchmark") == benchmark)
    return own.filter(~_checkable(own, [acting(config), *STRONG]))["item"].to_list()


def _without_names(counts: dict[str, Any]) -> dict[str, Any]:
    """The numbers only: most methods cannot find most items of some benchmark, and the coverage says which."""
    return {
        name: {key: value for key, value in one.items() if key != "too_short_items"} for name, one in counts.items()
    }


def _counts(benchmark: str, scanned: Scanned, methods: Sequence[str]) -> dict[str, Any]:
    """One benchmark's line: coverage (items, those that cannot be checked and which) and hits."""
    own = scanned.coverage.filter(pl.col("benchmark") == benchmark)
    short = own.filter(~_checkable(own, methods))["item"].to_list()
    of_this = scanned.hits.filter((pl.col("benchmark") == benchmark) & pl.col("method").is_in(methods))
    return {
        "items": len(own),
        "too_short": len(short),
        "too_short_items": short,
        "rows_hit": of_this["source_id"].n_unique(),
        "items_hit": of_this["item"].n_unique(),
    }
