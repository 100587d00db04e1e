"""How right are the rows of a demo run? Held against the generator's reference solutions, which the run never saw.

    python -m benchmarks.demo_agreement --run runs/demo

For each kept row whose question maps back to a task of the generator: does its solution agree with the reference on 50
fresh inputs (all there are, for tasks on single words and numbers), run in the sandbox, and how many of its tests are
right? Prints both shares and how many rows map back.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from datagen.demo.phrasing import match
from datagen.demo.problems import Task, asserts
from datagen.demo.score import is_right
from datagen.models import Row, Sandbox
from datagen.store import DECONTAMINATE
from datagen.tables import iter_rows
from sandbox import Job, Pool

INPUTS = 50


@dataclass(frozen=True, slots=True)
class Agreement:
    """One row that maps back to a task: does its solution agree with the reference, how many of its tests are right."""

    agrees: bool
    right_tests: int
    tests: int


async def agreement(row: Row, task: Task, sandbox: Sandbox) -> Agreement:
    """Runs the solution on INPUTS fresh inputs, whose results the task's reference gives."""
    fresh = asserts(task, Random(row.id), INPUTS, name=row.entry_point)
    verdict = await sandbox.run(Job(row.solution, fresh))
    return Agreement(verdict.passed, sum(is_right(test, task) for test in row.tests), len(row.tests))


async def measure(rows: Sequence[Row]) -> list[Agreement]:
    """The agreement of every row that maps back."""
    mapped = [(row, task) for row in rows if (task := match(row.question)) is not None]
    async with Pool() as pool:
        return await asyncio.gather(*(agreement(row, task, pool) for row, task in mapped))


def main() -> None:
    """Measures a run's kept rows and prints the shares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/demo"), metavar="DIR")
    rows = list(iter_rows(parser.parse_args().run / DECONTAMINATE / "kept.parquet", Row))
    found = asyncio.run(measure(rows))
    agree = sum(one.agrees for one in found)
    right, tests = sum(one.right_tests for one in found), sum(one.tests for one in found)
    print(f"rows                                     {len(rows)}")
    print(f"question maps back to a task             {len(found)} ({len(found) / max(len(rows), 1):.0%})")
    print(f"solution agrees on {INPUTS} fresh inputs       {agree} of {len(found)} ({agree / max(len(found), 1):.0%})")
    print(f"tests that are right                     {right} of {tests} ({right / max(tests, 1):.0%})")


if __name__ == "__main__":
    main()
