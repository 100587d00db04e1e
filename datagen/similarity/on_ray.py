"""`matching.find` on a Ray cluster, with the same result.

    partitions of the texts -> normalised, hashed -> exact pass (hashes at the driver, texts compared where they lie)
        -> signatures, state -> band keys, partitioned by (band, key prefix) -> buckets -> candidate pairs, partitioned
        by their right row -> each once, sketches, exact comparison -> edges at the driver -> selection

A partition's texts and state stay in the object store; the driver holds a hash, a number and the edges of each row, and
at the end the state of the kept ones. Every task is a pure function of its arguments, so Ray may run it again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import ray
from numpy.typing import NDArray
from ray.exceptions import RayError, RayTaskError

from datagen.cluster import connected
from datagen.errors import ClusterUnavailable
from datagen.similarity import bands as banding
from datagen.similarity.backend import choose
from datagen.similarity.bands import Counts, Pairs
from datagen.similarity.hashing import U32, U64
from datagen.similarity.matching import (
    Comparing,
    Found,
    Plan,
    Rows,
    Sketch,
    State,
    batched,
    empty_state,
    exact_slowly,
    fates,
    first_of,
    normalised,
    settled,
    sketched,
)
from datagen.similarity.select import Edges, joined, no_edges
from datagen.similarity.texts import Texts
from datagen.similarity.workspace import Workspace

MOST, LEAST = 1 << 17, 1 << 12
"""Rows of a partition: at most, and at least where there are fewer partitions than twice the cluster's CPUs."""
PER_RANGE = 8
"""Partitions for each range that a band's keys are split into, a task each."""

_IN_MEMORY = 1 << 50
_Ref = Any
_Piece = tuple[U32, Rows]


@dataclass(frozen=True, slots=True)
class _Job:
    """What every task knows."""

    plan: Plan
    backend: str
    rows: int
    old: int
    ranges: int


@dataclass(frozen=True, slots=True)
class _Held:
    """A partition's state as the object store keeps it: in buffers that the tasks of a node share."""

    text: Texts
    value: U64
    keys: U32
    sketch: Sketch

    @staticmethod
    def of(state: State) -> _Held:
        return _Held(Texts.of(state.text), state.value, state.keys, state.sketch)

    def rows(self, taken: Rows) -> State:
        """The state of these of its rows."""
        return State(self.text.series().rename("text"), self.value, self.keys, self.sketch).rows(taken)


@dataclass(frozen=True, slots=True)
class _Parts:
    """Partitions of rows: part i has the rows from starts[i] up to starts[i + 1]."""

    starts: Rows
    held: tuple[_Ref, ...]

    def part_of(self, rows: Rows) -> Rows:
        """The partition of each row."""
        return np.searchsorted(self.starts, rows, side="right") - 1

    def rows(self, rows: Rows, plan: Plan) -> State:
        """The state of these rows, which ascend, from wherever it lies."""
        states = [held.rows(local) for held, local in self._held(rows)] or [empty_state(plan)]
        return State(
            pl.concat([state.text for state in states]),
            np.concatenate([state.value for state in states]),
            np.concatenate([state.keys for state in states], axis=1),
            np.concatenate([state.sketch for state in states]),
        )

    def texts(self, rows: Rows) -> pl.Series:
        """The texts of these rows, which ascend."""
        texts = (held.text.series().gather(local) for held, local in self._held(rows))
        return pl.concat([pl.Series("text", [], pl.String), *(text.rename("text") for text in texts)])

    def _held(self, rows: Rows) -> Iterator[tuple[_Held, Rows]]:
        """Each partition with some of the rows, and their places in it."""
        place = self.part_of(rows)
        for part in np.unique(place):
            yield ray.get(self.held[part]), rows[place == part] - self.starts[part]


def find(
    chunks: Iterable[pl.Series],
    plan: Plan,
    backend: str,
    before: State | None = None,
    *,
    address: str = "auto",
    partitions: int = 0,
) -> Found:
    """`matching.find` on a cluster; the result depends neither on it nor on `partitions` (0: by size).

    `backend` is that of `backend.choose`, on each worker. A connection to Ray that this process has already is used and
    stays. Raises ClusterUnavailable if no cluster answers, or if it loses more than Ray can compute again.
    """
    old = before if before is not None else empty_state(plan)
    text = pl.concat([pl.Series("text", [], pl.String), *(chunk.rename("text") for chunk in chunks)])
    with connected(address):
        try:
            return _find(text, plan, backend, old, partitions or _partitions(len(text)))
        except (RayError, ImportError) as error:
            said = (str(error).strip().splitlines() or [type(error).__name__])[-1]
            if isinstance(error, ImportError) or said.startswith(("ImportError", "ModuleNotFoundError")):
                what, hint = "a node cannot load what it needs", "Install this version of datagen on every node"
            elif isinstance(error, RayTaskError):
                raise  # a task failed by its own fault: not the cluster's
            else:
                what, hint = "the Ray cluster lost the work", "See `ray status`, then run this again"
            raise ClusterUnavailable(f"{what} ({said})", where=address, hint=hint) from error


