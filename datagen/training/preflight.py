"""Everything that goes wrong silently in fine-tuning, looked at before anything is spent, and shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from datagen.config import FinetuneConfig
from datagen.errors import InputError
from datagen.models import Drop
from datagen.training.encode import Encoder, Example, padding_token
from datagen.training.estimate import Memory, Size
from datagen.training.mix import Schedule

_READ, _LEARNT, _PLAIN = "\x1b[2m", "\x1b[32m", "\x1b[0m"


@dataclass(frozen=True, slots=True)
class Preflight:
    """What was found: the rows, the sequences, the schedule, the costs, and what the user should know."""

    rows: int
    dropped: tuple[Drop, ...]
    examples: tuple[Example, ...]
    mixed: tuple[tuple[str, int, int], ...]
    """Rehearsal: table, rows, tokens."""
    mixed_dropped: tuple[Drop, ...]
    """Rows of the rehearsal tables that could not be drawn."""
    schedule: Schedule
    sequences_per_epoch: int
    filled: float
    parameters: int
    memory: Memory
    device: str
    gpu_hours: float | None
    how: str
    warnings: tuple[str, ...] = ()


def check(examples: Sequence[Example], encoder: Encoder, config: FinetuneConfig, size: Size) -> tuple[str, ...]:
    """What the user should know about the rows; InputError where training on them would teach nothing.

    Every example learns at least one token and ends, inside what is learnt, with a token that ends an answer.
    """
    if not examples:
        hint = f"Look at what was dropped above; --length is {config.length:,}"
        raise InputError("no row is left to train on", hint=hint)
    endless = [example.id for example in examples if example.tokens[-1] not in encoder.ends or example.learnt < 1]
    if endless:
        raise InputError(f"{len(endless):,} rows do not learn where to stop, like {endless[0]}", hint="Report this")
    told = []
    inside = sum(example.inside for example in examples)
    if inside:
        told.append(
            f"{inside:,} prompts end within a token (that token is read, not learnt): "
            "a template that ends in a space or a letter does this"
        )
    if padding_token(encoder.tokenizer, encoder.ends, size.vocabulary) in encoder.ends:
        told.append("the tokenizer has no token for padding but the end's; places are masked here, other trainers err")
    return tuple(told)


def fitting(examples: Sequence[Example], size: Size, model: str) -> tuple[str, ...]:
    """What the user should know about rows and model; InputError for a token or a position without an embedding."""
    largest = max(examples, key=lambda example: max(example.tokens))
    if max(largest.tokens) >= size.vocabulary:
        raise InputError(
            f"row {largest.id} has the token {max(largest.tokens):,}, but the model has {size.vocabulary:,} embeddings",
            where=model,
            hint="Take the tokenizer that the model was made with, or resize its embeddings",
        )
    longest = max(len(example.tokens) for example in examples)
    if not size.positions or longest <= size.positions:
        return ()
    what = f"the longest row has {longest:,} tokens, the model was made for {size.positions:,}"
    if size.table:
        hint = f"Give --length {size.positions}: longer rows are dropped and counted"
        raise InputError(what, where=model, hint=hint)
    return (what,)


def hurried(planned: Schedule, sequences: int, config: FinetuneConfig) -> tuple[str, ...]:
    """What the user should know about a schedule too large for `sequences`, those of an epoch."""
    told, steps = [], planned.steps
    if 2 * planned.warm_up > steps:
        told.append(f"{planned.warm_up:,} of {steps:,} steps are warm-up: give a smaller --warm-up, or more rows")
    asked, read = sequences * config.epochs, steps * planned.batch
    if not config.max_steps and read > 1.2 * asked:
        flag = "--batch-tokens" if config.batch_tokens else "--batch"
        told.append(
            f"the last step is filled up: {read:,} sequences are read where --epochs {config.epochs} are {asked:,}: "
            f"give a smaller {flag}"
        )
    return tuple(told)


def marked(example: Example, encoder: Encoder, *, colour: bool) -> str:
    """The example as text, with what is learnt in green, or between ⟦ and ⟧ where there is no colour."""
    read = encoder.tokenizer.decode(example.tokens[: example.start])
    learnt = encoder.tokenizer.decode(example.tokens[example.start :])
    return f"{_READ}{read}{_PLAIN}{_LEARNT}{learnt}{_PLAIN}" if colour else f"{read}⟦{learnt}⟧"


def shown(found: Preflight, encoder: Encoder, config: FinetuneConfig, *, colour: bool) -> str:
    """The whole preflight for people."""
    return "\n\n".join(filter(None, [_row(found, encoder, colour), _rows(found), _cost(found, config), _warned(found)]))


def _row(found: Preflight, encoder: Encoder, colour: bool) -> str:
    how = "what is learnt is green" if colour else "what is learnt stands between ⟦ and ⟧"
    return f"One row as the model reads it; {how}:\n\n{marked(found.examples[0], encoder, colour=colour)}"


def _rows(found: Preflight) -> str:
    tokens = sum(len(example.tokens) for example in found.examples)
    learnt = sum(example.learnt for example in found.examples)
    longest = max(len(example.tokens) for example in found.examples)
    lines = [
        ("rows", f"{found.rows:,}; dropped: {_reasons(found.dropped)}"),
        ("tokens", f"{tokens:,}, of which {learnt:,} learnt ({learnt / tokens:.0%}); longest row {longest:,}"),
        *((f"rehearsal {name}", f"{rows:,} rows, {count:,} tokens") for name, rows, count in found.mixed),
        *([("rehearsal dropped", _reasons(found.mixed_dropped))] if found.mixed_dropped else []),
        ("sequences", f"{found.sequences_per_epoch:,} an epoch, {found.filled:.0%} filled"),
        (
            "steps",
            f"{found.schedule.steps:,} of {found.schedule.batch:,} sequences, {found.schedule.warm_up:,} of warm-up",
        ),
    ]
    return _aligned(lines)


def _reasons(dropped: Sequence[Drop]) -> str:
    counts = Counter(drop.reason for drop in dropped)
    return ", ".join(f"{reason} {count:,}" for reason, count in counts.most_common()) or "none"


def _cost(found: Preflight, config: FinetuneConfig) -> str:
    held = found.memory
    parts = f"weights {held.weights:.1f}, gradients {held.gradients:.1f}, optimizer {held.optimizer:.1f}"
    hours = "not known for this device: the first steps tell" if found.gpu_hours is None else f"{found.gpu_hours:.1f} h"
    lines = [
        ("model", f"{found.parameters:,} weights, all trained ({config.precision} precision)"),
        ("device", f"{found.device}, {found.how}"),
        ("memory", f"{held.total:.1f} GiB a device: {parts}, activations {held.activations:.1f}"),
        ("GPU time", hours),
    ]
    return _aligned(lines)


def _warned(found: Preflight) -> str:
    return "\n".join(f"note: {text}" for text in found.warnings)


def _aligned(lines: Sequence[tuple[str, str]]) -> str:
    width = max(len(name) for name, _ in lines)
    return "\n".join(f"{name:<{width}}  {text}" for name, text in lines)
