"""Claims about budgets: what is counted, when a run stops, what it says, and that it remembers."""

from __future__ import annotations

import asyncio
import heapq
import re
from collections.abc import Iterable
from dataclasses import asdict, replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_run import answer, small_recipe, tables, work
from stage_kit import question, run_stage

from datagen import workflow
from datagen.cli import main
from datagen.config import BudgetConfig, EngineConfig
from datagen.errors import BudgetReached, UsageError
from datagen.models import Attempts, Call, Completion, Drop, Outcome, Question, Sample, Usage
from datagen.outlook import outlook, told
from datagen.spending import UNMEASURED, Meter, Spent, spent_of
from datagen.store import RunFolder, read_manifest, read_report

ENGINES = {
    "tests": EngineConfig(price_read=1.0, price_written=2.0),
    "solutions": EngineConfig(price_read=10.0, price_written=20.0),
}


MOST = {"tests": 50, "solutions": 650}
"""Tokens that an item can write."""


class Clock:
    """A clock that is set by hand."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def answered(item: Question) -> Outcome[Question]:
    """An item whose tests took 100 + 50 tokens and whose candidates 200 + 650."""
    calls = (
        Call("tests-0", "a", Completion((Sample("t"),), 100, 50)),
        Call("solutions-3", "b", Completion((Sample("s"),), 200, 650)),
    )
    return Outcome(item.id, kept=(item,), attempts=Attempts(calls=calls), usage=Usage(300, 700))


class Book:
    """What a run keeps of its spending."""

    def __init__(self) -> None:
        self.kept: dict[str, dict[str, float]] = {}

    def meter(self, clock: Clock | None = None, stage: str = "3-solve", **budget: float) -> Meter:
        """The meter of a new session."""
        return Meter(
            stage, BudgetConfig(**budget), ENGINES, before=spent_of({"spent": self.kept}), most=MOST,
            save=lambda spent: self.kept.update({stage: spent}), clock=clock or Clock(), cuts=True,
        )  # fmt: skip


def session(folder, meter: Meter, items: int = 40, concurrency: int = 8, most: list[int] | None = None) -> None:
    """Drives the items; `most` gets how many were in flight each time one began."""
    flying = [0]

    async def work(item: Question) -> Outcome[Question]:
        flying[0] += 1
        (most if most is not None else []).append(flying[0])
        await asyncio.sleep(0.001 * (item.prompt_index % 3))
        flying[0] -= 1
        return answered(item)

    with RunFolder(folder) as run:
        run_stage(run.stage("3-solve", {}), map(question, range(items)), work, concurrency=concurrency, meter=meter)


@pytest.mark.parametrize("concurrency", [1, 8, 40])
def test_no_item_begins_that_would_overspend(tmp_path, concurrency):
    """With 1,000 tokens an item and 10,500 to spend ten are done, however many were in flight; the rest is to go."""
    book = Book()
    with pytest.raises(BudgetReached, match="10 items done, 30 to go") as caught:
        session(tmp_path, book.meter(max_tokens_total=10_500), concurrency=concurrency)
    assert Spent(**book.kept["3-solve"]).tokens == 10_000
    assert caught.value.flag == "--max-tokens-total" and 40_000 <= caught.value.enough <= 44_000


def spend(limit: int, costs: Iterable[int], most: int, concurrency: int, before: Spent | None = None) -> list[int]:
    """The costs of the items that ran, on an engine where a dear item lasts as much longer, until none may begin."""
    meter = Meter(
        "3-solve", BudgetConfig(max_tokens_total=limit), {}, before={"3-solve": before} if before else {},
        most={"solutions": most}, save=lambda spent: None, clock=lambda: 0.0,
    )  # fmt: skip
    now, flying, ran, source = 0, list[tuple[int, int, int]](), list[int](), iter(costs)
    while True:
        while len(flying) < concurrency and meter.fits() and (cost := next(source, 0)):
            heapq.heappush(flying, (now + cost, meter.begin(), cost))
        if not flying:
            return ran
        now, number, cost = heapq.heappop(flying)
        meter.end(number, Outcome("x", drops=(Drop("none-passed"),), usage=Usage(cost // 4, cost - cost // 4)))
        ran.append(cost)


@given(st.integers(50, 2000), st.integers(1, 20_000), st.integers(1, 64), st.integers(0, 30))
def test_equal_items_are_never_over(cost, limit, concurrency, earlier):
    """Of items that all cost the same, as many run as fit, but one where none was ever measured."""
    before = Spent(earlier, completion_tokens=earlier * cost, squared_tokens=earlier * cost**2.0)
    ran = spend(limit + before.tokens, [cost] * 1000, 2000, concurrency, before)
    assert len(ran) == max(limit // cost, 0 if earlier else 1)


@given(st.integers(0, 2**32), st.integers(1, 64))
def test_the_first_items_are_never_over(seed, concurrency):
    """While nothing is known of the cost, no more begin than fit at the most that they can cost, or one."""
    rng = Random(seed)
    most = rng.randint(100, 10_000)
    limit = rng.randint(1, 20_000)
    meter = Meter(
        "3-solve", BudgetConfig(max_tokens_total=limit), {}, before={}, most={"solutions": most},
        save=lambda spent: None, clock=lambda: 0.0,
    )  # fmt: skip
    begun = 0
    while begun < concurrency and meter.fits():
        begun += meter.begin() >= 0
    assert begun == 1 or begun * most <= limit


@settings(deadline=None, max_examples=20, derandomize=True)
@given(st.floats(0.02, 0.98), st.integers(2, 20), st.sampled_from([16, 64, 256]), st.sampled_from([30, 200]))
def test_a_run_is_over_by_an_item_at_most(share, ratio, concurrency, size):
    """Cheap items end first, dear ones are up to twenty times as dear: of 50 runs at most 3 end further over their
    budget than one dear item and 2 % of it, and none ends before an item at the mean of what ran would not fit.
    """
    mean = 300 * (share * ratio + 1 - share)
    limit, most = int(size * mean), 300 * ratio
    beyond = 0
    for seed in range(50):
        rng = Random(seed)
        costs = (most if rng.random() < share else 300 for _ in range(20 * size * ratio))
        ran = spend(limit, costs, most, concurrency)
        assert sum(ran) + sum(ran) / len(ran) > limit
        beyond += sum(ran) - limit > most + 0.02 * limit
    assert beyond <= 3


def test_few_begin_before_one_has_ended(tmp_path):
    """While nobody knows what an item costs, only a handful are in flight under a budget."""
    most: list[int] = []
    with pytest.raises(BudgetReached):
        session(tmp_path, Book().meter(max_tokens_total=20_000), concurrency=40, most=most)
    assert max(most[:UNMEASURED]) <= UNMEASURED < max(most)


def test_a_budget_survives_a_resume(tmp_path):
    """The next session counts on from the last: it stops at once, and with more goes on to the end."""
    book = Book()
    for _ in range(2):
        with pytest.raises(BudgetReached, match="10 items done"):
            session(tmp_path, book.meter(max_tokens_total=10_500))
    session(tmp_path, book.meter(max_tokens_total=40_000))
    assert Spent(**book.kept["3-solve"]).items == 40


def test_a_spent_budget_does_not_matter_where_nothing_is_left(tmp_path):
    """A finished stage is finished, whatever it cost: the same command writes its tables again."""
    book = Book()
    session(tmp_path, book.meter())
    session(tmp_path, book.meter(max_tokens_total=1))


def only(folder, meter: Meter, numbers: Iterable[int]) -> None:
    """One session with the items of these numbers, one at a time."""

    async def work(item: Question) -> Outcome[Question]:
        return answered(item)

    with RunFolder(folder) as run:
        run_stage(run.stage("3-solve", {}), map(question, numbers), work, concurrency=1, meter=meter)


def test_a_limit_is_named_that_ends_the_stage(tmp_path):
    """Where done items stand behind some that are not, --limit goes as far as all are done: that many end the stage on
    the spent budget, one more does not."""
    book = Book()
    only(tmp_path, book.meter(), (0, 1, 5, 6))
    with pytest.raises(BudgetReached, match="6 items done, 4 to go") as caught:
        only(tmp_path, book.meter(max_tokens_total=6_000), range(10))
    assert caught.value.hint == f"datagen solve --run {tmp_path} --limit 4 ends the stage with the first 4"
    only(tmp_path, book.meter(max_tokens_total=6_000), range(4))
    with pytest.raises(BudgetReached):
        only(tmp_path, book.meter(max_tokens_total=6_000), range(5))


def test_no_limit_is_named_where_none_ends_the_stage(tmp_path):
    """Where the first item is not done, there is nothing to end the stage with."""
    book = Book()
    only(tmp_path, book.meter(), (5, 6))
    with pytest.raises(BudgetReached, match="2 items done, 8 to go") as caught:
        only(tmp_path, book.meter(max_tokens_total=2_000), range(10))
    assert not caught.value.hint


def test_what_other_stages_spent_counts(tmp_path):
    """The budget is the run's."""
    book = Book()
    book.kept["1-questions"] = asdict(Spent(items=5, prompt_tokens=9_000, completion_tokens=500))
    with pytest.raises(BudgetReached, match="1 items done"):
        session(tmp_path, book.meter(max_tokens_total=10_500), concurrency=1)


