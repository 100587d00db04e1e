"""`datagen decontaminate FILE`: any table against benchmarks, outside a run.

Its results lie in a folder as those of `datagen dedup FILE` do; the ledgers of what was run and asked lie beside it, in
`.NAME.verify`, so that a command that was killed goes on, and one that is repeated asks only what is new.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from datagen.collaborators import LazySandbox, opened_engines
from datagen.config import shaping
from datagen.errors import InputError
from datagen.extract import blocks, syntax
from datagen.interrupt import Interrupt
from datagen.models import Say
from datagen.overlap.fields import fields_of
from datagen.recipe import Recipe
from datagen.sets import BenchmarkItem
from datagen.sources import HubTable, Output, output
from datagen.stages import execution
from datagen.standalone import Table, beside_ours
from datagen.store import Report, RunFolder
from datagen.verification import Decontaminated, Verifier, decontaminated, judging, load_items, marks, used_engines

COMMAND = "datagen decontaminate"
SUFFIX = "decontaminated"

QUESTIONS = (
    "question", "prompt", "instruction", "problem", "problem_statement", "query", "input", "text", "messages",
    "conversations",
)  # fmt: skip
SOLUTIONS = ("solution", "output", "response", "completion", "answer", "code", "messages", "conversations", "text")
TESTS = ("tests", "test_list", "test")
"""The names under which tables keep a task, its solution and its tests; those that are there are scanned."""


@dataclass(frozen=True, slots=True)
class Roles:
    """Which columns of a table are scanned, and which of them hold the task and its solution."""

    columns: tuple[str, ...]
    question: str
    solution: str


@dataclass(frozen=True, slots=True)
class Checked:
    """What `decontaminate` did: its counts, rows by reason even where nothing is dropped, and the folder it wrote."""

    report: Report
    found: Mapping[str, int]
    path: Path


def roles(rows: pl.DataFrame, named: Sequence[str] = ()) -> Roles:
    """The columns to scan: those named, else those of a known name; InputError where there are none."""
    known = dict.fromkeys((*QUESTIONS, *SOLUTIONS, *TESTS))
    columns = tuple(named) or tuple(name for name in known if name in rows.columns)
    if not columns:
        hint = f"Give --column one or more of: {', '.join(rows.columns)}"
        raise InputError("no column of a known name holds a task or a solution", where="the data set", hint=hint)
    fields_of(rows, columns)  # says what is missing, or is no text
    question = next((name for name in QUESTIONS if name in columns), columns[0])
    return Roles(columns, question, next((name for name in SOLUTIONS if name in columns), columns[-1]))


def programs(rows: pl.DataFrame, found: Roles) -> pl.DataFrame:
    """What is verified of each row: id (its number), question, solution (the Python in its text), entry_point."""
    texts = fields_of(rows, found.columns)
    solutions = [program_of(text) for text in texts[found.solution]]
    entries = rows["entry_point"] if rows.schema.get("entry_point") == pl.String else [""] * len(rows)
    return pl.DataFrame(
        {
            "id": [str(number) for number in range(len(rows))],
            "question": texts[found.question],
            "solution": pl.Series(solutions, dtype=pl.String),
            "entry_point": entries,
        }
    )


def program_of(text: str) -> str:
    """The Python in a text: all of it where it parses, else what its code fences hold; "" where that does not parse."""
    if syntax.parse(text) is not None:
        return text
    fenced = [block.text for block in blocks.fenced(text) if block.language in ("", *blocks.PYTHON)]
    parts = [part for part in fenced if syntax.parse(part) is not None]
    return "\n\n".join(parts)


def state_of(table: Table) -> Path:
    """Where the ledgers of a table's verification lie: beside its results, so that a killed command goes on."""
    path = table.folder(SUFFIX)
    return path.with_name(f".{path.name}.verify")


async def decontaminate(
    table: Table, columns: Sequence[str], recipe: Recipe, *, say: Say,
    load: Callable[[HubTable], pl.DataFrame] | None = None,
) -> Checked:  # fmt: skip
    """Drops (or, with `mark`, marks) the rows of a table that overlap a benchmark; writes a folder.

    kept.parquet has the input's columns and order; dropped.parquet, hits.parquet and coverage.parquet say what was
    found and what can be found at all; report.json, the counts. Raises InputError for what cannot be read, UsageError
    for a folder that is someone else's.
    """
    config = recipe.decontaminate
    items, missing = load_items(config)
    for name, why in missing.items():
        say(f"not checked against {name}: {why}")
    with output(table.folder(SUFFIX), COMMAND) as out:
        rows = table.read(load)
        chosen = roles(rows, columns)
        texts = pl.DataFrame(fields_of(rows, chosen.columns))
        numbered = texts.with_columns(id=pl.int_range(pl.len()).cast(pl.String))
        found = await _verified(numbered, items, chosen, programs(rows, chosen), recipe, state_of(table), say)
        _write(out, rows, found, config.mark)
        report = _report(found, missing, config.mark)
        out.finish(_described(table, chosen, recipe) | asdict(report))
    return Checked(report, found.report["found"], out.path)


