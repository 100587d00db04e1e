"""How far a stage is, on stderr: one rewritten line on a terminal, a plain line every ten seconds elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TextIO

from datagen.models import Outcome


class Progress:
    """Counts outcomes and shows them; the stream and the clock (seconds) are given.

    `total` is the number of items of the stage, None if unknown; `done` how many of them an earlier run finished;
    `words` say what kept and dropped are.
    """

    def __init__(
        self, label: str, *, stream: TextIO, clock: Callable[[], float], total: int | None = None, done: int = 0,
        every: float = 10.0, words: tuple[str, str] = ("kept", "dropped"),
    ) -> None:  # fmt: skip
        self._words = words
        self._label, self._stream, self._clock = label, stream, clock
        self._total, self._before, self._new = total, done, 0
        self._kept = self._dropped = self._failed = 0
        self._rewrites = stream.isatty()
        self._every = 0.2 if self._rewrites else every
        self._first_at = self._shown_at = clock()
        self._width = 0

    def resume(self, done: int) -> None:
        """Says how many items an earlier run finished: they count as done, not towards the rate."""
        self._before = done

    def advance(self, outcome: Outcome[Any]) -> None:
        """Counts one outcome and shows the line if it is time to."""
        if self._new == 0:
            self._first_at = self._clock()  # before it, models were loaded: no part of the rate
        self._new += 1
        self._kept += len(outcome.kept)
        self._dropped += len(outcome.drops) if outcome.final else 0
        self._failed += not outcome.final
        if self._clock() - self._shown_at >= self._every:
            self._show()

    def close(self) -> None:
        """Shows the final counts, if anything was done, and ends the line."""
        if self._new:
            self._show()
            if self._rewrites:
                self._stream.write("\n")
                self._stream.flush()
        self._new = self._width = 0

    def line(self) -> str:
        """The counts, the rate of this run since its first outcome, and how long the rest will take at that rate."""
        done, since, seconds = self._before + self._new, self._new - 1, self._clock() - self._first_at
        of = "" if self._total is None else f"/{self._total}"
        parts = [f"{self._label}: {done}{of}", f"{self._kept} {self._words[0]}", f"{self._dropped} {self._words[1]}"]
        if self._failed:
            parts.append(f"{self._failed} failed")
        if seconds > 0 and since > 0:
            parts.append(f"{_rate(since / seconds)}")
            if self._total is not None and self._total > done:
                parts.append(f"{duration((self._total - done) * seconds / since)} left")
        return ", ".join(parts)

    def _show(self) -> None:
        line = self.line()
        if self._rewrites:
            self._stream.write("\r" + line.ljust(self._width))
            self._width = len(line)
        else:
            self._stream.write(line + "\n")
        self._stream.flush()
        self._shown_at = self._clock()


def _rate(per_second: float) -> str:
    """A rate in the unit in which it is at least 1."""
    for unit, factor in (("s", 1), ("min", 60)):
        if per_second * factor >= 1:
            return f"{per_second * factor:.1f}/{unit}"
    return f"{per_second * 3600:.1f}/h"


def duration(seconds: float) -> str:
    """Seconds for people: 9s, 2m 05s, 3h 20m."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
