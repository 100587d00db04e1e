"""Both reports over a table of rows, and what either can check of each benchmark item."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from datagen.config import DecontaminateConfig
from datagen.overlap.fields import fields_of
from datagen.overlap.hits import named
from datagen.overlap.openai import acting, openai, processed
from datagen.overlap.stretches import LENGTH
from datagen.overlap.strong import Known, prepare, strong
from datagen.sets import BenchmarkItem


@dataclass(frozen=True, slots=True)
class Scanned:
    """The hits (schema HITS) in the order of rows and items, and a line per item that says what can be checked."""

    hits: pl.DataFrame
    coverage: pl.DataFrame


def scan_rows(
    rows: pl.DataFrame,
    items: Sequence[BenchmarkItem],
    config: DecontaminateConfig,
    *,
    seed: int,
    columns: Sequence[str] = (),
) -> Scanned:
    """Everything that `openai` and `strong` find in the named columns of the rows (default: question, solution, tests).

    A row is called by its column `id`, or by its place where there is none.
    """
    fields = fields_of(rows, columns)
    known = prepare(items, config.minimum)
    found = [openai(fields, items, config, seed=seed), strong(fields, known, config.containment)]
    return Scanned(named(pl.concat(found), ids_of(rows), items), coverage(items, known, config))


def ids_of(rows: pl.DataFrame) -> pl.Series:
    """What each row is called in hits and drops."""
    column = rows["id"] if "id" in rows.columns else pl.int_range(len(rows), eager=True)
    return column.cast(pl.String).rename("source_id")


def coverage(items: Sequence[BenchmarkItem], known: Known, config: DecontaminateConfig) -> pl.DataFrame:
    """benchmark, item, characters (letters and digits), words, and for each method whether it can find the item."""
    lengths = processed(pl.Series([item.question for item in items], dtype=pl.String)).str.len_chars()
    printed = np.isin(np.arange(len(items)), [number for numbers in known.prints.values() for number in numbers])
    as_whole = np.isin(np.arange(len(items)), known.whole.last.item)
    return pl.DataFrame(
        {
            "benchmark": pl.Series([item.benchmark for item in items], dtype=pl.String),
            "item": pl.Series([item.item for item in items], dtype=pl.String),
            "characters": lengths.cast(pl.Int64),
            "words": known.words.astype(np.int64),
            "openai": lengths >= 1,
            acting(config): lengths >= config.minimum,
            "window": known.windows.characters >= LENGTH,
            "whole": as_whole,
            "containment": known.checkable,
            "ast": printed,
            "execution": pl.Series([bool(item.tests and item.entry_point) for item in items], dtype=pl.Boolean),
        }
    )
