"""`python -m sandbox check`: runs the catalogue against the level that this machine reaches."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import TextIO

from sandbox.catalogue import CATALOGUE
from sandbox.catalogue.cases import Entry, Kind
from sandbox.catalogue.runner import Fault, Outcome, applicable, run_catalogue
from sandbox.contract import Status, Tier

_ALWAYS = (Fault.FORGED, Fault.ESCAPED, Fault.HUNG, Fault.WRONGLY_FAILED)
_LONG = frozenset({Kind.HANG, Kind.MUST_PASS, Kind.FLAKY})
_EVERY = 50


class Progress:
    """Tells on a stream how far it is: one line that changes on a terminal, a line now and then elsewhere."""

    def __init__(self, total: int, stream: TextIO) -> None:
        self._total = total
        self._stream = stream
        self._done = 0
        self._live = stream.isatty()

    def tell(self, outcome: Outcome) -> None:
        """One more entry is over."""
        self._done += 1
        if self._live:
            end = "\n" if self._done == self._total else ""
            self._stream.write(f"\r\x1b[Kcatalogue: {self._done}/{self._total} {outcome.entry.title[:60]}{end}")
        elif self._done % _EVERY == 0 or self._done == self._total:
            self._stream.write(f"catalogue: {self._done}/{self._total}\n")
        self._stream.flush()


def selection(level: str, *, quick: bool) -> list[Entry]:
    """What to run; `quick` leaves out what takes long: what waits for a limit, and what has to pass."""
    return [entry for entry in applicable(CATALOGUE, level) if not (quick and _takes_long(entry))]


def _takes_long(entry: Entry) -> bool:
    return entry.kind in _LONG or bool(entry.before) or Status.TIMEOUT in entry.screen | entry.split


async def check_catalogue(level: str, *, quick: bool) -> bool:
    """Run it in the full tier, print a line for each fault and one for the whole; whether there was none."""
    entries, started = selection(level, quick=quick), time.monotonic()
    progress = Progress(len(entries), sys.stderr)
    lanes = 2 * len(os.sched_getaffinity(0))  # every other entry waits more than it works
    outcomes = await run_catalogue(entries, level, Tier.FULL, lanes, progress.tell)
    for outcome in outcomes:
        if outcome.fault:
            print(printable(outcome.describe()))
    print(summary(outcomes, time.monotonic() - started))
    return not any(outcome.fault for outcome in outcomes)


def summary(outcomes: Sequence[Outcome], seconds: float) -> str:
    """The counts in one line; kinds of faults that are rare are named where there are any."""
    counts = Counter(outcome.fault for outcome in outcomes)
    faults = [*_ALWAYS, *(fault for fault in Fault if fault and fault not in _ALWAYS and counts[fault])]
    return f"catalogue: {len(outcomes)} programs in {seconds:.0f} s: " + ", ".join(f"{counts[f]} {f}" for f in faults)


def printable(text: str) -> str:
    """Text of a program's with nothing in it that a terminal would obey."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)
