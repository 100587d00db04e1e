"""Commands that work on any table, outside a run: `datagen dedup FILE`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence, Set
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from datagen.config import DedupConfig, shaping
from datagen.earlier import INDEX, kept_before
from datagen.errors import UsageError
from datagen.similarity.index import KeptIndex, save
from datagen.sources import HubTable, Output, beside, check_output, exists, output, read_rows, with_ids
from datagen.stages import dedup as stage
from datagen.store import Report

DEDUP = "datagen dedup"
BINS = 10

ABOUT = ("source_id", "row", "reason", "kept_id", "kept_row", "jaccard")
"""The first columns of removed.parquet; those of the input follow, under the names that `beside_ours` gives them."""

CLUSTERS = {
    "kept_id": pl.String, "kept_row": pl.Int64, "size": pl.Int64, "ids": pl.List(pl.String), "rows": pl.List(pl.Int64),
}  # fmt: skip
"""The columns of clusters.parquet: a kept row, how many rows it stands for (itself included), and those it replaced."""


@dataclass(frozen=True, slots=True)
class Table:
    """Which table a command reads, which column of it, and where its results go ("" : beside it)."""

    source: str
    column: str = "question"
    revision: str = ""
    subset: str = ""
    split: str = ""
    out: str = ""

    def read(self, load: Callable[[HubTable], pl.DataFrame] | None = None) -> pl.DataFrame:
        """Its rows; InputError as in `read_rows`."""
        return read_rows(
            self.source, column=self.column, revision=self.revision, subset=self.subset, split=self.split, load=load
        )

    def folder(self, suffix: str) -> Path:
        """Where the results go; UsageError if a second run would read them as part of the table."""
        path, source = Path(self.out) if self.out else beside(self.source, suffix), Path(self.source).expanduser()
        if exists(source) and path.resolve().is_relative_to(source.resolve()):
            raise UsageError("lies within the table itself", where=f"--out {path}", hint="Give a folder outside of it")
        return path


@dataclass(frozen=True, slots=True)
class Histogram:
    """How similar the near-duplicates are to the row that was kept for them, in equal bins, and how many are equal."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    equal: int


@dataclass(frozen=True, slots=True)
class Deduplicated:
    """What `dedup` did: its counts, the similarities, and the folder it wrote."""

    report: Report
    similarities: Histogram
    path: Path


def dedup(table: Table, config: DedupConfig, *, load: Callable[[HubTable], pl.DataFrame] | None = None) -> Deduplicated:
    """Drops the equal and similar rows of a table, of which the first in its order stays; writes a folder.

    kept.parquet has the input's columns and order; removed.parquet and clusters.parquet say what went and for what;
    report.json, the counts; index/ is what later sets are compared with (`--against`). Raises InputError for what
    cannot be read, UsageError for a folder that is someone else's.
    """
    path = table.folder("dedup")
    check_output(path, DEDUP)
    rows = table.read(load)
    against = kept_before(config, len(rows), column=table.column, load_hub=load)
    with output(path, DEDUP) as out, stage.room_of(config) as room:
        done = stage.deduplicate(
            _numbered(rows, table.column), config, column="text", priority=("row",), against=against, room=room
        )
        ids = with_ids(rows, table.column)
        removed = _removed(ids, done)
        report = Report("dedup", len(rows), len(rows), len(rows) - len(removed), dict(Counter(removed["reason"])))
        similarities = histogram(removed, config.threshold)
        _write(out, rows, removed)
        save(
            _index(done.index, ids, before=0 if against is None else len(against)),
            out.draft / INDEX,
            room,
        )
        out.finish(_described(table, config, report, similarities))
    return Deduplicated(report, similarities, out.path)


def _numbered(rows: pl.DataFrame, column: str) -> pl.DataFrame:
    """What the stage sees: each row's number, which names it and is its place in the order, and its text."""
    number = pl.int_range(len(rows), eager=True)
    return pl.DataFrame({"id": number.cast(pl.String), "row": number, "text": rows[column]})


