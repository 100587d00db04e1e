"""What `datagen dedup TABLE` promises: a folder of the input's own rows, each kept or removed with its reason."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen.cli import main
from datagen.config import DedupConfig
from datagen.errors import InputError
from datagen.standalone import Deduplicated, Table, dedup, draw, histogram

LONG = " ".join(f"w{index}" for index in range(40))
NEAR = LONG.replace("w7 ", "x ")
TEXTS = [LONG, "Sort a list.", NEAR, None, "sort a LIST", "Reverse a string.", NEAR + "!"]
ROWS = pl.DataFrame({"reason": list("abcdefg"), "prompt": TEXTS, "tags": [["x"]] * 7, "id": [5, 5, 6, 7, 8, 9, 10]})


def deduplicated(rows: pl.DataFrame, folder: Path, **given: str) -> tuple[Deduplicated, dict[str, pl.DataFrame]]:
    """The command's result on a Parquet file of these rows, and its tables."""
    rows.write_parquet(folder / "set.parquet")
    done = dedup(Table(str(folder / "set.parquet"), **{"column": "prompt"} | given), DedupConfig())
    tables = {name: pl.read_parquet(done.path / f"{name}.parquet") for name in ("kept", "removed", "clusters")}
    return done, tables


def test_kept_rows_have_the_inputs_columns_and_order(tmp_path: Path) -> None:
    """kept.parquet is the input without what was removed, nothing renamed, converted or moved."""
    _, tables = deduplicated(ROWS, tmp_path)
    assert tables["kept"].equals(ROWS[[0, 1, 5]])


def test_each_removed_row_says_why(tmp_path: Path) -> None:
    """removed.parquet has the reason, the kept row by id and by place, their similarity, and the row itself."""
    _, tables = deduplicated(ROWS, tmp_path)
    removed = tables["removed"]
    assert removed.columns == [
        "source_id", "row", "reason", "kept_id", "kept_row", "jaccard", "input.reason", "prompt", "tags", "id",
    ]  # fmt: skip
    assert removed.select("source_id", "row", "reason", "kept_id", "kept_row", "input.reason").rows() == [
        ("6", 2, "near-duplicate", "5", 0, "c"),
        ("7", 3, "empty", None, None, "d"),
        ("8", 4, "exact-duplicate", "5", 1, "e"),
        ("10", 6, "near-duplicate", "5", 0, "g"),
    ]
    assert removed["jaccard"].to_list() == [pytest.approx(35 / 41), None, 1.0, pytest.approx(35 / 41)]


def test_what_was_removed_can_be_deduplicated_again(tmp_path: Path) -> None:
    """The results of results: a column whose name is taken gets the next free one, the others keep theirs."""
    rows = ROWS[[0, 2]].with_columns(pl.Series("input.reason", ["x", "y"]), pl.Series("kept_row", [3, 4]))
    _, tables = deduplicated(rows, tmp_path)
    removed = tables["removed"]
    assert removed.columns[-6:] == ["input.input.reason", "prompt", "tags", "id", "input.reason", "input.kept_row"]
    assert removed.select(r"^input\..*$").rows() == [("c", "y", 4)]


def test_clusters_list_what_a_kept_row_stands_for(tmp_path: Path) -> None:
    """The largest cluster is first; rows are named by id and by place."""
    _, tables = deduplicated(ROWS, tmp_path)
    assert tables["clusters"].rows() == [("5", 0, 3, ["6", "10"], [2, 6]), ("5", 1, 2, ["8"], [4])]


def test_the_report_counts_and_holds_no_clock(tmp_path: Path) -> None:
    """report.json: in == kept + removed, the settings that made it; a second run writes the same bytes."""
    done, _ = deduplicated(ROWS, tmp_path)
    first = {file.name: file.read_bytes() for file in done.path.rglob("*.*")}
    report = json.loads(first["report.json"])
    assert report["inputs"] == 7 == report["kept"] + sum(report["dropped"].values())
    assert report["settings"]["threshold"] == 0.7 and report["table"]["column"] == "prompt"
    deduplicated(ROWS, tmp_path)
    assert {file.name: file.read_bytes() for file in done.path.rglob("*.*")} == first


