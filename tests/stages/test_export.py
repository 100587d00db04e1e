"""The exported folder: what `datasets` reads from it, that bytes repeat, and that nothing of the user's is lost."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.card import COLUMNS, CONFIGS, stamp
from datagen.config import ExportConfig
from datagen.errors import InputError, StorageError, UsageError
from datagen.stages.export import CANDIDATES, REJECTED, ROWS, Counts, ExportSources, _cut, _plan, _swap, count, export

CONFIGS_YAML = "".join(
    f"- config_name: {name}\n  data_files:\n  - split: train\n    path: {pattern}\n"
    for name, pattern in CONFIGS.items()
)
CARD = stamp(f"---\nlicense: mit\nconfigs:\n{CONFIGS_YAML}---\n\n# A data set\n")
LOAD = """
import sys
from datasets import load_dataset
folder, cache = sys.argv[1:]
for name in ("default", "all_candidates", "rejected"):
    print(load_dataset(folder, name, split="train", cache_dir=cache).to_list())
"""
FULL = """
import resource, sys
from pathlib import Path
from datagen.config import ExportConfig
from datagen.errors import StorageError
from datagen.stages.export import ExportSources, export
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))  # no file may grow beyond 5,000 bytes
run, out = map(Path, sys.argv[1:])
try:
    export(ExportSources(run / "rows.parquet"), out, ExportConfig(), "# Card")
except StorageError as error:
    sys.exit(error.exit_code)
"""
ENDLESS = """
import sys
from pathlib import Path
from datagen.config import ExportConfig
from datagen.stages.export import ExportSources, export
one, other, out = map(Path, sys.argv[1:])
for round in range(10**6):
    run = (one, other)[round % 2]
    dropped = {stage: run / f"{stage}.parquet" for stage in ("dedup", "solve")}
    files = ExportSources(run / "rows.parquet", run / "candidates.parquet", dropped)
    export(files, out, ExportConfig(shard_rows=7), CARD)
    print("exported", flush=True)
