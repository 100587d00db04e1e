"""Reads any table of texts - a file, a folder of files, a data set on the Hub - and writes what a command made of it.

`datagen dedup FILE` and its like work on whatever lies there: what comes out is a Polars frame with the table's own
columns in its own order, or an InputError of one line.
"""

from __future__ import annotations

import difflib
import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from datagen import __version__
from datagen.errors import InputError, MissingDependency, UsageError
from datagen.files import make_folder, read_json, storing, sync_folder, write_json
from datagen.models import content_id
from datagen.records import AGAIN, LINES, SUFFIXES, files_of, is_parquet, read_bytes, read_objects, read_parquet
from datagen.tables import write_frame

REPORT = "report.json"
_LONE_SURROGATE = re.compile(rb"\\u(?<![^\\]\\\\u)[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])")
"""Half of a pair without the other; a second backslash before it makes it plain letters. Looking behind only after the
first two characters lets the search go by them: ten times faster."""

_WHOLE = 2**53
"""From here on a float is not any integer."""

_BEYOND = "Static("
"""How an integer beyond 64 bits begins where Polars reads it among texts."""


@dataclass(frozen=True, slots=True)
class HubTable:
    """Which part of a data set on the Hub to read; empty: its main revision, its only subset, its train split."""

    id: str
    revision: str = ""
    subset: str = ""
    split: str = ""


# -- reading ----------------------------------------------------------------------------------------------------------


def read_rows(
    source: str, *, column: str, revision: str = "", subset: str = "", split: str = "",
    load: Callable[[HubTable], pl.DataFrame] | None = None,
) -> pl.DataFrame:  # fmt: skip
    """All rows of a file, of every file of a folder (by name), or of the Hub's OWNER/NAME, with the table's columns.

    What exists as a path is one; `revision`, `subset` and `split` are for the Hub. In JSON a key that a row lacks
    is null, and a column whose values fit no one type is kept as JSON text. `load` fetches a data set (`load_hub`).
    Raises InputError for what is missing, corrupt or empty, and where `column` (if named) is missing or holds no text.
    """
    path = Path(source).expanduser()
    if exists(path) or looks_like_a_path(source):
        if revision or subset or split:
            raise UsageError("--revision, --subset and --split are for data sets on the Hub", where=source)
        rows = _read_path(path)
    else:
        rows = (load or load_hub)(HubTable(source, revision, subset, split))
    if rows.is_empty():
        raise InputError("holds no rows", where=source, hint=AGAIN)
    if column:
        check_column(rows, column, source)
    return rows.with_columns([_series_of_text(rows[name]) for name, kind in rows.schema.items() if not storable(kind)])


def storable(kind: pl.DataType) -> bool:
    """Whether Parquet has a place for such values: it has none for integers of 128 bits and structs without fields."""
    match kind:
        case pl.Struct():
            return bool(kind.fields) and all(storable(field.dtype) for field in kind.fields)  # type: ignore[arg-type]  # an instance of a struct has instances as fields
        case pl.List() | pl.Array():
            return storable(kind.inner)  # type: ignore[arg-type]  # as above
    return kind not in (pl.Int128, pl.UInt128)


def looks_like_a_path(source: str) -> bool:
    """Whether this can only be meant as a path, not as the Hub's OWNER/NAME."""
    return source.endswith(SUFFIXES) or source.startswith((".", "/", "~")) or source.count("/") != 1


def exists(path: Path) -> bool:
    """Whether something lies there; a name that no file can have names nothing."""
    try:
        return path.exists()
    except OSError:
        return False


def check_column(rows: pl.DataFrame, column: str, source: str) -> None:
    """InputError, with the closest name or all columns of text, unless `column` is one of text (null is allowed)."""
    textual = [name for name, kind in rows.schema.items() if kind == pl.String]
    if column in textual:
        return
    what = f"column {column!r} holds {rows.schema[column]}, not text" if column in rows.columns else ""
    close = difflib.get_close_matches(column, textual, n=1)
    hint = f"Did you mean --column {close[0]}?" if close else f"Columns of text: {', '.join(textual) or 'none'}"
    raise InputError(what or f"no column {column!r}", where=source, hint=hint)


def with_ids(rows: pl.DataFrame, column: str) -> pl.Series:
    """A name for each row, as text: its `id` where the table has such a column, else the hash of its text."""
    if "id" in rows.columns and not rows.schema["id"].is_nested():
        return rows["id"].cast(pl.String).fill_null("").alias("id")
    return pl.Series("id", [content_id(text or "") for text in rows[column]], dtype=pl.String)


