"""What a run spends - tokens, time, money - and whether the next item still fits its budget.

Counted when an item is finished, kept under "spent" in run.json, so that a run that goes on remembers what it spent
before. Written every few seconds: a killed process forgets what it spent since.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from datagen.config import BudgetConfig, EngineConfig
from datagen.errors import BudgetReached, UsageError
from datagen.models import Outcome
from datagen.store import SOLVE

UNMEASURED = 4
"""Items in flight under a budget of tokens or money until one is finished: before that, nobody knows what they cost."""

_SAVE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Spent:
    """What the finished items of a stage cost, in all sessions of the run together.

    `kept` is what they turned into; `seconds` those of the sessions, of which `waiting` passed before the first item
    was finished (models load); `cost` is in the unit of the recipe's prices.
    """

    items: int = 0
    kept: int = 0
    seconds: float = 0.0
    waiting: float = 0.0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @property
    def tokens(self) -> int:
        """All tokens, read and written."""
        return self.prompt_tokens + self.completion_tokens

    def of(self, items: int) -> Spent:
        """What so many items cost at the same rate, with nothing to wait for; nothing if none was measured."""
        share, seconds = items / max(1, self.items), self.seconds - self.waiting
        return Spent(
            items, round(self.kept * share), seconds * share, 0.0, round(self.prompt_tokens * share),
            round(self.completion_tokens * share), self.cost * share,
        )  # fmt: skip


def spent_of(manifest: Mapping[str, Any]) -> dict[str, Spent]:
    """What each stage of a run has spent, from its run.json."""
    return {stage: Spent(**figures) for stage, figures in manifest.get("spent", {}).items()}


def check_budget(budget: BudgetConfig, engines: Mapping[str, EngineConfig]) -> None:
    """UsageError for a budget of money where no price is known."""
    if budget.max_cost and not any(config.price_read or config.price_written for config in engines.values()):
        hint = "Add price_read and price_written (per million tokens) to the recipe's [engine]"
        raise UsageError("--max-cost needs prices", hint=hint)


class Meter:
    """Counts what one stage spends, and says whether one more item fits.

    `before` is what the run spent so far, by stage; `save` is handed this stage's figures to keep; the clock gives
    seconds. An item fits if it and those in flight, at the stage's mean, leave all budgets unspent; the hours only have
    to last until it begins.
    """

    def __init__(
        self, stage: str, budget: BudgetConfig, engines: Mapping[str, EngineConfig], *, before: Mapping[str, Spent],
        save: Callable[[dict[str, Any]], None], clock: Callable[[], float],
    ) -> None:  # fmt: skip
        check_budget(budget, engines)
        self._stage = stage
        self._budget, self._engines, self._save, self._clock = budget, engines, save, clock
        self._counted = before.get(stage, Spent())
        self._others = sum((spent for name, spent in before.items() if name != stage), Spent())
        self._start = self._saved = clock()
        self._first: float | None = None

    @property
    def spent(self) -> Spent:
        """What the stage has spent, up to now."""
        now = self._clock()
        waited = (now if self._first is None else self._first) - self._start
        return self._counted + Spent(seconds=now - self._start, waiting=waited)

    def add(self, outcome: Outcome[Any]) -> None:
        """Counts a finished item."""
        if self._first is None:
            self._first = self._clock()
        usage = outcome.usage
        self._counted += Spent(
            items=int(outcome.final), kept=len(outcome.kept), prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens, cost=self._cost(outcome),
        )  # fmt: skip
        if self._clock() - self._saved >= _SAVE_SECONDS:
            self.save()

    def save(self) -> None:
        """Hands on what the stage has spent."""
        self._saved = self._clock()
        self._save({name: round(value, 6) for name, value in asdict(self.spent).items()})

    def fits(self, in_flight: int) -> bool:
        """Whether another item may begin beside so many."""
        return not any(self._over(in_flight))

    def reached(self, where: Path, done: int, left: int) -> BudgetReached:
        """The error that says which budget ended the stage, and what would do for the rest of it."""
        flag, limit, spent = next(self._over(0))
        total = self._others + self.spent
        what = (
            f"the budget is spent ({flag} {limit:,g}: {total.tokens:,} tokens, {total.seconds / 3600:.2f} hours"
            + (f", cost {total.cost:,.2f}" if total.cost else "")
            + f"): {done:,} items done, {left:,} to go"
        )
        more = _figure(flag, self.spent.of(left)) if self._counted.items else limit
        enough = _rounded_up(max(spent + 1.1 * more, 1.1 * limit))
        hint = f"--limit {done} ends the stage with what there is" if self._stage == SOLVE and done else ""
        return BudgetReached(what, where=str(where), hint=hint, flag=flag, enough=enough)

    def _over(self, in_flight: int) -> Iterator[tuple[str, float, float]]:
        """The budgets that an item beside so many others would overspend: flag, limit, spent so far."""
        total, mean = self._others + self.spent, self.spent.of(in_flight + 1)
        hours = total.seconds / 3600
        if self._budget.max_hours and hours >= self._budget.max_hours:
            yield "--max-hours", self._budget.max_hours, hours
        limits = {"--max-tokens-total": self._budget.max_tokens_total, "--max-cost": self._budget.max_cost}
        for flag, limit in limits.items():
            spent = _figure(flag, total)
            unknown = not self._counted.items
            if limit and (
                spent + _figure(flag, mean) > limit or (unknown and (in_flight >= UNMEASURED or spent >= limit))
            ):
                yield flag, limit, spent

    def _cost(self, outcome: Outcome[Any]) -> float:
        """What the item's calls cost, each at the price of the model that answered it."""
        total = 0.0
        for call in outcome.attempts.calls:
            engine = self._engines.get(call.step.partition("-")[0])
            if engine is not None:
                read, written = call.completion.prompt_tokens, call.completion.completion_tokens
                total += (read * engine.price_read + written * engine.price_written) / 1e6
        return total


def _figure(flag: str, spent: Spent) -> float:
    """What a budget is about."""
    return {"--max-tokens-total": spent.tokens, "--max-cost": spent.cost, "--max-hours": spent.seconds / 3600}[flag]


def _rounded_up(value: float) -> float:
    """The next number with two digits: 1234 gives 1300."""
    if value <= 0:
        return 1.0
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    return round(math.ceil(value / step - 1e-9) * step, 10)
