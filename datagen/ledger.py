"""The append-only record of what a stage has finished: one whole JSON line per outcome, and none is ever lost.

    ledger/active.jsonl              lines in order of finishing; its last one may be torn by a crash
    ledger/segment-00000.jsonl       a full active file, renamed; packed at once, or when the ledger is next opened
    ledger/segment-00000.jsonl.zst   its lines sorted by source id, in independent zstd frames
    ledger/segment-00000.json        the index: ids, which of them are owed, the frames' lengths

A segment counts as packed once its index is there; only then is the plain file removed. So a crash at any moment leaves
either the plain lines or the packed ones, and where both are, the plain ones go: no line is lost and none counts twice.
Where an id has several lines (an engine failure, then a success) the latest counts.
"""

from __future__ import annotations

import contextlib
import heapq
import json
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import zstandard

from datagen.codec import outcome_from_json, to_plain
from datagen.errors import InputError
from datagen.files import make_folder, read_json, replacing, storing, sync_folder, write_json
from datagen.models import Outcome

Kept = TypeVar("Kept")
Record = dict[str, Any]

ROTATE_LINES = 4096
ROTATE_BYTES = 16 << 20
FRAME_BYTES = 128 << 10
SYNC_LINES = 64
SYNC_SECONDS = 5.0
_SEGMENT = re.compile(r"segment-(\d+)\.jsonl(?:\.zst)?")


@dataclass(frozen=True, slots=True)
class _Entry:
    """Where a line stands in a plain file, and what it says: the source id, whether it is final."""

    source_id: str
    final: bool
    start: int
    length: int


@dataclass(slots=True)
class LedgerState:
    """Which source ids have a final outcome (`done`) and which only a failed one (`failed`: owed again)."""

    done: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)

    def add(self, source_id: str, final: bool) -> None:
        """Takes note of one line."""
        if final:
            self.done.add(source_id)
            self.failed.discard(source_id)
        elif source_id not in self.done:
            self.failed.add(source_id)