def test_cost_is_by_the_price_of_who_answered():
    """Tests at 1 and 2, solutions at 10 and 20 per million tokens."""
    meter = Book().meter()
    meter.end(meter.begin(), answered(question(1)))
    assert meter.spent.cost == pytest.approx((100 * 1 + 50 * 2 + 200 * 10 + 650 * 20) / 1e6)


def test_cost_stops_a_run(tmp_path):
    """An item costs 0.0152: three fit into 0.05."""
    with pytest.raises(BudgetReached, match="3 items done") as caught:
        session(tmp_path, Book().meter(max_cost=0.05), concurrency=1)
    assert caught.value.flag == "--max-cost"


def test_hours_stop_a_run_and_are_remembered():
    """Time of earlier sessions counts; an item may begin while there is some left."""
    book, clock = Book(), Clock()
    meter = book.meter(clock, max_hours=1)
    clock.seconds = 3000
    meter.begin()
    assert meter.fits()
    meter.save()
    clock.seconds = 0
    later = book.meter(clock, max_hours=1)
    assert later.fits()
    clock.seconds = 700
    assert not later.fits()


def test_a_cost_without_prices_is_refused():
    """A recipe that names no price cannot be held to a cost."""
    with pytest.raises(UsageError, match="price_read"):
        Meter(
            "3-solve",
            BudgetConfig(max_cost=1),
            {"tests": EngineConfig()},
            before={},
            most={},
            save=print,
            clock=Clock(),
        )


