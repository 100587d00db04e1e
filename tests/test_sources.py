"""What `sources` promises: any table is read alike, each failure says what to type, nothing of others is touched."""

from __future__ import annotations

import contextlib
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from written import lines, write

from datagen.errors import InputError, StorageError, UsageError
from datagen.records import SUFFIXES
from datagen.sources import HubTable, beside, load_hub, output, read_rows, with_ids

RECORDS = [{"id": 7, "question": "Add two numbers."}, {"id": 8, "question": "Reverse a\u2028string."}]
ROWS = pl.DataFrame(RECORDS)


def read(path: Path, column: str = "question") -> pl.DataFrame:
    return read_rows(str(path), column=column)


def refused(text: bytes, name: str, folder: Path) -> str:
    """What reading a file of these bytes ends with."""
    path = folder / name
    path.write_bytes(text)
    with pytest.raises(InputError) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_reads_alike(tmp_path: Path, suffix: str) -> None:
    """Parquet, JSON lines, a JSON array and those compressed give the same columns and rows."""
    assert read(write(tmp_path / f"set{suffix}", RECORDS)).equals(ROWS)


def test_blank_lines_line_ends_and_a_byte_order_mark_do_not_matter(tmp_path: Path) -> None:
    """A file from another system reads like any other."""
    path = tmp_path / "set.jsonl"
    path.write_bytes(b"\xef\xbb\xbf\r\n" + lines(RECORDS).replace("\n", "\r\n\r\n").strip().encode())
    assert read(path).equals(ROWS)


def test_a_folder_is_all_its_files_by_name(tmp_path: Path) -> None:
    """Files of any depth follow one another; hidden ones and those of other kinds are left alone."""
    (tmp_path / "deep").mkdir()
    (tmp_path / ".cache").mkdir()
    write(tmp_path / "a.jsonl", RECORDS[:1])
    write(tmp_path / "deep" / "b.parquet", RECORDS[1:])
    write(tmp_path / ".cache" / "c.jsonl", RECORDS)
    write(tmp_path / "dataset_infos.json", [{"splits": 1}])
    (tmp_path / "README.md").write_text("about")
    assert read(tmp_path).equals(ROWS)


def test_files_of_a_folder_may_lack_columns(tmp_path: Path) -> None:
    """What one file lacks is null."""
    write(tmp_path / "a.jsonl", RECORDS[:1])
    write(tmp_path / "b.jsonl", [{"question": "Sort a list.", "topic": "lists"}])
    assert read(tmp_path)["topic"].to_list() == [None, "lists"]


def test_values_of_no_one_type_become_json_text(tmp_path: Path) -> None:
    """Columns that mix types, numbers beyond 64 bits and empty objects are kept as JSON; the others as they are."""
    records = [
        {"question": "a", "mixed": [1, "b"], "big": 2**80, "empty": {}, "n": 1},
        {"question": "b", "mixed": {"k": 1}, "big": 1, "empty": {}, "n": 2},
        {"question": "c", "mixed": None, "big": None, "empty": None, "n": 3},
    ]
    rows = read(write(tmp_path / "set.jsonl", records))
    assert rows["mixed"].to_list() == ['[1, "b"]', '{"k": 1}', None]
    assert rows["big"].to_list() == [str(2**80), "1", None]
    assert rows["empty"].to_list()[0] == "{}"
    assert rows["n"].to_list() == [1, 2, 3]


def test_lone_surrogates_become_replacement_characters(tmp_path: Path) -> None:
    """A half of a pair, which UTF-8 has no bytes for, is U+FFFD; its whole text stays."""
    path = tmp_path / "set.jsonl"
    path.write_text('{"question": "a \\ud83d b"}\n')
    assert read(path)["question"].to_list() == ["a \ufffd b"]


texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)


@given(
    st.lists(st.fixed_dictionaries({"question": texts, "n": st.none() | st.integers(-(2**63), 2**63 - 1)}), min_size=1)
)
def test_what_was_written_as_json_is_what_is_read(tmp_path_factory, records: list[dict[str, Any]]) -> None:
    """Any text and any number comes back as it was."""
    path = write(tmp_path_factory.mktemp("any") / "set.jsonl", records)
    assert read(path).to_dicts() == records


