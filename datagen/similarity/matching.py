"""Finds, for a stream of texts in order of priority, which are kept and what each other one is for.

    texts -> normalised, exact pass -> signatures -> state (band keys, sketches) -> candidate pairs, band by band
          -> verified edges -> selection

A row's state is 8 bytes of hash, 4 a band and 1 a permutation (242 bytes at 26 bands of 5), beside its normalised text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import polars as pl
from numpy.typing import NDArray

from datagen.similarity import bands as banding
from datagen.similarity.backend import Backend
from datagen.similarity.bands import Counts, Pairs, Seen
from datagen.similarity.flips import CAP, DROP, KEEP, flipped
from datagen.similarity.hashing import U32, U64, permutations
from datagen.similarity.normalise import normalise
from datagen.similarity.select import Edges, joined, keep_first, nearest, no_edges
from datagen.similarity.texts import Texts, in_batches
from datagen.similarity.verify import verified
from datagen.similarity.workspace import Workspace

ROWS = 1 << 15
"""Texts taken at once."""
BYTES = 1 << 19
"""Of texts signed at once: their signatures stay in the processor's cache until they are band keys and sketches."""
LEADERS = 8
"""The rows of a bucket over CAP that all others of it are compared with."""

Rows = NDArray[np.int64]
Sketch = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Plan:
    """What decides which pairs are similar: the threshold, words a shingle, permutations, bands and rows a band.

    Of `exact`, only equal texts are. `flips` says what becomes of similar texts that turn the task around (flips.py):
    they go (drop), they stay (keep), or `flip_cap` of them stay beside each kept row (cap).
    """

    threshold: float
    shingle: int
    num_perm: int
    bands: int
    rows: int
    exact: bool = False
    flips: str = DROP
    flip_cap: int = 1


@dataclass(frozen=True, slots=True)
class State:
    """Distinct, normalised texts in order of priority, and what the join needs of each.

    `keys` has a row per band and a column per text, `sketch` a row per text (both empty where a plan is exact).
    """

    text: pl.Series
    value: U64
    keys: U32
    sketch: Sketch

    def __len__(self) -> int:
        return len(self.value)

    def rows(self, taken: Rows) -> State:
        """These rows alone, each once at most."""
        return State(_taken(self.text, taken), self.value[taken], self.keys[:, taken], self.sketch[taken])

    def reduced(self, taken: Rows, workspace: Workspace) -> State:
        """`rows(taken)`, which ascend, moved forward within this state's own arrays, which is used up by that."""
        for keys in workspace.relieving(self.keys):
            keys[: len(taken)] = keys[taken]
        for start in workspace.relieving(range(0, len(taken), ROWS)):
            part = taken[start : start + ROWS]  # no row lies before its new place
            self.sketch[start : start + len(part)] = self.sketch[part]
        keys, sketch = self.keys[:, : len(taken)], self.sketch[: len(taken)]
        return State(_taken(self.text, taken), self.value[taken], keys, sketch)

    def between(self, start: int, stop: int) -> State:
        """The rows from `start` up to `stop`, in the same memory."""
        rows = slice(start, stop)
        return State(self.text[rows], self.value[rows], self.keys[:, rows], self.sketch[rows])


def concatenated(states: Sequence[State]) -> State:
    """The texts of several states of one plan, one after the other."""
    return State(
        pl.concat([state.text.rename("text") for state in states]),
        np.concatenate([state.value for state in states]),
        np.concatenate([state.keys for state in states], axis=1),
        np.concatenate([state.sketch for state in states]),
    )


@dataclass(frozen=True, slots=True)
class Known:
    """What was found before of the first rows of a set: `first` of each, as `Matched` has it; the state of what was
    given beforehand and, after it, of their distinct texts; the similar pairs of buckets up to CAP.

    `compared` and `verified` count the pairs looked at for those (Counts).
    """

    first: Rows
    state: State
    edges: Edges = field(default_factory=no_edges)
    compared: int = 0
    verified: int = 0


@dataclass(frozen=True, slots=True)
class Matched:
    """The rows of a set, matched: `first` is the first row with each row's text (its own, if that is new; -1 if it is
    empty), where the `old` rows of a state given beforehand count first; `known` is what was found of them, for a set
    that goes on after them.

    Of the texts in known.state, `kept` says which stay; `match` is the edge for which each other one goes.
    """

    old: int
    known: Known
    kept: NDArray[np.bool_]
    match: Edges
    counts: Counts

    def found(self, workspace: Workspace) -> Found:
        """What became of each text; uses the state up."""
        first, old = self.known.first, self.old
        taken = distinct(first, old)
        fate = fates(np.concatenate([np.arange(old), first]), taken, old, self.match)
        return Found(*fate, self.known.state.reduced(np.flatnonzero(self.kept), workspace), self.counts)


