"""`datagen dedup` on very many short questions, in bounded memory: what it costs, what it holds, how often it is wrong.

    python -m benchmarks.dedup_large --rows 10000000 --memory-mb 2048

The command runs once, as a user types it, on a Parquet file of ids and questions of 12 to 36 words (dedup_corpus.py).
CPU and wall time are those of the whole process, reading and writing included; memory is the most of it that was
resident at any time by the kernel's count, mapped pages of files among it. Truth is an exact join of the normalised
texts (dedup_truth.py), made afterwards. A folder that is given again is gone on from: nothing in it is made twice.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from benchmarks.dedup_corpus import Lengths, corpus
from benchmarks.dedup_truth import score, truth
from benchmarks.pages import machine, markdown, tell

SHORT = Lengths(12, 36)
THRESHOLD = 0.7
GIVEN, TEXTS = ("id", "question"), ("text",)


@dataclass(frozen=True, slots=True)
class Cost:
    """What a process took: seconds, and the most MB that were resident."""

    cpu: float
    wall: float
    peak_mb: float


def made(rows: int, folder: Path, columns: tuple[str, ...]) -> Path:
    """These columns of the corpus as a Parquet file, made at most once."""
    path = folder / f"{rows}-{columns[-1]}.parquet"
    if not path.exists():
        draft, writer = path.with_suffix(".part"), None
        for frame in corpus(rows, lengths=SHORT):
            table = frame.select(columns).to_arrow()
            writer = writer or pq.ParquetWriter(draft, table.schema, compression="zstd")
            writer.write_table(table)
        if writer is not None:
            writer.close()
        draft.replace(path)
    return path


def deduplicated(given: Path, out: Path, memory_mb: int) -> Cost:
    """`datagen dedup` in a process of its own; what it cost is kept beside what it wrote."""
    kept = out.with_suffix(".json")
    if not kept.exists():
        command = [sys.executable, "-m", "datagen", "dedup", given, "--out", out, "--memory-mb", str(memory_mb)]
        began = time.monotonic()
        process = subprocess.Popen(command, env=os.environ | {"TMPDIR": str(out.parent)})
        _, status, used = os.wait4(process.pid, 0)
        if status:
            raise RuntimeError(f"datagen dedup ended with {os.waitstatus_to_exitcode(status)}")
        cost = Cost(used.ru_utime + used.ru_stime, time.monotonic() - began, used.ru_maxrss / 1024)
        kept.write_text(json.dumps(asdict(cost)))
    return Cost(**json.loads(kept.read_text()))


def report(rows: int, memory_mb: int, cost: Cost, out: Path, pairs: np.ndarray) -> str:
    """One table of it."""
    kept = np.ones(rows, np.bool_)
    kept[pl.read_parquet(out / "removed.parquet", columns=["row"])["row"].to_numpy()] = False
    found = score(kept, pairs)
    lines = {
        "rows, true pairs": f"{rows:,}, {len(pairs):,}",
        "`--memory-mb`": f"{memory_mb:,}",
        "CPU s, wall s": f"{cost.cpu:,.0f}, {cost.wall:,.0f}",
        "peak of the resident memory, MB": f"{cost.peak_mb:,.0f}",
        "removed": f"{found.removed:,}",
        "leaked, false, orphan": f"{found.leaked:,}, {found.false:,}, {found.orphan:,}",
        "leaked, of the true pairs": f"{found.leaked / max(1, len(pairs)):.3%}",
    }
    return markdown(("", ""), list(lines.items()))


def main() -> None:
    """Make the corpus, run the command, find the truth, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000, metavar="N")
    parser.add_argument("--memory-mb", type=int, default=2048, metavar="MB")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="for all files, about 15 GB of them")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    out = folder / f"{options.rows}-{options.memory_mb}"
    cost = deduplicated(made(options.rows, folder, GIVEN), out, options.memory_mb)
    tell(str(cost))
    pairs = truth(made(options.rows, folder, TEXTS), THRESHOLD)
    print(f"{machine()}\n")
    print(report(options.rows, options.memory_mb, cost, out, pairs))


if __name__ == "__main__":
    main()