@given(st.integers(1, 10**6), st.integers(0, 10**4), st.integers(1, 500))
def test_estimates_are_proportional(tokens, seconds, left):
    """So many items take so many times the mean, waiting for the model left out."""
    spent = Spent(items=10, kept=5, seconds=seconds + 60, waiting=60, prompt_tokens=tokens, cost=3)
    rest = spent.of(left)
    assert rest.prompt_tokens == pytest.approx(tokens * left / 10, abs=1)
    assert (rest.seconds, rest.cost) == (pytest.approx(seconds * left / 10), pytest.approx(0.3 * left))


async def test_a_run_that_its_budget_stopped_ends_as_one_that_nobody_stopped(tmp_path):
    """Stopped in solve, told what is left, continued with what it says is enough: the same tables."""
    recipe = small_recipe(tmp_path)
    await work(tmp_path / "whole", recipe, lambda run: run.everything())
    poor = replace(recipe, budget=BudgetConfig(max_tokens_total=600))
    with pytest.raises(BudgetReached) as stopped:
        await work(tmp_path / "run", poor, lambda run: run.everything())
    rest = outlook(tmp_path / "run", poor)[1]
    spent = sum(spent_of(read_manifest(tmp_path / "run")).values(), Spent())
    assert rest.left == 12 - rest.spent.items > 0 and spent.tokens <= 600
    assert any("(budget: 600 tokens)" in line for line in told(tmp_path / "run", poor))
    richer = replace(recipe, budget=BudgetConfig(max_tokens_total=int(stopped.value.enough)))
    await work(tmp_path / "run", richer, lambda run: run.everything())
    assert tables(tmp_path / "run") == tables(tmp_path / "whole")
    assert [rest.left for rest in outlook(tmp_path / "run", recipe)] == [0, 0]


