"""What a run has spent, what is left of it, and what that will take, by what was measured in this very run."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from datagen.config import DEFAULT_TARGET, BudgetConfig
from datagen.files import read_json
from datagen.progress import duration
from datagen.recipe import Recipe
from datagen.spending import Spent, spent_of
from datagen.store import DEDUP, QUESTIONS, SOLVE, Report, StageStatus, read_manifest, read_status
from datagen.tables import count_rows


@dataclass(frozen=True, slots=True)
class Rest:
    """What a stage has left to do, None where that is not known yet, and what an item of it has cost so far."""

    stage: str
    unit: str
    left: int | None
    spent: Spent

    @property
    def measured(self) -> bool:
        """Whether the run says what the rest will take."""
        return self.left == 0 or (self.left is not None and self.spent.items > 0)


def outlook(run: Path, recipe: Recipe) -> list[Rest]:
    """The rest of the stages that ask a model, as far as the run's folder tells; takes no lock, changes nothing.

    Prompts of questions are reckoned from how many questions a prompt gave, and how many of these were duplicates.
    """
    spent, stages = spent_of(read_manifest(run)), {stage.name: stage for stage in read_status(run)}
    prompts = _prompts_left(run, recipe, stages, spent.get(QUESTIONS, Spent()))
    return [
        Rest(QUESTIONS, "prompts", prompts, spent.get(QUESTIONS, Spent())),
        Rest(SOLVE, "questions", _questions_left(recipe, stages, prompts == 0), spent.get(SOLVE, Spent())),
    ]


def _prompts_left(run: Path, recipe: Recipe, stages: Mapping[str, StageStatus], spent: Spent) -> int | None:
    config, report = recipe.questions, _report(stages, DEDUP)
    want = config.count or config.target or DEFAULT_TARGET
    planned: int = sum(read_json(run / QUESTIONS / "rounds.json", []))
    owed = planned - (stages[QUESTIONS].done if QUESTIONS in stages else 0)
    unique = 1.0 if config.count or report is None else 1 - _duplicates(report) / max(1, report.inputs)
    if owed == 0 and planned and (SOLVE in stages or (report is not None and report.kept >= want)):
        return 0
    if not (spent.items and spent.kept and unique):
        return None
    per_prompt = spent.kept / spent.items * unique
    return max(owed, math.ceil((want - (planned - owed) * per_prompt) / per_prompt), 0)


def _questions_left(recipe: Recipe, stages: Mapping[str, StageStatus], all_there: bool) -> int | None:
    """The questions to solve; while some are still to be asked, those that the recipe wants."""
    config, report = recipe.questions, _report(stages, DEDUP)
    total = config.count or config.target or DEFAULT_TARGET
    if all_there and report is not None:
        total = count_rows(stages[DEDUP].path / "kept.parquet")
    done = stages[SOLVE].done if SOLVE in stages else 0
    return max(0, min(total, recipe.solve.limit or sys.maxsize) - done)


def _report(stages: Mapping[str, StageStatus], name: str) -> Report | None:
    return stages[name].report if name in stages else None


def _duplicates(report: Report) -> int:
    return sum(count for reason, count in report.dropped.items() if reason.endswith("duplicate"))


def told(run: Path, recipe: Recipe) -> Iterator[str]:
    """Lines for people: what was spent, of which budget, and what is left."""
    spent = sum(spent_of(read_manifest(run)).values(), Spent())
    if spent.items:
        yield f"spent    {_amount(spent)}{_budgets(recipe.budget)}"
    for rest in outlook(run, recipe):
        if rest.left is None:
            yield f"left     {rest.stage}: nothing was measured yet"
        elif rest.left:
            takes = f"about {_amount(rest.spent.of(rest.left))}" if rest.measured else "nothing was measured yet"
            yield f"left     {rest.stage}: {rest.left:,} {rest.unit}, {takes}"


def _amount(spent: Spent) -> str:
    cost = f", cost {spent.cost:,.2f}" if spent.cost else ""
    return f"{spent.tokens:,} tokens, {duration(spent.seconds)}{cost}"


def _budgets(budget: BudgetConfig) -> str:
    """The budgets that are set, in brackets."""
    limits = [
        f"{budget.max_tokens_total:,} tokens" if budget.max_tokens_total else "",
        f"{budget.max_hours:g} hours" if budget.max_hours else "",
        f"cost {budget.max_cost:g}" if budget.max_cost else "",
    ]
    given = ", ".join(limit for limit in limits if limit)
    return f" (budget: {given})" if given else ""