def _report(found: Decontaminated, missing: Mapping[str, str], mark: bool) -> Report:
    """The counts of a stage; with `mark` nothing is dropped."""
    notes = {"decontamination": found.report} | ({"not_checked": sorted(missing)} if missing else {})
    rows, gone = found.report["rows"], Counter({} if mark else found.report["found"])
    return Report("decontaminate", rows, rows, rows - gone.total(), dict(gone), found.owed, notes)


def _described(table: Table, chosen: Roles, recipe: Recipe) -> dict[str, Any]:
    """What report.json says besides: no clock values, so that equal work is equal bytes."""
    asked = {key: value for key, value in asdict(table).items() if key not in ("out", "column") and value}
    settings = shaping(recipe.decontaminate) | {"seed": recipe.run.seed}
    return {"table": asked, "columns": asdict(chosen), "settings": settings}


async def _verified(
    numbered: pl.DataFrame, items: Sequence[BenchmarkItem], chosen: Roles, verified: pl.DataFrame, recipe: Recipe,
    state: Path, say: Say,
) -> Decontaminated:  # fmt: skip
    """Scan and verification, whose ledgers are in `state`; Ctrl-C keeps what is done."""
    interrupt, texts = Interrupt(say), fields_of(numbered, chosen.columns)[chosen.solution]
    placed = partial(_placed, column=chosen.solution, texts=dict(zip(numbered["id"], texts, strict=True)))
    with RunFolder(state) as folder:
        used = used_engines(recipe)
        async with opened_engines(used, say) as engines, LazySandbox(recipe.run, used.values()) as sandbox:
            with interrupt.installed():
                judge = judging(recipe, engines)
                verifier = Verifier(folder, "verify", recipe.decontaminate, sandbox, interrupt, judge)
                return await decontaminated(
                    numbered, items, verifier, seed=recipe.run.seed, programs=verified, columns=chosen.columns,
                    placed=placed,
                )  # fmt: skip


def _placed(hits: pl.DataFrame, column: str, texts: Mapping[str, str]) -> pl.DataFrame:
    """The hits, those of execution with the place of the function in the column that the program was taken from."""
    ran = hits.filter(pl.col("method") == execution.METHOD)
    rest = hits.filter(pl.col("method") != execution.METHOD)
    places = [
        texts[name].find(span, texts[name].find(f"def {span}"))
        for name, span in ran.select("source_id", "span").iter_rows()
    ]
    start = pl.Series(places, dtype=pl.Int64)
    moved = ran.with_columns(field=pl.lit(column), start=start, end=start + pl.col("span").str.len_chars())
    return pl.concat([rest, moved.select(hits.columns)])


def _write(out: Output, rows: pl.DataFrame, found: Decontaminated, mark: bool) -> None:
    """The tables; hits and dropped rows name a row by its number too."""
    dropped = found.selection.dropped
    gone = dropped["source_id"].cast(pl.Int64)
    if mark:
        numbers = pl.DataFrame({"id": pl.int_range(len(rows), eager=True)})
        column = marks(numbers, dropped)
        out.table("kept", beside_ours(rows, (column.name,)).with_columns(column))
    else:
        about = dropped.drop("text").with_columns(row=gone, source_id=_names(rows).gather(gone))
        stays = pl.Series([True]).new_from_index(0, len(rows)).scatter(gone, False)
        out.table("kept", rows.filter(stays))
        out.table("dropped", pl.concat([about, beside_ours(rows[gone], about.columns)], how="horizontal"))
    places = found.hits["source_id"].cast(pl.Int64)
    out.table("hits", found.hits.with_columns(source_id=_names(rows).gather(places), row=places))
    out.table("coverage", found.coverage)


def _names(rows: pl.DataFrame) -> pl.Series:
    """What rows are called in the results: by their `id`, else by their number."""
    plain = "id" in rows.columns and not rows.schema["id"].is_nested()
    column = rows["id"] if plain else pl.int_range(len(rows), eager=True)
    return column.cast(pl.String).rename("source_id")