@dataclass(frozen=True, slots=True)
class Found:
    """What became of each text: `kept` is the row it goes for (its own, if it is kept; -1 if it is empty).

    Rows of a state given beforehand count first: row i of the input is len(before) + i. `same` says whether the two
    are equal after normalisation; `jaccard` is their similarity. `state` is that of the kept rows.
    """

    kept: Rows
    jaccard: NDArray[np.float64]
    same: NDArray[np.bool_]
    state: State
    counts: Counts = field(default_factory=Counts)


def empty_state(plan: Plan) -> State:
    """The state of no text."""
    bands, num_perm = (0, 0) if plan.exact else (plan.bands, plan.num_perm)
    keys, sketch = np.empty((bands, 0), np.uint32), np.empty((0, num_perm), np.uint8)
    return State(pl.Series("text", [], pl.String), np.empty(0, np.uint64), keys, sketch)


def find(
    chunks: Iterable[pl.Series], plan: Plan, backend: Backend, workspace: Workspace, before: State | None = None
) -> Found:
    """Matches each text of the chunks, which come in order of priority, with the kept one that it equals or resembles.

    The texts of `before` (made under the same plan) have priority over all and stay. The result depends neither on the
    size of the chunks, nor on the backend or the workspace's budget.
    """
    old = before if before is not None else empty_state(plan)
    nothing = Known(np.empty(0, np.int64), old)
    return matched(chunks, plan, backend, workspace, nothing, len(old)).found(workspace)


def matched(
    chunks: Iterable[pl.Series], plan: Plan, backend: Backend, workspace: Workspace, known: Known, old: int
) -> Matched:
    """`find` of the rows that follow the known ones, of whose state the first `old` texts were given beforehand: what
    comes out, `counts` included, is what it would be for all rows anew.
    """
    text, value = normalised(chunks, backend, workspace, known.state)
    first = exact(text, value)
    taken = np.flatnonzero(first == np.arange(len(first)))
    taken = taken[taken >= len(known.state)]
    state = sketched(_taken(text, taken), value[taken], plan, backend, workspace, known.state)
    del text
    counts = Counts()
    found, large = small_edges(state, plan, backend, workspace, known, old, counts)
    comparing = Comparing(state, plan, backend, old, counts)
    now = Known(_numbered(first, known, old), state, found, counts.compared, counts.verified)
    led = partial(_led, comparing)
    return Matched(old, now, *settled(len(state), found, large, led, plan, counts), counts)


def distinct(first: Rows, old: int) -> Rows:
    """The rows that are the first with their text, numbered as in `Matched`."""
    return np.flatnonzero(first == np.arange(len(first)) + old) + old


def _numbered(first: Rows, known: Known, old: int) -> Rows:
    """`Matched.first`, from the first text of the known state, or of those after it, that equals each new row's."""
    before, new = len(known.state), len(first) - len(known.state)
    fresh, nowhere = np.arange(new) + old + len(known.first), np.array([-1])
    rows = np.concatenate([np.arange(old), distinct(known.first, old), fresh, nowhere])
    return np.concatenate([known.first, rows[first[before:]]])


def fates(first: Rows, taken: Rows, old: int, match: Edges) -> tuple[Rows, NDArray[np.float64], NDArray[np.bool_]]:
    """(kept, jaccard, same) of `Found`: from the first row with each row's text, the rows that the state took after
    its `old` ones, and the edge for which each of its rows went.
    """
    # each array ends in what stands for an empty text: index -1 finds it
    rows = np.concatenate([np.arange(old), taken, [-1]])  # of the state -> of all
    target, similarity = np.arange(len(rows)), np.ones(len(rows))
    target[match.right], similarity[match.right] = match.left, match.jaccard
    place = np.full(len(first) + 1, -1)
    place[rows[:-1]] = np.arange(len(rows) - 1)
    own = place[first[old:]]
    return rows[target[own]], similarity[own], target[own] == own


def _taken(text: pl.Series, rows: Rows) -> pl.Series:
    """The texts of these rows; a filter shares them where a gather would copy."""
    if not (rows[1:] > rows[:-1]).all():
        return text.gather(rows)
    mask = np.zeros(len(text), np.bool_)
    mask[rows] = True
    return text.filter(pl.Series(mask))


