"""Verifies what no scan of words can see: which rows' solutions pass a benchmark's tests, and which rows a model calls
the same task. Each answer is in a ledger the moment it is there: a run that is killed goes on where it stopped.

    4-decontaminate/checkable/   per benchmark item   can its tests tell?            (stages/execution.check)
    4-decontaminate/execution/   per row              what does its solution pass?   (stages/execution.execute)
    4-decontaminate/judge/       per row and item     the same task?                 (stages/judge)

A ledger's items are named by their content: rows and benchmarks may change, and only what is new is run or asked.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

import polars as pl

from datagen.benchmarks import load_benchmark, load_hub, no_download
from datagen.config import DecontaminateConfig, EngineConfig, shaping
from datagen.errors import InputError
from datagen.interrupt import Interrupt
from datagen.models import Engine, Outcome, Sandbox
from datagen.neighbours import nearest
from datagen.overlap import ACTING, HITS, UNRESOLVED, Scanned, acting, no_hits
from datagen.pipeline import drive
from datagen.progress import Progress
from datagen.prompts import Prompt, load_prompt, prompt_folders
from datagen.recipe import Recipe
from datagen.sets import BenchmarkItem, Selection
from datagen.stages import decontaminate, execution, judge
from datagen.stages.execution import Checked, Target, Trial, Tried
from datagen.stages.judge import Doubt, Judged
from datagen.store import RunFolder, StageFolder

JUDGE = "judge"
"""The judge's step in a recipe's engines, and its prompt."""

CONCURRENCY = 64
"""Rows in flight while programs run: the sandbox queues what its workers cannot take."""

Kept = TypeVar("Kept")


@dataclass(frozen=True, slots=True)
class Judging:
    """Who judges and how: `settings` are what shapes an answer, `concurrency` the doubts in flight."""

    engine: Engine
    prompt: Prompt
    seed: int
    settings: Mapping[str, Any]
    concurrency: int


def judge_prompt(recipe: Recipe) -> Prompt:
    """The prompt of the judge; PromptError if it cannot be used."""
    return load_prompt(JUDGE, prompt_folders(recipe.run.prompts), judge.VARIABLES)


def judging(recipe: Recipe, engines: Mapping[str, Engine]) -> Judging | None:
    """The judge of a recipe, None where it is off."""
    if not recipe.decontaminate.judge:
        return None
    engine, prompt = recipe.engines[JUDGE], judge_prompt(recipe)
    return Judging(engines[JUDGE], prompt, recipe.run.seed, judge_settings(recipe, prompt), engine.in_flight)


def judge_settings(recipe: Recipe, prompt: Prompt) -> dict[str, Any]:
    """What shapes an answer of the judge: its engine's settings, the seed, the prompt's digest."""
    engine = {f"judge_{key}": value for key, value in shaping(recipe.engines[JUDGE]).items()}
    return engine | {"seed": recipe.run.seed, "judge_prompt": prompt.digest}


def used_engines(recipe: Recipe) -> dict[str, EngineConfig]:
    """The engines of the steps that this recipe takes: no judge where it is off."""
    return {step: config for step, config in recipe.engines.items() if step != JUDGE or recipe.decontaminate.judge}


def load_items(config: DecontaminateConfig) -> tuple[list[BenchmarkItem], dict[str, str]]:
    """The items of every benchmark, and why those are missing that may be: names ending in "?" are not fetched."""
    items: list[BenchmarkItem] = []
    missing: dict[str, str] = {}
    for name in config.against:
        optional, plain = name.endswith("?"), name.removesuffix("?")
        try:
            items += load_benchmark(plain, field=config.field, load=no_download if optional else load_hub)
        except InputError as error:
            if not optional:
                raise
            missing[plain] = str(error)
    return items, missing


@dataclass(frozen=True, slots=True)
class Decontaminated:
    """What became of a set: what it is split into, every hit, of whatever method, each item's coverage, how many doubts
    are owed, and the report (plain JSON data; `found` counts by reason the rows that hits drop).
    """

    selection: Selection
    hits: pl.DataFrame
    coverage: pl.DataFrame
    report: dict[str, Any]
    owed: int


async def decontaminated(
    rows: pl.DataFrame, items: Sequence[BenchmarkItem], verifier: Verifier, *, seed: int,
    programs: pl.DataFrame | None = None, columns: Sequence[str] = (),
    placed: Callable[[pl.DataFrame], pl.DataFrame] = lambda hits: hits,
) -> Decontaminated:  # fmt: skip
    """Scans the rows, then verifies them. `columns` are scanned (default: question, solution, tests); `programs` has
    what is verified of each row (id, question, solution, perhaps entry_point; default: the rows themselves); `placed`
    says where hits in those lie in the rows.
    """
    config = verifier.config
    scanned = decontaminate.scan(rows, items, config, seed=seed, columns=columns)
    acts = scanned.hits.filter(pl.col("method").is_in([acting(config), *ACTING]))
    verified = await verifier.verify(
        rows if programs is None else programs, items, scanned.hits, set(acts["source_id"].to_list())
    )
    hits = pl.concat([scanned.hits, placed(verified.hits)])
    coverage = _with_execution(scanned.coverage, verified.checkable)
    report = decontaminate.report(rows, items, Scanned(hits, coverage), config, seed)
    methods = {name: counts for name, counts in report["methods"].items() if name != UNRESOLVED} | verified.methods
    selection = decontaminate.apply(rows, hits, config)
    told = report | {"methods": methods, "found": dict(Counter(selection.dropped["reason"]))} | verified.effort
    return Decontaminated(selection, hits, coverage, told, verified.owed)


def marks(rows: pl.DataFrame, dropped: pl.DataFrame) -> pl.Series:
    """The column contamination: for each row, in order, why and for what its hits drop it; null for a clean row."""
    told = dropped.select("source_id", contamination=pl.format("{}: {}", "reason", "detail"))
    ids = pl.DataFrame({"source_id": rows["id"].cast(pl.String)})
    return ids.join(told, on="source_id", how="left", maintain_order="left")["contamination"]


def _with_execution(coverage: pl.DataFrame, checkable: Set[tuple[str, str]]) -> pl.DataFrame:
    """The coverage, with what execution can truly check."""
    pairs = coverage.select("benchmark", "item").iter_rows()
    return coverage.with_columns(execution=pl.Series([pair in checkable for pair in pairs], dtype=pl.Boolean))


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found: `hits` of the methods execution, judge and unresolved, and for the report `methods` (method ->
    benchmark -> counts) and `effort`, plain JSON data. `checkable`: the (benchmark, item) that execution can check.
    `owed`: doubts whose request failed.
    """

    hits: pl.DataFrame = field(default_factory=no_hits)
    methods: dict[str, Any] = field(default_factory=dict)
    effort: dict[str, Any] = field(default_factory=dict)
    checkable: frozenset[tuple[str, str]] = frozenset()
    owed: int = 0


