"""Keep first: a row goes if a kept row before it is similar, and for no other reason."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Edges:
    """Similar pairs, verified: left is before right in priority; `jaccard` is exact; `flip`: another task all the same
    (flips.py).
    """

    left: Rows
    right: Rows
    jaccard: NDArray[np.float64]
    flip: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.left)

    def where(self, mask: NDArray[np.bool_]) -> Edges:
        """Those of the edges that the mask names."""
        return self.at(np.flatnonzero(mask))

    def at(self, places: Rows) -> Edges:
        """The edges at these places, in their order."""
        return Edges(self.left[places], self.right[places], self.jaccard[places], self.flip[places])

    def but(self, pairs: tuple[Rows, Rows]) -> Edges:
        """Those of the edges that are none of these pairs."""
        if not len(pairs[0]):
            return self
        name = np.int64(1 << 32)
        return self.where(~np.isin(self.left * name + self.right, pairs[0] * name + pairs[1]))


def no_edges() -> Edges:
    """No pair at all."""
    return Edges(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float64), np.empty(0, np.bool_))


def joined(parts: list[Edges]) -> Edges:
    """The edges of all parts, each pair once, by right and then left."""
    parts = [no_edges(), *parts]
    every = Edges(*(np.concatenate([getattr(part, name) for part in parts]) for name in Edges.__slots__))
    every = every.at(np.lexsort((every.left, every.right)))
    once = np.ones(len(every), np.bool_)
    once[1:] = (every.left[1:] != every.left[:-1]) | (every.right[1:] != every.right[:-1])
    return every.where(once)


def keep_first(count: int, edges: Edges, cap: int = 0) -> NDArray[np.bool_]:
    """Which of `count` rows are kept: the greedy maximal independent set in order of priority.

    `edges` come as `joined` sorts them. Of a chain A~B~C with A and C unlike, B goes and A and C stay. A kept row
    tolerates `cap` rows that are flips of it.
    """
    kept = bytearray(b"\x01") * count
    if cap and edges.flip.any():
        _keep_some_flips(kept, edges, cap)
    else:
        for left, right in zip(edges.left.tolist(), edges.right.tolist(), strict=True):
            if kept[left]:
                kept[right] = 0
    return np.frombuffer(kept, np.bool_)


def _keep_some_flips(kept: bytearray, edges: Edges, cap: int) -> None:
    room: dict[int, int] = {}
    listed = zip(edges.left.tolist(), edges.right.tolist(), edges.flip.tolist(), strict=True)
    for right, group in groupby(listed, key=lambda edge: edge[1]):
        live = [(left, flip) for left, _, flip in group if kept[left]]
        if all(flip and room.get(left, cap) > 0 for left, flip in live):
            room |= {left: room.get(left, cap) - 1 for left, _ in live}
        else:
            kept[right] = 0


def nearest(edges: Edges, kept: NDArray[np.bool_]) -> Edges:
    """For each row that went, the edge to the most similar kept row before it, to the first where several are."""
    live = edges.where(kept[edges.left] & ~kept[edges.right])
    order = np.lexsort((live.left, -live.jaccard, live.right))
    ranked = live.at(order)
    first = np.ones(len(ranked), np.bool_)
    first[1:] = ranked.right[1:] != ranked.right[:-1]
    return ranked.where(first)
