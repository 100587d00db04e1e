"""Drops questions that repeat an earlier one: word for word after normalisation, or nearly, by Jaccard similarity.

The work is that of `datagen.similarity`; here rows get ids, an order and reasons.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from datagen.config import DedupConfig
from datagen.errors import InputError, UsageError
from datagen.sets import Selection
from datagen.similarity import hashing
from datagen.similarity.backend import choose, require_ray
from datagen.similarity.bands import bands_for
from datagen.similarity.index import KeptIndex, empty_index, made_alike
from datagen.similarity.matching import Found, Plan, State, find
from datagen.similarity.rounds import Rounds
from datagen.similarity.workspace import MEGABYTE, Workspace

PRIORITY = ("round", "id", "prompt_index", "position")
DROPPED = {
    "source_id": pl.String,
    "reason": pl.String,
    "detail": pl.String,
    "text": pl.String,
    "kept_id": pl.String,
    "jaccard": pl.Float64,
}
PERMUTATIONS, MANY_PERMUTATIONS = 130, 252
"""26 bands of 5 rows at a threshold of 0.7; 42 of 6, which propose fewer needless pairs among very many rows."""
MANY = 10_000_000
COPIES = 3
"""Of its state that memory has to hold for a set that is worked on in rounds: what is read, joined and gone on with."""


@dataclass(frozen=True, slots=True)
class Deduplicated:
    """What stayed and what went; the index of all that is kept now, earlier sets included; what was done for it."""

    selection: Selection
    index: KeptIndex
    work: dict[str, Any]


def dedup(
    questions: pl.DataFrame,
    config: DedupConfig,
    *,
    column: str = "question",
    priority: Sequence[str] = PRIORITY,
    against: KeptIndex | None = None,
) -> Selection:
    """Keeps the first of each group of equal or similar texts; the result does not depend on the order of the rows.

    Rows are taken in ascending order of `priority`, ties broken by the other columns. A row is dropped when its
    Jaccard similarity (sets of `config.shingle` words) with a kept row before it is at least `config.threshold`, and
    names the most similar of those (`kept_id`, `jaccard`); a text without a word or an operator is dropped as `empty`.
    Of the pairs exactly at the threshold at least 99 % are found, of those above it more; no other pair counts.
    What `against` holds was kept before and has priority. Raises UsageError for settings that cannot work, InputError
    for a missing column.
    """
    return deduplicate(questions, config, column=column, priority=priority, against=against).selection


def deduplicate(
    questions: pl.DataFrame,
    config: DedupConfig,
    *,
    column: str = "question",
    priority: Sequence[str] = PRIORITY,
    against: KeptIndex | None = None,
    room: Workspace | None = None,
    rounds: Path | None = None,
) -> Deduplicated:
    """`dedup` with the index that later sets are compared with, and the work that it took.

    `room` is where its state lies, which the index goes on using (default: one of `config.memory_mb`). `rounds` is a
    folder for what is found of these rows: where the next call's begin with the same, only the others are worked on.
    That is for sets that memory holds on this machine; the result is the same with it and without.
    """
    _check(questions, config, ("id", column, *priority))
    ordered = _ordered(questions, priority, column)
    plan = plan_of(config, len(ordered))
    before = empty_index(plan) if against is None else made_alike(against, plan, "--against")
    text = ordered[column].cast(pl.String)
    with nullcontext(room) if room else room_of(config) as room:
        ids = ordered["id"].cast(pl.String)
        found = _found(ids, text, plan, config, room, before.state, rounds)
        index = before.extended(ids, found)
        work = asdict(found.counts) | {"hash": hashing.NAME, "spilled_bytes": room.spilled}
        work |= {name: getattr(plan, name) for name in ("num_perm", "bands", "rows")}
        return Deduplicated(_split(ordered, text, ids, before.ids, found), index, work)


def _size(text: pl.Series, plan: Plan) -> int:
    """About how many bytes the texts and their state take."""
    return int(text.estimated_size()) + len(text) * (8 + 4 * plan.bands + plan.num_perm)


def room_of(config: DedupConfig) -> Workspace:
    """Where a dedup under these settings works."""
    return Workspace(config.memory_mb * MEGABYTE)


def _found(
    ids: pl.Series, text: pl.Series, plan: Plan, config: DedupConfig, room: Workspace, before: State,
    rounds: Path | None,
) -> Found:  # fmt: skip
    """What becomes of each text, found on the cluster that the settings name or on this machine: there with what
    earlier rounds found, if memory holds it.
    """
    if config.address:
        require_ray()
        cluster = importlib.import_module("datagen.similarity.on_ray")  # loads ray, so only when asked for
        found: Found = cluster.find([text], plan, config.backend, before, address=config.address)
        return found
    if rounds is not None and room.holds(COPIES * (_size(text, plan) + _size(before.text, plan))):
        return Rounds(rounds, ids, text, plan, before).find(config.backend, room)
    return find([text], plan, choose(config.backend, len(text)), room, before)


def plan_of(config: DedupConfig, rows: int) -> Plan:
    """The plan of these settings for so many rows; UsageError for settings that cannot work."""
    if config.exact:
        return Plan(1.0, config.shingle, 0, 0, 0, exact=True)
    num_perm = config.num_perm or (MANY_PERMUTATIONS if rows >= MANY else PERMUTATIONS)
    bands, per_band = bands_for(config.threshold, num_perm)
    return Plan(
        config.threshold, config.shingle, num_perm, bands, per_band, flips=config.flips, flip_cap=config.flip_cap
    )


def _check(questions: pl.DataFrame, config: DedupConfig, needed: Sequence[str]) -> None:
    if not 0 < config.threshold <= 1:
        raise UsageError(f"threshold {config.threshold} is not a similarity", hint="Give one over 0 and up to 1")
    if config.shingle < 1:
        raise UsageError(f"shingle {config.shingle} is no number of words", hint="Give 1 or more; 3 is the default")
    if missing := [name for name in needed if name not in questions.columns]:
        raise InputError(f"no column {', '.join(missing)}", hint=f"Columns here: {', '.join(questions.columns)}")


def _ordered(questions: pl.DataFrame, priority: Sequence[str], column: str) -> pl.DataFrame:
    """The rows in ascending order of `priority`; the other columns are looked at only if rows tie in it."""
    first = list(dict.fromkeys(priority))
    if not first or questions.is_empty():
        return questions.sort(_total_order(questions, (column,)), nulls_last=True)
    order = questions.select(pl.arg_sort_by(first, nulls_last=True)).to_series()
    ranks = questions.select(first)[order]
    tied = np.ones(len(ranks) - 1, np.bool_)
    for rank in ranks:
        tied &= rank[1:].eq_missing(rank[:-1]).to_numpy()
    if tied.any():
        return questions.sort(_total_order(questions, (*first, column)), nulls_last=True)
    return questions if (order.to_numpy() == np.arange(len(order))).all() else questions[order]


def _total_order(frame: pl.DataFrame, first: Sequence[str]) -> list[str]:
    """Every column that can be sorted by, `first` before the others: rows that still tie are interchangeable."""
    rest = (name for name, dtype in frame.schema.items() if not dtype.is_nested())
    return list(dict.fromkeys((*first, *rest)))


def _split(ordered: pl.DataFrame, text: pl.Series, ids: pl.Series, old: pl.Series, found: Found) -> Selection:
    """The rows that stay, and the others with their reasons."""
    stays = found.kept == np.arange(len(ordered)) + len(old)
    gone = np.flatnonzero(~stays)
    kept, jaccard = found.kept[gone], found.jaccard[gone]
    named = pl.concat([old.rename("id"), ids.rename("id")]).gather(np.maximum(kept, 0))
    frame = pl.DataFrame(
        {
            "source_id": ids.gather(gone),
            "text": text.gather(gone).fill_null(""),
            "empty": kept < 0,
            "same": found.same[gone],
            "kept_id": named,
            "jaccard": jaccard,
        }
    )
    return Selection(ordered.filter(pl.Series(stays)), frame.with_columns(**_reasons()).select(*DROPPED))


def _reasons() -> dict[str, pl.Expr]:
    empty, same, kept = pl.col("empty"), pl.col("same"), pl.col("kept_id")
    percent = (pl.col("jaccard") * 100).round().cast(pl.Int64)
    similarity = pl.format("{}.{}", percent // 100, (percent % 100).cast(pl.String).str.zfill(2))
    near = pl.format("Jaccard {} with {}", similarity, kept)
    detail = pl.when(empty).then(pl.lit("no word and no operator"))
    reason = pl.when(empty).then(pl.lit("empty"))
    return {
        "reason": reason.when(same).then(pl.lit("exact-duplicate")).otherwise(pl.lit("near-duplicate")),
        "detail": detail.when(same).then(pl.format("equal to {}", kept)).otherwise(near),
        "kept_id": pl.when(~empty).then(kept),
        "jaccard": pl.when(~empty).then(pl.col("jaccard")),
    }