def _read_path(path: Path) -> pl.DataFrame:
    if not exists(path):
        raise InputError("no such file or folder", where=str(path), hint="Check the path; the Hub's are OWNER/NAME")
    return _read_folder(path) if path.is_dir() else _read_file(path)


def _read_folder(folder: Path) -> pl.DataFrame:
    frames = [frame for frame in map(_read_file, files_of(folder)) if not frame.is_empty()] or [pl.DataFrame()]
    try:
        return pl.concat(frames, how="diagonal_relaxed")
    except pl.exceptions.PolarsError as error:
        hint = "Give the files one by one"
        raise InputError(
            f"its files hold columns of different types ({error})", where=str(folder), hint=hint
        ) from error


def _read_file(path: Path) -> pl.DataFrame:
    """The rows by the fast reader, else by one that knows what is wrong where; the fast one garbles lone surrogates."""
    if is_parquet(path):
        return read_parquet(path)
    plain = path.name.endswith(LINES) and not _LONE_SURROGATE.search(data := read_bytes(path))
    rows = _of_lines(data) if plain else None
    return _frame(list(read_objects(path))) if rows is None else rows


def _of_lines(data: bytes) -> pl.DataFrame | None:
    """The rows of JSON lines, with types that hold every value as it is; None where there are none.

    Polars turns numbers and objects among texts into text that is not always JSON. Among categories it refuses them,
    in the same time, so texts are read as categories first.
    """
    try:
        kinds = pl.scan_ndjson(data, infer_schema_length=None).collect_schema()
        rows = pl.read_ndjson(data, schema={name: _strict(kind) for name, kind in kinds.items()}).cast(kinds)
    except pl.exceptions.PolarsError:
        return None
    return rows if all(map(_exact, rows.iter_columns())) else None


def _strict(kind: pl.DataType) -> pl.DataType:
    """The type with categories for its texts."""
    match kind:
        case pl.Struct():
            return pl.Struct({field.name: _strict(field.dtype) for field in kind.fields})  # type: ignore[arg-type]  # an instance of a struct has instances as fields
        case pl.List():
            return pl.List(_strict(kind.inner))  # type: ignore[arg-type]  # as above
    return pl.Categorical() if kind == pl.String else kind


def _exact(values: pl.Series) -> bool:
    """Whether no float may stand for another integer, and no text for one beyond 64 bits, as Polars reads those."""
    match values.dtype:
        case pl.Struct():
            return all(map(_exact, values.struct.unnest().iter_columns()))
        case pl.List():
            return _exact(values.explode())
        case pl.Float64():
            return not (values.abs() >= _WHOLE).any()
        case pl.String():
            return not values.str.starts_with(_BEYOND).any()
    return True


def _frame(records: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    names = dict.fromkeys(name for record in records for name in record)
    return pl.DataFrame([_series(name, [record.get(name) for record in records]) for name in names])


def _series(name: str, values: list[Any]) -> pl.Series:
    """A column of the one type that holds all values as they are; of JSON text where there is none."""
    for column in (made(values) for made in (_by_lines, _by_objects)):
        if column is not None:
            return column.alias(_encodable(name))
    return _series_of_text(pl.Series(_encodable(name), values, dtype=pl.Object))


def _by_lines(values: list[Any]) -> pl.Series | None:
    """The values as the fast reader takes them, so that both give the same types."""
    lines = [_encodable(json.dumps({"value": value}, ensure_ascii=False)) for value in values]
    rows = _of_lines("\n".join(lines).encode())
    given = (json.loads(line)["value"] for line in lines)
    return rows["value"] if rows is not None and all(map(_same, rows["value"].to_list(), given)) else None


def _by_objects(values: list[Any]) -> pl.Series | None:
    """The values by Polars, which also knows those that JSON has no words for (NaN), but fits all to the first."""
    try:
        column = pl.Series(values, strict=True)
    except (TypeError, OverflowError, UnicodeEncodeError, pl.exceptions.PolarsError):
        return None
    return column if all(map(_same, column.to_list(), values)) else None


def _same(found: Any, given: Any) -> bool:
    """Whether a column holds the value that was given; a key that was missing is null in it."""
    match given:
        case dict():
            held = isinstance(found, dict) and given.keys() <= found.keys()
            return held and all(_same(value, given.get(name)) for name, value in found.items())
        case list():
            return isinstance(found, list) and len(found) == len(given) and all(map(_same, found, given))
        case bool() | str() | None:
            return type(found) is type(given) and bool(found == given)
    return type(found) in (int, float) and (found == given or (found != found and given != given))  # NaN is not itself


def _series_of_text(values: pl.Series) -> pl.Series:
    return pl.Series(values.name, [_as_text(value) for value in values.to_list()], dtype=pl.String)


def _as_text(value: Any) -> str | None:
    if value is None:
        return None
    return _encodable(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str))


