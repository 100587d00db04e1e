"""What the dedup benchmark rests on: its corpus is what it says, its truth is exact, its counts are the definitions."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("numba", reason="the exact join is compiled: pip install numba")

from benchmarks.dedup_contestants import BULK, OURS
from benchmarks.dedup_corpus import Kind, cached, corpus
from benchmarks.dedup_report import WHY, Cell, report
from benchmarks.dedup_truth import exact_join, score
from datagen.similarity.normalise import tokens

SIZE = 3000


@pytest.fixture(scope="module")
def chunk() -> pl.DataFrame:
    return next(corpus(SIZE, 3, SIZE))


def brute_force(texts: list[str], threshold: float) -> list[tuple[int, int]]:
    words = [text.split(" ") for text in texts]
    sets = [{tuple(own[at : at + 3]) for at in range(max(1, len(own) - 2))} for own in words]
    pairs = itertools.combinations(range(len(sets)), 2)
    return [(a, b) for a, b in pairs if len(sets[a] & sets[b]) / len(sets[a] | sets[b]) >= threshold]


def test_the_same_seed_makes_the_same_corpus(chunk: pl.DataFrame) -> None:
    """A seed names a corpus, another one another; a smaller corpus is the beginning of a larger one."""
    first, second = itertools.islice(corpus(SIZE + 10, 3, SIZE), 2)
    assert first.equals(chunk) and len(second) == 10
    assert not next(corpus(100, 4, SIZE))["text"].equals(chunk["text"].head(100))


def test_texts_are_normalised_and_questions_are_not(chunk: pl.DataFrame) -> None:
    """50 to 150 words; `text` is its own normal form and that of `question`."""
    for row in chunk.sample(300, seed=1).iter_rows(named=True):
        words = row["text"].split(" ")
        assert 50 <= len(words) <= 150
        assert tokens(row["text"]) == words == tokens(row["question"])
    assert (chunk["text"] != chunk["question"]).mean() > 0.9


def test_copies_are_near_and_other_tasks_are_not(chunk: pl.DataFrame) -> None:
    """Renames, reorderings and variants reach 0.7 as a rule, edits in part; fillings of one template hardly ever."""
    pairs = exact_join(chunk["text"], 0.7)
    near = np.zeros(len(chunk), dtype=bool)
    near[pairs.ravel()] = True
    shares = chunk.with_columns(near=pl.Series(near)).group_by("kind").agg(pl.col("near").mean())
    share = {Kind(kind): near for kind, near in shares.iter_rows()}
    assert share[Kind.VARIANT] == 1 and share[Kind.REORDER] > 0.95 and share[Kind.RENAME] > 0.8
    assert 0.4 < share[Kind.EDIT] < 0.9
    assert share[Kind.TEMPLATE] < 0.1


def test_a_cached_corpus_is_made_once(tmp_path: Path) -> None:
    """The file is the corpus, and is left alone when it is there."""
    path = cached(500, 3, tmp_path, SIZE)
    assert pl.read_parquet(path).equals(next(corpus(500, 3, SIZE)))
    path.write_bytes(b"mine")
    assert cached(500, 3, tmp_path, SIZE).read_bytes() == b"mine"


@given(
    st.lists(st.lists(st.sampled_from("abc"), max_size=9).map(" ".join), min_size=1, max_size=25),
    st.sampled_from([0.3, 0.5, 0.7, 1.0]),
)
def test_the_exact_join_equals_brute_force(texts: list[str], threshold: float) -> None:
    """Every pair at or over the threshold, exactly at it too, and no other, for any texts."""
    assert [tuple(pair) for pair in exact_join(pl.Series(texts), threshold).tolist()] == brute_force(texts, threshold)


def test_the_exact_join_equals_brute_force_on_the_corpus(chunk: pl.DataFrame) -> None:
    """The same on questions: those that are near others, and others among them."""
    near = np.unique(exact_join(chunk["text"], 0.6))[:250]
    texts = [*chunk["text"].gather(near).to_list(), *chunk["text"].tail(150).to_list()]
    assert [tuple(pair) for pair in exact_join(pl.Series(texts), 0.6).tolist()] == brute_force(texts, 0.6)


def test_leaked_false_and_orphan_are_the_definitions() -> None:
    """Of pairs 0-1 and 1-2: both kept leaks, nothing alike is false, and no kept match is an orphan."""
    pairs = np.array([[0, 1], [1, 2]])
    found = score(np.array([True, True, False, False]), pairs)
    assert (found.removed, found.leaked, found.false, found.orphan) == (2, 1, 1, 0)
    found = score(np.array([False, False, True, True]), pairs)
    assert (found.removed, found.leaked, found.false, found.orphan) == (2, 0, 0, 1)


def test_a_method_runs_in_a_process_of_its_own(tmp_path: Path) -> None:
    """A contestant answers with its cost as JSON and writes which rows it kept; one without its package says so."""
    path = cached(600, 3, tmp_path, SIZE)
    command = [sys.executable, "-m", "benchmarks.dedup_contestants"]
    ended = subprocess.run([*command, "datagen, numpy", path, tmp_path / "kept.npy"], capture_output=True, check=True)
    cost = json.loads(ended.stdout)
    assert cost["cpu"] > 0 and cost["peak_mb"] > 50 and np.load(tmp_path / "kept.npy").sum() < 600
    ended = subprocess.run([*command, "gaoya", path, tmp_path / "kept.npy"], capture_output=True, check=True)
    assert {"missing", "cpu"} & set(json.loads(ended.stdout))


def test_the_report_says_met_or_missed() -> None:
    """Targets are ratios of medians; a method that could not run is listed with the reason."""
    cells = [
        Cell("datagen, numba", 62_000, 1.0, 1, 100, "x", 1, 0, 0, 0),
        Cell("rensa", 62_000, 6.0, 1, 100, "rensa 0.5", 1, 2, 3, 4),
        Cell("rensa", 62_000, 9.0, 1, 100, "rensa 0.5", 1, 2, 3, 4),
        Cell("datasketch, bulk + xxh32", 62_000, 2.0, 1, 100, "datasketch 2", 1, 2, 3, 4),
        Cell("gaoya", 62_000, missing="not installed"),
    ]
    shown = report(cells)
    assert "| CPU time of rensa / datagen, numba, 62,000 rows | 7.5 | at least 5 | met |" in shown
    missed = "| CPU time of datasketch, bulk + xxh32 / datagen, numba, 62,000 rows | 2.0 | at least 15 | missed: {} |"
    assert missed.format(WHY[BULK, OURS, "cpu"]) in shown
    assert "bytes a row | 242 | at most 250 | met |" in shown
    assert "| gaoya | not installed |" in shown
