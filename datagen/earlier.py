"""What was kept before, elsewhere: a run, an index, a file, a data set on the Hub, as one index to dedup against."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl

from datagen.config import DedupConfig
from datagen.errors import InputError
from datagen.similarity.index import KeptIndex, concatenated, is_index, load, made_alike
from datagen.similarity.matching import Plan
from datagen.sources import HubTable, read_rows, with_ids
from datagen.stages.dedup import deduplicate, plan_of
from datagen.store import DEDUP

INDEX = "index"
"""The folder of the index within a finished dedup's folder."""

Load = Callable[[HubTable], pl.DataFrame]


def kept_before(
    config: DedupConfig, rows: int, *, column: str = "question", own: Path | None = None, load_hub: Load | None = None
) -> KeptIndex | None:
    """The index of all that `config.against` names, for a set of so many rows; None where it names nothing.

    A name is the first of these that it is: an index, the folder of a run or of a dedup's results, a file or folder of
    tables, a data set on the Hub. Tables are read by `column`. Its ids begin with the name: `other.jsonl:17`.
    InputError for what cannot be read, is the folder `own` itself, or was indexed under other settings.
    """
    plan = plan_of(config, rows)
    found = [_named(name, config, plan, column, own, load_hub) for name in config.against]
    return concatenated(found) if found else None


def _named(
    name: str, config: DedupConfig, plan: Plan, column: str, own: Path | None, load_hub: Load | None
) -> KeptIndex:
    path = Path(name).expanduser()
    if own is not None and path.is_dir() and path.resolve() == own.resolve():
        raise InputError("a run is not compared with itself", where=name, hint="Leave it out of --against")
    places = [path, path / INDEX, path / DEDUP / INDEX]
    folder = next((place for place in places if is_index(place)), None)
    if folder is not None:
        index = made_alike(load(folder), plan, str(folder))
    else:
        index = _indexed(name, config, column, load_hub)
    return replace(index, ids=pl.Series("id", [f"{name}:{id_}" for id_ in index.ids], dtype=pl.String))


def _indexed(name: str, config: DedupConfig, column: str, load_hub: Load | None) -> KeptIndex:
    rows = read_rows(name, column=column, load=load_hub)
    frame = pl.DataFrame(
        {"id": with_ids(rows, column), "row": pl.int_range(len(rows), eager=True), "text": rows[column]}
    )
    return deduplicate(frame, replace(config, against=()), column="text", priority=("row",)).index