def test_json_keeps_nested_values_that_the_first_row_has_no_room_for(tmp_path: Path) -> None:
    """Numbers, keys and lists that only later rows have stay as they are, in a JSON array as in JSON lines."""
    records = [
        {"question": "a", "scores": [1, 0], "args": {}, "grid": [[]]},
        {"question": "b", "scores": [0.25, 0.75], "args": {"text": "abc"}, "grid": [["a"]]},
    ]
    for name in ("set.json", "set.jsonl"):
        rows = read(write(tmp_path / name, records))
        assert rows["scores"].to_list() == [[1.0, 0.0], [0.25, 0.75]]
        assert rows["args"].to_list() == [{"text": None}, {"text": "abc"}]
        assert rows["grid"].to_list() == [[[]], [["a"]]]


@pytest.mark.parametrize("text", ["\U0001f600", "\ud83d", "C:\\ud83d"])
def test_an_escape_changes_no_other_column(tmp_path: Path, text: str) -> None:
    """A whole pair, half of one or what looks like it in one row: the others are read as without it."""
    call = {"role": "assistant", "content": "", "name": "f", "calls": [{"n": 1}]}
    records = [
        {"question": text, "messages": [{"role": "user", "content": "x"}], "n": 1},
        {"question": "b", "messages": [call], "n": 0.5},
    ]
    path = tmp_path / "set.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    rows = read(path)
    assert rows["question"].to_list() == [text.replace("\ud83d", "\ufffd"), "b"]
    assert rows["messages"].to_list()[1] == [call]
    assert rows["messages"].to_list()[0] == [{"role": "user", "content": "x", "name": None, "calls": None}]
    assert rows["n"].to_list() == [1.0, 0.5]


def test_half_a_pair_in_a_columns_name_is_replaced(tmp_path: Path) -> None:
    """A name that UTF-8 has no bytes for is no traceback."""
    path = tmp_path / "set.jsonl"
    path.write_text('{"question": "a", "x\\ud83d": 1}\n')
    assert read(path)["x\ufffd"].to_list() == [1]


def test_numbers_that_are_none_are_numbers_in_lists_too(tmp_path: Path) -> None:
    """NaN and infinities, which Python writes into JSON, keep a column one of numbers."""
    records = [{"question": "a", "logprobs": [-1.5, float("-inf")]}]
    assert read(write(tmp_path / "set.jsonl", records))["logprobs"].to_list() == [[-1.5, float("-inf")]]


few = st.sampled_from("abc")
leaves = (
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=False, allow_infinity=False, width=16)
    | st.sampled_from(["", "x", "1", "true", '"', "\\ud83d", "[1]", 2**53 + 1, 2**64, 2**80, 1e300])
)  # fmt: skip
values = st.recursive(
    leaves, lambda one: st.lists(one, max_size=3) | st.dictionaries(few, one, max_size=3), max_leaves=5
)


def holds(found: Any, given: Any) -> bool:
    """Whether two values are equal, bool and number told apart, a missing key being null."""
    if isinstance(found, dict) and isinstance(given, dict):
        return all(holds(found.get(name), given.get(name)) for name in {*found, *given})
    if isinstance(found, list) and isinstance(given, list):
        return len(found) == len(given) and all(map(holds, found, given))
    return isinstance(found, bool) == isinstance(given, bool) and found == given


@given(st.lists(st.dictionaries(few, values, max_size=2), min_size=1, max_size=4), st.booleans(), st.booleans())
def test_no_value_of_json_is_lost(tmp_path_factory, records: list[dict[str, Any]], emoji: bool, escaped: bool) -> None:
    """Any column comes back as it was or as JSON text of it, from an array and from lines, with an emoji or without."""
    folder = tmp_path_factory.mktemp("any")
    given = [{**record, "question": "\U0001f600" if emoji else "x"} for record in records]
    texts = [json.dumps(record, ensure_ascii=escaped) for record in given]
    (folder / "set.json").write_text(f"[{','.join(texts)}]", encoding="utf-8")
    (folder / "set.jsonl").write_text("\n".join(texts), encoding="utf-8")
    for name in ("set.json", "set.jsonl"):
        for column in (rows := read(folder / name)).iter_columns():
            wanted = [record.get(column.name) for record in given]
            found = column.to_list()
            if not all(map(holds, found, wanted)):
                assert column.dtype == pl.String, (name, found)
                text = [value if value is None or isinstance(value, str) else json.dumps(value) for value in wanted]
                assert all(map(holds, map(loaded, found, wanted), map(loaded, text, wanted))), (name, found)
        assert len(rows) == len(given)


