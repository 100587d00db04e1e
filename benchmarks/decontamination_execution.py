"""What execution finds that words do not, and what it costs: rewritten solutions of real benchmarks among clean rows.

    python -m benchmarks.decontamination_execution --benchmarks DIR        some ten minutes on two cores
    python -m benchmarks.decontamination_execution --benchmarks DIR --rows 500 --planted 50          a look
    python -m benchmarks.decontamination_execution --benchmarks DIR --write docs/decontamination-execution.md

Clean rows are questions and solutions of the demo's own problem generator, all distinct tasks. Planted rows are items
of HumanEval and MBPP whose solution was rewritten: every function, parameter and local name is new, branches are
swapped, `x += 1` is `x = x + 1`, results get a name before they are returned. Only rewrites that still pass the item's
tests are planted. Their question is the item's own, the same with every third word replaced, or a clean row's (so that
nothing in words points at the item).

A clean row that passes an item's tests is judged by the generator: on 100 random inputs of the row's kind the item's
own solution is compared with the row's reference. Where all agree, it is the same function, and the row is
contaminated in meaning; else the item's tests are too weak to tell.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import platform
import resource
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import polars as pl

from datagen.benchmarks import load_benchmark
from datagen.config import DecontaminateConfig
from datagen.demo.lessons import any_task, solution
from datagen.demo.phrasing import question
from datagen.demo.problems import Task, result, usable
from datagen.extract import syntax
from datagen.extract.binding import bound
from datagen.interrupt import Interrupt
from datagen.overlap import no_hits
from datagen.sets import BenchmarkItem
from datagen.store import DECONTAMINATE, RunFolder
from datagen.verification import Verified, Verifier
from sandbox import Job, Pool, Status, Tier

NAMES = {"humaneval": "HumanEval", "mbpp_original": "MBPP"}
WORDINGS = ("verbatim", "every third word replaced", "another task's")
INPUTS = 100
TOLD = 25
PAGE = """# Execution as a detector, measured

Written by `python -m benchmarks.decontamination_execution --benchmarks DIR --write docs/decontamination-execution.md`;
how it measures is said at the top of `benchmarks/decontamination_execution.py`. Shares carry over to other machines,
seconds do not.

{where}

{tables}
"""


# -- rows ------------------------------------------------------------------------------------------------------------


class Rewrite(ast.NodeTransformer):
    """Another text of the same program: new names, branches swapped, `x += 1` written out, results named."""

    def __init__(self, names: dict[str, str]) -> None:
        self._names = names

    def visit_Name(self, node: ast.Name) -> ast.Name:
        return ast.Name(self._names.get(node.id, node.id), node.ctx)

    def visit_arg(self, node: ast.arg) -> ast.arg:
        return ast.arg(self._names.get(node.arg, node.arg))

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        self.generic_visit(node)
        node.name = self._names.get(node.name, node.name)
        node.returns = None
        documented = ast.get_docstring(node, clean=False) is not None and len(node.body) > 1
        node.body = node.body[1:] if documented else node.body
        return node

    def visit_If(self, node: ast.If) -> ast.If:
        self.generic_visit(node)
        return ast.If(ast.UnaryOp(ast.Not(), node.test), node.orelse, node.body) if node.orelse else node

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.stmt:
        self.generic_visit(node)
        if not isinstance(node.target, ast.Name):
            return node
        read = ast.Name(node.target.id, ast.Load())
        return ast.Assign([node.target], ast.BinOp(read, node.op, node.value))

    def visit_Return(self, node: ast.Return) -> list[ast.stmt]:
        self.generic_visit(node)
        if node.value is None:
            return [node]
        return [ast.Assign([ast.Name("outcome", ast.Store())], node.value), ast.Return(ast.Name("outcome", ast.Load()))]


def rewritten(item: BenchmarkItem, rng: Random) -> str:
    """The item's solution in another text, "" where it cannot be read."""
    tree = syntax.parse(item.solution)
    if tree is None:
        return ""
    own = {name for node in tree.body if syntax.is_definition(node) for name in _local(node)}
    words = rng.sample(_FILLERS, len(_FILLERS))
    names = {name: f"{words[n % len(words)]}_{n}" for n, name in enumerate(sorted(own))}
    changed = Rewrite(names).visit(syntax.fresh(item.solution))
    return ast.unparse(ast.fix_missing_locations(changed)) + "\n"


