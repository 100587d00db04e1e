"""The catalogue of hostile programs against every runner: how many of each kind get away with it.

Each runner faces them in a cell of its own (sandbox_cell.py), this sandbox included. What is counted:

- A program that must not pass and does, or that leaves its runner without a verdict (dead, or stuck for PATIENCE
  seconds), or that leaves processes behind, is bad. So is a right program that does not pass.
- A program that reaches for something passes if it got it. It is applicable if any runner let it through: what fails
  here for everybody shows nothing about anybody.
- What a runner cannot be asked (evalplus calls one function on plain arguments) is not applicable to it.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from benchmarks.sandbox_cell import CANNOT_SAY, LEFT_BEHIND, NO_VERDICT, PASSED, REFUSED, cases, command
from benchmarks.sandbox_runners import Entrant
from sandbox.catalogue.cases import ESCAPES, PASSING, Entry, Kind

KINDS = tuple(kind for kind in Kind if kind not in (Kind.OWN, Kind.FLAKY))
LONGEST = 900.0


@dataclass(frozen=True, slots=True)
class Tally:
    """Of one kind of programs, for one runner: the titles of those that did harm, and how many could have."""

    bad: tuple[str, ...]
    applicable: int


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Of one runner: the outcome by the title of the case; or why there is none."""

    missing: str
    found: Mapping[str, str]


def meet(entrants: Sequence[Entrant], at_once: int) -> dict[str, Outcomes]:
    """All cases against all runners."""
    with ThreadPoolExecutor(at_once) as threads:
        return dict(zip([entrant.name for entrant in entrants], threads.map(_meet, entrants), strict=True))


def tally(outcomes: Mapping[str, Outcomes]) -> dict[str, dict[Kind, Tally]]:
    """By runner and kind."""
    entries = cases()
    met = {name: one.found for name, one in outcomes.items() if not one.missing}
    useful = [entry for entry in entries if entry.kind not in ESCAPES or _harmful(entry, met)]
    return {
        name: {kind: _tally(found, [e for e in useful if e.kind is kind]) for kind in KINDS}
        for name, found in met.items()
    }


def is_bad(entry: Entry, outcome: str) -> bool:
    """Whether an outcome is one that the case must not have."""
    if outcome in (NO_VERDICT, LEFT_BEHIND):
        return True
    may_pass, may_not = bool(entry.split & PASSING), bool(entry.split - PASSING)
    return (outcome == PASSED and not may_pass) or (outcome == REFUSED and not may_not)


def _harmful(entry: Entry, met: Mapping[str, Mapping[str, str]]) -> bool:
    return any(is_bad(entry, found[entry.title]) for found in met.values())


def _tally(found: Mapping[str, str], entries: Sequence[Entry]) -> Tally:
    asked = [entry for entry in entries if found[entry.title] != CANNOT_SAY]
    return Tally(tuple(entry.title for entry in asked if is_bad(entry, found[entry.title])), len(asked))


def _meet(entrant: Entrant) -> Outcomes:
    with tempfile.TemporaryDirectory(prefix="cell-") as folder:
        try:
            done = subprocess.run(
                command(folder, entrant.name),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=LONGEST,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return Outcomes(str(error), {})
    if done.returncode or not done.stdout:
        return Outcomes(f"the cell failed: {_last_line(done.stderr)}", {})
    answer = json.loads(done.stdout)
    return Outcomes(answer["missing"], answer.get("outcomes", {}))


def _last_line(text: bytes) -> str:
    return text.decode(errors="replace").strip().rpartition("\n")[2]