def loaded(text: str | None, given: Any) -> Any:
    """What a column of JSON text holds of a value: texts stand in it as they are."""
    return text if text is None or isinstance(given, str) else json.loads(text)


@pytest.mark.parametrize(
    ("text", "name", "says"),
    [
        (b'{"question": "a"}\n{"question": ', "a.jsonl", "line 2: not JSON"),
        (b"PAR1 and no more", "a.parquet", "cannot be read"),
        (b"not gzip", "a.jsonl.gz", "cannot be read"),
        (gzip.compress(b'{"question": "a"}\n' * 99, mtime=0)[:-9], "a.jsonl.gz", "cannot be read"),
        (b'{"question": "\xff"}\n', "a.jsonl", "is not UTF-8"),
        (b"[1, 2]", "a.json", "something else than JSON objects"),
        (b'{"question": "a"}\n[1]', "a.jsonl", "line 2: holds something else"),
        (b'3\n{"question": "a"}', "a.jsonl", "line 1: holds something else"),
        (b"", "a.jsonl", "holds no rows"),
        (b"[]", "a.json", "holds no rows"),
        (b"\n \n", "a.jsonl", "holds no rows"),
        (b"question\na\n", "a.csv", "not a kind of file that can be read"),
        (b'{"qestion": "a"}\n', "a.jsonl", "no column 'question'. Did you mean --column qestion?"),
        (b'{"prompt": "a", "n": 1}\n', "a.jsonl", "Columns of text: prompt"),
        (b'{"question": 1}\n', "a.jsonl", "holds Int64, not text"),
        (b"[" * 100_000, "a.json", "not JSON"),
    ],
)
def test_bad_files_are_one_line(text: bytes, name: str, says: str, tmp_path: Path) -> None:
    """Whatever is wrong with a file, the error is an InputError of one line that names the file and the fault."""
    message = refused(text, name, tmp_path)
    assert says in message and str(tmp_path) in message


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_damaged_file_is_read_or_refused(tmp_path_factory, damage: list[tuple[int, int]]) -> None:
    """Parquet with any bytes overwritten gives rows or an InputError, never another exception."""
    path = tmp_path_factory.mktemp("any") / "set.parquet"
    pl.DataFrame({"question": [f"text {row}" for row in range(200)], "n": range(200)}).write_parquet(path)
    data = bytearray(path.read_bytes())
    for place, byte in damage:
        data[place % len(data)] = byte
    path.write_bytes(data)
    with contextlib.suppress(InputError):
        read(path)


def test_a_missing_path_is_no_data_set(tmp_path: Path) -> None:
    """What looks like a path is never asked of the Hub."""
    for source in (str(tmp_path / "no"), "no.jsonl", "./no", "no"):
        with pytest.raises(InputError, match="no such file or folder"):
            read_rows(source, column="question", load=pytest.fail)


def test_a_folder_without_files_says_what_could_be_read(tmp_path: Path) -> None:
    """An empty folder's error lists the kinds of file."""
    with pytest.raises(InputError, match=r"\.parquet, \.jsonl"):
        read(tmp_path)


def test_columns_of_different_types_are_named(tmp_path: Path) -> None:
    """Files that cannot be one table are refused, not converted."""
    write(tmp_path / "a.jsonl", [{"question": "a", "x": [1]}])
    write(tmp_path / "b.jsonl", [{"question": "a", "x": {"k": 1}}])
    with pytest.raises(InputError, match="columns of different types"):
        read(tmp_path)


def test_owner_and_name_are_asked_of_the_hub() -> None:
    """OWNER/NAME that is no path is loaded with the revision, subset and split that were given."""
    asked: list[HubTable] = []

    def load(table: HubTable) -> pl.DataFrame:
        asked.append(table)
        return ROWS

    rows = read_rows("me/set", column="question", revision="abc", subset="main", split="test", load=load)
    assert rows.equals(ROWS) and asked == [HubTable("me/set", "abc", "main", "test")]


