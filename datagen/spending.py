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

UNMEASURED = 4
"""Items in flight under a budget of tokens or money until the first is finished: only then is known what they read."""

CAUTION = 3.0
"""Standard deviations by which the items in flight may be dearer than they are reckoned."""

_SAVE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Spent:
    """What the finished items of a stage cost, in all sessions of the run together.

    `kept` is what they turned into; `seconds` those of the sessions, of which `waiting` passed before the first item
    was finished (models load); `cost` is in the unit of the recipe's prices. The squares are of each item, then
    summed: they tell how much items differ.
    """

    items: int = 0
    kept: int = 0
    seconds: float = 0.0
    waiting: float = 0.0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    squared_tokens: float = 0.0
    squared_cost: float = 0.0

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


class _InOrder:
    """What items cost in the order in which they began; settled are all before the first that is still in flight.

    Of items that begin together the cheap ones end first. So the mean of those that have ended is too low while others
    are in flight, and the mean of the settled ones is not.
    """

    def __init__(self, settled: Spent) -> None:
        self.settled = settled
        self._ended: dict[int, Spent] = {}
        self._begun = self._first = 0

    @property
    def unsettled(self) -> int:
        """Items since the first in flight, that one included."""
        return self._begun - self._first

    @property
    def in_flight(self) -> int:
        """Items that have not ended."""
        return self.unsettled - len(self._ended)

    def begin(self) -> int:
        """The number of an item that begins."""
        self._begun += 1
        return self._begun - 1

    def end(self, number: int, cost: Spent) -> None:
        """The item of this number has ended."""
        self._ended[number] = cost
        while (settled := self._ended.pop(self._first, None)) is not None:
            self.settled += settled
            self._first += 1


