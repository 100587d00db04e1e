"""What a large ledger costs to write, open and read: the outcomes of a finished run again and again, under new ids.

    python -m benchmarks.ledger_speed --run runs/demo --items 62000

Each step runs in a process of its own; CPU seconds, because others may use the machine, and the process's peak memory,
of which Python and its libraries are about 150 MB.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from datagen.ledger import Ledger, ledger_state, read_outcomes, read_records
from datagen.models import Outcome, Row, content_id
from datagen.pipeline import finish
from datagen.store import SOLVE, StageFolder


def outcomes(source: Path, items: int) -> Iterator[Outcome[Row]]:
    """The run's outcomes in turn, `items` in all."""
    known = list(read_outcomes(source, Row))
    for number, outcome in zip(range(items), itertools.cycle(known), strict=False):
        name = content_id(outcome.source_id, str(number))
        yield replace(outcome, source_id=name, kept=tuple(replace(row, id=name) for row in outcome.kept))


def write(source: Path, folder: Path, items: int) -> None:
    """Appends all of them."""
    ledger = Ledger(folder / "ledger")
    for outcome in outcomes(source, items):
        ledger.append(outcome)
    ledger.close()


def tables(folder: Path) -> None:
    """The stage's tables and report."""
    stage = StageFolder(folder, {})
    finish(stage, Row, sorted(ledger_state(folder / "ledger").done), candidates=True)
    stage.close()


def cost(work: Callable[[], Any]) -> tuple[float, float]:
    """CPU seconds and peak MB of a process that does it."""
    start = time.process_time()
    work()
    return time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def main() -> None:
    """Prints a line for each step."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--run", type=Path, default=Path("runs/demo"), metavar="DIR")
    parser.add_argument("--items", type=int, default=62_000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / SOLVE
        ledger = folder / "ledger"
        steps = {
            "write": partial(write, args.run / SOLVE / "ledger", folder, args.items),
            "open": partial(opened, ledger),
            "status": partial(ledger_state, ledger),
            "read": partial(read, ledger),
            "tables": partial(tables, folder),
        }
        print(f"{args.items:,} items\n\n| | CPU s | peak MB |\n|---|---:|---:|")
        for label, work in steps.items():
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                seconds, peak = pool.apply(cost, (work,))
            print(f"| {label} | {seconds:.2f} | {peak:,.0f} |", flush=True)
        size = sum(path.stat().st_size for path in ledger.iterdir())
        print(f"\nledger: {size / 1e6:,.1f} MB")


def opened(ledger: Path) -> None:
    """As a resumed run opens it."""
    Ledger(ledger).close()


def read(ledger: Path) -> int:
    """Every record."""
    return sum(1 for _ in read_records(ledger))


if __name__ == "__main__":
    main()