class Ledger:
    """The one writer of a ledger folder; whoever opens it holds the run's lock.

    A line is handed to the kernel when `append` returns, so a killed process loses nothing; it is forced to disk after
    64 lines, after 5 seconds at the next append, and on `sync` and `close`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        rotate_lines: int = ROTATE_LINES,
        rotate_bytes: int = ROTATE_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        make_folder(folder)
        self._folder, self._clock = folder, clock
        self._rotate_lines, self._rotate_bytes = rotate_lines, rotate_bytes
        self._path = folder / "active.jsonl"
        _finish_rotations(folder)
        self._entries, self._end = _scan(self._path)
        self.state = _state(folder, self._entries)
        self._handle = self._open()
        self.unsynced, self._synced_at = 0, clock()

    @property
    def done(self) -> set[str]:
        """The source ids with a final outcome."""
        return self.state.done

    @property
    def failed(self) -> set[str]:
        """The source ids with a failed outcome only; they are owed."""
        return self.state.failed

    def append(self, outcome: Outcome[Any]) -> None:
        """Adds one line; StorageError if the disk takes no more, and then the line is owed again."""
        line = json.dumps(to_plain(outcome), separators=(",", ":")).encode() + b"\n"
        with storing(self._path):
            self._write(line)
        self._entries.append(_Entry(outcome.source_id, outcome.final, self._end, len(line) - 1))
        self._end += len(line)
        self.state.add(outcome.source_id, outcome.final)
        self.unsynced += 1
        if self.unsynced >= SYNC_LINES or self._clock() - self._synced_at >= SYNC_SECONDS:
            self.sync()
        if len(self._entries) >= self._rotate_lines or self._end >= self._rotate_bytes:
            self._rotate()

    def sync(self) -> None:
        """Forces all lines to disk; StorageError if that fails."""
        if self._handle >= 0:
            with storing(self._path):
                os.fdatasync(self._handle)
        self.unsynced, self._synced_at = 0, self._clock()

    def close(self) -> None:
        """Forces all lines to disk and lets go of the file."""
        if self._handle >= 0:
            try:
                self.sync()
            finally:
                os.close(self._handle)
                self._handle = -1

    def records(self) -> Iterator[Record]:
        """The latest line of every source id as plain data, sorted by source id; memory: one frame per segment."""
        return read_records(self._folder)

    def outcomes(self, kept_type: type[Kept]) -> Iterator[Outcome[Kept]]:
        """`records` as outcomes."""
        return read_outcomes(self._folder, kept_type)

    def _open(self) -> int:
        """Opens the active file and cuts what a crash left of a line at its end."""
        with storing(self._path):
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
            if os.fstat(handle).st_size != self._end:
                os.ftruncate(handle, self._end)
                os.fsync(handle)
            sync_folder(self._folder)
        return handle

    def _write(self, line: bytes) -> None:
        """The whole line or, on a full disk, none of it."""
        try:
            rest = memoryview(line)
            while rest:
                rest = rest[os.write(self._handle, rest) :]
        except OSError:
            os.ftruncate(self._handle, self._end)
            raise

    def _rotate(self) -> None:
        """Renames the active file to the next segment, begins a new one, packs the old one."""
        self.close()
        number = 1 + max(_segments(self._folder), default=-1)
        with storing(self._path):
            self._path.rename(_plain(self._folder, number))
            sync_folder(self._folder)
        entries, self._entries, self._end = self._entries, [], 0
        self._handle = self._open()
        _pack(self._folder, number, entries)


def ledger_state(folder: Path) -> LedgerState:
    """What a ledger holds, without its lock and without changing it; an absent folder holds nothing.

    A ledger that rotates meanwhile is read again.
    """
    while True:
        names = _names(folder)
        state = _state(folder, _scan(folder / "active.jsonl")[0])
        if _names(folder) == names:
            return state


def _state(folder: Path, active: list[_Entry]) -> LedgerState:
    state = LedgerState()
    for number in _segments(folder):
        index = _index(folder, number)
        entries = _scan(_plain(folder, number))[0] if index is None else []
        owed = set(index["owed"]) if index else set()
        for source_id in index["ids"] if index else ():
            state.add(source_id, source_id not in owed)
        for entry in entries:
            state.add(entry.source_id, entry.final)
    for entry in active:
        state.add(entry.source_id, entry.final)
    return state


def read_outcomes(folder: Path, kept_type: type[Kept]) -> Iterator[Outcome[Kept]]:
    """The latest outcome of every source id, sorted by source id; needs no lock, but a ledger that is not written to.

    Raises InputError naming the folder where a line does not hold an outcome of `kept_type`.
    """
    for record in read_records(folder):
        try:
            outcome = outcome_from_json(record, kept_type)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"the outcome of {record['source_id']} cannot be read ({error})",
                where=str(folder),
                hint="It was written by another version of datagen: use that one, or delete the stage's folder",
            ) from error
        yield outcome


def read_records(folder: Path) -> Iterator[Record]:
    """The latest line of every source id as plain data, as `read_outcomes` reads them."""
    sources: list[Iterable[bytes]] = [_segment_lines(folder, number) for number in _segments(folder)]
    sources.append(_sorted_lines(folder / "active.jsonl"))
    streams = [_ranked(lines, -rank) for rank, lines in enumerate(sources)]
    latest = None
    for source_id, _, record in heapq.merge(*streams, key=lambda item: item[:2]):
        if source_id != latest:
            latest = source_id
            yield record


def _ranked(lines: Iterable[bytes], rank: int) -> Iterator[tuple[str, int, Record]]:
    """Lines with what they are merged by: the later the file, the earlier among equal ids."""
    for line in lines:
        record = json.loads(line)
        yield record["source_id"], rank, record


def _scan(path: Path) -> tuple[list[_Entry], int]:
    """The entries of a plain file and where its last whole line ends; a missing file has none.

    Only the last line may be torn (no newline, or no outcome in it); anywhere else that is an InputError. What another
    process adds meanwhile is not looked at.
    """
    entries: list[_Entry] = []
    start = 0
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        for number, line in enumerate(file, 1):
            entry = _entry(line, start)
            if entry is None and start + len(line) < size:
                hint = "Delete that line: its item is then owed again"
                raise InputError("is no outcome", where=f"{path}, line {number}", hint=hint)
            if entry is None or start >= size:
                break
            entries.append(entry)
            start += len(line)
    return entries, start


def _entry(line: bytes, start: int) -> _Entry | None:
    try:
        record = json.loads(line)
        entry = _Entry(record["source_id"], record["final"], start, len(line) - 1)
    except (ValueError, KeyError, TypeError):
        return None
    return entry if line.endswith(b"\n") and isinstance(entry.source_id, str) else None


def _sorted_lines(path: Path) -> Iterator[bytes]:
    """The lines of a plain file by source id, the latest of each."""
    entries = _scan(path)[0]
    if entries:
        with path.open("rb") as file:
            for entry in _latest(entries):
                yield _read_at(file, entry.start, entry.length)


def _latest(entries: list[_Entry]) -> list[_Entry]:
    return [entry for _, entry in sorted({entry.source_id: entry for entry in entries}.items())]


def _segments(folder: Path) -> list[int]:
    """The numbers of all segments, packed or not."""
    return sorted({int(match[1]) for name in _names(folder) if (match := _SEGMENT.fullmatch(name))})


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def _plain(folder: Path, number: int) -> Path:
    return folder / f"segment-{number:05d}.jsonl"


def _packed(folder: Path, number: int) -> Path:
    return folder / f"segment-{number:05d}.jsonl.zst"


def _index(folder: Path, number: int) -> Any:
    """The segment's index, None while it is not packed."""
    return read_json(folder / f"segment-{number:05d}.json")


