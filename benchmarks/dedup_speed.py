"""Removal of near-duplicates beside its peers: what it costs, and how often it is wrong.

    python -m benchmarks.dedup_speed --rows 62000 --no-peers                               a look
    python -m benchmarks.dedup_speed --python PEERS/bin/python --write docs/dedup-benchmark.md      about half an hour

Each method runs in a process of its own on the corpus of dedup_corpus.py; how it is called is said beside each in
dedup_contestants.py. A method is run by the first interpreter that has its package: this one, then those of --python
(peers conflict and may need two: `pip install rensa gaoya datasketch datatrove orjson tokenizers "xxhash<4"`, and
`pip install --no-deps text-dedup` beside what it then misses). In each repetition everybody runs once, in a new random
order; those that take over half a minute run in the first alone. Ratios are of medians of CPU time. What is measured
goes to --results at once, and is not measured again by a run that is given the same file.

Truth is an exact join (dedup_truth.py): leaked are the pairs at a similarity of 0.7 or over of which both rows were
kept, false the rows removed though no other reaches 0.7, orphans those removed for rows that are removed themselves.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from benchmarks.dedup_contestants import CONTESTANTS, FLOOR, OURS, THRESHOLD
from benchmarks.dedup_corpus import cached
from benchmarks.dedup_report import Cell, report
from benchmarks.dedup_truth import score, truth
from benchmarks.pages import machine, parser_of, publish, tell

SLOW = 30
"""CPU seconds over which a method runs once."""
TRUTH_UP_TO = 1_000_000
PEERS = [name for name in CONTESTANTS if not name.startswith((OURS[:7], FLOOR[:5]))]
PAGE = """# Dedup, measured

Written by `python -m benchmarks.dedup_speed --write docs/dedup-benchmark.md`; how it measures is said at the top of
`benchmarks/dedup_speed.py`. Ratios carry over to other machines, absolute times do not.

{where}

{tables}

- The corpus is made (`benchmarks/dedup_corpus.py`): questions of 50 to 150 words with planted edits, renames,
  reorderings, exact copies and, far more often, other tasks in the same words.
- Everybody gets the same normalised text and splits, hashes and compares it: CPU time is of reading, splitting and
  deciding, after a first run on 500 rows in which compilers and caches warm up. datagen normalises it once more;
  "raw questions" are the same with capitals, punctuation and markdown.
- Peak MB is of the whole process: interpreter, libraries and compiler, too.
- leaked: pairs at a Jaccard similarity of 0.7 or over of which both were kept. false: rows removed though none is that
  similar. orphan: rows removed though every similar one is removed as well, which connected components do.
- Peers are set to shingles of three words and a threshold of 0.7, and are otherwise as they come.
"""


def measured(options: argparse.Namespace) -> list[Cell]:
    """Every cell, those of earlier runs of the same results file among them."""
    cells = _read(options.results)
    for rows in options.rows:
        cached(rows)
        if rows <= TRUTH_UP_TO:
            tell(f"{rows:,} rows: {len(truth(cached(rows), THRESHOLD)):,} true pairs")
    for rows, name, repetition in _turns(options, cells):
        tell(f"{rows:,} rows, repetition {repetition + 1}: {name}")
        cell = _measure(name, rows, [sys.executable, *options.python], options.timeout)
        cells.append(cell)
        with options.results.open("a") as file:
            file.write(json.dumps(cell.as_json()) + "\n")
    return cells


def _turns(options: argparse.Namespace, cells: Sequence[Cell]) -> Iterator[tuple[int, str, int]]:
    """Who runs next; looks at what was measured meanwhile."""
    for rows in options.rows:
        for repetition in range(options.repetitions):
            names = [name for name, one in CONTESTANTS.items() if rows <= one.most and _wanted(name, options)]
            Random(repetition).shuffle(names)
            for name in names:
                done = [cell for cell in cells if (cell.name, cell.rows) == (name, rows)]
                if len(done) <= repetition and not any(cell.missing or cell.cpu > SLOW for cell in done):
                    yield rows, name, repetition


def _wanted(name: str, options: argparse.Namespace) -> bool:
    return name in options.only if options.only else not (options.no_peers and name in PEERS)


def _measure(name: str, rows: int, pythons: Sequence[str], timeout: float) -> Cell:
    """One turn of one method."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "kept.npy")
        missing = ""
        for python in pythons:
            found = _answer([python, "-m", "benchmarks.dedup_contestants", name, str(cached(rows)), str(out)], timeout)
            missing = str(found.get("missing", ""))
            if not missing:
                return Cell(name, rows, **found, **_scored(rows, np.load(out)))
        return Cell(name, rows, missing=missing)


def _answer(command: Sequence[str], timeout: float) -> dict[str, Any]:
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        return {"missing": f"stopped after {timeout:.0f} s"}
    if ended.returncode:
        return {"missing": f"failed: {(ended.stderr.strip().splitlines() or ['killed'])[-1][:100]}"}
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def _scored(rows: int, kept: Any) -> dict[str, int]:
    if rows > TRUTH_UP_TO or kept.all():
        return {}
    pairs = truth(cached(rows), THRESHOLD)
    return {**asdict(score(kept, pairs)), "pairs": len(pairs)}


def _read(results: Path) -> list[Cell]:
    return [Cell(**json.loads(line)) for line in results.read_text().splitlines()] if results.exists() else []


def main() -> None:
    """Measure, print the tables, write the page if asked to."""
    parser = parser_of(__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[62_000, 250_000, 1_000_000, 4_000_000], metavar="N")
    parser.add_argument("--repetitions", type=int, default=3, metavar="N")
    parser.add_argument("--python", action="append", default=[], metavar="FILE", help="an interpreter that has peers")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="a method, as the tables name it")
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--timeout", type=float, default=1800, metavar="S", help="wall time of one method")
    parser.add_argument("--results", type=Path, metavar="FILE", help="lines of JSON to go on from")
    options = parser.parse_args()
    options.results = options.results or Path(tempfile.mkdtemp(), "results.jsonl")
    tables = report(measured(options))
    publish(f"{machine()}; up to {options.repetitions} repetitions.", tables, PAGE.format, options.write)


if __name__ == "__main__":
    main()