def _local(node: ast.stmt) -> set[str]:
    """A definition's name, its parameters and what it assigns."""
    arguments = {a.arg for inner in ast.walk(node) if isinstance(inner, ast.arguments) for a in syntax.arguments(inner)}
    imported = {
        n for inner in ast.walk(node) if isinstance(inner, ast.Import | ast.ImportFrom) for n in syntax.binds(inner)
    }
    attributes = isinstance(node, ast.ClassDef)  # methods are called by name from outside
    return (set() if attributes else syntax.stores(node) | arguments) - imported - syntax.BUILTINS


_FILLERS = (
    "amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heron", "inlet", "jetty", "knoll", "larch", "maple",
    "north", "olive", "pearl", "quartz",
)  # fmt: skip


def worded(item: BenchmarkItem, wording: str, rng: Random) -> str:
    """The question of a planted row."""
    if wording == WORDINGS[0]:
        return item.question
    if wording == WORDINGS[1]:
        words = item.question.split()
        return " ".join(rng.choice(_FILLERS) if place % 3 == 2 else word for place, word in enumerate(words))
    return question(any_task(rng), rng)


@dataclass(frozen=True, slots=True)
class Corpus:
    """Clean rows (with their tasks by id) and planted ones (id -> benchmark, item, wording)."""

    rows: pl.DataFrame
    tasks: dict[str, Task]
    planted: dict[str, tuple[str, str, str]]


async def corpus(items: Sequence[BenchmarkItem], clean: int, planted: int, seed: int, pool: Pool) -> Corpus:
    """`clean` distinct tasks of the generator and, for each wording, up to `planted` rewritten items a benchmark."""
    rng = Random(seed)
    tasks = _distinct(clean, rng)
    lines = []
    for name, task in tasks.items():
        text = question(task, rng)
        lines.append((name, text, solution(task, text, rng)))
    chosen: dict[str, tuple[str, str, str]] = {}
    for item, program in await _planted(items, planted, rng, pool):
        for wording in WORDINGS:
            name = f"planted-{len(chosen)}"
            chosen[name] = (item.benchmark, item.item, wording)
            lines.append((name, worded(item, wording, rng), program))
    rng.shuffle(lines)
    return Corpus(pl.DataFrame(lines, schema=["id", "question", "solution"], orient="row"), tasks, chosen)


def _distinct(count: int, rng: Random) -> dict[str, Task]:
    found: dict[str, Task] = {}
    tries = 0
    while len(found) < count and tries < 50 * count:
        task = any_task(rng)
        found.setdefault(f"clean-{task.key}", task)
        tries += 1
    return found


async def _planted(
    items: Sequence[BenchmarkItem], count: int, rng: Random, pool: Pool
) -> list[tuple[BenchmarkItem, str]]:
    """Up to `count` items of each benchmark whose rewritten solution passes their tests."""
    found: list[tuple[BenchmarkItem, str]] = []
    for benchmark in dict.fromkeys(item.benchmark for item in items):
        own = [item for item in items if item.benchmark == benchmark]
        programs = [(item, rewritten(item, rng)) for item in rng.sample(own, min(2 * count, len(own)))]
        jobs = [pool.run(_original(item, program)) for item, program in programs]
        verdicts = await asyncio.gather(*jobs)
        found += [pair for pair, verdict in zip(programs, verdicts, strict=True) if verdict.status is Status.PASS][
            :count
        ]
    return found


def _original(item: BenchmarkItem, program: str) -> Job:
    """The rewritten program against the item's tests, by the place of its entry point among the definitions."""
    before, after = (syntax.parse(text) for text in (item.solution, program))
    names = [getattr(node, "name", "") for node in before.body] if before else []
    place = max((n for n, name in enumerate(names) if name == item.entry_point), default=0)
    entry = getattr(after.body[place], "name", "") if after else ""
    return Job(program, tuple(bound(test, item.entry_point, entry or item.entry_point) for test in item.tests))


# -- measuring -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Measured:
    """What one way to choose pairs found, and the CPU seconds of all processes: to check the items, to run the rows."""

    execution: str
    verified: Verified
    items_seconds: float
    cpu_seconds: float