def _partitions(rows: int) -> int:
    spread = min(2 * int(ray.cluster_resources().get("CPU", 1)), -(-rows // LEAST))
    return max(1, spread, -(-rows // MOST))


def _find(text: pl.Series, plan: Plan, backend: str, old: State, partitions: int) -> Found:
    total = len(old) + len(text)
    job, counts = _Job(plan, backend, total, len(old), max(1, partitions // PER_RANGE)), Counts()
    olds = _cut(old, partitions if len(old) else 0)
    bare, values, empty = _normalised_parts(text, job, partitions)
    every = _Parts(_starts([*np.diff(olds.starts), *np.diff(bare.starts)]), (*olds.held, *bare.held))
    first = _exact(every, np.concatenate([old.value, *values]), np.concatenate([np.zeros(len(old), np.bool_), *empty]))
    taken = np.flatnonzero(first == np.arange(len(first)))
    taken = taken[taken >= len(old)]
    parts = _sketched_parts(bare, taken - len(old), olds, job)
    edges, large = _edges(parts, job, counts)
    count = int(parts.starts[-1])
    kept, match = settled(count, edges, large, lambda rows: _led_all(rows, parts, job, counts), plan, counts)
    return Found(*fates(first, taken, len(old), match), parts.rows(np.flatnonzero(kept), plan), counts)


def _starts(sizes: Sequence[int]) -> Rows:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(np.array(sizes, np.int64))])


def _cut(state: State, partitions: int) -> _Parts:
    """This machine's state in the object store."""
    pieces = np.array_split(np.arange(len(state)), partitions) if partitions else []
    held = tuple(ray.put(_Held.of(state.rows(rows))) for rows in pieces)
    return _Parts(_starts([len(rows) for rows in pieces]), held)


def _normalised_parts(text: pl.Series, job: _Job, partitions: int) -> tuple[_Parts, list[U64], list[NDArray[np.bool_]]]:
    """The normalised texts, a partition each, with the hash of each and whether it is empty."""
    bounds = np.linspace(0, len(text), partitions + 1).astype(np.int64)
    pieces = [text[int(start) : int(stop)] for start, stop in pairwise(bounds)]
    made = [_many(_normalise, 3, Texts.of(piece), job) for piece in pieces]
    values, empty = ray.get([row[1] for row in made]), ray.get([row[2] for row in made])
    return _Parts(bounds, tuple(row[0] for row in made)), values, empty


def _exact(parts: _Parts, value: U64, empty: NDArray[np.bool_]) -> Rows:
    """`matching.exact` of texts that lie in partitions."""
    first = first_of(value)
    repeated = np.flatnonzero(first != np.arange(len(first)))
    place = parts.part_of(repeated)
    here = [repeated[place == part] for part in np.unique(place)]
    if any(ray.get([_one(_differ, parts, rows, first[rows]) for rows in here])):
        return exact_slowly(parts.texts(np.arange(len(first))))
    first[empty] = -1
    return first


def _sketched_parts(bare: _Parts, taken: Rows, olds: _Parts, job: _Job) -> _Parts:
    """The state of the old rows and of those taken."""
    place = bare.part_of(taken)
    local = [taken[place == part] - start for part, start in enumerate(bare.starts[:-1])]
    held = [_one(_sketch, ref, rows, job) for ref, rows in zip(bare.held, local, strict=True)]
    sizes = [*np.diff(olds.starts), *(len(rows) for rows in local)]
    return _Parts(_starts(sizes), (*olds.held, *held))


def _edges(parts: _Parts, job: _Job, counts: Counts) -> tuple[Edges, list[Rows]]:
    """The similar pairs of all buckets up to CAP rows, and the larger buckets."""
    if job.plan.exact:
        return no_edges(), []
    targets = job.plan.bands * job.ranges
    shuffled = [
        _many(_shuffle, targets, held, int(start), job) for held, start in zip(parts.held, parts.starts, strict=False)
    ]
    last = len(parts.held)
    bucketed = [_many(_bucket, last + 1, parts.starts, *pieces) for pieces in zip(*shuffled, strict=True)]
    del shuffled  # the store may let it go as soon as it is in buckets
    first = int(parts.part_of(np.array([job.old]))[0]) if job.old else 0
    compared = [_one(_compare, parts, job, *(row[part] for row in bucketed)) for part in range(first, last)]
    large: list[Rows] = []
    for over, proposed in ray.get([row[last] for row in bucketed]):
        large += over
        counts.proposed += proposed
        counts.capped_buckets += len(over)
    return joined(_gathered(compared, counts)), large


def _led_all(large: list[Rows], parts: _Parts, job: _Job, counts: Counts) -> list[Edges]:
    return _gathered([_one(_led, parts, job, rows) for rows in large if len(rows) > 1], counts)


def _gathered(tasks: list[_Ref], counts: Counts) -> list[Edges]:
    """The edges of these tasks, whose work is added to the counts."""
    found = []
    for edges, work in ray.get(tasks):
        found.append(edges)
        for each in fields(Counts):
            setattr(counts, each.name, getattr(counts, each.name) + getattr(work, each.name))
    return found


@lru_cache(maxsize=32)
def _remote(function: Callable[..., Any]) -> Any:
    return ray.remote(function)


def _one(function: Callable[..., Any], *arguments: Any) -> _Ref:
    """A task and the one object that it will give."""
    return _remote(function).remote(*arguments)


def _many(function: Callable[..., list[Any]], count: int, *arguments: Any) -> list[_Ref]:
    """A task and the `count` objects that it will give, each on its own."""
    if count == 1:
        return [_one(_first, function, *arguments)]
    refs: list[_Ref] = _remote(function).options(num_returns=count).remote(*arguments)
    return refs


# What follows runs on the workers.


def _first(function: Callable[..., list[Any]], *arguments: Any) -> Any:
    return function(*arguments)[0]


def _normalise(texts: Texts, job: _Job) -> list[Any]:
    with Workspace(_IN_MEMORY) as room:
        none = empty_state(replace(job.plan, exact=True))
        text, value = normalised([texts.series()], choose(job.backend, job.rows), room, none)
    held = _Held(
        Texts.of(text.rechunk()), value, np.empty((0, len(text)), np.uint32), np.empty((len(text), 0), np.uint8)
    )
    return [held, value, np.diff(held.text.offsets) == 0]


def _differ(parts: _Parts, rows: Rows, first: Rows) -> bool:
    """Whether any of the rows has another text than its first."""
    both, places = np.unique(np.concatenate([rows, first]), return_inverse=True)
    text = parts.texts(both)
    return bool((text.gather(places[: len(rows)]) != text.gather(places[len(rows) :])).any())


def _sketch(held: _Held, taken: Rows, job: _Job) -> _Held:
    """The state of these rows of a partition."""
    bare = held.rows(taken)
    with Workspace(_IN_MEMORY) as room:
        backend = choose(job.backend, job.rows)
        return _Held.of(sketched(bare.text, bare.value, job.plan, backend, room, empty_state(job.plan)))


def _shuffle(held: _Held, start: int, job: _Job) -> list[_Piece]:
    """The band keys of a partition with their rows: a piece for each range of each band's keys."""
    rows = start + np.arange(len(held.value))
    pieces = []
    for keys in held.keys:
        prefix = (keys.astype(np.uint64) * np.uint64(job.ranges)) >> np.uint64(32)
        pieces += [(keys[prefix == number], rows[prefix == number]) for number in range(job.ranges)]
    return pieces


def _bucket(starts: Rows, *pieces: _Piece) -> list[Any]:
    """The pairs of one range's small buckets, by the partition of the right row; then the large buckets and the number
    of the pairs.
    """
    rows = np.concatenate([rows for _, rows in pieces])
    band = banding.buckets(np.concatenate([keys for keys, _ in pieces]))
    small, over = banding.split(replace(band, rows=rows[band.rows]))
    made = list(banding.pairs_of(small))
    left = np.concatenate([np.empty(0, np.int64), *(pair[0] for pair in made)])
    right = np.concatenate([np.empty(0, np.int64), *(pair[1] for pair in made)])
    order = np.argsort(right, kind="stable")
    left, right = left[order], right[order]
    bounds = np.searchsorted(right, starts)
    return [*((left[start:stop], right[start:stop]) for start, stop in pairwise(bounds)), (over, len(left))]


def _compare(parts: _Parts, job: _Job, *pieces: Pairs) -> tuple[Edges, Counts]:
    """The similar ones of the pairs whose right row is in one partition, each compared once."""
    packed = [(left.astype(np.uint64) << np.uint64(32)) | right.astype(np.uint64) for left, right in pieces]
    once = np.unique(np.concatenate(packed))
    left, right = (once >> np.uint64(32)).astype(np.int64), (once & np.uint64(0xFFFFFFFF)).astype(np.int64)
    place, found, counts = parts.part_of(left), [], Counts()
    for part in np.unique(place):
        rows, local = np.unique(np.concatenate([left[place == part], right[place == part]]), return_inverse=True)
        comparing = _comparing(parts, job, rows, counts)
        near = comparing.agreeing((local[: len(local) // 2], local[len(local) // 2 :]))
        found += [_named(comparing.edges(pairs), rows) for pairs in batched([near])]
    return joined(found), counts


def _led(parts: _Parts, job: _Job, rows: Rows) -> tuple[Edges, Counts]:
    """`Comparing.led` of one large bucket."""
    counts = Counts()
    return _named(_comparing(parts, job, rows, counts).led(np.arange(len(rows))), rows), counts


def _comparing(parts: _Parts, job: _Job, rows: Rows, counts: Counts) -> Comparing:
    """Compares these rows, numbered from 0."""
    old = int(np.searchsorted(rows, job.old))
    return Comparing(parts.rows(rows, job.plan), job.plan, choose(job.backend, job.rows), old, counts)


def _named(edges: Edges, rows: Rows) -> Edges:
    """The edges between these rows, which were numbered from 0."""
    return replace(edges, left=rows[edges.left], right=rows[edges.right])
