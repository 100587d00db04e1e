"""Decontamination beside the usual ways: what it costs, what it finds of edited copies, what it flags that is clean.

    python -m benchmarks.decontamination_speed --benchmarks DIR                       about ten minutes on two cores
    python -m benchmarks.decontamination_speed --benchmarks DIR --rows 5000 --repetitions 1 --no-million     a look
    python -m benchmarks.decontamination_speed --benchmarks DIR --write docs/decontamination-benchmark.md

DIR holds the real files of HumanEval, MBPP and GSM8K (folders humaneval/, mbpp_original/, gsm8k/). Speed: all get the
same rows (questions of 50 to 150 words, put together from the generator's) and the same items (the real ones, and such
with their words shuffled, up to --items), each in a process of its own, in turns; CPU time is that of all its threads,
preparing items and normalising rows included, importing not. Figures are medians over the repetitions, ratios are taken
within a repetition. pyahocorasick takes part where it is installed.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from random import Random
from statistics import median

import polars as pl

from benchmarks.decontamination_corpus import chosen, generated, items_of, long_questions, padded, planted
from benchmarks.decontamination_entrants import (
    AHO,
    BOTH,
    CONFIG,
    ENTRANTS,
    NAIVE,
    NAIVE_ROWS,
    OPENAI,
    POLARS,
    WINDOWS,
    missing,
)
from benchmarks.decontamination_recall import EDITS, grid, planted_table
from benchmarks.pages import machine, markdown, parser_of, publish, tell
from datagen.overlap.strong import prepare, same_shape
from datagen.sets import BenchmarkItem

MILLION = 1_000_000
PLANTED, AMONG = 500, 50_000
PAGE = """# Decontamination, measured

Written by `python -m benchmarks.decontamination_speed --benchmarks DIR --write docs/decontamination-benchmark.md`; how
it measures is said at the top of `benchmarks/decontamination_speed.py`. Ratios carry over to other machines, absolute
times do not.

{where}

{tables}

- The naive loop gets {naive_rows} rows; its time is scaled up to all of them, in which it is linear.
- Peak memory is that of the process, with the interpreter, the rows and the items, which all have alike.
- Recall: an item's own copy is flagged in the name of that item. Windows, whole items and n-grams are those of the
  item's question, AST is of its solution. `-`: not applicable.
- The generator's rows that AST flags hold the very program that a benchmark gives as its solution, such as
  `[w[0] for w in words]`.
- Changed words are drawn at random among the words of the benchmarks.
- Nothing here finds a question in other words: that takes the benchmark's own tests (execution) or a judge.
"""

Turn = dict[str, float]


def child(name: str, rows: Path, items: int, folder: Path) -> Turn:
    """One entrant in this process: CPU seconds, wall seconds, peak memory in MB, rows flagged."""
    known = padded([item for own in items_of(folder).values() for item in own], items)
    texts = pl.read_parquet(rows)["question"]
    texts = texts.head(NAIVE_ROWS) if name == NAIVE else texts
    run = ENTRANTS[name]
    run(texts.head(50), known[:50])
    cpu, wall = time.process_time(), time.perf_counter()
    flagged = run(texts, known)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"cpu": cpu, "wall": wall, "peak": peak / 1024, "flagged": flagged, "rows": len(texts)}


def turn(name: str, rows: Path, items: int, folder: Path) -> Turn:
    """The same in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.decontamination_speed",
        "--benchmarks",
        str(folder),
        "--items",
        str(items),
    ]
    done = subprocess.run([*command, "--child", name, str(rows)], stdout=subprocess.PIPE, text=True, check=True)
    found: Turn = json.loads(done.stdout)
    return found


def in_turns(names: Sequence[str], rows: Path, count: int, options: argparse.Namespace) -> dict[str, list[Turn]]:
    """One turn a repetition for everybody, in a new random order each time; the naive loop scaled to all rows."""
    found: dict[str, list[Turn]] = {name: [] for name in names}
    for repetition in range(options.repetitions):
        for name in Random(repetition).sample(list(names), len(names)):
            tell(f"repetition {repetition + 1}/{options.repetitions}: {name}")
            one = turn(name, rows, options.items, options.benchmarks)
            scale = count / one["rows"]
            found[name].append(one | {"cpu": one["cpu"] * scale, "wall": one["wall"] * scale})
    return found