async def measured(found: Corpus, items: Sequence[BenchmarkItem], execution: str, workers: int) -> Measured:
    """Execution in a fresh folder: first of no rows, which checks the items, then of all."""
    config = DecontaminateConfig(execution=execution)
    with tempfile.TemporaryDirectory() as folder, RunFolder(Path(folder)) as run:
        costs = []
        for rows in (found.rows.clear(), found.rows):
            before = _cpu()
            async with Pool(workers=workers) as pool:
                verifier = Verifier(run, DECONTAMINATE, config, pool, Interrupt())
                verified = await verifier.verify(rows, items, no_hits(), set())
            costs.append(_cpu() - before)
    return Measured(execution, verified, *costs)


def _cpu() -> float:
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


@dataclass(frozen=True, slots=True)
class Alarm:
    """A clean row that passes an item's tests: on how many of INPUTS random inputs both functions agree."""

    row: str
    task: str
    item: BenchmarkItem
    agreed: int


async def alarms(found: Corpus, items: Sequence[BenchmarkItem], hits: pl.DataFrame, pool: Pool) -> list[Alarm]:
    """Every clean row among the hits, judged."""
    of_key = {(item.benchmark, item.item): item for item in items}
    rng = Random(1)
    lines = (
        hits.filter(pl.col("source_id").str.starts_with("clean-")).select("source_id", "benchmark", "item").iter_rows()
    )
    return [
        await _alarm(name, found.tasks[name], of_key[benchmark, item], rng, pool) for name, benchmark, item in lines
    ]


async def _alarm(row: str, task: Task, item: BenchmarkItem, rng: Random, pool: Pool) -> Alarm:
    inputs = [usable(task, rng) for _ in range(INPUTS)]
    tests = tuple(f"assert {item.entry_point}({value!r}) == {result(task, value)!r}" for value in inputs)
    verdict = await pool.run(Job(item.solution, tests, tier=Tier.SCREEN))
    return Alarm(row, task.name, item, sum(one.status is Status.PASS for one in verdict.tests))


# -- telling ---------------------------------------------------------------------------------------------------------


def tables(found: Corpus, runs: Sequence[Measured], judged: Sequence[Alarm]) -> str:
    """All that was measured, in Markdown."""
    parts = [_coverage(runs[0]), *_catches(found, runs), _costs(found, runs), _judged(found, runs, judged)]
    return "\n\n".join(parts)


def _coverage(run: Measured) -> str:
    counts = run.verified.methods["execution"]
    lines = [
        f"| {NAMES.get(name, name)} | {c['items'] + c['not_checkable']} | {c['items']} | "
        f"{_problems(c['not_checkable_items'])} |"
        for name, c in counts.items()
    ]
    return "\n".join(
        ["## Items", "", "| benchmark | with tests | can be checked | why not |", "|---|---|---|---|", *lines]
    )


_KINDS = {
    "passes every test": "a stub passes",
    "nearly always": "nearly always the same result",
    "does not pass": "its own solution fails",
}


def _problems(problems: dict[str, str]) -> str:
    kinds = Counter(next(kind for sign, kind in _KINDS.items() if sign in text) for text in problems.values())
    return ", ".join(f"{kind} {count}" for kind, count in kinds.most_common()) or "-"


def _catches(found: Corpus, runs: Sequence[Measured]) -> Iterator[str]:
    yield "## Rewritten solutions found\n\nOf the items that can be checked; the item itself has to be named."
    head = "| benchmark | question | planted | " + " | ".join(_label(run) for run in runs) + " |"
    lines = [head, "|---|---|---|" + "---|" * len(runs)]
    for benchmark in dict.fromkeys(name for name, _, _ in found.planted.values()):
        for wording in WORDINGS:
            ids = _checkable(found, runs[0], benchmark, wording)
            shares = (f"{sum(one in _named(run, found) for one in ids) / max(len(ids), 1):.0%}" for run in runs)
            lines.append(f"| {NAMES.get(benchmark, benchmark)} | {wording} | {len(ids)} | {' | '.join(shares)} |")
    yield "\n".join(lines)


def _label(run: Measured) -> str:
    return run.execution


def _checkable(found: Corpus, run: Measured, benchmark: str, wording: str) -> list[str]:
    out = run.verified.methods["execution"][benchmark]["not_checkable_items"]
    return [one for one, (b, item, w) in found.planted.items() if (b, w) == (benchmark, wording) and item not in out]


