"""What each way finds of edited copies, and what it flags that is clean: whole benchmarks, and planted items."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import polars as pl

from benchmarks.decontamination_edits import every_tenth_word_changed, first_three_fifths, names_changed
from benchmarks.decontamination_entrants import CONFIG, grams
from datagen.overlap import STRONG
from datagen.sets import BenchmarkItem
from datagen.stages.decontaminate import scan

METHODS = {
    "openai, 3 x 50": ("openai",),
    "every window": ("window",),
    "whole, short items": ("whole",),
    "rare 5-grams": ("containment",),
    "AST": ("ast",),
    "**strong**": STRONG,
}
EDITS: dict[str, tuple[str, Callable[[str], str]]] = {
    "verbatim": ("question", str),
    "first 60 %": ("question", first_three_fifths),
    "1 word in 10 changed": ("question", every_tenth_word_changed),
    "solution renamed": ("solution", names_changed),
}
Pairs = set[tuple[str, int]]


def grid(items: dict[str, tuple[BenchmarkItem, ...]], clean: pl.DataFrame) -> list[tuple[str, ...]]:
    """A line a method: percent of each benchmark's items found in their copy, an edit a column; clean rows flagged."""
    cells: dict[str, dict[str, list[str]]] = {}
    for edit, (column, change) in EDITS.items():
        for own in items.values():
            if column == "solution" and not own[0].solution:
                continue
            copies = pl.DataFrame({column: [change(str(getattr(item, column))) for item in own]})
            for method, pairs in everybody(copies, own, column).items():
                share = sum((str(number), number) in pairs for number in range(len(own))) / len(own)
                cells.setdefault(method, {}).setdefault(edit, []).append(f"{100 * share:.0f}")
    every = [item for own in items.values() for item in own]
    flagged = {method: len({row for row, _ in pairs}) for method, pairs in everybody(clean, every, "question").items()}
    return [
        (method, *("/".join(columns.get(edit, ["-"])) for edit in EDITS), f"{100 * flagged[method] / len(clean):.2f}")
        for method, columns in cells.items()
    ]


def everybody(rows: pl.DataFrame, items: Sequence[BenchmarkItem], column: str) -> dict[str, Pairs]:
    """Row and item (its number) of everything that is found, by method; n-grams look at questions only."""
    ids = rows["id"] if "id" in rows.columns else pl.int_range(len(rows), eager=True).cast(pl.String)
    hits = scan(rows, items, CONFIG, seed=0).hits
    places = {(item.benchmark, item.item): number for number, item in enumerate(items)}
    found = {
        name: {
            (row, places[benchmark, item])
            for row, benchmark, item in hits.filter(pl.col("method").is_in(methods))
            .select("source_id", "benchmark", "item")
            .rows()
        }
        for name, methods in METHODS.items()
    }
    if column == "question":
        found |= {f"{n}-gram, any": _shared(ids, rows["question"], items, n) for n in (13, 8)}
    return found


def _shared(ids: pl.Series, texts: pl.Series, items: Sequence[BenchmarkItem], n: int) -> Pairs:
    """Row and item wherever one n-gram of words is common."""
    known: dict[tuple[str, ...], list[int]] = {}
    for number, item in enumerate(items):
        for gram in grams(item.question, n):
            known.setdefault(gram, []).append(number)
    return {
        (row, number)
        for row, text in zip(ids, texts, strict=True)
        for gram in grams(text, n)
        for number in known.get(gram, ())
    }


def planted_table(rows: pl.DataFrame, items: Sequence[BenchmarkItem], about: pl.DataFrame) -> list[tuple[str, ...]]:
    """A line a method: percent of the planted copies found, an edit a column; clean rows flagged, and their share."""
    edits = list(dict.fromkeys(about["edit"]))
    copies = {edit: about.filter(pl.col("edit") == edit).select("source_id", "number").rows() for edit in edits}
    clean = set(rows["id"]) - set(about["source_id"])
    lines = []
    for method, pairs in everybody(rows, items, "question").items():
        shares = [f"{100 * sum(copy in pairs for copy in copies[edit]) / len(copies[edit]):.0f}" for edit in edits]
        false = len({row for row, _ in pairs} & clean)
        lines.append((method, *shares, f"{false:,} ({100 * false / len(clean):.2f} %)"))
    return [("", *edits, "clean rows flagged"), *lines]
