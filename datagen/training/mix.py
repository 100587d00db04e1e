"""Which examples are read, in which order: rehearsal mixed in by tokens, every epoch shuffled anew."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from datagen.config import FinetuneConfig
from datagen.errors import UsageError
from datagen.training.encode import Example


def drawn(examples: Sequence[Example], tokens: int, rng: Random) -> tuple[Example, ...]:
    """Examples in a random order, as many as come nearest to `tokens` tokens; all, if they hold fewer."""
    order = rng.sample(range(len(examples)), len(examples))
    taken, total = [], 0
    for index in order:
        size = len(examples[index].tokens)
        if abs(total + size - tokens) > abs(total - tokens):
            break
        taken.append(examples[index])
        total += size
    return tuple(taken)


def rehearsal_tokens(own: int, shares: Sequence[float]) -> list[int]:
    """Tokens of each rehearsal set that make it its share of all tokens, beside `own` tokens of the data itself."""
    whole = own / (1 - sum(shares))
    return [round(whole * share) for share in shares]


@dataclass(frozen=True, slots=True)
class Schedule:
    """Optimizer steps, sequences of each, warm-up steps, and how often a device gathers gradients for a step."""

    steps: int
    batch: int
    warm_up: int
    accumulation: int


def schedule(config: FinetuneConfig, sequences: int, processes: int) -> Schedule:
    """The steps for so many sequences (of all epochs); UsageError where a step cannot be shared out evenly.

    The first step of a warm-up has learning rate 0: at least one step comes after it, else nothing would be trained.
    """
    batch = max(1, config.batch_tokens // config.length) if config.batch_tokens else config.batch
    share = config.micro_batch * processes
    if batch % share:
        hint = f"Give --batch {max(1, batch // share) * share}, or another --micro-batch"
        raise UsageError(
            f"a step of {batch} sequences cannot be shared by {processes} x {config.micro_batch}", hint=hint
        )
    steps = config.max_steps or max(1, math.ceil(sequences / batch))
    warm_up = round(config.warm_up * steps) if config.warm_up < 1 else round(config.warm_up)
    return Schedule(steps, batch, min(warm_up, steps - 1), batch // share)
