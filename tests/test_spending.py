"""Claims about budgets: what is counted, when a run stops, what it says, and that it remembers."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_run import answer, small_recipe, tables, work
from stage_kit import question, run_stage

from datagen import workflow
from datagen.cli import main
from datagen.config import BudgetConfig, EngineConfig
from datagen.errors import BudgetReached, UsageError
from datagen.models import Attempts, Call, Completion, Outcome, Question, Sample, Usage
from datagen.outlook import outlook, told
from datagen.spending import UNMEASURED, Meter, Spent, spent_of
from datagen.store import RunFolder, read_manifest, read_report

ENGINES = {
    "tests": EngineConfig(price_read=1.0, price_written=2.0),
    "solutions": EngineConfig(price_read=10.0, price_written=20.0),
}


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
            stage, BudgetConfig(**budget), ENGINES, before=spent_of({"spent": self.kept}),
            save=lambda spent: self.kept.update({stage: spent}), clock=clock or Clock(),
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


def test_what_other_stages_spent_counts(tmp_path):
    """The budget is the run's."""
    book = Book()
    book.kept["1-questions"] = asdict(Spent(items=5, prompt_tokens=9_000, completion_tokens=500))
    with pytest.raises(BudgetReached, match="1 items done"):
        session(tmp_path, book.meter(max_tokens_total=10_500), concurrency=1)


def test_cost_is_by_the_price_of_who_answered():
    """Tests at 1 and 2, solutions at 10 and 20 per million tokens."""
    meter = Book().meter()
    meter.add(answered(question(1)))
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
    assert meter.fits(5)
    meter.save()
    clock.seconds = 0
    later = book.meter(clock, max_hours=1)
    assert later.fits(0)
    clock.seconds = 700
    assert not later.fits(0)


def test_a_cost_without_prices_is_refused():
    """A recipe that names no price cannot be held to a cost."""
    with pytest.raises(UsageError, match="price_read"):
        Meter("3-solve", BudgetConfig(max_cost=1), {"tests": EngineConfig()}, before={}, save=print, clock=Clock())


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
