"""Gathers from a run's folder what its data set card says and which tables are published."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from datagen import __version__
from datagen.card import BenchmarkFacts, CardFacts, StageFacts, StepFacts
from datagen.config import BudgetConfig, SolveConfig
from datagen.errors import InputError
from datagen.models import Limits, Row, Sampling
from datagen.prompts import Prompt
from datagen.recipe import Recipe
from datagen.stages.export import ExportSources, count
from datagen.store import DECONTAMINATE, SOLVE, finished_table, read_manifest, read_report, read_reports, read_status
from datagen.tables import iter_rows


def sources(run: Path) -> ExportSources:
    """The tables to publish: the rows of the last stage, every candidate, everything dropped."""
    stages = [status.path for status in read_status(run) if status.report is not None]
    return ExportSources(
        rows=finished_table(run, DECONTAMINATE),
        candidates=run / SOLVE / "candidates.parquet",
        dropped={path.name: path / "dropped.parquet" for path in stages},
    )


def card_facts(run: Path, recipe: Recipe, prompts: Mapping[str, Prompt]) -> CardFacts:
    """Everything the card says, read from the run's reports and its recipe; InputError if no row is left."""
    published = sources(run)
    counts = count(published)
    sample = next(iter_rows(published.rows, Row), None)
    if sample is None:
        raise InputError("no row is left to publish", where=str(run), hint=f"See why: datagen status --run {run}")
    return CardFacts(
        title=recipe.export.title or run.name,
        license=recipe.export.license,
        rows=counts.default,
        candidates=counts.all_candidates,
        rejected=counts.rejected,
        funnel=[StageFacts(one.stage, one.parsed, one.kept, one.dropped) for one in read_reports(run)],
        steps=[_step(step, recipe, prompt) for step, prompt in prompts.items()],
        benchmarks=list(_benchmarks(run)),
        sandbox_level=str(read_manifest(run).get("sandbox", "")),
        sandbox_limits=_limits(recipe.solve),
        seed=recipe.run.seed,
        sample=sample,
        recipe=_unpriced(recipe).to_toml(),
        command=f"datagen run recipe.toml --run runs/{run.name}",
        version=__version__,
    )


def _unpriced(recipe: Recipe) -> Recipe:
    """The recipe without what this run might spend and paid, which is nobody else's."""
    engines = {step: replace(engine, price_read=0.0, price_written=0.0) for step, engine in recipe.engines.items()}
    return replace(recipe, engines=engines, budget=BudgetConfig())


def _step(step: str, recipe: Recipe, prompt: Prompt) -> StepFacts:
    """How a step sampled: the recipe's values where set, else the prompt's, else the defaults."""
    config: Any = recipe.questions if step == "questions" else recipe.solve
    own = {"temperature": recipe.solve.tests_temperature} if step == "tests" else {} if step == "judge" else {
        key: getattr(config, key) for key in ("temperature", "top_p", "max_tokens")
    }  # fmt: skip
    chosen = (
        asdict(Sampling()) | dict(prompt.sampling) | {key: value for key, value in own.items() if value is not None}
    )
    return StepFacts(
        step=step,
        model=recipe.engines[step].model,
        revision=recipe.engines[step].revision,
        prompt=prompt.path.name,
        prompt_digest=prompt.digest,
        n=recipe.solve.n if step == "solutions" else 1,
        temperature=chosen["temperature"],
        top_p=chosen["top_p"],
        max_tokens=chosen["max_tokens"],
    )


def _benchmarks(run: Path) -> Iterator[BenchmarkFacts]:
    report = read_report(run / DECONTAMINATE)
    methods = report.notes.get("decontamination", {}).get("methods", {}) if report else {}
    for method, benchmarks in methods.items():
        for name, counts in benchmarks.items():
            yield BenchmarkFacts(name, method, counts["items"], counts["rows_hit"])


def _limits(config: SolveConfig) -> dict[str, str | int | float]:
    return asdict(Limits(cpu_seconds=config.cpu_seconds, memory_mb=config.memory_mb))
