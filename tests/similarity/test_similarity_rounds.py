"""Dedup in rounds: whatever the rounds, and whatever became of what they left, the result is that of the whole."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import corpus, sentence

from datagen.config import DedupConfig
from datagen.similarity.bands import CAP
from datagen.similarity.rounds import Rounds
from datagen.stages.dedup import Deduplicated, deduplicate, plan_of

CONFIG = DedupConfig()
FEW = replace(CONFIG, num_perm=16)
"""Bands so short that unlike rows share buckets."""
TURNED = ("minimum", "maximum", "first", "last", "ascending", "descending")


def mixed(seed: int, size: int = 120) -> list[str]:
    """Planted copies, equal and empty texts, and more rows of one template, some of them turned, than CAP."""
    draw = random.Random(seed)
    shared = sentence(random.Random(seed + 1), 14)
    texts = corpus(seed, size)
    texts += [
        " ".join([*shared, draw.choice(TURNED), *sentence(draw, draw.choice((0, 1, 12)))]) for _ in range(2 * CAP)
    ]
    texts += [draw.choice(texts) for _ in range(size // 5)] + ["", "?"]
    draw.shuffle(texts)
    return texts


def frame(texts) -> pl.DataFrame:
    return pl.DataFrame({"id": [f"q{row:04}" for row in range(len(texts))], "question": texts})


def done(rows: pl.DataFrame, config: DedupConfig = CONFIG, rounds: Path | None = None, against=None) -> Deduplicated:
    return deduplicate(rows, config, priority=("id",), rounds=rounds, against=against)


def assert_same(found: Deduplicated, whole: Deduplicated) -> None:
    """Equal rows, in their order, reasons and similarities; an equal index; equal counts of the work."""
    assert found.selection.kept.equals(whole.selection.kept)
    assert found.selection.dropped.equals(whole.selection.dropped)
    assert found.work == whole.work
    assert found.index.ids.equals(whole.index.ids)
    ours, theirs = found.index.state, whole.index.state
    assert ours.text.equals(theirs.text)
    assert all(np.array_equal(getattr(ours, name), getattr(theirs, name)) for name in ("value", "keys", "sketch"))


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@given(
    seed=st.integers(0, 10**6),
    cuts=st.lists(st.floats(0, 1), max_size=4),
    config=st.sampled_from([CONFIG, FEW, replace(CONFIG, exact=True)]),
    flips=st.sampled_from(["drop", "keep", "cap"]),
    earlier=st.integers(0, 60),
)
@settings(deadline=None, max_examples=20)
def test_rounds_are_the_whole(seed, cuts, config, flips, earlier):
    """At any cuts, under any settings, against what another set kept: each round's result is that of the whole."""
    config, texts = replace(config, flips=flips), mixed(seed)
    against = done(frame(texts[:earlier]), config).index if earlier else None
    rows = frame(texts[earlier // 2 :])
    with tempfile.TemporaryDirectory() as folder:
        for cut in (*sorted(cuts), 1.0):
            part = rows.head(int(cut * len(rows)))
            assert_same(done(part, config, Path(folder), against), done(part, config, against=against))


@pytest.mark.parametrize("size", [30, 60, 70])
def test_a_bucket_that_outgrows_its_bound_is_that_of_the_whole(tmp_path, size):
    """Buckets go over CAP in one round or another, with unlike rows in them: pairs and counts are the whole's."""
    draw = random.Random(size)
    shared = " ".join(sentence(draw, 10))
    rows = frame([f"{shared} {' '.join(sentence(draw, draw.choice((2, 25))))}" for _ in range(5 * size)])
    for rounds in range(1, 6):
        part = rows.head(rounds * size)
        assert_same(done(part, FEW, tmp_path), done(part, FEW))


def test_only_new_rows_are_worked_on(tmp_path):
    """A round leaves what earlier ones wrote as it is, and adds a file about its own rows; the same rows add none."""
    rows = frame(mixed(1))
    done(rows.head(200), rounds=tmp_path)
    first = files(tmp_path)
    done(rows, rounds=tmp_path)
    second = files(tmp_path)
    assert len(first) == 1 and len(second) == 2 and first.items() < second.items()
    done(rows, rounds=tmp_path)
    assert files(tmp_path) == second


def test_what_was_found_before_is_believed(tmp_path):
    """The known part is really taken from the files: a file that knows of no similar pair among its rows drops none of
    them but copies.
    """
    rows = frame(mixed(2)).filter(pl.col("question").str.len_chars() > 150)
    whole = done(rows)
    assert (whole.selection.dropped["reason"] == "near-duplicate").any()
    plan, text = plan_of(CONFIG, len(rows)), rows["question"]
    rounds = Rounds(tmp_path, rows["id"], text, plan, done(rows.clear()).index.state)
    done(rows, rounds=tmp_path)
    (one,) = rounds.read()
    rounds.write([], replace(one.known, edges=one.known.edges.at(np.empty(0, np.int64))))
    assert "near-duplicate" not in done(rows, rounds=tmp_path).selection.dropped["reason"].to_list()


@pytest.mark.parametrize("place", [0, 100, 250])
def test_a_row_that_comes_late_is_in_its_place(tmp_path, place):
    """A row that comes late but stands before others: the rounds from there on are made anew, those before it not."""
    rows = frame(mixed(3))
    early = rows.filter(pl.col("id") != f"q{place:04}")
    for count in (50, 200, len(early)):
        done(early.head(count), rounds=tmp_path)
    before = files(tmp_path)
    assert_same(done(rows, rounds=tmp_path), done(rows))
    after = files(tmp_path)
    assert {name for name in after if before.get(name) == after[name]} == set(list(before)[: (0, 1, 2)[place // 100]])
    assert_same(done(rows, rounds=tmp_path), done(rows))
    assert files(tmp_path) == after


@pytest.mark.parametrize(
    "change",
    [{"threshold": 0.6}, {"shingle": 2}, {"num_perm": 64}, {"exact": True}, {"flips": "keep"},
     {"flips": "cap"}, {"flips": "cap", "flip_cap": 3}],
    ids=str,
)  # fmt: skip
def test_other_settings_find_everything_anew(tmp_path, change):
    """What was found under other settings is not used, and what replaces it is."""
    rows, config = frame(mixed(4)), replace(CONFIG, **change)
    done(rows.head(200), replace(CONFIG, flips="cap", flip_cap=2), tmp_path)
    for part in (rows.head(200), rows):
        assert_same(done(part, config, tmp_path), done(part, config))


def test_another_set_to_compare_with_finds_everything_anew(tmp_path):
    """What was found against one set is not used against another, nor without any."""
    rows, (one, other) = frame(mixed(5)), (done(frame(mixed(5)[start::3])).index for start in (0, 1))
    for against in (None, one, other, None):
        assert_same(done(rows, CONFIG, tmp_path, against), done(rows, CONFIG, against=against))


def test_other_texts_under_the_same_ids_are_other_rows(tmp_path):
    """Rows count as the same by their texts, not by their ids alone; fewer rows than before are no beginning."""
    rows, others = frame(mixed(6)), frame(mixed(7))
    for part in (rows, others, rows.head(100), rows):
        assert_same(done(part, rounds=tmp_path), done(part))


@given(seed=st.integers(0, 10**6), which=st.integers(0, 2), damage=st.sampled_from(["cut", "bit", "gone", "empty"]))
@settings(deadline=None, max_examples=12)
def test_a_damaged_file_costs_time_only(seed, which, damage):
    """A file that is cut, empty or gone, or one bit of which is wrong, is found out: its rows are worked on again."""
    rows, draw = frame(mixed(8)), random.Random(seed)
    whole = done(rows)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for count in (100, 200, 250):
            done(rows.head(count), rounds=folder)
        path = sorted(folder.iterdir())[which]
        data = bytearray(path.read_bytes())
        place = draw.randrange(len(data))
        if damage == "bit":
            data[place] ^= 1 << draw.randrange(8)
        path.write_bytes(data if damage == "bit" else data[:place] if damage == "cut" else b"")
        if damage == "gone":
            path.unlink()
        assert_same(done(rows, rounds=folder), whole)
        assert_same(done(rows, rounds=folder), whole)


def test_killed_between_any_two_writes_nothing_is_lost_or_doubled(tmp_path):
    """Killed right before any write, rename or removal while old files are replaced: the next round is the whole's."""
    driver = [sys.executable, str(Path(__file__).with_name("rounds_driver.py")), str(tmp_path)]
    path = os.pathsep.join(filter(None, (str(Path(__file__).parent), *sys.path)))
    ended = subprocess.run(
        driver, capture_output=True, text=True, check=False, timeout=250, env=os.environ | {"PYTHONPATH": path}
    )
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout) >= 4  # the new file, its rename, two that go


def test_what_memory_does_not_hold_is_done_whole(tmp_path):
    """A budget that the rows do not fit into leaves no files, and the result is the same."""
    rows, small = frame(mixed(10)), replace(CONFIG, memory_mb=0)
    found = done(rows, small, tmp_path)
    assert not list(tmp_path.iterdir())
    assert_same(found, done(rows, small))
