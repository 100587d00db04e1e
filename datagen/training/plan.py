"""The sequences that training reads, in the order in which it reads them, written once and read from the front.

All epochs are laid out one after the other, so that a checkpoint is a place in one list and training goes on from it
with exactly the sequences that it would have read: nothing depends on how a trainer shuffles an epoch.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

from datagen.config import FinetuneConfig
from datagen.files import storing
from datagen.training.encode import Example
from datagen.training.mix import Schedule, schedule

IGNORED = -100


@dataclass(frozen=True, slots=True)
class Plan:
    """The sequences of a training run (`data`: input_ids, labels, seq_lengths) and its schedule."""

    data: Any
    schedule: Schedule
    sequences_per_epoch: int
    filled: float
    """Share of a sequence's places that hold a token, of `length` where rows are packed, else of the longest row."""


def plan(examples: Sequence[Example], config: FinetuneConfig, seed: int, processes: int) -> Plan:
    """Every epoch in an order of its own; the last step is filled up from the next epoch's, so that steps are alike."""
    from datasets import concatenate_datasets

    rows = _dataset(examples)
    epochs = (_epoch(rows, config, seed, number) for number in count())
    first = next(epochs)
    schedules = schedule(config, len(first) * config.epochs, processes)
    wanted = schedules.steps * schedules.batch
    parts = list(_until(wanted, first, epochs))
    whole = concatenate_datasets(parts).select(range(wanted)).flatten_indices()
    longest = config.length if config.packing == "on" else max(len(example.tokens) for example in examples)
    tokens = sum(len(example.tokens) for example in examples)
    return Plan(whole, schedules, len(first), tokens / (len(first) * longest))


def _until(wanted: int, first: Any, others: Iterator[Any]) -> Iterator[Any]:
    """Epochs until there are `wanted` sequences."""
    have, epoch = 0, first
    while True:
        yield epoch
        have += len(epoch)
        if have >= wanted:
            return
        epoch = next(others)


def _dataset(examples: Sequence[Example]) -> Any:
    from datasets import Dataset

    labels = ([IGNORED] * e.start + list(e.tokens[e.start :]) for e in examples)
    return Dataset.from_dict({"input_ids": [list(e.tokens) for e in examples], "labels": list(labels)})


def _epoch(rows: Any, config: FinetuneConfig, seed: int, number: int) -> Any:
    """The rows in a random order; packed, whole rows fill sequences of at most `length` tokens, in a random order."""
    rng = Random(f"{seed} epoch {number}")
    shuffled = rows.select(rng.sample(range(len(rows)), len(rows)))
    if config.packing == "off":
        return shuffled
    from trl import pack_dataset

    packed = pack_dataset(
        shuffled, config.length, "bfd", {"batch_size": max(1, len(rows)), "load_from_cache_file": False}
    )
    return packed.select(rng.sample(range(len(packed)), len(packed)))


def write(planned: Plan, folder: Path) -> None:
    """Writes the sequences; the folder appears when it is whole."""
    draft = folder.with_name(f".{folder.name}.part")
    with storing(folder):
        shutil.rmtree(draft, ignore_errors=True)
        planned.data.save_to_disk(draft)
        shutil.rmtree(folder, ignore_errors=True)
        draft.rename(folder)