def _finish_rotations(folder: Path) -> None:
    """Packs every plain segment that a crash left behind, or removes it where it is packed already."""
    for number in _segments(folder):
        plain = _plain(folder, number)
        if not plain.exists():
            if _index(folder, number) is None:
                raise InputError("has no index beside it", where=str(_packed(folder, number)), hint="Restore it")
        elif _index(folder, number) is None:
            _pack(folder, number, _scan(plain)[0])
        else:
            plain.unlink()


def _pack(folder: Path, number: int, entries: list[_Entry]) -> None:
    """Writes a plain segment's latest lines, sorted, in frames; then the index; then removes the plain one."""
    latest = _latest(entries)
    compressor = zstandard.ZstdCompressor(write_checksum=True)
    with replacing(_packed(folder, number)) as packed, _plain(folder, number).open("rb") as plain:
        frames = [packed.write(compressor.compress(frame)) for frame in _frames(plain, latest)]
    ids, owed = [e.source_id for e in latest], [e.source_id for e in latest if not e.final]
    write_json(folder / f"segment-{number:05d}.json", {"ids": ids, "owed": owed, "frames": frames})
    with storing(folder):
        _plain(folder, number).unlink()


def _frames(plain: BinaryIO, entries: list[_Entry]) -> Iterator[bytes]:
    """The lines in pieces of FRAME_BYTES, each of whole lines."""
    lines: list[bytes] = []
    size = 0
    for entry in entries:
        lines.append(_read_at(plain, entry.start, entry.length) + b"\n")
        size += entry.length
        if size >= FRAME_BYTES:
            yield b"".join(lines)
            lines, size = [], 0
    if lines:
        yield b"".join(lines)


def _segment_lines(folder: Path, number: int) -> Iterator[bytes]:
    """A segment's lines by source id; one frame in memory, no file kept open between frames."""
    frames = (_index(folder, number) or {}).get("frames")
    if frames is None:
        yield from _sorted_lines(_plain(folder, number))
        return
    start = 0
    for length in frames:
        yield from _frame_lines(_packed(folder, number), start, length)
        start += length


def _frame_lines(path: Path, start: int, length: int) -> list[bytes]:
    try:
        with path.open("rb") as file:
            return zstandard.ZstdDecompressor().decompress(_read_at(file, start, length)).split(b"\n")[:-1]
    except (OSError, zstandard.ZstdError) as error:
        hint = "Restore it, or delete it and its index: its items are then owed again"
        raise InputError(f"is damaged ({error})", where=str(path), hint=hint) from error


def _read_at(file: BinaryIO, start: int, length: int) -> bytes:
    file.seek(start)
    return file.read(length)
