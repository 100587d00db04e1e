"""Writes the data set folder that is published: three configs of Parquet shards, and the card.

The folder changes all at once: it is built beside the old one and swapped in, so whoever reads it, and whatever stops
us, finds the old one or the new one whole.
"""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from datagen.card import CONFIGS, is_generated
from datagen.codec import schema_of
from datagen.config import ExportConfig
from datagen.errors import InputError, UsageError
from datagen.files import storing, sync_folder, write_whole
from datagen.licenses import check_license
from datagen.models import Row
from datagen.tables import CANDIDATES, DROPPED

ROW_GROUP = 2_000
"""Rows that are in memory at once, and a row group of a shard: what a reader that wants a few rows must fetch."""

ROWS = schema_of(Row)
REJECTED = pa.schema([("stage", pa.string()), *DROPPED])

_CARD, _NEW_CARD = "README.md", "README.new.md"
_OURS = {_CARD, _NEW_CARD, *(Path(pattern).parent.name for pattern in CONFIGS.values())}
_RUN_AGAIN = "Run the stage that wrote it again"
_RENAME_EXCHANGE, _AT_FDCWD = 2, -100


@dataclass(frozen=True, slots=True)
class ExportSources:
    """Parquet files to publish: verified rows, all candidates (None: not recorded), and what each stage dropped."""

    rows: Path
    candidates: Path | None = None
    dropped: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows of each config. A config without rows is not written: `datasets` cannot load an empty one."""

    default: int
    all_candidates: int
    rejected: int


@dataclass(frozen=True, slots=True)
class Exported:
    """Where the data set lies, what it holds, and what the user should know (empty: nothing)."""

    folder: Path
    counts: Counts
    message: str = ""


def export(sources: ExportSources, out: Path, config: ExportConfig, card: str) -> Exported:
    """Writes the configs default (by id), all_candidates (by question, index), rejected (by stage), and the card.

    Equal inputs give equal bytes. Files that are not ours stay in the folder; a card that was edited by hand stays too,
    and the new one is README.new.md beside it. Raises InputError when there is no row or a file is not as it should be,
    UsageError for a licence or shard size that cannot be, StorageError when `out` cannot be written.
    """
    counts = _check(sources, config)
    build = out.with_name(f".{out.name}.new")
    try:
        with storing(out):
            _restore(out)
            shutil.rmtree(build, ignore_errors=True)
            message = _carry_over(out, build, card)
            for name, parts in _parts(sources).items():
                _write_shards(build / _folder(name), parts, config.shard_rows)
            _swap(build, out, _exchange)
    finally:
        shutil.rmtree(build, ignore_errors=True)
    return Exported(out, counts, message)


def count(sources: ExportSources) -> Counts:
    """How many rows `export` will write to each config: what the card has to say. Reads no row."""
    parts = _parts(sources)
    return Counts(*(sum(part.rows() for part in parts[name]) for name in CONFIGS))


@dataclass(frozen=True, slots=True)
class _Part:
    """A file of one config, in the order of `key`; the column `stage`, where the schema has it, is constant."""

    path: Path
    schema: pa.Schema
    key: tuple[str, ...]
    stage: str = ""

    def open(self) -> pq.ParquetFile:
        try:
            file = pq.ParquetFile(self.path)
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"cannot be read ({error})", where=str(self.path), hint=_RUN_AGAIN) from error
        if missing := sorted(set(self.columns) - set(file.schema_arrow.names)):
            raise InputError(f"has no column {', '.join(missing)}", where=str(self.path), hint=_RUN_AGAIN)
        return file

    @property
    def columns(self) -> list[str]:
        return [name for name in self.schema.names if name != "stage"]

    def rows(self) -> int:
        with self.open() as file:
            return int(file.metadata.num_rows)


def _parts(sources: ExportSources) -> dict[str, list[_Part]]:
    candidates = [_Part(sources.candidates, CANDIDATES, ("source_id", "index"))] if sources.candidates else []
    rejected = [_Part(path, REJECTED, ("source_id",), stage) for stage, path in sources.dropped.items()]
    return {"default": [_Part(sources.rows, ROWS, ("id",))], "all_candidates": candidates, "rejected": rejected}


def _check(sources: ExportSources, config: ExportConfig) -> Counts:
    check_license(config.license)
    if config.shard_rows < 1:
        raise UsageError(f"shard_rows = {config.shard_rows} is too small", hint="A shard holds at least one row")
    counts = count(sources)
    if not counts.default:
        hint = "`datagen status` shows at which stage they were dropped, and why"
        raise InputError("there is no row to export", where=str(sources.rows), hint=hint)
    return counts


def _tables(part: _Part) -> Iterator[pa.Table]:
    """The part's rows in the order of its key, some at a time; only a file in another order is read as a whole."""
    try:
        keys = pl.read_parquet(part.path, columns=list(part.key))
        if keys.equals(keys.sort(part.key, maintain_order=True)):
            with part.open() as file:
                for batch in file.iter_batches(ROW_GROUP, columns=part.columns):
                    yield _shaped(pa.Table.from_batches([batch]), part)
        else:
            frame = pl.read_parquet(part.path, columns=part.columns).sort(part.key, maintain_order=True)
            yield from (_shaped(rows.to_arrow(), part) for rows in frame.iter_slices(ROW_GROUP))
    except (OSError, pa.ArrowException, pl.exceptions.PolarsError) as error:
        raise InputError(f"cannot be read ({error})", where=str(part.path), hint=_RUN_AGAIN) from error


