"""Questions with planted near-duplicates, any number of them, the same ones for the same seed.

    python -m benchmarks.dedup_corpus 62000 corpus.parquet

Two thirds are fresh: 50 to 150 words, a name that recurs, an opening that many share. A fifth are fillings of common
templates: other tasks in the same words, most of them under a similarity of 0.7. The rest are planted copies of a fresh
question: some words changed (for a similarity drawn evenly from 0.5 to 1), its name changed, two passages swapped, or
only its case and layout. Words are made of syllables and drawn with Zipf's frequencies. A smaller corpus is the
beginning of a larger one.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

CHUNK = 50_000
WORDS, NAMES = 20_000, 5_000
GROUP = 20

Ids = NDArray[np.int32]


class Kind(IntEnum):
    """How a row was made."""

    FRESH, TEMPLATE, EDIT, RENAME, REORDER, VARIANT = range(6)


SHARES = (0.65, 0.20, 0.06, 0.03, 0.03, 0.03)


@dataclass(frozen=True, slots=True)
class Lengths:
    """The fewest and the most words of a fresh question."""

    shortest: int = 50
    longest: int = 150

    @property
    def opening(self) -> int:
        """The words of an opening that many share."""
        return self.shortest * 12 // 50


USUAL = Lengths()


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows as numbers of words, -1 after a row's end, and their kinds."""

    ids: Ids
    kinds: NDArray[np.int64]


def corpus(rows: int, seed: int = 0, size: int = CHUNK, lengths: Lengths = USUAL) -> Iterator[pl.DataFrame]:
    """The corpus in pieces of `size`: id, text (normalised), question (as it would be written), kind."""
    words, written = _vocabulary()
    pool = np.empty((0, lengths.longest), dtype=np.int32)
    for number, start in enumerate(range(0, rows, size)):
        rng = np.random.default_rng([seed, number])
        chunk, pool = _chunk(rng, pool, size, lengths)
        yield _frame(chunk, start, words, written, rng).head(rows - start)


def cached(rows: int, seed: int = 0, folder: Path | None = None, size: int = CHUNK) -> Path:
    """The corpus as a Parquet file, made at most once; in the folder for temporary files unless told."""
    folder = folder or Path(tempfile.gettempdir()) / "datagen-dedup-corpus"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{rows}-{seed}.parquet"
    if not path.exists():
        draft = path.with_suffix(".part")
        write(draft, rows, seed, size)
        draft.replace(path)
    return path


def write(path: Path, rows: int, seed: int = 0, size: int = CHUNK) -> None:
    """The corpus as a Parquet file, one row group a piece."""
    writer = None
    for frame in corpus(rows, seed, size):
        table = frame.to_arrow()
        writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
        writer.write_table(table)
    if writer is not None:
        writer.close()


# -- rows as numbers --------------------------------------------------------------------------------------------------


def _chunk(rng: np.random.Generator, before: Ids, size: int, lengths: Lengths) -> tuple[Chunk, Ids]:
    """`size` rows, and the fresh ones among them, from which the next chunk may copy too."""
    kinds = rng.choice(len(SHARES), size=size, p=SHARES)
    ids = np.full((size, lengths.longest), -1, dtype=np.int32)
    fresh = _fresh(rng, int((kinds == Kind.FRESH).sum()), lengths)
    ids[kinds == Kind.FRESH] = fresh
    ids[kinds == Kind.TEMPLATE] = _templates(rng, int((kinds == Kind.TEMPLATE).sum()), lengths)
    pool = np.concatenate([before, fresh])
    changes = {Kind.EDIT: _edited, Kind.RENAME: _renamed, Kind.REORDER: _reordered, Kind.VARIANT: _unchanged}
    for kind, change in changes.items():
        mine = kinds == kind
        ids[mine] = change(rng, pool[rng.integers(len(pool), size=int(mine.sum()))])
    return Chunk(ids, kinds), fresh


def _draw(rng: np.random.Generator, shape: int | tuple[int, ...]) -> Ids:
    """Words with Zipf's frequencies (the n-th as often as 1 / (n + 20))."""
    weights = np.cumsum(1 / (np.arange(WORDS) + 20.0))
    return np.searchsorted(weights, rng.random(shape) * weights[-1]).astype(np.int32)


