"""Reads the records of benchmark files: JSON lines, JSON, Parquet, compressed or not, alone or in a folder."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

import polars as pl

from datagen.benchmarks.readers import Record
from datagen.errors import InputError

SUFFIXES = (".jsonl", ".jsonl.gz", ".parquet", ".json", ".json.gz")
_SPLITS = {"test", "train", "validation", "dev", "data"}
_HINT = "Give a .jsonl, .jsonl.gz, .json or .parquet file, or a folder of them"
_UNREAD = "private_test_cases"
"""LiveCodeBench's, hundreds of megabytes of pickles that nobody here opens."""


def label(path: Path) -> str:
    """What a report calls a benchmark given by path: the file's name, with the folder's where it is only a split's."""
    path = path.resolve()
    stem = path.name if path.is_dir() else path.name.partition(".")[0]
    return f"{path.parent.name}/{stem}" if stem in _SPLITS else stem


def read_records(path: Path) -> dict[str, Sequence[Record]]:
    """The records of a file, or of each file below a folder, by the file's name."""
    if path.is_file():
        return {path.name: read_file(path)}
    visible = [
        file for file in sorted(path.rglob("*")) if not any(p.startswith(".") for p in file.relative_to(path).parts)
    ]
    files = [file for file in visible if file.name.endswith((".jsonl", ".jsonl.gz", ".parquet"))]
    files = files or [file for file in visible if file.name.endswith((".json", ".json.gz"))]
    if not files:
        raise InputError("the folder holds no benchmark file", where=str(path), hint=_HINT)
    return {str(file.relative_to(path)): read_file(file) for file in files}


def read_file(path: Path) -> Sequence[Record]:
    """The records of one file, in order; InputError with the line for what cannot be read."""
    if not path.name.endswith(SUFFIXES):
        raise InputError("not a kind of file that can be read", where=str(path), hint=_HINT)
    try:
        if path.suffix == ".parquet":
            return pl.read_parquet(path).to_dicts()
        with _opened(path) as file:
            return _parse(file if ".jsonl" in path.name else [file.read()], path)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, pl.exceptions.PolarsError) as error:
        raise InputError(f"cannot be read ({error})", where=str(path), hint="Fetch or write the file again") from error


def _opened(path: Path) -> TextIO:
    """The text of a file, a byte order mark and compression aside; only \\n ends a line, for JSON may hold others."""
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="\n")
    return path.open(encoding="utf-8-sig", newline="\n")


def _parse(lines: Iterable[str], path: Path) -> Sequence[Record]:
    """The objects of a JSON array, or of lines of JSON."""
    records: list[Record] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            where = f"{path}, line {number + error.lineno - 1}"
            raise InputError(f"not JSON ({error.msg})", where=where, hint="Fetch or write the file again") from error
        records.extend(_objects(record if isinstance(record, list) else [record], path))
    return records


def _objects(values: list[Any], path: Path) -> Iterator[Record]:
    for value in values:
        if not isinstance(value, dict):
            raise InputError(
                "holds something else than JSON objects", where=str(path), hint="One object an item is needed"
            )
        value.pop(_UNREAD, None)
        yield value