def normalised(
    chunks: Iterable[pl.Series], backend: Backend, workspace: Workspace, old: State
) -> tuple[pl.Series, U64]:
    """The normalised text of every row, those of `old` first, and their hashes."""
    texts, values = [old.text], [old.value]
    for chunk in chunks:
        for start in range(0, len(chunk), ROWS):
            content = normalise(chunk[start : start + ROWS], backend)
            values.append(backend.values(content))
            texts.append(workspace.texts(content.series().alias("text")))
    return pl.concat([text.rename("text") for text in texts], rechunk=False), np.concatenate(values)


def exact(text: pl.Series, value: U64) -> Rows:
    """For each row the first with the same text, -1 for an empty one; equal hashes are compared as texts."""
    first = first_of(value)
    repeated = np.flatnonzero(first != np.arange(len(first)))
    for begin in range(0, len(repeated), ROWS):
        rows = repeated[begin : begin + ROWS]
        differ = (text.gather(rows) != text.gather(first[rows])).to_numpy()
        if differ.any():  # two texts with one 64-bit hash
            return exact_slowly(text)
    first[(text.str.len_bytes() == 0).to_numpy()] = -1
    return first


def first_of(value: U64) -> Rows:
    """For each row the first with the same hash."""
    order = np.argsort(value, kind="stable")
    hashed = value[order]
    starts = np.concatenate([np.ones(min(1, len(order)), np.bool_), hashed[1:] != hashed[:-1]])
    first = np.empty(len(order), np.int64)
    first[order] = order[np.maximum.accumulate(np.where(starts, np.arange(len(order)), 0))]
    return first


def exact_slowly(text: pl.Series) -> Rows:
    """`exact` by the texts alone."""
    seen: dict[str, int] = {}
    first = [seen.setdefault(content, row) if content else -1 for row, content in enumerate(text.to_list())]
    return np.array(first, np.int64)


def sketched(text: pl.Series, value: U64, plan: Plan, backend: Backend, workspace: Workspace, old: State) -> State:
    """The state of `old` and, after it, of these texts."""
    count, total = len(text), len(old) + len(text)
    keys = workspace.array((old.keys.shape[0], total), np.uint32)
    sketch = workspace.array((total, old.sketch.shape[1]), np.uint8)
    keys[:, : len(old)], sketch[: len(old)] = old.keys, old.sketch
    a, b = permutations(plan.num_perm)
    for start in workspace.relieving(range(0, 0 if plan.exact else count, ROWS)):
        for first, part in in_batches(Texts.of(text[start : start + ROWS]), BYTES):
            signatures = backend.signatures(part, plan.shingle, a, b)
            here = slice(len(old) + start + first, len(old) + start + first + len(part))
            keys[:, here] = banding.band_keys(signatures, plan.bands, plan.rows)
            sketch[here] = banding.sketches(signatures)
    both = pl.concat([old.text.rename("text"), text.rename("text")], rechunk=False) if len(old) else text
    return State(both, np.concatenate([old.value, value]), keys, sketch)


def candidates(
    state: State, plan: Plan, workspace: Workspace, known: int, counts: Counts, seen: Seen, large: list[Rows]
) -> Iterator[Pairs]:
    """The pairs that share a bucket and whose sketches agree, each once, band by band; none within the `known` texts.

    Buckets over CAP are not paired but added to `large`.
    """
    if plan.exact:
        return
    floor = banding.floor_of(plan.threshold, plan.num_perm)
    for band, keys in enumerate(state.keys):
        small, over = banding.split(banding.buckets(keys))
        seen.cap(band, over)
        large += over
        counts.capped_buckets += len(over)
        for left, right in banding.pairs_of(small):
            counts.proposed += len(left)
            new = right >= known
            left, right = seen.fresh(band, (left[new], right[new]), workspace.relieving)
            counts.compared += len(left)
            agree = banding.agreeing(state.sketch, left, right, floor, workspace.relieving)
            yield left[agree], right[agree]


def batched(pairs: Iterable[Pairs], size: int = 1 << 16) -> Iterator[Pairs]:
    """The same pairs in batches of about `size`, so that each step after has enough to do."""
    waiting: list[Pairs] = []
    held = 0
    for piece in pairs:
        waiting.append(piece)
        held += len(piece[0])
        if held >= size:
            yield _one(waiting)
            waiting, held = [], 0
    if held:
        yield _one(waiting)


def _one(pieces: Sequence[Pairs]) -> Pairs:
    return np.concatenate([left for left, _ in pieces]), np.concatenate([right for _, right in pieces])