def _fresh(rng: np.random.Generator, count: int, lengths: Lengths) -> Ids:
    ids = _draw(rng, (count, lengths.longest))
    length = rng.integers(lengths.shortest, lengths.longest + 1, size=(count, 1))
    openings = np.random.default_rng(7).integers(WORDS, size=(40, lengths.opening)).astype(np.int32)  # for all chunks
    shared = rng.random(count) < 0.5
    ids[shared, : lengths.opening] = openings[rng.integers(len(openings), size=int(shared.sum()))]
    named = rng.random(ids.shape) < 4 / length
    named[:, : lengths.opening] = False
    ids = np.where(named, WORDS + rng.integers(NAMES, size=(count, 1), dtype=np.int32), ids)
    return np.where(np.arange(lengths.longest) < length, ids, -1).astype(np.int32)


def _templates(rng: np.random.Generator, count: int, lengths: Lengths) -> Ids:
    """Fillings of templates, GROUP of each, whose slots are passages of about six words."""
    groups = -(-count // GROUP)
    template = _fresh(rng, groups, lengths)
    share = rng.uniform(0.3, 0.5, size=(groups, 1))
    slots = np.repeat(rng.random((groups, lengths.longest // 6)) < share, 6, axis=1)
    filled = np.repeat(template, GROUP, axis=0)[:count]
    new = np.where(filled < 0, -1, _draw(rng, filled.shape))
    return np.where(np.repeat(slots, GROUP, axis=0)[:count], new, filled).astype(np.int32)


def _edited(rng: np.random.Generator, ids: Ids) -> Ids:
    """Each with so many words changed that its similarity is about one drawn from 0.5 to 1: a word is in 3 shingles."""
    wanted = rng.uniform(0.5, 1, size=(len(ids), 1))
    share = (1 - wanted) / (3 * (1 + wanted))
    return np.where((rng.random(ids.shape) < share) & (ids >= 0), _draw(rng, ids.shape), ids).astype(np.int32)


def _renamed(rng: np.random.Generator, ids: Ids) -> Ids:
    names = WORDS + rng.integers(NAMES, size=(len(ids), 1), dtype=np.int32)
    return np.where(ids >= WORDS, names, ids).astype(np.int32)


def _reordered(rng: np.random.Generator, ids: Ids) -> Ids:
    """a b c becomes a c b."""
    lengths = (ids >= 0).sum(axis=1, keepdims=True)
    first = (lengths * rng.uniform(0.1, 0.4, size=lengths.shape)).astype(np.int64)
    second = (lengths * rng.uniform(0.5, 0.9, size=lengths.shape)).astype(np.int64)
    place, tail = np.arange(ids.shape[1]), lengths - second
    moved = np.where(place < first + tail, place - first + second, place - tail)
    source = np.where((place < first) | (place >= lengths), place, moved)
    return np.take_along_axis(ids, source, axis=1)


def _unchanged(rng: np.random.Generator, ids: Ids) -> Ids:
    return ids


# -- numbers as text --------------------------------------------------------------------------------------------------


def _vocabulary() -> tuple[pl.Series, pl.Series]:
    """Every word, and every form in which one is written: plain, Capital, with a full stop, in backticks."""
    rng = np.random.default_rng(11)
    syllables = np.array([a + b for a in "bcdfghklmnprstvz" for b in "aeiou"])
    made: dict[str, None] = {}
    while len(made) < WORDS + NAMES:
        made.setdefault("".join(rng.choice(syllables, size=rng.integers(1, 5))), None)
    words = list(made)
    names = [f"{word}_{word[:2]}" for word in words[WORDS:]]
    plain = [*words[:WORDS], *names]
    forms = [*plain, *(w.capitalize() for w in plain), *(f"{w}.\n" for w in plain), *(f"`{w}`" for w in plain)]
    return pl.Series(plain), pl.Series(forms)


def _frame(
    chunk: Chunk, start: int, words: pl.Series, written: pl.Series, rng: np.random.Generator
) -> pl.DataFrame:  # fmt: skip
    used = chunk.ids >= 0
    flat = chunk.ids[used].astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(used.sum(axis=1))])
    form = rng.choice(4, size=len(flat), p=(0.88, 0.04, 0.06, 0.02))
    return pl.DataFrame(
        {
            "id": pl.Series([f"q{row:07}" for row in range(start, start + len(used))]),
            "text": _joined(words, flat, offsets),
            "question": _joined(written, flat + form * len(words), offsets),
            "kind": pl.Series(chunk.kinds, dtype=pl.Int8),
        }
    )


def _joined(words: pl.Series, ids: NDArray[np.int64], offsets: NDArray[np.int64]) -> pl.Series:
    values = words.gather(ids).to_arrow()
    lists = pa.LargeListArray.from_arrays(pa.array(offsets, type=pa.int64()), values)
    return pl.Series(pl.from_arrow(lists)).list.join(" ")


if __name__ == "__main__":
    write(Path(sys.argv[2]), int(sys.argv[1]))
