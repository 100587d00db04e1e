"""How many candidates to draw next for a question that stops at the first one that passes.

Drawing one at a time wastes no token and makes a question wait for up to n answers in turn; drawing many is quick and
wastes what comes after the first that passes. So a wave grows as long as the chance that its last candidate is drawn in
vain, because one before it in the wave passes, stays under a bound: low while the engine is busy, high as far as it
would idle. Chances are measured: of the questions that were still unsolved at their i-th candidate, how many it solved.
Where candidates hardly ever pass that late, as with wrong tests, one wave draws all that is left, at no risk.

Sizes decide when candidates are drawn, never which are: candidate i has the seed that it has in a full run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

BUSY, IDLE = 0.1, 0.3
"""The chance of being drawn in vain that a candidate may have, on a busy and on an idle engine."""

_PRIOR = 2.0
"""How many questions' worth the pass rate over all candidates counts where one index has been seen little."""


def wave_size(chances: Sequence[float], idle: float) -> int:
    """How many of the candidates that are left to draw together, 1 to all of them.

    `chances` are those of each candidate left that it passes if none before it does; `idle` is the share of the engine
    that has nothing to do. Never fewer on an idler engine, never more where chances are higher.
    """
    missed, bound = 1.0, BUSY + (IDLE - BUSY) * min(1.0, max(0.0, idle))
    for size, chance in enumerate(chances):
        if size and 1 - missed > bound:
            return size
        missed *= 1 - chance
    return len(chances)


class Waves:
    """What the questions of one run share: which candidate solved them, and how idle the engine is.

    `idle` tells the share of the engine that has nothing to do just now. Another run, or a resumed one, starts from
    nothing: that costs tokens at its beginning, and changes no row.
    """

    def __init__(self, idle: Callable[[], float] = lambda: 0.0) -> None:
        self._idle = idle
        self._tried: list[int] = []
        self._passed: list[int] = []

    def size(self, drawn: int, n: int) -> int:
        """How many candidates a question without a passing one among its first `drawn` draws next, of `n` in all."""
        return wave_size([self.chance(index) for index in range(drawn, n)], self._idle())

    def saw(self, start: int, end: int, first: int | None) -> None:
        """Takes note of candidates start to end of a question, of which `first` is the first that passed (if any)."""
        self._tried += [0] * (end - len(self._tried))
        self._passed += [0] * (end - len(self._passed))
        for index in range(start, end if first is None else first + 1):
            self._tried[index] += 1
        if first is not None:
            self._passed[first] += 1

    def chance(self, index: int) -> float:
        """The chance that a candidate passes where none before it did, as measured; 1/2 where nothing was."""
        overall = (sum(self._passed) + 1) / (sum(self._tried) + 2)
        if index >= len(self._tried):
            return overall
        return (self._passed[index] + _PRIOR * overall) / (self._tried[index] + _PRIOR)


def patience(n: int) -> int:
    """How many of n candidates have to pass no test before `give_up` ends a question: half of them."""
    return math.ceil(n / 2)