@dataclass(frozen=True, slots=True)
class Verifier:
    """A run's folder, the stage whose ledgers these are, and the collaborators."""

    folder: RunFolder
    stage: str
    config: DecontaminateConfig
    sandbox: Sandbox
    interrupt: Interrupt
    judging: Judging | None = None

    async def verify(
        self, rows: pl.DataFrame, items: Sequence[BenchmarkItem], overlaps: pl.DataFrame, settled: Set[str]
    ) -> Verified:
        """Execution and judge, where they are on. `rows` has id, question, solution and perhaps entry_point; `overlaps`
        are the hits of the scan, which trigger execution; rows in `settled` go anyway and are not asked about.
        """
        ran = await self._execution(rows, items, overlaps) if self.config.execution != "off" else Verified()
        if self.judging is None:
            return ran
        asked = await self._judge(rows, items, settled | set(ran.hits["source_id"]), self.judging)
        hits = pl.concat([ran.hits, asked.hits])
        return Verified(hits, ran.methods | asked.methods, ran.effort | asked.effort, ran.checkable, asked.owed)

    async def _execution(self, rows: pl.DataFrame, items: Sequence[BenchmarkItem], overlaps: pl.DataFrame) -> Verified:
        known = {target.id: target for target in execution.targets(items)}
        if not known:
            return Verified()
        checked = await self._checked(known)
        usable = [replace(t, inputs=checked[name].inputs) for name, t in known.items() if not checked[name].problem]
        tried = await self._tried(self._trials(rows, usable, overlaps))
        hits = _passes(tried, rows)
        counted = {name: _executed(name, items, checked.values(), hits) for name in _benchmarks(items)}
        checkable = frozenset((target.benchmark, target.item) for target in usable)
        return Verified(hits, {execution.METHOD: counted}, {execution.METHOD: _effort(tried)}, checkable)

    async def _checked(self, known: Mapping[str, Target]) -> dict[str, Checked]:
        """Whether each item can be checked, by the item's id."""
        stage = self._folder("checkable", {"cpu_seconds": self.config.cpu_seconds})
        work = partial(execution.check, sandbox=self.sandbox, config=self.config)
        await self._drive(stage, known.values(), work, len(known))
        return {outcome.source_id: outcome.kept[0] for outcome in _outcomes(stage, Checked, known)}

    def _trials(self, rows: pl.DataFrame, usable: Sequence[Target], overlaps: pl.DataFrame) -> Iterator[Trial]:
        exhaustive = self.config.execution == "exhaustive"
        questions = [target.question for target in usable]
        near = (
            None if exhaustive else nearest(rows["question"], questions, self.config.near, model=self.config.neighbours)
        )
        keys = overlaps.select("source_id", "benchmark", "item").unique().iter_rows()
        return execution.plan(rows, usable, near, keys, exhaustive=exhaustive)

    async def _tried(self, trials: Iterator[Trial]) -> list[Tried]:
        stage = self._folder("execution", {"cpu_seconds": self.config.cpu_seconds})
        work = partial(execution.execute, sandbox=self.sandbox, config=self.config)
        ids: set[str] = set()

        def noted() -> Iterator[Trial]:
            for trial in trials:
                ids.add(trial.id)
                yield trial

        await self._drive(stage, noted(), work, None)
        return [outcome.kept[0] for outcome in _outcomes(stage, Tried, ids)]

    async def _judge(
        self, rows: pl.DataFrame, items: Sequence[BenchmarkItem], skip: Set[str], judging: Judging
    ) -> Verified:
        questions, model = [item.question for item in items], self.config.neighbours
        near = nearest(rows["question"], questions, self.config.judge_near, model=model)
        doubts = judge.doubts(rows, items, near, least=self.config.judge_similarity, skip=skip)
        asked = {doubt.id: doubt for doubt in doubts}
        stage = self._folder("judge", judging.settings)
        work = partial(judge.judge, engine=judging.engine, prompt=judging.prompt, seed=judging.seed)
        await self._drive(stage, asked.values(), work, len(asked), judging.concurrency)
        found = list(_outcomes(stage, Judged, asked))
        judged = [_judged(asked[outcome.source_id], outcome) for outcome in found]
        hits = _answers(judged, rows)
        counted = {name: _asked(name, items, judged, hits) for name in _benchmarks(items)}
        effort = {"asked": len(judged), "neighbours": model or "tf-idf", **Counter(one.answer for one in judged)}
        owed = sum(not outcome.final for outcome in found)
        return Verified(hits, {judge.METHOD: counted}, {judge.METHOD: effort}, owed=owed)

    def _folder(self, name: str, settings: Mapping[str, Any]) -> StageFolder:
        return self.folder.stage(f"{self.stage}/{name}", settings)

    async def _drive(
        self, stage: StageFolder, items: Iterable[Any], work: Callable[[Any], Awaitable[Outcome[Any]]],
        total: int | None, concurrency: int = CONCURRENCY,
    ) -> None:  # fmt: skip
        progress = Progress(f"{self.stage}/{stage.name}", stream=sys.stderr, clock=time.monotonic, total=total)
        await drive(
            items, work, stage, item_id=lambda item: item.id, concurrency=concurrency, progress=progress,
            interrupt=self.interrupt,
        )  # fmt: skip


