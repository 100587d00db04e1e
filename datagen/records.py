"""Reads what others wrote: Parquet, JSON lines and JSON arrays, compressed or not, a file or a folder of them.

All that a stranger's file can hold is met here: what comes out are objects or a frame, or an InputError of one line
that names the file, and the line where there are lines.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from datagen.errors import InputError

Record = Mapping[str, Any]

SUFFIXES = (".parquet", ".jsonl", ".jsonl.gz", ".ndjson", ".json", ".json.gz")
"""The kinds of file that are read; the last two hold an array of objects and count in a folder only without others."""
LINES, ARRAYS = SUFFIXES[:4], SUFFIXES[4:]
AGAIN = "Fetch or write the file again"
_KINDS = "Give a .parquet, .jsonl, .jsonl.gz, .json or .json.gz file, or a folder of them"
_DAMAGED = (
    OSError,
    EOFError,
    zlib.error,
    UnicodeError,
    pa.ArrowException,
    pl.exceptions.PolarsError,
    pl.exceptions.PanicException,
)


def files_of(folder: Path) -> list[Path]:
    """The files below a folder that can be read, by name, hidden ones aside; InputError if there are none."""
    found = [file for file in sorted(folder.rglob("*")) if file.is_file() and not _hidden(file.relative_to(folder))]
    files = [file for file in found if file.name.endswith(LINES)]
    files = files or [file for file in found if file.name.endswith(ARRAYS)]
    if not files:
        raise InputError("the folder holds no file that can be read", where=str(folder), hint=_KINDS)
    return files


def read_parquet(path: Path) -> pl.DataFrame:
    """By Arrow, which says what is wrong with a damaged file where Polars' own reader can panic."""
    with _reading(path):
        table = pq.ParquetFile(path, page_checksum_verification=True).read()
        table.validate(full=True)  # Polars takes for granted that text is UTF-8
        rows = pl.from_arrow(table)
    assert isinstance(rows, pl.DataFrame)  # a table always gives a frame
    return rows


def read_bytes(path: Path) -> bytes:
    """What a file of JSON holds, uncompressed."""
    with _reading(path), _opened(path) as file:
        return file.read()


def read_objects(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a file of JSON in their order, one line in memory where it has lines."""
    with _reading(path), _opened(path) as file:
        place = 0
        for number, piece in enumerate(file if path.name.endswith(LINES) else [file.read()], start=1):
            yield from _objects(_text(piece, place, path), number, path)
            place += len(piece)


def is_parquet(path: Path) -> bool:
    """Whether a file holds a table of columns, not objects; InputError for a kind that is not read at all."""
    if not path.name.endswith(SUFFIXES):
        raise InputError("not a kind of file that can be read", where=str(path), hint=_KINDS)
    return path.suffix == ".parquet"


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGED as error:
        raise InputError(f"cannot be read ({error})", where=str(path), hint=AGAIN) from error


def _opened(path: Path) -> BinaryIO:
    """The file's bytes; their lines end with \\n alone, for JSON may hold other line ends."""
    return cast(BinaryIO, gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


def _text(piece: bytes, place: int, path: Path) -> str:
    try:
        return piece.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        what = f"is not UTF-8 ({error.reason} at byte {place + error.start:,})"
        raise InputError(what, where=str(path), hint=AGAIN) from error


def _objects(text: str, number: int, path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a line, or of a whole array."""
    if not text.strip():
        return
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        where = f"{path}, line {number + getattr(error, 'lineno', 1) - 1}"
        raise InputError(f"not JSON ({getattr(error, 'msg', error)})", where=where, hint=AGAIN) from error
    for record in value if isinstance(value, list) else [value]:
        if not isinstance(record, dict):
            what, where = "holds something else than JSON objects", f"{path}, line {number}"
            raise InputError(what, where=where, hint="One object a row is needed")
        yield record
