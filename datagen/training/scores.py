"""From finished evaluations to the scores on a tuned model's card."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from datagen.errors import InputError
from datagen.evaluation.scores import read_entries
from datagen.files import write_whole
from datagen.training.card import ScoreFacts, with_scores

CARD = "README.md"


def write_scores(model: Path, evaluations: Sequence[Path]) -> None:
    """Puts the scores of these evaluations into the card in the model's folder, in place of those that stand there.

    Which model an evaluation is of is said beside each score. InputError where an evaluation is not finished, or the
    folder has no card with a section on evaluation.
    """
    scores = [score for folder in evaluations for score in _scores(folder, model)]
    order = list(dict.fromkeys(score.benchmark for score in scores))
    scores.sort(key=lambda score: (order.index(score.benchmark), score.k))
    try:
        text = (model / CARD).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        hint = "Give the folder `model` that `datagen finetune` wrote"
        raise InputError(f"holds no card ({error})", where=str(model), hint=hint) from error
    write_whole(model / CARD, with_scores(text, scores).encode())


def _scores(folder: Path, tuned: Path) -> Iterator[ScoreFacts]:
    """Every score of an evaluation; those without the items that a data set overlaps come next to those with them."""
    for name, entry in read_entries(folder).items():
        yield from _of(name, entry, entry, tuned)
        if "without_excluded" in entry:
            yield from _of(f"{name} without {len(entry['excluded'])}", entry, entry["without_excluded"], tuned)


def _of(name: str, entry: Mapping[str, Any], figures: Mapping[str, Any], tuned: Path) -> Iterator[ScoreFacts]:
    model = str(entry["model"])
    this = Path(model.partition("@")[0]).resolve() == tuned.resolve()
    for k, one in figures["pass@k"].items():
        yield ScoreFacts(
            model="this model" if this else model,
            benchmark=name,
            problems=figures["problems"],
            protocol=f"{entry['protocol']} ({entry['protocol_hash']})",
            n=entry.get("n") or entry["samples"] // entry["problems"],
            temperature=entry["temperature"],
            k=int(k),
            **{key: one[key] for key in ("value", "low", "high")},
        )
