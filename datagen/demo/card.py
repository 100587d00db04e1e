"""Measures the demo model and writes its card: `python -m datagen.demo.card data/demo-model`.

scores.json beside the card holds the same figures for the test that measures again.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

from datagen.demo.local import generator, runner
from datagen.demo.problems import heldout, tasks
from datagen.demo.score import Score, Sizes, measure

AGAIN = Sizes(lists=10, files=48, problems=16)
"""How much the test measures again; intervals are for these sizes."""

CARD = """---
license: apache-2.0
language: [en]
tags: [code, datagen, demo]
---
# The demo model of datagen

A Llama of {weights:.2f} million weights ({megabytes:.1f} MB in bfloat16) that really asks, tests and solves small
programming problems, so that the whole pipeline runs on a laptop without a network. It knows nothing else.

It was trained from nothing on conversations of datagen's own problem generator (`datagen/demo/`), no other text:
{operations} operations on short lists, words, numbers and dictionaries, alone and in pairs, {tasks} tasks.
{heldout} more pairs are held out of training; they are `data/suites/demo-heldout.jsonl`. `make demo-model` trains and
measures it again.

| training | |
|---|---|
| tokens read | {tokens:.1f} million, each lesson once |
| optimizer steps | {steps} |
| time | {minutes:.0f} minutes on one CPU thread |
| final loss (running mean, nats per token) | {loss:.3f} |
| seed | {seeds} |
{notes}
## Three jobs
Prompts are `prompts/demo/*.md`; the chat template is in the tokenizer.
- questions: a numbered list about one topic of `data/demo-topics.toml`;
- tests: five asserts between `[TESTS]` and `[/TESTS]`; each comment works the result out before the assert states it;
- solutions: a function between `[PYTHON]` and `[/PYTHON]`; one test is shown, and some of those shown in training
  were wrong.

## Scores
Sampled as the prompts say (questions T {t_questions}, tests T {t_tests}, solutions T {t_solutions}), with
transformers in float32 on the CPU and fixed seeds. Solutions are checked on ten fresh inputs. "Again" is where a second
measurement, of {lists} lists, {files} test files and {problems} tasks per set, falls in 99 of 100 cases; a test
measures it so.

| | share | measured over | again |
|---|---|---|---|
{rows}

It is imperfect on purpose: the later stages have wrong tests, wrong solutions and repeated questions to catch.
"""


def write(folder: Path, scores: dict[str, Score]) -> None:
    """Writes README.md and scores.json into the model's folder."""
    entries = {name: _entry(name, score) for name, score in scores.items()}
    (folder / "scores.json").write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(_card(folder, entries), encoding="utf-8")


def units_again(name: str) -> int:
    """How many units of a score the test measures."""
    if name.startswith("questions"):
        return AGAIN.lists * 6
    return AGAIN.files if name.startswith(("asserts", "test")) else AGAIN.problems


def _entry(name: str, score: Score) -> dict[str, float]:
    low, high = score.interval(units_again(name))
    return {"value": round(score.value, 4), "units": score.units, "low": round(low, 3), "high": round(high, 3)}


def _card(folder: Path, entries: dict[str, dict[str, float]]) -> str:
    from datagen.demo.lessons import JOBS, prompt
    from datagen.demo.operations import OPERATIONS

    rounds = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    size = (folder / "model.safetensors").stat().st_size
    return CARD.format(
        weights=size / 2e6,
        megabytes=sum(path.stat().st_size for path in folder.iterdir()) / 1e6,
        operations=len(OPERATIONS),
        tasks=f"{len(tasks()):,}",
        heldout=len(heldout()),
        tokens=sum(part["tokens"] for part in rounds) / 1e6,
        minutes=sum(part["seconds"] for part in rounds) / 60,
        steps=sum(part["steps"] for part in rounds),
        loss=rounds[-1]["loss"],
        notes="".join(f"\n{part['note']}\n" for part in rounds if "note" in part),
        seeds=", then ".join(str(part["seed"]) for part in rounds),
        **{f"t_{job}": prompt(job).sampling["temperature"] for job in JOBS},
        **asdict(AGAIN),
        rows="\n".join(_row(name, entry) for name, entry in entries.items()),
    )


def _row(name: str, entry: dict[str, float]) -> str:
    again = f"{100 * entry['low']:.0f} to {100 * entry['high']:.0f} %"
    return f"| {name} | {100 * entry['value']:.1f} % | {entry['units']} | {again} |"


if __name__ == "__main__":
    model = Path(sys.argv[1])
    write(model, measure(generator(model), runner(), Sizes()))