def _shaped(table: pa.Table, part: _Part) -> pa.Table:
    """The table with exactly the part's schema."""
    if "stage" in part.schema.names:
        table = table.append_column("stage", pa.repeat(part.stage, table.num_rows))
    return table.select(part.schema.names).cast(part.schema)


def _write_shards(folder: Path, parts: Sequence[_Part], shard_rows: int) -> None:
    """Shards train-00000-of-0000N.parquet of at most `shard_rows` rows each; no rows, no folder."""
    plan = _plan(sum(part.rows() for part in parts), shard_rows)
    groups = _cut((table for part in parts for table in _tables(part)), (size for shard in plan for size in shard))
    for index, sizes in enumerate(plan):
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"train-{index:05}-of-{len(plan):05}.parquet"
        with pq.ParquetWriter(path, parts[0].schema, compression="zstd", write_page_index=True) as writer:
            for _ in sizes:
                writer.write_table(next(groups))
        _flush(path)


def _plan(rows: int, shard_rows: int) -> list[list[int]]:
    """The sizes of the row groups of each shard."""
    shards = (min(shard_rows, rows - start) for start in range(0, rows, shard_rows))
    return [[min(ROW_GROUP, shard - start) for start in range(0, shard, ROW_GROUP)] for shard in shards]


def _cut(tables: Iterable[pa.Table], sizes: Iterable[int]) -> Iterator[pa.Table]:
    """The rows of the tables again, in tables of exactly these sizes, so that bytes do not depend on how they came."""
    source, held = iter(tables), None
    for size in sizes:
        while held is None or held.num_rows < size:
            held = next(source) if held is None else pa.concat_tables([held, next(source)])
        yield held.slice(0, size).combine_chunks()
        held = held.slice(size)


def _folder(name: str) -> str:
    return Path(CONFIGS[name]).parent.name


def _carry_over(old: Path, build: Path, card: str) -> str:
    """Starts the new folder with the card and with what others put into the old one; returns what to tell the user."""
    build.mkdir(parents=True)
    for entry in sorted(old.iterdir()) if old.is_dir() else ():
        if entry.name not in _OURS:
            (shutil.copytree if entry.is_dir() else shutil.copy2)(entry, build / entry.name)
    edited = _is_edited(old / _CARD, card)
    if edited:
        shutil.copy2(old / _CARD, build / _CARD)
    new = build / (_NEW_CARD if edited else _CARD)
    write_whole(new, card.encode())
    return f"{old / _CARD} was edited by hand and is kept; the new card is {new.name} beside it" if edited else ""


def _is_edited(path: Path, card: str) -> bool:
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else card
    return text != card and not is_generated(text)


def _flush(path: Path) -> None:
    """Onto the disk: after a power failure a renamed file must not be empty."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _swap(build: Path, out: Path, exchange: Callable[[Path, Path], bool]) -> None:
    """Puts the new folder in place of the old one: in one step if `exchange` can, else by two renames."""
    if not out.exists():
        build.rename(out)
    elif not exchange(build, out):
        out.rename(_aside(out))
        build.rename(out)
        shutil.rmtree(_aside(out))
    sync_folder(out.parent)


def _aside(out: Path) -> Path:
    return out.with_name(f".{out.name}.old")


def _restore(out: Path) -> None:
    """Brings back the folder that an export put aside, if it was stopped before it could put the new one in place."""
    if _aside(out).exists() and not out.exists():
        _aside(out).rename(out)
    shutil.rmtree(_aside(out), ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Swaps two paths in one step (Linux renameat2); False where the system or the file system cannot."""
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None)
    names = os.fsencode(one.absolute()), os.fsencode(other.absolute())
    return renameat2 is not None and renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0
