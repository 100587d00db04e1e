"""Claims about excluded items: those that a decontamination really hit, and what is scored without them."""

from __future__ import annotations

import json

import polars as pl
import pytest

from datagen.benchmarks import load_benchmark
from datagen.config import DecontaminateConfig
from datagen.errors import InputError
from datagen.evaluation.grade import Graded
from datagen.evaluation.scores import excluded_items, summary
from datagen.files import write_json
from datagen.stages.decontaminate import decontaminate
from datagen.tables import write_frame


def sample(task, passed, index=0):
    return Graded(task, index, "", "", "pass" if passed else "fail", passed)


def test_items_that_a_run_overlaps_are_read_from_its_folder(tmp_path):
    """A data set that holds two questions of the suite: just these two are named, from the run's folder or its hits."""
    items = load_benchmark("interview")
    rows = pl.DataFrame({"id": ["a", "b", "c"], "question": [items[0].question, "Add 1 to n.", items[5].question]})
    _, hits, report = decontaminate(rows, items, DecontaminateConfig(), seed=0)
    stage = tmp_path / "4-decontaminate"
    stage.mkdir()
    write_frame(stage / "hits.parquet", hits)
    write_json(stage / "report.json", {"notes": {"decontamination": report}})
    expected = {"interview": frozenset({items[0].item, items[5].item})}
    for given in (tmp_path, stage, stage / "hits.parquet"):
        assert excluded_items(given) == expected


def test_methods_that_only_report_exclude_nothing(tmp_path):
    """OpenAI's procedure to the letter flags much that is clean: its hits are no reason to leave an item out."""
    lines = [{"benchmark": "b", "item": "1", "method": "openai"}, {"benchmark": "b", "item": "2", "method": "window"}]
    (tmp_path / "hits.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert excluded_items(tmp_path / "hits.jsonl") == {"b": frozenset({"2"})}


def test_a_file_of_another_shape_is_refused(tmp_path):
    """Its missing columns are named."""
    (tmp_path / "hits.jsonl").write_text(json.dumps({"task": "1"}))
    with pytest.raises(InputError, match="columns benchmark and item"):
        excluded_items(tmp_path / "hits.jsonl")


def test_both_figures_stand_in_the_summary():
    """All problems, and those that are left."""
    graded = [sample("a", True), sample("b", False), sample("c", False)]
    found = summary(graded, (1,), frozenset({"a", "z"}), 0)
    assert found["pass@k"]["1"]["value"] == pytest.approx(1 / 3, abs=1e-6)
    assert found["excluded"] == ["a"] and found["without_excluded"]["problems"] == 2
    assert found["without_excluded"]["pass@k"]["1"]["value"] == 0.0


def test_nothing_left_has_no_score():
    """A benchmark of which every item is excluded gets no number, and no crash."""
    assert summary([sample("a", True)], (1,), frozenset({"a"}), 0)["without_excluded"] == {"problems": 0, "pass@k": {}}


def test_k_goes_as_far_as_the_fewest_samples():
    """pass@2 needs two samples of every problem."""
    graded = [sample("a", True), sample("a", False, 1), sample("b", False)]
    assert set(summary(graded, (1, 2), None, 0)["pass@k"]) == {"1"}
