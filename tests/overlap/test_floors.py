"""The recall grid on the real benchmarks: verbatim and edited copies of every item, and rows that are clean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import polars as pl
import pytest

from benchmarks.decontamination_edits import every_tenth_word_changed, first_three_fifths, names_changed
from datagen.benchmarks import load_benchmark
from datagen.config import DecontaminateConfig
from datagen.demo.lessons import any_task, solution
from datagen.demo.phrasing import question
from datagen.overlap import STRONG
from datagen.sets import BenchmarkItem
from datagen.stages.decontaminate import scan

FOLDERS = {"humaneval": "humaneval", "mbpp": "mbpp_original", "gsm8k": "gsm8k"}
CONFIG = DecontaminateConfig()


@pytest.fixture(scope="module")
def items(benchmarks_dir: Path) -> dict[str, Sequence[BenchmarkItem]]:
    return {name: load_benchmark(str(benchmarks_dir / folder)) for name, folder in FOLDERS.items()}


def recall(items: Sequence[BenchmarkItem], column: str, copies: Sequence[str], methods: Sequence[str]) -> float:
    """Percent of the items found in their own copy."""
    frame = pl.DataFrame({"id": [str(number) for number in range(len(items))], column: copies})
    hits = scan(frame, items, CONFIG, seed=0).hits.filter(pl.col("method").is_in(methods))
    own = {(str(number), item.item) for number, item in enumerate(items)}
    return 100 * len(own & set(hits.select("source_id", "item").rows())) / len(items)


@pytest.mark.parametrize(
    ("edit", "floors"),
    [
        (str, {"humaneval": 100, "mbpp": 100, "gsm8k": 100}),
        (first_three_fifths, {"humaneval": 98, "mbpp": 48, "gsm8k": 100}),
        (every_tenth_word_changed, {"humaneval": 99, "mbpp": 82, "gsm8k": 100}),
    ],
)
def test_edited_questions_are_found(
    items: dict[str, Sequence[BenchmarkItem]], edit: Callable[[str], str], floors: dict[str, int]
) -> None:
    """The strong report finds at least these shares of each benchmark's questions."""
    found = {
        name: recall(items[name], "question", [edit(item.question) for item in items[name]], STRONG) for name in floors
    }
    assert {name: (share, floors[name]) for name, share in found.items() if share < floors[name]} == {}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the benchmarks' own code
def test_renamed_solutions_are_found(items: dict[str, Sequence[BenchmarkItem]]) -> None:
    """A solution alone, all its names changed, is found by its shape: 96 % of HumanEval, 99 of MBPP (rounded)."""
    for name, floor in (("humaneval", 96), ("mbpp", 99)):
        renamed = [names_changed(item.solution) for item in items[name]]
        assert sum(code != item.solution for code, item in zip(renamed, items[name], strict=True)) > len(renamed) * 0.98
        assert round(recall(items[name], "solution", renamed, ["ast"])) >= floor


def test_clean_questions_stay_clean(items: dict[str, Sequence[BenchmarkItem]]) -> None:
    """No question of 5,000 that the project's own generator made is flagged; nor any question by another benchmark."""
    rng = Random(11)
    tasks = [any_task(rng) for _ in range(5000)]
    made = [question(task, rng) for task in tasks]
    frame = pl.DataFrame(
        {"question": made, "solution": [solution(*pair, rng) for pair in zip(tasks, made, strict=True)]}
    )
    every = [item for own in items.values() for item in own]
    hits = scan(frame, every, CONFIG, seed=0).hits
    assert set(hits["method"]) <= {"ast"}
    assert hits["source_id"].n_unique() <= 0.01 * len(frame)
    foreign = pl.DataFrame({"question": [item.question for item in items["gsm8k"]]})
    assert scan(foreign, [*items["mbpp"], *items["humaneval"]], CONFIG, seed=0).hits.is_empty()