def _outcomes(stage: StageFolder, kept: type[Kept], ids: Collection[str]) -> Iterator[Outcome[Kept]]:
    """The outcomes of these ids; the ledger may hold those of other rows and benchmarks."""
    return (outcome for outcome in stage.ledger.outcomes(kept) if outcome.source_id in ids)


def _benchmarks(items: Sequence[BenchmarkItem]) -> list[str]:
    return list(dict.fromkeys(item.benchmark for item in items))


def _in_order(lines: Iterable[tuple[Any, ...]], rows: pl.DataFrame) -> pl.DataFrame:
    """Hits in the order of their rows; those of one row by benchmark and item."""
    frame = pl.DataFrame(list(lines), schema=HITS, orient="row")
    places = rows.select(source_id=pl.col("id").cast(pl.String)).with_row_index("row")
    ordered = frame.join(places, on="source_id", how="left").sort("row", "method", "benchmark", "item")
    return ordered.select(*HITS)


# -- what execution found --------------------------------------------------------------------------------------------


def _passes(tried: Iterable[Tried], rows: pl.DataFrame) -> pl.DataFrame:
    lines = (
        (
            one.source_id,
            execution.METHOD,
            p.benchmark,
            p.item,
            "solution",
            p.start,
            p.start + len(p.function),
            p.function,
            1.0,
        )
        for one in tried
        for p in one.passed
    )
    return _in_order(lines, rows)


