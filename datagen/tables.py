"""Parquet tables with one explicit schema: written whole, in a stream, the same rows always as the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from datagen.codec import from_json, schema_of
from datagen.errors import InputError
from datagen.files import replacing
from datagen.models import Candidate

Record = TypeVar("Record")
Row = Mapping[str, Any]

ROWS_PER_GROUP = 1024
GROUPS = 64
"""Row groups of a frame that are made at once."""

DROPPED = pa.schema([(name, pa.string()) for name in ("source_id", "reason", "detail", "text")])
"""The first columns of every dropped.parquet; a whole-set stage may add its own after them."""

CANDIDATES = pa.schema(
    [("source_id", pa.string()), ("tests", pa.list_(pa.string())), *schema_of(Candidate), ("chosen", pa.bool_())]
)
"""The columns of candidates.parquet: every candidate of every question, with its row of the matrix over `tests`."""


@contextmanager
def table_writer(path: Path, schema: pa.Schema) -> Iterator[Callable[[Row], None]]:
    """A function that adds a row; the table appears when the body ends well. Memory: one row group."""
    with replacing(path) as file:
        buffer: list[Row] = []
        with _parquet(file, schema) as writer:

            def add(row: Row) -> None:
                buffer.append(row)
                if len(buffer) == ROWS_PER_GROUP:
                    writer.write_batch(_batch(buffer, schema))
                    buffer.clear()

            yield add
            if buffer:
                writer.write_batch(_batch(buffer, schema))


def _parquet(file: BinaryIO, schema: pa.Schema) -> Any:
    return pq.ParquetWriter(file, schema, compression="zstd", write_page_checksum=True)


def _batch(rows: list[Row], schema: pa.Schema) -> pa.RecordBatch:
    try:
        return pa.RecordBatch.from_pylist(rows, schema=schema)
    except UnicodeEncodeError:  # a model's text may hold lone surrogates, which UTF-8 has no bytes for
        return pa.RecordBatch.from_pylist([_encodable(row) for row in rows], schema=schema)


def _encodable(value: Any) -> Any:
    """The value with U+FFFD for each lone surrogate."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, Mapping):
        return {key: _encodable(item) for key, item in value.items()}
    return [_encodable(item) for item in value] if isinstance(value, list | tuple) else value


def write_table(path: Path, rows: Iterable[Row], schema: pa.Schema) -> None:
    """Writes rows in row groups of a fixed size; StorageError if it cannot, and then an old table is still there."""
    with table_writer(path, schema) as add:
        for row in rows:
            add(row)


def write_frame(path: Path, frame: pl.DataFrame, schema: pa.Schema | None = None) -> None:
    """Writes a frame with the columns of `schema`, in its order (default: the frame's own). Memory: some row groups."""
    rows = frame if schema is None else frame.select(schema.names)
    kinds = schema or pa.schema([(column.name, _plain(column.type)) for column in rows.clear().to_arrow().schema])
    with replacing(path) as file, _parquet(file, kinds) as writer:
        for start in range(0, max(1, len(rows)), GROUPS * ROWS_PER_GROUP):
            part = rows[start : start + GROUPS * ROWS_PER_GROUP].to_arrow()
            writer.write_table(part.cast(kinds), row_group_size=ROWS_PER_GROUP)


def _plain(kind: pa.DataType) -> pa.DataType:
    """The type that `schema_of` would give: Polars' large strings and lists as ordinary ones."""
    if pa.types.is_large_string(kind):
        return pa.string()
    if pa.types.is_large_list(kind):
        return pa.list_(_plain(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([(kind.field(i).name, _plain(kind.field(i).type)) for i in range(kind.num_fields)])
    return kind


def read_table(path: Path) -> pl.DataFrame:
    """The whole table; InputError if it is missing or is no Parquet."""
    with _reading(path):
        return pl.from_arrow(pq.read_table(path, page_checksum_verification=True))  # type: ignore[return-value]  # a table always gives a frame


def count_rows(path: Path) -> int:
    """How many rows the table's footer states; InputError as in `read_table`."""
    with _reading(path):
        return int(pq.read_metadata(path).num_rows)


def iter_rows(path: Path, record: type[Record]) -> Iterator[Record]:
    """The rows as dataclasses, one row group in memory at a time; InputError as in `read_table`."""
    with _reading(path):
        file = pq.ParquetFile(path, page_checksum_verification=True)
        columns = schema_of(record).names
        if missing := sorted(set(columns) - set(file.schema_arrow.names)):
            raise InputError(f"lacks the column {', '.join(missing)}", where=str(path))
        for batch in file.iter_batches(batch_size=ROWS_PER_GROUP, columns=columns):
            yield from (from_json(row, record) for row in batch.to_pylist())


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise InputError("no such table", where=str(path), hint="Run the stage that writes it first") from error
    except (OSError, pa.ArrowException) as error:
        hint = "Delete its folder's report.json and run its stage again: it is made anew from the ledger"
        raise InputError(f"cannot be read as Parquet ({error})", where=str(path), hint=hint) from error
