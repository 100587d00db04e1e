"""What earlier rounds found of a set that grows: a later one works on its new rows only, with the result of the whole.

A folder with a file for each round that brought rows: what `matching.Known` holds of these, under a digest. A file
counts if it is whole, follows the one before it, and was made under the same settings from the very rows that are
there now; what follows one that does not count is found anew, and replaces it.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import polars as pl
import zstandard

from datagen.files import make_folder, replacing, storing
from datagen.similarity import hashing
from datagen.similarity.backend import choose
from datagen.similarity.matching import Found, Known, Plan, State, concatenated, distinct, empty_state, matched
from datagen.similarity.select import Edges, joined
from datagen.similarity.texts import Texts
from datagen.similarity.workspace import Workspace

VERSION = 1
_DIGEST = hashlib.blake2b().digest_size

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Round:
    """Rows `start` to `stop` of a set, as their file holds them; `digest` names its content and all before it."""

    start: int
    stop: int
    known: Known
    digest: str


@dataclass(frozen=True, slots=True)
class Rounds:
    """The rounds of one set in `folder`: its rows' ids and texts in order of priority, the plan, what is kept before
    all of them.
    """

    folder: Path
    ids: pl.Series
    text: pl.Series
    plan: Plan
    before: State

    def find(self, backend: str, room: Workspace) -> Found:
        """What becomes of every row, as `matching.find` says; the new ones are then a round of their own."""
        found = self.read()
        new = self.text[_stop(found) :]
        matches = matched(
            [new], self.plan, choose(backend, len(new)), room, known(found, self.before), len(self.before)
        )
        if len(new):
            self.write(found, matches.known)
        return matches.found(room)

    def read(self) -> list[Round]:
        """The rounds that count, in order."""
        found: list[Round] = []
        while one := self._read(found):
            found.append(one)
        return found

    def write(self, found: list[Round], known: Known) -> None:
        """Adds the round of the rows after `found`, of which `known` tells as of all; StorageError if it cannot."""
        start, stop = _stop(found), len(self.ids)
        make_folder(self.folder)
        with replacing(self._path(len(found))) as file:
            _save(file, self._about(found, stop), _arrays(known, start, len(self.before)))
        for number in itertools.count(len(found) + 1):
            if not (stale := self._path(number)).exists():
                return
            with storing(stale):
                stale.unlink()

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:04}.round"

    def _read(self, found: list[Round]) -> Round | None:
        try:
            data = self._path(len(found)).read_bytes()
        except OSError:
            return None
        content, digest = memoryview(data)[:-_DIGEST], data[-_DIGEST:]
        if hashlib.blake2b(content).digest() != digest:
            return None
        file = io.BytesIO(content)
        about = json.loads(_array(file).tobytes())
        stop = about.get("stop")
        if about != self._about(found, stop):
            return None
        return Round(_stop(found), stop, _known(file, self.plan), digest.hex())

    def _about(self, found: list[Round], stop: int) -> dict[str, Any]:
        """What a file has to say for it to count after those found."""
        start = _stop(found)
        rows = slice(start, stop)
        return {
            "version": VERSION, "hash": hashing.NAME, "plan": asdict(self.plan), "start": start, "stop": stop,
            "before": found[-1].digest if found else _digest([self.before.text]),
            "rows": _digest([self.ids[rows], self.text[rows]]),
        }  # fmt: skip


def known(found: Iterable[Round], before: State) -> Known:
    """What these rounds know together of the rows of a set before which `before` is kept."""
    parts = [one.known for one in found]
    state = concatenated([before, *(part.state for part in parts)])
    first = np.concatenate([np.empty(0, np.int64), *(part.first for part in parts)])
    last = parts[-1] if parts else Known(first, before)
    return Known(first, state, joined([part.edges for part in parts]), last.compared, last.verified)


def _stop(found: list[Round]) -> int:
    return found[-1].stop if found else 0


def _arrays(known: Known, start: int, old: int) -> list[Array]:
    """What there is to know of the rows from `start` on; `old` texts are kept before all rows."""
    texts = old + len(distinct(known.first[:start], old))
    state, edges = known.state.between(texts, len(known.state)), known.edges.where(known.edges.right >= texts)
    content = Texts.of(state.text)
    packed = np.frombuffer(zstandard.ZstdCompressor(level=1).compress(content.data.data), np.uint8)
    counts = np.array([known.compared, known.verified])
    return [
        counts, known.first[start:], content.offsets, packed, state.value, state.keys, state.sketch,
        edges.left, edges.right, edges.jaccard, edges.flip,
    ]  # fmt: skip


def _known(file: BinaryIO, plan: Plan) -> Known:
    """What `_arrays` made, read again."""
    counts, first, offsets, packed, value, keys, sketch, left, right, jaccard, flip = (_array(file) for _ in range(11))
    data = np.frombuffer(zstandard.ZstdDecompressor().decompress(packed.data), np.uint8)
    text = Texts(data, offsets).series().alias("text") if len(value) else empty_state(plan).text
    compared, verified = counts.tolist()
    return Known(first, State(text, value, keys, sketch), Edges(left, right, jaccard, flip), compared, verified)


def _save(file: BinaryIO, about: dict[str, Any], arrays: Iterable[Array]) -> None:
    digest = hashlib.blake2b()
    for array in (np.frombuffer(json.dumps(about, sort_keys=True).encode(), np.uint8), *arrays):
        part = io.BytesIO()
        np.save(part, np.ascontiguousarray(array), allow_pickle=False)
        digest.update(part.getbuffer())
        file.write(part.getbuffer())
    file.write(digest.digest())


def _array(file: BinaryIO) -> Array:
    array: Array = np.load(file, allow_pickle=False)
    return array


def _digest(columns: Iterable[pl.Series]) -> str:
    digest = hashlib.blake2b()
    for column in columns:
        texts = Texts.of(column)
        for part in (texts.offsets, texts.data):
            digest.update(np.ascontiguousarray(part).data)
    return digest.hexdigest()