class Meter:
    """Counts what one stage spends, and says whether one more item fits.

    `before` is what the run spent so far, by stage; `most` is how many tokens an item can write, by step; `save` is
    handed this stage's figures to keep; the clock gives seconds; `cuts` says whether --limit can end the stage early.

    With nothing in flight an item begins if the mean of its stage still fits. Beside others it begins if all of them
    fit, by what the items cost that are settled (see `_InOrder`) and one more that costs as much as an item can: at
    their mean and CAUTION standard deviations of so many items' sum, or at the most they can cost where that is less.
    So a run ends no sooner than the mean item does not fit, and at most one item over its budget; further only by
    chance (of 1,500 simulated runs one by more than its dearest item and 2 %), or where later items are dearer than
    earlier ones. The hours only have to last until an item begins.
    """

    def __init__(
        self, stage: str, budget: BudgetConfig, engines: Mapping[str, EngineConfig], *, before: Mapping[str, Spent],
        most: Mapping[str, int], save: Callable[[dict[str, Any]], None], clock: Callable[[], float],
        cuts: bool = False,
    ) -> None:  # fmt: skip
        check_budget(budget, engines)
        self._cuts = cuts
        self._budget, self._engines, self._save, self._clock = budget, engines, save, clock
        self._counted = before.get(stage, Spent())
        self._others = sum((spent for name, spent in before.items() if name != stage), Spent())
        self._order = _InOrder(self._counted)
        written = sum(tokens * self._prices(step)[1] for step, tokens in most.items())
        self._most = Spent(completion_tokens=sum(most.values()), cost=written)
        self._start = self._saved = clock()
        self._first: float | None = None

    @property
    def spent(self) -> Spent:
        """What the stage has spent, up to now."""
        now = self._clock()
        waited = (now if self._first is None else self._first) - self._start
        return self._counted + Spent(seconds=now - self._start, waiting=waited)

    def begin(self) -> int:
        """Counts an item as in flight, and gives its number."""
        return self._order.begin()

    def end(self, number: int, outcome: Outcome[Any]) -> None:
        """Counts what the item cost, which has ended."""
        if self._first is None:
            self._first = self._clock()
        usage, cost = outcome.usage, self._cost(outcome)
        item = Spent(
            items=int(outcome.final), kept=len(outcome.kept), prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens, cost=cost,
            squared_tokens=float(usage.prompt_tokens + usage.completion_tokens) ** 2, squared_cost=cost**2,
        )  # fmt: skip
        self._counted += item
        self._order.end(number, item)
        if self._clock() - self._saved >= _SAVE_SECONDS:
            self.save()

    def save(self) -> None:
        """Hands on what the stage has spent."""
        self._saved = self._clock()
        self._save({name: round(value, 12 if "squared" in name else 6) for name, value in asdict(self.spent).items()})

    def fits(self) -> bool:
        """Whether another item may begin beside those in flight."""
        return not any(self._over())

    def reached(self, where: Path, done: int, left: int, first: int) -> BudgetReached:
        """The error that says which budget ended the stage, with nothing in flight, and what would do for the rest.

        `first` inputs are done before the first that is not: so many --limit can end the stage with, and no more.
        """
        flag, limit, spent = next(self._over())
        total = self._others + self.spent
        what = (
            f"the budget is spent ({flag} {limit:,g}: {total.tokens:,} tokens, {total.seconds / 3600:.2f} hours"
            + (f", cost {total.cost:,.2f}" if total.cost else "")
            + f"): {done:,} items done, {left:,} to go"
        )
        more = _figure(flag, self.spent.of(left)) if self._counted.items else limit
        enough = _rounded_up(max(spent + 1.1 * more, 1.1 * limit))
        limited = f"datagen solve --run {where.parent} --limit {first}"
        hint = f"{limited} ends the stage with the first {first:,}" if self._cuts and first else ""
        return BudgetReached(what, where=str(where), hint=hint, flag=flag, enough=enough)

    def _over(self) -> Iterator[tuple[str, float, float]]:
        """The budgets that another item would overspend: flag, limit, spent so far."""
        total = self._others + self.spent
        hours = total.seconds / 3600
        if self._budget.max_hours and hours >= self._budget.max_hours:
            yield "--max-hours", self._budget.max_hours, hours
        limits = {"--max-tokens-total": self._budget.max_tokens_total, "--max-cost": self._budget.max_cost}
        for flag, limit in limits.items():
            spent = _figure(flag, total)
            if limit and (spent >= limit or spent + self._outstanding(flag) > limit):
                yield flag, limit, spent

    def _outstanding(self, flag: str) -> float:
        """What those in flight and another item will still cost, as far as is known."""
        items, flying = self._order.settled.items, self._order.in_flight
        mean = _figure(flag, self._order.settled) / max(1, items)
        if not flying:
            return mean
        if not items and flying >= UNMEASURED:
            return math.inf
        most = _figure(flag, self._most) + mean  # on top of a mean item, which leaves room for what it reads
        return min((flying + 1) * most, self._expected(flag, most)) if items else (flying + 1) * most

    def _expected(self, flag: str, most: float) -> float:
        """What they will still cost by the settled items, one that costs `most`, and some caution."""
        settled, flying, unsettled = self._order.settled, self._order.in_flight + 1, self._order.unsettled + 1
        count = settled.items + 1
        mean = (_figure(flag, settled) + most) / count
        variance = max(0.0, (_square(flag, settled) + most**2) / count - mean**2)
        ended = _figure(flag, self._counted) - _figure(flag, settled)  # by those that began after the first in flight
        spread = math.sqrt(variance * unsettled * (1 + unsettled / count))
        return max(unsettled * mean - ended, flying * mean) + CAUTION * spread

    def _prices(self, step: str) -> tuple[float, float]:
        """(of a token read, of a token written) in a step such as tests-0."""
        engine = self._engines.get(step.partition("-")[0])
        return (engine.price_read / 1e6, engine.price_written / 1e6) if engine else (0.0, 0.0)

    def _cost(self, outcome: Outcome[Any]) -> float:
        """What the item's calls cost, each at the price of the model that answered it."""
        total = 0.0
        for call in outcome.attempts.calls:
            read, written = self._prices(call.step)
            total += call.completion.prompt_tokens * read + call.completion.completion_tokens * written
        return total


def _figure(flag: str, spent: Spent) -> float:
    """What a budget is about."""
    return {"--max-tokens-total": spent.tokens, "--max-cost": spent.cost, "--max-hours": spent.seconds / 3600}[flag]


def _square(flag: str, spent: Spent) -> float:
    """The sum of the squares of what a budget is about."""
    return spent.squared_tokens if flag == "--max-tokens-total" else spent.squared_cost


def _rounded_up(value: float) -> float:
    """The next number with two digits: 1234 gives 1300."""
    if value <= 0:
        return 1.0
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    return round(math.ceil(value / step - 1e-9) * step, 10)
