"""What the benchmark of decontamination is run on: rows of the project's generator, and the benchmarks at hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import polars as pl

from benchmarks.decontamination_edits import STRENGTHS, names_changed, words_changed
from datagen.benchmarks import load_benchmark
from datagen.demo.lessons import any_task, solution
from datagen.demo.phrasing import question
from datagen.sets import BenchmarkItem

BENCHMARKS = {"HumanEval": "humaneval", "MBPP": "mbpp_original", "GSM8K": "gsm8k"}
VERBATIM, SOLUTION = "verbatim", "solution, renamed"


def items_of(folder: Path) -> dict[str, tuple[BenchmarkItem, ...]]:
    """The benchmarks in a folder of folders, by name."""
    return {name: load_benchmark(str(folder / where)) for name, where in BENCHMARKS.items()}


def padded(items: Sequence[BenchmarkItem], count: int) -> list[BenchmarkItem]:
    """The items and, up to a count, such with the words of one of them in another order."""
    rng = Random(1)
    made = list(items)
    while len(made) < count:
        words = items[len(made) % len(items)].question.split()
        rng.shuffle(words)
        made.append(BenchmarkItem("padding", str(len(made)), " ".join(words)))
    return made[:count]


def long_questions(count: int) -> list[str]:
    """Questions of 50 to 150 words, each several of the generator's in a row."""
    rng = Random(2)
    pool = [question(any_task(rng), rng) for _ in range(20_000)]
    made = []
    for number in range(count):
        text, size = f"{number}.", rng.randint(50, 150)
        while text.count(" ") < size:
            text += f" {rng.choice(pool)}"
        made.append(text)
    return made


def generated(count: int) -> pl.DataFrame:
    """Rows of the generator as they are: id, question, solution."""
    rng = Random(3)
    rows = []
    for number in range(count):
        task = any_task(rng)
        text = question(task, rng)
        rows.append((f"clean-{number}", text, solution(task, text, rng)))
    return pl.DataFrame(rows, schema=["id", "question", "solution"], orient="row")


def planted(items: Sequence[BenchmarkItem], among: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows with copies of every item among them; and which row is a copy of which item (its number), how edited.

    A copy has the item's question, edited, and a solution of the generator's; or, last, a question of the generator's
    and the item's solution with all names changed.
    """
    rng = Random(4)
    others = [word for item in items for word in item.question.split()]
    clean = among.rows()
    rows, about = [], []
    for number, item in enumerate(items):
        edits = {VERBATIM: item.question} | {
            f"{share:.0%} of the words": words_changed(item.question, share, others, rng) for share in STRENGTHS
        }
        made = [(name, text, rng.choice(clean)[2]) for name, text in edits.items()]
        made += [(SOLUTION, rng.choice(clean)[1], names_changed(item.solution))] if item.solution else []
        for name, text, code in made:
            rows.append((f"planted-{len(rows)}", text, code))
            about.append((rows[-1][0], number, name))
    frame = pl.concat([among, pl.DataFrame(rows, schema=among.schema, orient="row")])
    known = pl.DataFrame(about, schema={"source_id": pl.String, "number": pl.Int64, "edit": pl.String}, orient="row")
    return frame.sample(fraction=1.0, shuffle=True, seed=5), known


def chosen(items: dict[str, tuple[BenchmarkItem, ...]], count: int) -> list[BenchmarkItem]:
    """So many of all items, at random; named by their benchmark."""
    every = [replace(item, benchmark=name) for name, own in items.items() for item in own]
    return Random(6).sample(every, count)