def test_a_revision_of_a_file_is_refused(tmp_path: Path) -> None:
    """Flags of the Hub's are not silently ignored for a file."""
    path = write(tmp_path / "a.jsonl", RECORDS)
    with pytest.raises(UsageError, match="--revision"):
        read_rows(str(path), column="question", revision="main")


def test_datasets_reads_a_split(tmp_path: Path) -> None:
    """Through `datasets`: the train split unless another is named; a split that is not there lists those that are."""
    (tmp_path / "set").mkdir()
    write(tmp_path / "set" / "train.jsonl", RECORDS)
    write(tmp_path / "set" / "test.jsonl", RECORDS[:1])
    assert load_hub(HubTable(str(tmp_path / "set"))).to_dicts() == RECORDS
    assert len(load_hub(HubTable(str(tmp_path / "set"), split="test"))) == 1
    with pytest.raises(InputError, match=r"no split 'dev'.*train, test"):
        load_hub(HubTable(str(tmp_path / "set"), split="dev"))


def test_ids_are_the_tables_own_or_of_content() -> None:
    """An `id` column names the rows; without one equal texts have equal names."""
    assert with_ids(ROWS, "question").to_list() == ["7", "8"]
    unnamed = pl.DataFrame({"question": ["a", "b", "a", None]})
    ids = with_ids(unnamed, "question").to_list()
    assert ids[0] == ids[2] != ids[1] and len(ids[3]) == 16


# -- writing ----------------------------------------------------------------------------------------------------------


def names(path: Path) -> list[str]:
    return sorted(file.name for file in path.iterdir())


def written(path: Path, rows: pl.DataFrame = ROWS) -> Path:
    with output(path, "datagen dedup") as out:
        out.table("kept", rows)
        out.finish({"kept": len(rows)})
    return path


def test_an_output_appears_whole_and_can_be_replaced(tmp_path: Path) -> None:
    """Tables and a report that names them; a second run takes the place of the first and leaves nothing beside it."""
    written(tmp_path / "out", ROWS.head(1))
    path = written(tmp_path / "out")
    assert pl.read_parquet(path / "kept.parquet").equals(ROWS)
    report = json.loads((path / "report.json").read_text())
    assert report["kept"] == 2 and report["files"] == ["kept.parquet", "report.json"]
    assert names(tmp_path) == ["out"]


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    """Where the body fails the earlier output stays and no draft does."""
    path = written(tmp_path / "out")
    with pytest.raises(AttributeError):
        written(path, None)
    assert len(pl.read_parquet(path / "kept.parquet")) == 2 and names(tmp_path) == ["out"]


def edit(path: Path) -> None:
    (path / "notes.txt").write_text("mine")


def of_another(path: Path) -> None:
    report = json.loads((path / "report.json").read_text())
    (path / "report.json").write_text(json.dumps(report | {"command": "datagen decontaminate"}))


@pytest.mark.parametrize("change", [edit, of_another, lambda path: (path / "report.json").unlink()])
def test_what_others_wrote_is_not_overwritten(change: Callable[[Path], None], tmp_path: Path) -> None:
    """A folder with a foreign file, of another command or without its report is refused before any work."""
    path = written(tmp_path / "out")
    change(path)
    before = names(path)
    with pytest.raises(UsageError, match="--out"), output(path, "datagen dedup"):
        pytest.fail("the body ran")
    assert names(path) == before


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    """A file where the folder would go is not replaced."""
    (tmp_path / "out").write_text("mine")
    with pytest.raises(UsageError, match="is a file"):
        written(tmp_path / "out")


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    """A parent that is a file ends in a StorageError, not in a traceback."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        written(tmp_path / "file" / "out")


def test_results_lie_beside_their_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Named after the file or folder; in the working folder for a data set."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.jsonl.gz").touch()
    assert beside("set/a.jsonl.gz", "dedup") == Path("set/a-dedup")
    assert beside("set/", "dedup") == Path("set-dedup")
    assert beside(".", "dedup") == tmp_path.with_name(f"{tmp_path.name}-dedup")
    assert beside("me/set", "dedup") == Path("set-dedup")
