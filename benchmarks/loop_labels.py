"""How right is what each arm of a demo loop read? Held against the generator's reference solutions.

    python -m benchmarks.loop_labels --run runs/demo-loop

For each arm's rows whose question maps back to a task: the share whose solution agrees with the reference on 50 fresh
inputs. That share explains a loop's outcome: where the first candidate is nearly always right, verification has little
to take out.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from random import Random
from typing import Any

import polars as pl

from benchmarks.demo_agreement import INPUTS
from datagen.demo.phrasing import match
from datagen.demo.problems import asserts
from sandbox import Job, Pool


async def right(rows: list[dict[str, Any]]) -> tuple[int, int]:
    """(solutions that agree with the reference, rows whose question maps back to a task)."""
    mapped = [(row, task) for row in rows if (task := match(row["question"])) is not None]
    jobs = [
        Job(row["solution"], asserts(task, Random(row["id"]), INPUTS, name=row["entry_point"])) for row, task in mapped
    ]
    async with Pool() as pool:
        verdicts = await asyncio.gather(*map(pool.run, jobs))
    return sum(verdict.passed for verdict in verdicts), len(verdicts)


def main() -> None:
    """A line for each arm of each round."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/demo-loop"), metavar="DIR")
    print("| arm | rows | map back to a task | solution right |\n|---|---:|---:|---:|")
    for folder in sorted(parser.parse_args().run.glob("loop/round-*/rows")):
        tables = {"verified": folder / "verified.parquet"} | {
            path.parent.name: path for path in sorted(folder.glob("*/kept.parquet"))
        }
        for arm, path in tables.items():
            rows = pl.read_parquet(path)
            agree, known = asyncio.run(right(list(rows.iter_rows(named=True))))
            print(f"| {arm}, {folder.parent.name} | {len(rows):,} | {known:,} | {agree / max(known, 1):.1%} |")


if __name__ == "__main__":
    main()