def test_a_table_without_duplicates_is_kept_whole(tmp_path: Path) -> None:
    """Nothing removed: all tables are there, with their columns."""
    done, tables = deduplicated(ROWS[[0, 1]], tmp_path)
    assert tables["kept"].equals(ROWS[[0, 1]])
    assert tables["removed"].is_empty() and tables["clusters"].is_empty()
    assert tables["removed"]["kept_id"].dtype == pl.String
    assert done.report.kept == 2


def test_rows_without_an_id_are_named_by_content(tmp_path: Path) -> None:
    """Where there is no `id`, names are hashes of the text, and `row` tells equal texts apart."""
    _, tables = deduplicated(pl.DataFrame({"prompt": ["a b c", "a b c"]}), tmp_path)
    assert tables["removed"]["source_id"].to_list() == tables["removed"]["kept_id"].to_list()
    assert tables["removed"].select("row", "kept_row").rows() == [(1, 0)]


@given(texts=st.lists(st.none() | st.text("ab \n", max_size=9), min_size=1, max_size=30))
def test_no_row_is_lost(tmp_path_factory, texts: list[str | None]) -> None:
    """Kept and removed together are the input; of each cluster the first row is kept."""
    rows = pl.DataFrame({"prompt": pl.Series(texts, dtype=pl.String), "n": range(len(texts))})
    _, tables = deduplicated(rows, tmp_path_factory.mktemp("any"))
    assert sorted(tables["kept"]["n"].to_list() + tables["removed"]["n"].to_list()) == list(range(len(texts)))
    named = tables["removed"].drop_nulls("kept_row")
    assert set(named["kept_row"]) <= set(tables["kept"]["n"]) and (named["kept_row"] < named["row"]).all()
    assert tables["clusters"]["size"].sum() == len(named) + len(tables["clusters"])


def test_the_histogram_counts_every_near_duplicate_once() -> None:
    """Bins run from the threshold to 1, edges belong to the bin above, 1 to the last; equal rows are apart."""
    removed = pl.DataFrame(
        {"reason": ["near-duplicate"] * 4 + ["exact-duplicate"], "jaccard": [0.7, 0.85, 0.999, 1.0, 1.0]}
    )
    found = histogram(removed, 0.7)
    assert (found.counts[0], found.counts[5] + found.counts[4], found.counts[9], found.equal) == (1, 1, 2, 1)
    assert sum(histogram(removed, 1.0).counts) == 4


def test_the_histogram_fits_a_line_each() -> None:
    """Plain ASCII, a line for each bin, the longest bar 40 characters, no empty bar for something."""
    removed = pl.DataFrame({"reason": ["near-duplicate"] * 5001, "jaccard": [0.71] * 5000 + [0.99]})
    lines = draw(histogram(removed, 0.7)).splitlines()
    assert len(lines) == 12 and lines[1] == f"0.70 to 0.73  5,000  {'#' * 40}"
    assert lines[10].endswith("      1  #") and "".join(lines).isascii()


def names(path: Path) -> list[str]:
    return sorted(file.name for file in path.iterdir())


# -- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "set.jsonl"
    path.write_text("".join(json.dumps({"question": text}) + "\n" for text in TEXTS))
    return path