def _named(run: Measured, found: Corpus) -> set[str]:
    """The planted rows that were found to be their own item."""
    hits = run.verified.hits.select("source_id", "benchmark", "item").iter_rows()
    return {one for one, benchmark, item in hits if found.planted.get(one, ("", "", ""))[:2] == (benchmark, item)}


def _costs(found: Corpus, runs: Sequence[Measured]) -> str:
    head = ["| pairs | rows run | pairs run | unanswered | CPU s | CPU ms a row |", "|---|---|---|---|---|---|"]
    lines = []
    for run in runs:
        effort = run.verified.effort["execution"]
        counts = " | ".join(f"{effort[name]:,}" for name in ("rows", "pairs", "unanswered"))
        each = 1e3 * run.cpu_seconds / found.rows.height
        lines.append(f"| {run.execution} | {counts} | {run.cpu_seconds:.0f} | {each:.1f} |")
    first = f"Checking the items, once for all runs in a folder: {runs[0].items_seconds:.0f} CPU s."
    return "\n".join([f"## Cost, {found.rows.height:,} rows", "", *head, *lines, "", first])


def _judged(found: Corpus, runs: Sequence[Measured], judged: Sequence[Alarm]) -> str:
    total = len(found.tasks)
    head = ["| pairs | clean rows that pass | the same function | another: false alarms |", "|---|---|---|---|"]
    lines = []
    for run in runs:
        pairs = set(run.verified.hits.select("source_id", "benchmark", "item").iter_rows())
        own = [a for a in judged if (a.row, a.item.benchmark, a.item.item) in pairs]
        rows = {alarm.row for alarm in own}
        false = rows - {alarm.row for alarm in own if alarm.agreed == INPUTS}
        shares = (f"{len(some):,} ({len(some) / total:.2%})" for some in (rows, rows - false, false))
        lines.append(f"| {run.execution} | {' | '.join(shares)} |")
    told = [
        f"| `{alarm.task}` | {NAMES.get(alarm.item.benchmark, alarm.item.benchmark)} {alarm.item.item} | "
        f"{' '.join(alarm.item.question.split())[-90:].replace('|', ' ')} | {alarm.agreed} |"
        for alarm in sorted(judged, key=lambda one: (one.agreed, one.task))[:TOLD]
    ]
    table = ["| the row's task | item | the item's question (its end) | inputs that agree |", "|---|---|---|---|"]
    text = (
        f"## Clean rows that pass an item's tests, of {total:,}\n\nThe same function: all {INPUTS} random inputs "
        "agree. Functions of words and of numbers may be the same function and agree on nothing here."
    )
    after = f"\nThe {len(told)} pairs with the least agreement:\n"
    return "\n".join([text, "", *head, *lines, after, *table, *told])


async def work(options: argparse.Namespace) -> str:
    """The tables."""
    items = [item for name in NAMES for item in load_benchmark(str(options.benchmarks / name))]
    async with Pool(workers=options.workers) as pool:
        found = await corpus(items, options.rows, options.planted, options.seed, pool)
    runs = [await measured(found, items, execution, options.workers) for execution in ("triggered", "exhaustive")]
    async with Pool(workers=options.workers) as pool:
        judged = await alarms(found, items, runs[-1].verified.hits, pool)
    return tables(found, runs, judged)


def main(argv: Iterable[str] | None = None) -> None:
    """Measures and prints, or writes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--benchmarks", type=Path, required=True, help="folder with humaneval/ and mbpp_original/")
    parser.add_argument("--rows", type=int, default=5000, help="clean rows")
    parser.add_argument("--planted", type=int, default=150, help="items planted of each benchmark")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--write", type=Path, default=None, help="the page to write")
    options = parser.parse_args(None if argv is None else list(argv))
    measured_tables = asyncio.run(work(options))
    if options.write is None:
        print(measured_tables)
        return
    where = f"{platform.machine()}, Python {platform.python_version()}, {options.workers} workers, seed {options.seed}."
    options.write.write_text(PAGE.format(where=where, tables=measured_tables), encoding="utf-8")
    print(f"wrote {options.write}", file=sys.stderr)


if __name__ == "__main__":
    main()
