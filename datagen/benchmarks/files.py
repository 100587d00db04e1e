"""Reads the records of benchmark files: of one, or of a folder of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from datagen.benchmarks.readers import Record
from datagen.records import files_of, is_parquet, read_objects, read_parquet

_SPLITS = {"test", "train", "validation", "dev", "data"}
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
    return {str(file.relative_to(path)): read_file(file) for file in files_of(path)}


def read_file(path: Path) -> Sequence[Record]:
    """The records of one file, in order; InputError with the line for what cannot be read."""
    if is_parquet(path):
        return read_parquet(path).drop(_UNREAD, strict=False).to_dicts()
    return [{name: value for name, value in record.items() if name != _UNREAD} for record in read_objects(path)]
