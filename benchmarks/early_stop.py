"""Early stop beside the full run on one engine: the share of equal rows, the tokens saved, the time.

    python -m benchmarks.early_stop [--questions 100] [--recipe demo] [--out FOLDER] [flags of `datagen run`]

Asks for the questions once and copies them, then solves them three times in this process with the same seeds: all n
candidates for each, with --early-stop, and with --give-up as well. Equal rows have equal ids, solutions and tests; of
questions that only one of the runs kept, or kept with another solution, the ids are printed.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from datagen import workflow
from datagen.cli import build_parser, say
from datagen.flags import collect
from datagen.models import Row
from datagen.recipe import Recipe, load_recipe, recipe_path
from datagen.store import Report, read_report
from datagen.tables import iter_rows

WAYS: dict[str, dict[str, Any]] = {
    "full run": {},
    "--early-stop": {"early_stop": True},
    "--early-stop --give-up": {"early_stop": True, "give_up": True},
}


@dataclass(frozen=True, slots=True)
class Solved:
    """One way to solve: its rows, its report, the seconds of the solve stage (the model's loading included)."""

    rows: dict[str, Row]
    report: Report
    seconds: float

    def tokens(self, kind: str) -> int:
        """Tokens read ("prompt") or written ("completion")."""
        return int(self.report.notes[f"{kind}_tokens"])

    @property
    def candidates(self) -> str:
        """How many were drawn."""
        drawn = self.report.notes.get("candidates_drawn")
        return f"{drawn:,}" if drawn else "all"


def solved(folder: Path, recipe: Recipe) -> Solved:
    """Solves the questions that a run's folder holds."""
    start = time.monotonic()
    asyncio.run(workflow.run(folder, recipe, lambda run: run.solve(), say))
    seconds = time.monotonic() - start
    report = read_report(folder / workflow.SOLVE)
    assert report is not None
    rows = {row.id: row for row in iter_rows(folder / workflow.SOLVE / "kept.parquet", Row)}
    return Solved(rows, report, seconds)


def known(row: Row | None) -> Row | None:
    """The row without what early stop does not know."""
    return row and replace(row, n_tried=0, n_passed=None, pass_rate=None, difficulty=None)


def compared(ways: dict[str, Solved]) -> str:
    """A table with a column for each way, and how many rows each has in common with the full run."""
    full = ways["full run"]
    figures: dict[str, Callable[[Solved], str]] = {
        "rows": lambda way: f"{len(way.rows):,}",
        "equal to the full run's": lambda way: _equal(full, way),
        "candidates drawn": lambda way: way.candidates,
        "tokens written": lambda way: _share(way.tokens("completion"), full.tokens("completion")),
        "tokens read": lambda way: _share(way.tokens("prompt"), full.tokens("prompt")),
        "saved, as the report estimates": lambda way: f"{way.report.notes.get('tokens_saved', 0):,}",
        "seconds": lambda way: f"{way.seconds:.0f}",
    }
    rows = [("", *ways), ("---",) * (len(ways) + 1)]
    rows += [(name, *(figure(way) for way in ways.values())) for name, figure in figures.items()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _equal(full: Solved, way: Solved) -> str:
    ids = sorted(full.rows.keys() | way.rows.keys())
    other = [name for name in ids if known(full.rows.get(name)) != known(way.rows.get(name))]
    named = f" (not: {', '.join(other)})" if other else ""
    return f"{len(ids) - len(other):,} of {len(ids):,}{named}"


def _share(count: int, whole: int) -> str:
    return f"{count:,} ({count / whole:.0%})"


def main() -> None:
    """Makes the questions, solves them every way, prints the comparison."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--questions", type=int, default=100, metavar="N")
    parser.add_argument("--recipe", default="demo", metavar="NAME")
    parser.add_argument("--out", type=Path, help="keep the runs here")
    args, flags = parser.parse_known_args()
    given = collect(build_parser().parse_args(["run", args.recipe, *flags]))
    recipe = load_recipe(recipe_path(args.recipe), given)
    recipe = replace(recipe, questions=replace(recipe.questions, count=0, target=args.questions))
    with tempfile.TemporaryDirectory(prefix="early-stop-") as folder:
        out = args.out or Path(folder)
        asyncio.run(workflow.run(out / "questions", recipe, lambda run: run.questions(), say))
        ways = {}
        for name, settings in WAYS.items():
            run = shutil.copytree(out / "questions", out / name.replace(" ", ""))
            ways[name] = solved(run, replace(recipe, solve=replace(recipe.solve, **settings)))
        print(compared(ways))


if __name__ == "__main__":
    main()