def _removed(ids: pl.Series, done: stage.Deduplicated) -> pl.DataFrame:
    """What goes, in the input's order: the columns of ABOUT. `ids` name the rows; what is kept elsewhere has none."""
    found = done.selection.dropped.select(
        "reason",
        "jaccard",
        other=pl.col("kept_id"),
        row=pl.col("source_id").cast(pl.Int64),
        kept_row=pl.col("kept_id").cast(pl.Int64, strict=False),
    ).sort("row")
    own = pl.when(pl.col("kept_row").is_not_null()).then(ids.gather(found["kept_row"].fill_null(0)))
    named = found.with_columns(source_id=ids.gather(found["row"]), kept_id=pl.coalesce(own, "other"))
    return named.select(ABOUT)


def _index(index: KeptIndex, ids: pl.Series, before: int) -> KeptIndex:
    """The index of this table's kept rows alone, under their own ids."""
    kept = index.since(before)
    return replace(kept, ids=ids.gather(kept.ids.cast(pl.Int64)).rename("id"))


def _write(out: Output, rows: pl.DataFrame, removed: pl.DataFrame) -> None:
    stays = pl.Series([True]).new_from_index(0, len(rows)).scatter(removed["row"], False)
    out.table("kept", rows.filter(stays))
    out.table("removed", pl.concat([removed, beside_ours(rows[removed["row"]], ABOUT)], how="horizontal"))
    out.table("clusters", clusters(removed))


def beside_ours(rows: pl.DataFrame, ours: Sequence[str]) -> pl.DataFrame:
    """A table's rows, to stand beside the columns that are `ours`: NAME is `input.NAME` where it is one of them.

    Where the table has that column too, as results of results do, `input.` is repeated until the name is free.
    """
    taken, renamed = {*ours, *rows.columns}, {}
    for name in rows.columns:
        if name in ours:
            renamed[name] = _free(f"input.{name}", taken)
    return rows.rename(renamed)


def _free(name: str, taken: Set[str]) -> str:
    return name if name not in taken else _free(f"input.{name}", taken)


def clusters(removed: pl.DataFrame) -> pl.DataFrame:
    """The columns of CLUSTERS, the largest first, then in the input's order."""
    grouped = removed.drop_nulls("kept_row").group_by("kept_row", "kept_id")
    listed = grouped.agg(size=pl.len().cast(pl.Int64) + 1, ids=pl.col("source_id"), rows=pl.col("row"))
    return listed.sort(["size", "kept_row"], descending=[True, False]).select(CLUSTERS.keys()).cast(CLUSTERS)  # type: ignore[arg-type]  # a mapping of names to types


def histogram(removed: pl.DataFrame, threshold: float) -> Histogram:
    """BINS bins from the threshold to 1, each with its lower edge, the last with both."""
    near = removed.filter(pl.col("reason") == "near-duplicate")["jaccard"]
    edges = tuple(threshold + (1 - threshold) * place / BINS for place in range(BINS + 1))
    width = (1 - threshold) / BINS
    places = ((near - threshold) / width).floor().clip(0, BINS - 1) if width else near * 0
    counts = Counter(int(place) for place in places)
    equal = int((removed["reason"] == "exact-duplicate").sum())
    return Histogram(edges, tuple(counts[place] for place in range(BINS)), equal)


def draw(found: Histogram, width: int = 40) -> str:
    """The histogram as plain text, a line for each bin."""
    most = max(*found.counts, found.equal, 1)
    lows = [f"{low:.2f} to {high:.2f}" for low, high in zip(found.edges, found.edges[1:], strict=False)]
    rows = [*zip(lows, found.counts, strict=True), ("equal", found.equal)]
    digits = max(len(f"{count:,}") for _, count in rows)
    bars = (f"{name:<12}  {count:>{digits},}  {'#' * -(-width * count // most)}".rstrip() for name, count in rows)
    return "\n".join(["similarity to the row that was kept", *bars])


def _described(table: Table, config: DedupConfig, report: Report, similarities: Histogram) -> dict[str, Any]:
    """report.json: no clock values, so that equal work is equal bytes."""
    asked = {key: value for key, value in asdict(table).items() if key != "out" and value}
    return {"table": asked, "settings": shaping(config), **asdict(report), "similarities": asdict(similarities)}
