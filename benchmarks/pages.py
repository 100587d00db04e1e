"""What the benchmarks' pages have in common: tables, the machine they were measured on, options, writing."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path


def markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose first column is words and whose others are figures."""
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def machine(*software: str) -> str:
    """Where and when something was measured."""
    cores = len(os.sched_getaffinity(0))
    parts = [platform.machine(), f"{cores} cores", f"Linux {platform.release()}", f"Python {platform.python_version()}"]
    return ", ".join([*parts, *software, f"{datetime.now(UTC):%Y-%m-%d}"])


def tell(text: str) -> None:
    """Says on stderr how far a benchmark is."""
    print(text, file=sys.stderr, flush=True)


def parser_of(about: str | None) -> argparse.ArgumentParser:
    """The options of a benchmark that writes a page."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the page, too")
    return parser


def publish(where: str, tables: str, page: Callable[..., str], file: Path | None) -> None:
    """Prints the tables; writes the page, which has `where` and `tables` to fill in, where a file is named."""
    print(f"{where}\n\n{tables}")
    if file:
        file.write_text(page(where=where, tables=tables), encoding="utf-8")
