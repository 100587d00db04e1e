"""Parquet tables: whole or absent, one schema, equal rows as equal bytes."""

from __future__ import annotations

from dataclasses import asdict

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from stage_kit import question

from datagen.codec import schema_of
from datagen.errors import InputError
from datagen.models import Question
from datagen.tables import ROWS_PER_GROUP, count_rows, iter_rows, read_table, table_writer, write_frame, write_table

SCHEMA = schema_of(Question)


def add_all(add, rows):
    for row in rows:
        add(row)


def rows(count):
    return (asdict(question(number)) for number in range(count))


def test_rows_come_back_as_records(tmp_path):
    """What is written as rows is read as the same dataclasses, over several row groups."""
    path = tmp_path / "kept.parquet"
    write_table(path, rows(2500), SCHEMA)
    assert list(iter_rows(path, Question)) == [question(number) for number in range(2500)]
    assert count_rows(path) == 2500


def test_equal_rows_are_equal_bytes(tmp_path):
    """Two writings of the same rows are the same file."""
    for name in ("a", "b"):
        write_table(tmp_path / name, rows(3000), SCHEMA)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_row_groups_have_a_fixed_size(tmp_path):
    """Rows are written in groups of one size, whatever the table's length, so memory does not grow with it."""
    write_table(tmp_path / "a", rows(2 * ROWS_PER_GROUP + 1), SCHEMA)
    groups = pq.ParquetFile(tmp_path / "a").metadata
    assert [groups.row_group(i).num_rows for i in range(groups.num_row_groups)] == [ROWS_PER_GROUP, ROWS_PER_GROUP, 1]


def test_empty_table_keeps_its_schema(tmp_path):
    """A stage that keeps nothing still writes its columns."""
    write_table(tmp_path / "a", (), SCHEMA)
    assert read_table(tmp_path / "a").columns == SCHEMA.names and count_rows(tmp_path / "a") == 0


def test_failure_leaves_the_old_table(tmp_path):
    """An exception while rows are coming leaves the table of before, and no temporary file."""
    path = tmp_path / "kept.parquet"
    write_table(path, rows(3), SCHEMA)
    before = path.read_bytes()
    with pytest.raises(pa.ArrowException), table_writer(path, SCHEMA) as add:
        add_all(add, [*rows(2000), {"round": "not a number"}])
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["kept.parquet"]


def test_lone_surrogates_become_replacement_characters(tmp_path):
    """A model's text that is no valid Unicode is written with U+FFFD instead of stopping the run."""
    bad = asdict(question(1, "a\ud800b"))
    write_table(tmp_path / "a", [bad, asdict(question(2, "é🎉"))], SCHEMA)
    assert read_table(tmp_path / "a")["question"].to_list() == ["a\ufffdb", "é🎉"]


@pytest.mark.parametrize("read", [read_table, count_rows, lambda path: list(iter_rows(path, Question))])
@pytest.mark.parametrize("content", [b"", b"PAR1 not really PAR1", None])
def test_unreadable_table_is_named(tmp_path, read, content):
    """A missing, empty or damaged table is an InputError that names the file."""
    path = tmp_path / "kept.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"kept\.parquet"):
        read(path)


def test_damage_inside_a_table_is_named(tmp_path):
    """Bytes flipped in the middle of a table do not come out as wrong rows or a foreign exception."""
    path = tmp_path / "kept.parquet"
    write_table(path, rows(2000), SCHEMA)
    data = bytearray(path.read_bytes())
    data[100:400] = bytes(300)
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"kept\.parquet"):
        list(iter_rows(path, Question))


def test_missing_column_is_named(tmp_path):
    """A table of another shape is refused with the column that it lacks."""
    write_frame(tmp_path / "a.parquet", pl.DataFrame({"id": ["a"]}))
    with pytest.raises(InputError, match="lacks the column difficulty"):
        list(iter_rows(tmp_path / "a.parquet", Question))


def test_frame_is_written_with_ordinary_types(tmp_path):
    """Polars' large strings and lists become the types that every reader of data sets expects."""
    write_frame(tmp_path / "a", pl.DataFrame({"s": ["x"], "l": [["y"]], "r": [{"role": "user", "n": 1}]}))
    schema = pq.read_schema(tmp_path / "a")
    assert schema.field("s").type == pa.string() and schema.field("l").type == pa.list_(pa.string())
    assert schema.field("r").type.field("role").type == pa.string()


def test_frame_and_rows_give_the_same_columns(tmp_path):
    """A table written from a frame has the very schema of one written row by row."""
    write_frame(tmp_path / "frame", pl.DataFrame([asdict(question(1))]).select(pl.all().reverse()), SCHEMA)
    write_table(tmp_path / "rows", rows(1), SCHEMA)
    assert pq.read_schema(tmp_path / "frame").equals(pq.read_schema(tmp_path / "rows"))