async def test_what_is_there_can_be_finished_without_more(tmp_path):
    """`--limit` with what was done ends the stage on a spent budget: its rows are paid for."""
    recipe = small_recipe(tmp_path)
    poor = replace(recipe, budget=BudgetConfig(max_tokens_total=600))
    with pytest.raises(BudgetReached):
        await work(tmp_path / "run", poor, lambda run: run.everything())
    done = outlook(tmp_path / "run", poor)[1].spent.items
    await work(tmp_path / "run", replace(poor, solve=replace(poor.solve, limit=done)), lambda run: run.solve())
    assert read_report(tmp_path / "run/3-solve").inputs == done > 0


async def test_a_raised_target_can_be_finished_without_more(tmp_path):
    """The questions of a later round stand among those of the first; the --limit that is named ends the stage still."""
    recipe = small_recipe(tmp_path)
    for step in (workflow.Run.questions, workflow.Run.solve):
        await work(tmp_path / "run", recipe, step)
    more = replace(recipe, questions=replace(recipe.questions, target=40))
    await work(tmp_path / "run", more, lambda run: run.questions())
    spent = sum(spent_of(read_manifest(tmp_path / "run")).values(), Spent())
    poor = replace(more, budget=BudgetConfig(max_tokens_total=spent.tokens + 300))
    with pytest.raises(BudgetReached) as stopped:
        await work(tmp_path / "run", poor, lambda run: run.solve())
    limit = int(re.search(r"--limit (\d+)", stopped.value.hint)[1])
    await work(tmp_path / "run", replace(poor, solve=replace(poor.solve, limit=limit)), lambda run: run.solve())
    assert read_report(tmp_path / "run/3-solve").inputs == limit
    beyond = replace(poor, solve=replace(poor.solve, limit=limit + 1))
    with pytest.raises(BudgetReached):
        await work(tmp_path / "run", beyond, lambda run: run.solve())


def test_the_command_line_says_what_to_type(tmp_path, capsys):
    """Exit code 14, what is done, and the same command with a budget that is enough: which then is. --dry-run and
    status say what the rest will take.
    """
    recipe = small_recipe(tmp_path)
    asyncio.run(work(tmp_path / "recorded", recipe, lambda run: run.everything(), answer))
    (tmp_path / "again.toml").write_text((tmp_path / "recorded/recipe.toml").read_text())
    command = ["run", str(tmp_path / "again.toml"), "--run", str(tmp_path / "run"), "--engine", "replay"]
    command += ["--replay", str(tmp_path / "recorded")]
    assert main([*command, "--max-tokens-total", "600"]) == BudgetReached.exit_code == 14
    said = capsys.readouterr().err
    assert "items done" in said and f"go on with: datagen run {tmp_path}" in said
    assert main([*command, "--dry-run"]) == 0
    assert "# left     3-solve:" in capsys.readouterr().out
    assert main(["status", "--run", str(tmp_path / "run")]) == 0
    assert "left     3-solve:" in capsys.readouterr().out
    enough = said.split("go on with: datagen ")[1].split()
    assert enough.count("--max-tokens-total") == 1
    assert main(enough) == 0
    assert read_report(tmp_path / "run" / workflow.SOLVE).inputs == 12