def speed_table(found: Mapping[str, Sequence[Turn]]) -> str:
    """A line an entrant."""
    lines = []
    for name, turns in found.items():
        cpu, wall, peak = (median(one[key] for one in turns) for key in ("cpu", "wall", "peak"))
        scaled = name == NAIVE
        flagged = "" if scaled else f"{turns[0]['flagged']:,.0f}"
        lines.append((name, f"{cpu:,.2f}", f"{wall:,.2f}", "" if scaled else f"{peak:,.0f}", flagged))
    return markdown(("", "CPU s", "wall s", "peak MB", "rows flagged"), lines)


def targets_table(found: Mapping[str, Sequence[Turn]]) -> str:
    """Which targets are met."""
    pairs = [(NAIVE, OPENAI, 500, True)]
    pairs += [(WINDOWS, one, 2, False) for one in (POLARS, AHO) if one in found]
    lines = []
    for above, below, target, at_least in pairs:
        ratio = median(one["cpu"] / two["cpu"] for one, two in zip(found[above], found[below], strict=True))
        met = ratio >= target if at_least else ratio <= target
        wanted = f"at least {target}" if at_least else f"at most {target}"
        lines.append((f"{above} / {below}", f"{ratio:,.2f}", wanted, "met" if met else "missed"))
    return markdown(("CPU time of", "measured", "target", ""), lines)


def measure(options: argparse.Namespace) -> str:
    """Everything, in one run."""
    items = items_of(options.benchmarks)
    absent = {name: why for name in ENTRANTS if (why := missing(name))}
    names = [name for name in ENTRANTS if name not in absent]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.parquet"
        pl.DataFrame({"question": long_questions(options.rows)}).write_parquet(file)
        found = in_turns(names, file, options.rows, options)
        million = "" if options.no_million else _million(Path(folder) / "million.parquet", options)
    clean = generated(AMONG)
    shapes = _shapes(clean, [item for own in items.values() for item in own])
    tell("the recall grid")
    head = ("", *(f"{edit}" for edit in EDITS), "% of clean rows flagged")
    recall = markdown(head, grid(items, clean))
    tell("planted items")
    some = chosen(items, PLANTED)
    rows, about = planted(some, clean)
    planted_head, *lines = planted_table(rows, some, about)
    parts = [
        ("Targets", targets_table(found)),
        (
            f"What it costs: {options.rows:,} rows, {options.items:,} items",
            speed_table(found) + shapes + _absent(absent),
        ),
        ("A million rows", million),
        (f"Recall, in %: {', '.join(f'{name} ({len(own):,})' for name, own in items.items())}", recall),
        (f"{PLANTED} items planted in {AMONG:,} rows of the generator: recall, in %", markdown(planted_head, lines)),
    ]
    return "\n\n".join(f"## {title}\n\n{table}" for title, table in parts if table)


def _million(file: Path, options: argparse.Namespace) -> str:
    tell("a million rows")
    pl.DataFrame({"question": long_questions(MILLION)}).write_parquet(file)
    return speed_table(
        {name: [turn(name, file, options.items, options.benchmarks)] for name in (OPENAI, WINDOWS, BOTH)}
    )


def _shapes(rows: pl.DataFrame, items: Sequence[BenchmarkItem]) -> str:
    known = prepare(items, CONFIG.minimum)
    cpu = time.process_time()
    same_shape(rows["solution"], "solution", 0, known)
    return f"\n\nThe shapes of {len(rows):,} solutions take {time.process_time() - cpu:.1f} CPU s more."


def _absent(absent: Mapping[str, str]) -> str:
    return "".join(f"\n\nNot measured: {name} ({why})." for name, why in absent.items())


def main() -> None:
    """Measure, print the tables, write the page if asked to."""
    parser = parser_of(__doc__)
    parser.add_argument("--benchmarks", type=Path, required=True, metavar="DIR", help="folders of real benchmark files")
    parser.add_argument("--rows", type=int, default=62_000, metavar="N")
    parser.add_argument("--items", type=int, default=19_000, metavar="N")
    parser.add_argument("--repetitions", type=int, default=5, metavar="N")
    parser.add_argument("--no-million", action="store_true")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(child(options.child[0], Path(options.child[1]), options.items, options.benchmarks)))
        return
    tables = measure(options)
    where = f"{machine(f'polars {pl.__version__}')}; {options.repetitions} repetitions."
    publish(where, tables, partial(PAGE.format, naive_rows=NAIVE_ROWS), options.write)


if __name__ == "__main__":
    main()