def test_the_command_prints_funnel_histogram_and_folder(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`datagen dedup FILE` needs no run, and says what went and where the rest is."""
    assert main(["dedup", str(table)]) == 0
    shown = capsys.readouterr().out
    assert "dedup   7     3  near-duplicate 2" in shown and "0.82 to 0.85" in shown
    assert f"written  {table.parent / 'set-dedup'}" in shown
    assert names(table.parent) == ["set-dedup", "set.jsonl"]


def test_a_threshold_of_the_command_line_counts(table: Path) -> None:
    """Settings are flags here too; a run's recipe in the working folder is not looked at."""
    assert main(["dedup", str(table), "--threshold", "0.9", "--out", str(table.parent / "out")]) == 0
    assert len(pl.read_parquet(table.parent / "out" / "kept.parquet")) == 4


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["set.jsonl", "--column", "qestion"], 3, "Did you mean --column question?"),
        (["missing.jsonl"], 3, "no such file or folder"),
        (["x" * 5000], 3, "no such file or folder"),
        ([".", "--out", "inside"], 2, "lies within the table itself"),
        (["set.jsonl", "--out", "."], 2, "set.jsonl, which datagen dedup did not write"),
        (["--column", "question"], 2, "datagen dedup TABLE --column"),
        (["set.jsonl", "--threshold", "2"], 2, "Use 1 or less"),
        (["nobody/nothing"], 3, "hf download nobody/nothing --repo-type dataset"),
    ],
)
def test_mistakes_end_in_one_line(arguments: list[str], code: int, says: str, table: Path) -> None:
    """Each mistake, a data set without network among them, is one line on stderr and a documented code."""
    ended = subprocess.run(
        [sys.executable, "-m", "datagen", "dedup", *arguments], cwd=table.parent, capture_output=True, text=True,
        check=False, timeout=120, env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    assert ended.returncode == code
    assert says in ended.stderr and len(ended.stderr.strip().splitlines()) == 1


def test_a_full_disk_is_one_line_and_leaves_nothing(table: Path) -> None:
    """Where nothing more can be written, the command ends with the storage error's code and no half of a folder."""
    program = (
        "import resource, signal, sys; from datagen.cli import main\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))\n"
        "sys.exit(main(['dedup', 'set.jsonl']))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=table.parent, capture_output=True, text=True, check=False, timeout=120
    )
    assert ended.returncode == 10 and len(ended.stderr.strip().splitlines()) == 1
    assert names(table.parent) == ["set.jsonl"]


def test_rows_kept_elsewhere_have_priority(tmp_path: Path) -> None:
    """--against a file, the folder that dedup of it wrote, or its index: what is like its rows goes and names them."""
    first, second = tmp_path / "first.parquet", tmp_path / "second.jsonl"
    text = " ".join(f"w{number}" for number in range(30))
    pl.DataFrame({"id": ["a", "b"], "prompt": [text, "something else"]}).write_parquet(first)
    second.write_text("".join(json.dumps({"prompt": value}) + "\n" for value in (text + " more", "new", "NEW!")))
    done = dedup(Table(str(first), "prompt"), DedupConfig())
    for name in (first, done.path, done.path / "index"):
        config = DedupConfig(against=(str(name),))
        later = dedup(Table(str(second), "prompt", out=str(tmp_path / "later")), config)
        removed = pl.read_parquet(later.path / "removed.parquet")
        assert removed.select("row", "reason", "kept_id", "kept_row").rows()[0] == (
            0,
            "near-duplicate",
            f"{name}:a",
            None,
        )
        assert pl.read_parquet(later.path / "kept.parquet")["prompt"].to_list() == ["new"]
        assert pl.read_parquet(later.path / "index" / "rows.parquet")["text"].to_list() == ["new"]


def test_a_set_that_is_not_there_is_said_before_anything_is_written(tmp_path: Path) -> None:
    """--against a path that does not exist is an InputError, and no folder appears."""
    table = tmp_path / "t.parquet"
    pl.DataFrame({"prompt": ["a"]}).write_parquet(table)
    with pytest.raises(InputError):
        dedup(Table(str(table), "prompt"), DedupConfig(against=(str(tmp_path / "none.parquet"),)))
    assert names(tmp_path) == ["t.parquet"]