""".replace("CARD", repr(CARD))


def row(number: int) -> dict:
    question, solution = f"Write f{number}, é 漢 `|`.\n", f"def f{number}():\n    return {number}\n"
    test = f"assert f{number}() == {number}"
    return {
        "messages": [{"role": "user", "content": question}, {"role": "assistant", "content": solution}],
        "id": f"{number:016x}", "question": question, "solution": solution, "tests": [test],
        "shown_test": test, "entry_point": f"f{number}", "n_candidates": 10, "n_tried": 10, "n_passed": 7,
        "pass_rate": 0.7, "chosen_index": 1, "difficulty": "easy", "topic": "numbers", "model": "demo-model",
        "prompt": "solutions", "seed": 2**62 - 1 - number,
    }  # fmt: skip


def candidate(number: int, index: int) -> dict:
    results = ["pass"] * index + ["fail"] * (2 - index)
    return {
        "source_id": f"{number:016x}", "tests": ["assert a", "assert b"], "index": index, "code": f"c{index}",
        "status": "fail", "results": results, "detail": "", "n_passed": index, "chosen": index == 2,
    }  # fmt: skip


def drop(name: str) -> dict:
    return {"source_id": name, "reason": "none-passed", "detail": "0 of 10", "text": f"text of {name}", "more": 1}


def sources(folder: Path, rows: int = 5, **layout) -> ExportSources:
    """The files as stages leave them: written by polars, with columns that are not published."""
    folder.mkdir(parents=True, exist_ok=True)
    frames = {
        "rows": pl.DataFrame([row(n) | {"source_id": "s"} for n in range(rows)])
        if rows
        else pl.DataFrame([row(0)])[:0],
        "candidates": pl.DataFrame([candidate(n, i) for n in range(rows or 1) for i in range(3)]),
        "dedup": pl.DataFrame([drop("b"), drop("c")]),
        "solve": pl.DataFrame([drop("a")]),
    }
    for name, frame in frames.items():
        frame.write_parquet(folder / f"{name}.parquet", **layout)
    dropped = {stage: folder / f"{stage}.parquet" for stage in ("dedup", "solve")}
    return ExportSources(folder / "rows.parquet", folder / "candidates.parquet", dropped)


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_datasets_reads_every_config_back(tmp_path):
    """`load_dataset(folder, name)` gives the rows, candidates and drops that went in, in their published columns."""
    done = export(sources(tmp_path / "run"), tmp_path / "dataset", ExportConfig(shard_rows=2), CARD)
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", LOAD, str(done.folder), str(tmp_path / "cache")]
    loaded = subprocess.run(command, env=env, capture_output=True, text=True, check=True, timeout=120).stdout
    expected = [
        [row(n) for n in range(5)],
        [candidate(n, i) for n in range(5) for i in range(3)],
        [
            {"stage": stage} | {key: drop(name)[key] for key in ("source_id", "reason", "detail", "text")}
            for stage, name in (("dedup", "b"), ("dedup", "c"), ("solve", "a"))
        ],
    ]
    assert loaded.splitlines() == [str(rows) for rows in expected]


def test_messages_come_first_and_every_column_is_described():
    """The published columns are those that the card describes, in the same order, messages first."""
    assert ROWS.names == list(COLUMNS)


def test_every_column_is_in_the_documentation():
    """docs/dataset.md names every column of every config."""
    text = (Path(__file__).parents[2] / "docs" / "dataset.md").read_text(encoding="utf-8")
    assert [
        name for schema in (ROWS, CANDIDATES, REJECTED) for name in schema.names if f"| `{name}` |" not in text
    ] == []


def test_shards_are_named_and_filled_by_shard_rows(tmp_path):
    """Five rows at two rows a shard are three shards of 2, 2 and 1."""
    export(sources(tmp_path / "run"), tmp_path / "dataset", ExportConfig(shard_rows=2), CARD)
    shards = sorted((tmp_path / "dataset/data").iterdir())
    assert [shard.name for shard in shards] == [f"train-0000{n}-of-00003.parquet" for n in range(3)]
    assert [pq.read_metadata(shard).num_rows for shard in shards] == [2, 2, 1]


def test_bytes_depend_on_the_rows_alone(tmp_path):
    """The same rows in another order, row group size and compression give the same bytes."""
    plain = sources(tmp_path / "plain", rows=7)
    other = sources(tmp_path / "other", rows=7, row_group_size=2, compression="snappy")
    for path in (other.rows, other.candidates):
        pl.read_parquet(path).reverse().write_parquet(path)
    for name, given_sources in (("one", plain), ("two", other)):
        export(given_sources, tmp_path / name, ExportConfig(shard_rows=3), CARD)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")


def test_rows_are_sorted_by_id(tmp_path):
    """Rows come out by id, in whatever order they went in."""
    given_sources = sources(tmp_path / "run", rows=9)
    pl.read_parquet(given_sources.rows).sample(9, shuffle=True, seed=1).write_parquet(given_sources.rows)
    export(given_sources, tmp_path / "dataset", ExportConfig(), CARD)
    ids = pl.read_parquet(tmp_path / "dataset/data/*.parquet")["id"].to_list()
    assert ids == sorted(ids) and len(ids) == 9


@given(rows=st.integers(1, 5000), shard=st.integers(1, 6000), pieces=st.lists(st.integers(0, 700), max_size=8))
@settings(max_examples=50, deadline=None)
def test_cut_keeps_every_row_in_order(rows, shard, pieces):
    """However the rows arrive, they leave whole and in order, in groups of the planned sizes."""
    starts = [0, *sorted(min(sum(pieces[:n]), rows) for n in range(1, len(pieces) + 1)), rows]
    arriving = (pa.table({"n": list(range(a, b))}, schema=pa.schema({"n": pa.int64()})) for a, b in pairwise(starts))
    sizes = [size for group in _plan(rows, shard) for size in group]
    groups = list(_cut(arriving, sizes))
    assert [group.num_rows for group in groups] == sizes
    assert pa.concat_tables(groups)["n"].to_pylist() == list(range(rows))


def test_count_says_what_export_writes(tmp_path):
    """`count` tells the rows of each config beforehand, for the card."""
    given_sources = sources(tmp_path / "run")
    done = export(given_sources, tmp_path / "dataset", ExportConfig(), CARD)
    assert count(given_sources) == done.counts == Counts(default=5, all_candidates=15, rejected=3)


def test_configs_without_rows_are_not_written(tmp_path):
    """Without recorded candidates and drops there is only the default config."""
    export(ExportSources(sources(tmp_path / "run").rows), tmp_path / "dataset", ExportConfig(), CARD)
    assert sorted(path.name for path in (tmp_path / "dataset").iterdir()) == ["README.md", "data"]


def test_no_rows_is_an_error_with_a_next_step(tmp_path):
    """Nothing to publish is an InputError that says where to look, and no folder is made."""
    with pytest.raises(InputError, match="datagen status"):
        export(sources(tmp_path / "run", rows=0), tmp_path / "dataset", ExportConfig(), CARD)
    assert not (tmp_path / "dataset").exists()


def test_missing_column_is_named(tmp_path):
    """A file without a published column is an InputError that names the file and the column."""
    given_sources = sources(tmp_path / "run")
    pl.read_parquet(given_sources.rows).drop("seed").write_parquet(given_sources.rows)
    with pytest.raises(InputError, match=r"rows\.parquet: has no column seed"):
        export(given_sources, tmp_path / "dataset", ExportConfig(), CARD)


def test_damaged_file_is_an_input_error(tmp_path):
    """A file whose pages are damaged is an InputError that names it, and the data set that was there stays."""
    given_sources = sources(tmp_path / "run", rows=200)
    before = export(given_sources, tmp_path / "dataset", ExportConfig(), CARD)
    damaged = bytearray(given_sources.rows.read_bytes())
    damaged[100:600] = bytes(500)
    given_sources.rows.write_bytes(damaged)
    with pytest.raises(InputError, match=r"rows\.parquet"):
        export(given_sources, tmp_path / "dataset", ExportConfig(), CARD)
    assert pl.read_parquet(before.folder / "data/*.parquet").height == 200


def test_unknown_licence_is_refused(tmp_path):
    """A licence that the Hub does not know is a UsageError with the nearest one."""
    with pytest.raises(UsageError, match=r"Did you mean apache-2\.0"):
        export(sources(tmp_path / "run"), tmp_path / "dataset", ExportConfig(license="apache2.0"), CARD)


def test_new_export_replaces_the_old_one_whole(tmp_path):
    """Shards of an earlier export with other counts are gone, and nothing temporary is left beside the folder."""
    given_sources = sources(tmp_path / "run")
    export(given_sources, tmp_path / "out/dataset", ExportConfig(shard_rows=1), CARD)
    export(given_sources, tmp_path / "out/dataset", ExportConfig(), CARD)
    assert len(list((tmp_path / "out/dataset/data").iterdir())) == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["dataset"]


def test_files_of_others_stay(tmp_path):
    """A file or folder that the user put beside the data survives the next export."""
    export(sources(tmp_path / "run"), tmp_path / "dataset", ExportConfig(), CARD)
    (tmp_path / "dataset/images").mkdir()
    (tmp_path / "dataset/images/plot.svg").write_text("<svg/>")
    export(sources(tmp_path / "run"), tmp_path / "dataset", ExportConfig(), CARD)
    assert (tmp_path / "dataset/images/plot.svg").read_text() == "<svg/>"


def test_generated_card_is_replaced(tmp_path):
    """A card that nobody edited gives way to the new one without a word."""
    export(sources(tmp_path / "run"), tmp_path / "dataset", ExportConfig(), CARD)
    done = export(sources(tmp_path / "run"), tmp_path / "dataset", ExportConfig(), stamp("# New\n"))
    assert (done.folder / "README.md").read_text() == stamp("# New\n") and done.message == ""


def test_edited_card_is_kept(tmp_path):
    """A card that was edited by hand stays to the byte; the new one lies beside it and the message says so."""
    export(sources(tmp_path / "run"), tmp_path / "dataset", ExportConfig(), CARD)
    edited = CARD.replace("A data set", "My data set").encode() + b"\xff"
    (tmp_path / "dataset/README.md").write_bytes(edited)
    done = export(sources(tmp_path / "run"), tmp_path / "dataset", ExportConfig(), stamp("# New\n"))
    assert (done.folder / "README.md").read_bytes() == edited
    assert (done.folder / "README.new.md").read_text() == stamp("# New\n")
    assert "README.new.md" in done.message


def test_failed_export_leaves_the_old_data_set(tmp_path):
    """When a stage's file vanishes between two exports, the first export's files are untouched."""
    given_sources = sources(tmp_path / "run")
    done = export(given_sources, tmp_path / "out/dataset", ExportConfig(), CARD)
    before = digests(done.folder)
    given_sources.candidates.unlink()
    with pytest.raises(InputError):
        export(given_sources, done.folder, ExportConfig(), stamp("# New\n"))
    assert digests(done.folder) == before


def test_unwritable_place_is_a_storage_error(tmp_path):
    """A place that cannot hold a folder is a StorageError that names it."""
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="file"):
        export(sources(tmp_path / "run"), tmp_path / "file/dataset", ExportConfig(), CARD)


def test_full_disk_leaves_the_old_data_set(tmp_path):
    """A write that the system refuses half-way is a StorageError, and the data set that was there is untouched."""
    given_sources = sources(tmp_path / "run", rows=400)
    before = digests(export(given_sources, tmp_path / "out/dataset", ExportConfig(shard_rows=100), CARD).folder)
    done = subprocess.run(
        [sys.executable, "-c", FULL, *map(str, (tmp_path / "run", tmp_path / "out/dataset"))], check=False
    )
    assert done.returncode == StorageError.exit_code
    assert digests(tmp_path / "out/dataset") == before
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["dataset"]


@pytest.mark.slow
def test_killed_export_leaves_one_data_set_whole(tmp_path):
    """kill -9 at any moment of an export leaves the old files or the new ones, all of them."""
    whole = []
    for rows in (50, 60):
        done = export(
            sources(tmp_path / f"run{rows}", rows), tmp_path / f"whole{rows}", ExportConfig(shard_rows=7), CARD
        )
        whole.append(digests(done.folder))
    command = [sys.executable, "-c", ENDLESS, *map(str, (tmp_path / "run50", tmp_path / "run60", tmp_path / "dataset"))]
    for delay in (0.011, 0.023, 0.037):
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            time.sleep(delay)
            process.kill()
        assert digests(tmp_path / "dataset") in whole


def test_swap_without_the_atomic_exchange(tmp_path):
    """Where two folders cannot be exchanged, two renames put the new one in place and leave nothing aside."""
    for name in ("new", "dataset"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    _swap(tmp_path / "new", tmp_path / "dataset", lambda one, other: False)
    assert (tmp_path / "dataset/file").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["dataset"]


def test_interrupted_fallback_swap_is_repaired(tmp_path):
    """A stop between the two renames of the fallback leaves the old folder aside, where the next export finds it."""
    done = export(sources(tmp_path / "run"), tmp_path / "dataset", ExportConfig(), CARD)
    (done.folder / "notes.txt").write_text("mine")
    done.folder.rename(tmp_path / ".dataset.old")
    export(sources(tmp_path / "run"), done.folder, ExportConfig(), CARD)
    assert (done.folder / "notes.txt").read_text() == "mine"