def small_edges(
    state: State, plan: Plan, backend: Backend, workspace: Workspace, known: Known, old: int, counts: Counts
) -> tuple[Edges, list[Rows]]:
    """The similar pairs of the buckets up to CAP, those that are known among them, and the larger buckets."""
    large: list[Rows] = []
    seen, comparing = Seen(state.keys, {}), Comparing(state, plan, backend, old, counts)
    pairs = candidates(state, plan, workspace, len(known.state), counts, seen, large)
    new = [comparing.edges(batch) for batch in workspace.relieving(batched(pairs))]
    bands, edges = len(state.keys), known.edges
    outgrown = seen.fresh(bands, _once_small(large, len(known.state)))
    counts.compared += known.compared - int((outgrown[1] >= old).sum())
    counts.verified += known.verified - len(replace(comparing, counts=Counts()).agreeing(outgrown)[0])
    return joined([edges.but(seen.fresh(bands, (edges.left, edges.right))), *new]), large


def _once_small(large: Sequence[Rows], known: int) -> Pairs:
    """The pairs of the first `known` texts in those buckets that were not over CAP with these alone, each once."""
    parts = [rows[rows < known] for rows in large]
    places = [(rows, np.triu_indices(len(rows), 1)) for rows in parts if 1 < len(rows) <= banding.CAP]
    pairs = np.concatenate([np.empty((0, 2), np.int64), *(np.stack([r[a], r[b]], 1) for r, (a, b) in places)])
    left, right = np.unique(pairs, axis=0).T
    return left, right


def _led(comparing: Comparing, buckets: list[Rows]) -> list[Edges]:
    return [comparing.led(rows) for rows in buckets]


def settled(
    count: int, edges: Edges, large: list[Rows], led: Callable[[list[Rows]], list[Edges]], plan: Plan, counts: Counts
) -> tuple[NDArray[np.bool_], Edges]:
    """Which of `count` rows are kept, and for each other one the edge to the row that it goes for; from the edges of
    the small buckets and `led` (Comparing) for the large ones.
    """
    edges = joined([edges, *led(large)])
    while True:
        kept = keep_first(count, edges, plan.flip_cap if plan.flips == CAP else 0)
        counts.similar, counts.uncompared = len(edges), 0
        # a row that one leader stands for was not compared with others that it stands for: where both are kept, now
        more = joined([edges, *led([rows[kept[rows]] for rows in large])])
        if len(more) == len(edges):  # under a cap, flips of kept rows that stay are found each time
            return kept, nearest(edges, kept)
        edges = more


@dataclass(frozen=True, slots=True)
class Comparing:
    """Compares rows of one state under one plan, counting what it does."""

    state: State
    plan: Plan
    backend: Backend
    old: int
    counts: Counts

    def edges(self, pairs: Pairs) -> Edges:
        """Those of the pairs that are similar."""
        self.counts.verified += len(pairs[0])
        plan = self.plan
        text = self.state.text
        similar = joined(list(verified(text, pairs, size=plan.shingle, threshold=plan.threshold, backend=self.backend)))
        if plan.flips == DROP or not len(similar):
            return similar
        flip = flipped(text, similar.left, similar.right)
        return similar.where(~flip) if plan.flips == KEEP else replace(similar, flip=flip)

    def led(self, rows: Rows) -> Edges:
        """Similar pairs of one large bucket: each leader with all that no leader before it stands for.

        The first row leads; a row that is similar to a leader is compared no further, the first of the others leads
        next. What LEADERS leave over is compared pair by pair if it is no larger than CAP, else counted as uncompared.
        """
        found: list[Edges] = []
        for _ in range(LEADERS):
            if len(rows) <= banding.CAP:
                break
            found.append(self._against(rows[0], rows[1:]))
            rows = np.setdiff1d(rows[1:], found[-1].right, assume_unique=True)
        if len(rows) <= banding.CAP:
            left, right = np.triu_indices(len(rows), 1)
            found.append(self.edges(self._agreeing(rows[left], rows[right])))
        else:
            self.counts.uncompared += len(rows) * (len(rows) - 1) // 2
        return joined(found)

    def _against(self, leader: int, rows: Rows) -> Edges:
        return self.edges(self._agreeing(np.full(len(rows), leader), rows))

    def _agreeing(self, left: Rows, right: Rows) -> Pairs:
        self.counts.proposed += len(left)
        return self.agreeing((left, right))

    def agreeing(self, pairs: Pairs) -> Pairs:
        """Those of the pairs that are not both old and whose sketches agree."""
        left, right = pairs
        new = right >= self.old
        left, right = left[new], right[new]
        self.counts.compared += len(left)
        floor = banding.floor_of(self.plan.threshold, self.plan.num_perm)
        agree = banding.agreeing(self.state.sketch, left, right, floor)
        return left[agree], right[agree]
