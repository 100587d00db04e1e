"""Early stop beside the full run on one engine: the share of equal rows, the tokens saved, the time.

    python -m benchmarks.early_stop [--questions 100] [--recipe demo] [--out FOLDER] [flags of `datagen run`]

Asks for the questions once and copies them, then solves them twice in this process: all n candidates for each, and with
--early-stop. Both runs have the same seeds. Equal rows have equal ids, solutions and tests; of questions that only one
of the runs kept, or kept with another solution, the ids are printed.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from datagen import workflow
from datagen.cli import build_parser, say
from datagen.flags import collect
from datagen.recipe import Recipe, load_recipe, recipe_path
from datagen.store import Report, read_report
from datagen.tables import read_table

SAME = ("id", "question", "solution", "tests", "shown_test", "entry_point", "chosen_index", "n_candidates", "seed")


@dataclass(frozen=True, slots=True)
class Solved:
    """One way to solve: its rows, its report, the seconds of the solve stage (the model's loading included)."""

    rows: pl.DataFrame
    report: Report
    seconds: float


def solved(folder: Path, recipe: Recipe) -> Solved:
    """Solves the questions that a run's folder holds."""
    start = time.monotonic()
    asyncio.run(workflow.run(folder, recipe, lambda run: run.solve(), say))
    seconds = time.monotonic() - start
    report = read_report(folder / workflow.SOLVE)
    assert report is not None
    return Solved(read_table(folder / workflow.SOLVE / "kept.parquet"), report, seconds)


def compare(full: Solved, early: Solved) -> str:
    """The figures of both, and how many rows are equal."""
    same = [name for name in SAME if name in full.rows.columns]
    both = full.rows.select(same).join(early.rows.select(same), on=same, how="inner", nulls_equal=True)
    kept = pl.concat([full.rows["id"], early.rows["id"]]).unique()
    lines = ["| | full run | early stop |", "|---|---|---|"]
    lines += [f"| rows | {full.rows.height} | {early.rows.height} |"]
    for name in ("prompt_tokens", "completion_tokens"):
        lines += [f"| {name.replace('_', ' ')} | {full.report.notes[name]:,} | {early.report.notes[name]:,} |"]
    drawn = early.report.notes["candidates_drawn"]
    lines += [f"| candidates drawn | {drawn + early.report.notes.get('candidates_saved', 0):,} | {drawn:,} |"]
    lines += [f"| seconds | {full.seconds:.0f} | {early.seconds:.0f} |", ""]
    saved = full.report.notes["completion_tokens"] - early.report.notes["completion_tokens"]
    said = early.report.notes.get("tokens_saved", 0)
    lines += [f"equal rows: {both.height} of {kept.len()} ({both.height / max(1, kept.len()):.1%})"]
    lines += [f"differ: {', '.join(sorted(set(kept) - set(both['id']))) or 'none'}"]
    lines += [f"tokens not written: {saved:,} ({saved / full.report.notes['completion_tokens']:.1%}); "
              f"estimated by the report: {said:,}"]  # fmt: skip
    return "\n".join(lines)


def main() -> None:
    """Makes the questions, solves them both ways, prints the comparison."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--questions", type=int, default=100, metavar="N")
    parser.add_argument("--recipe", default="demo", metavar="NAME")
    parser.add_argument("--out", type=Path, help="keep both runs here")
    args, flags = parser.parse_known_args()
    given = collect(build_parser().parse_args(["run", args.recipe, *flags]))
    recipe = load_recipe(recipe_path(args.recipe), given)
    recipe = replace(recipe, questions=replace(recipe.questions, count=0, target=args.questions))
    with tempfile.TemporaryDirectory(prefix="early-stop-") as folder:
        out = args.out or Path(folder)
        asyncio.run(workflow.run(out / "full", recipe, lambda run: run.questions(), say))
        shutil.copytree(out / "full", out / "early")
        early = replace(recipe, solve=replace(recipe.solve, early_stop=True))
        print(compare(solved(out / "full", recipe), solved(out / "early", early)))


if __name__ == "__main__":
    main()