def _encodable(text: str) -> str:
    """The text with U+FFFD for each lone surrogate, which UTF-8 has no bytes for."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


# -- the Hub ----------------------------------------------------------------------------------------------------------


def load_hub(table: HubTable) -> pl.DataFrame:
    """A split of a data set through `datasets`; InputError, saying what to type, if it cannot be had."""
    try:
        import datasets
    except ImportError as error:
        raise MissingDependency("datasets is not installed", hint="Type: pip install datasets") from error
    where = f"data set {table.id}"
    try:
        splits = datasets.load_dataset(table.id, table.subset or None, revision=table.revision or None)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        raise InputError(
            f"no path here, and not to be had from the Hub ({_reason(error)})", where=where, hint=_fetch(table, error)
        ) from error
    return _rows_of(splits[_split(tuple(splits), table.split, where)])


def _split(names: Sequence[str], wanted: str, where: str) -> str:
    if wanted in names:
        return wanted
    if not wanted and ("train" in names or len(names) == 1):
        return "train" if "train" in names else names[0]
    raise InputError(f"no split {wanted or 'train'!r}", where=where, hint=f"Give --split one of: {', '.join(names)}")


def _rows_of(split: Any) -> pl.DataFrame:
    rows = split.to_polars()
    assert isinstance(rows, pl.DataFrame)  # only with batched=True does it give an iterator
    return rows


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _fetch(table: HubTable, error: BaseException) -> str:
    if "onfig name" in str(error) or "BuilderConfig" in str(error):
        return "Give --subset NAME"
    revision = f" --revision {table.revision}" if table.revision else ""
    folder = table.id.rpartition("/")[2]
    command = f"hf download {table.id} --repo-type dataset{revision} --local-dir {folder}"
    return f"Check the name and the network; where there is one, type: {command} ; then give that folder"


# -- writing ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Output:
    """A folder of results while it is written; `finish` is the last call, and without it nothing appears."""

    path: Path
    command: str
    draft: Path

    def table(self, name: str, rows: pl.DataFrame) -> None:
        """Adds NAME.parquet; StorageError if it cannot be written."""
        write_frame(self.draft / f"{name}.parquet", rows)

    def finish(self, report: Mapping[str, Any]) -> None:
        """Writes report.json, which names all files, and puts the folder in its place by a rename."""
        files = sorted({REPORT, *(file.name for file in self.draft.iterdir())})
        own = {"command": self.command, "version": __version__, "files": files}
        write_json(self.draft / REPORT, {**report, **own})
        old = self.draft.with_name(self.draft.name + ".old")
        with storing(self.path):
            shutil.rmtree(old, ignore_errors=True)
            if self.path.exists():
                self.path.rename(old)
            self.draft.rename(self.path)
            sync_folder(self.path.parent)
            shutil.rmtree(old, ignore_errors=True)


@contextmanager
def output(path: Path, command: str) -> Iterator[Output]:
    """A draft beside `path` that takes its place when the body has called `finish`; else what was there is untouched.

    Raises UsageError before anything is done if `path` holds a file that this command did not write.
    """
    check_output(path, command)
    draft = path.with_name(f".{path.name}.part")
    make_folder(path.parent)
    shutil.rmtree(draft, ignore_errors=True)
    make_folder(draft)
    try:
        yield Output(path, command, draft)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def check_output(path: Path, command: str) -> None:
    """UsageError if `path` holds a file that this command did not write."""
    hint = "Give another folder with --out, or move it away"
    if exists(path) and not path.is_dir():
        raise UsageError("is a file, where a folder is to be written", where=str(path), hint=hint)
    present = {file.name for file in path.iterdir()} if exists(path) else set()
    report = read_json(path / REPORT, {}) if REPORT in present else {}
    written = set(report.get("files", ())) if isinstance(report, dict) and report.get("command") == command else set()
    if foreign := sorted(present - written):
        raise UsageError(f"holds {foreign[0]}, which {command} did not write", where=str(path), hint=hint)


def beside(source: str, suffix: str) -> Path:
    """Where a command writes unless told: NAME-SUFFIX beside a file or folder, in this folder for a data set."""
    path = Path(source).expanduser()
    if not exists(path):
        return Path(f"{source.rpartition('/')[2]}-{suffix}")
    path = path.resolve() if path.name in ("", "..") else path
    stem = path.name if path.is_dir() else path.name.partition(".")[0] or path.name
    return path.with_name(f"{stem}-{suffix}")