def _executed(
    benchmark: str, items: Sequence[BenchmarkItem], checked: Iterable[Checked], hits: pl.DataFrame
) -> dict[str, Any]:
    """One benchmark's line: the items whose tests can tell, the others (and why), and hits."""
    own = [one for one in checked if one.benchmark == benchmark]
    problems = {one.item: one.problem for one in own if one.problem}
    of_this = hits.filter(pl.col("benchmark") == benchmark)
    return {
        "items": len(own) - len(problems),
        "without_tests": sum(item.benchmark == benchmark for item in items) - len(own),
        "not_checkable": len(problems),
        "not_checkable_items": dict(sorted(problems.items())),
        "rows_hit": of_this["source_id"].n_unique(),
        "items_hit": of_this["item"].n_unique(),
    }


def _effort(tried: Sequence[Tried]) -> dict[str, Any]:
    """What was run: rows, pairs of row and item, how many gave no answer, and by which trigger passes were found."""
    triggers = Counter(found.trigger for one in tried for found in one.passed)
    return {
        "rows": len(tried),
        "pairs": sum(one.tried for one in tried),
        "unanswered": sum(len(one.unanswered) for one in tried),
        "passed": {trigger: triggers[trigger] for trigger in execution.TRIGGERS if triggers[trigger]},
    }


# -- what the judge said ---------------------------------------------------------------------------------------------


def _judged(doubt: Doubt, outcome: Outcome[Judged]) -> Judged:
    """What the model said; a doubt whose request failed is unresolved until it is asked again."""
    if outcome.final:
        return outcome.kept[0]
    item, said = doubt.item, tuple(drop.detail for drop in outcome.drops)
    return Judged(doubt.source_id, item.benchmark, item.item, doubt.similarity, judge.UNRESOLVED, said)


def _answers(judged: Iterable[Judged], rows: pl.DataFrame) -> pl.DataFrame:
    """A hit of method judge for each yes, of method unresolved for each doubt without a clear answer; what the model
    said is its span.
    """
    methods = {"yes": judge.METHOD, judge.UNRESOLVED: UNRESOLVED}
    lines = (
        (one.source_id, methods[one.answer], one.benchmark, one.item, "", None, None, _said(one), one.similarity)
        for one in judged
        if one.answer in methods
    )
    return _in_order(lines, rows)


def _said(judged: Judged) -> str:
    """Both answers as they came, that of the other order second; or why there are none."""
    return " | ".join(text or "(nothing)" for text in judged.said)


def _asked(
    benchmark: str, items: Sequence[BenchmarkItem], judged: Sequence[Judged], hits: pl.DataFrame
) -> dict[str, Any]:
    """One benchmark's line: its items (all can be asked about), what was asked and answered, and hits."""
    answers = Counter(one.answer for one in judged if one.benchmark == benchmark)
    of_this = hits.filter((pl.col("benchmark") == benchmark) & (pl.col("method") == judge.METHOD))
    return {
        "items": sum(item.benchmark == benchmark for item in items),
        "asked": answers.total(),
        "unresolved": answers[judge.UNRESOLVED],
        "rows_hit": of_this["source_id"].n_unique(),
        "items_hit": of_this["item"].n_unique(),
    }
