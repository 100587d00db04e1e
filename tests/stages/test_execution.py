"""What `check`, `plan` and `execute` promise: a row that passes a benchmark's tests is found, whatever its words."""

from __future__ import annotations

import ast
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import polars as pl
import pytest
import pytest_asyncio

from datagen.benchmarks import load_benchmark
from datagen.config import DecontaminateConfig
from datagen.models import Sandbox
from datagen.neighbours import nearest
from datagen.sets import BenchmarkItem
from datagen.stages.execution import TRIGGERS, Tried, check, execute, plan, targets
from sandbox import Pool

CONFIG = DecontaminateConfig()

COUNT_OVER = BenchmarkItem(
    "own", "count_over", "Return how many elements of a list are greater than a bound.",
    "def count_over(values, bound):\n    return sum(value > bound for value in values)\n",
    ("assert count_over([1, 5, 9], 4) == 2", "assert count_over([], 4) == 0", "assert count_over([5], 5) == 0"),
    "count_over",
)  # fmt: skip
IS_EVEN = BenchmarkItem(
    "own", "is_even", "Tell whether a number is even.", "def is_even(n):\n    return n % 2 == 0\n",
    ("def check(candidate):\n    assert candidate(4) is True\n    assert candidate(7) is False\n\ncheck(is_even)\n",),
    "is_even",
)  # fmt: skip
ALWAYS_TRUE = BenchmarkItem(
    "own", "true", "Is it so?", "def so(n):\n    return True\n", ("assert so(1)", "assert so(2)"), "so"
)
BROKEN = BenchmarkItem(
    "own", "broken", "Double it.", "def twice(n):\n    return n\n", ("assert twice(2) == 4",), "twice"
)

RENAMED = (
    "def tally(prices, limit):\n    number = 0\n    for p in prices:\n        number += p > limit\n    return number\n"
)
WRONG = "def tally(prices, limit):\n    return len(prices)\n"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool() -> AsyncIterator[Pool]:
    """Two workers for the whole file."""
    async with Pool(workers=2) as opened:
        yield opened


pytestmark = pytest.mark.asyncio(loop_scope="module")


def rows(
    *programs: str, question: str = "A shop has prices. Count those over a limit.", entry: str = ""
) -> pl.DataFrame:
    """Rows r0, r1 ... with the columns that execution reads."""
    lines = [(f"r{number}", question, program, entry) for number, program in enumerate(programs)]
    return pl.DataFrame(lines, schema=["id", "question", "solution", "entry_point"], orient="row")


async def tried(
    pool: Sandbox, frame: pl.DataFrame, items: Sequence[BenchmarkItem] = (COUNT_OVER, IS_EVEN), *,
    overlaps: Sequence[tuple[str, str, str]] = (), near: int = 0, exhaustive: bool = True,
) -> list[Tried]:  # fmt: skip
    known = targets(items)
    found = nearest(frame["question"], [target.question for target in known], near)
    trials = list(plan(frame, known, found, overlaps, exhaustive=exhaustive))
    return [(await execute(trial, sandbox=pool, config=CONFIG)).kept[0] for trial in trials]


async def test_renamed_and_rewritten_solution_is_found(pool: Pool) -> None:
    """A solution under other names and in another shape passes the item's tests, and is named with its place."""
    (found,) = await tried(pool, rows(RENAMED))
    (held,) = found.passed
    assert (held.item, held.function, held.tests) == ("count_over", "tally", 3)
    assert RENAMED[held.start :].startswith("tally(")


async def test_other_solution_is_not_found(pool: Pool) -> None:
    """A solution that fails one of the item's tests is no contamination, however like its name and words."""
    (found,) = await tried(pool, rows(WRONG.replace("tally", "count_over")))
    assert found.tried == 1 and not found.passed


async def test_helper_of_the_items_name_stays_what_it_is(pool: Pool) -> None:
    """A helper of the row that is called like the item's entry point is neither replaced nor taken for the answer."""
    program = "def is_even(n):\n    return 1 if n % 2 == 0 else 0\n\ndef parity(n):\n    return is_even(n) == 1\n"
    (found,) = await tried(pool, rows(program, entry="parity"))
    assert [(held.item, held.function) for held in found.passed] == [("is_even", "parity")]


async def test_method_of_a_class_is_bound(pool: Pool) -> None:
    """A solution that is a method of a class without arguments is run as one of its objects' methods."""
    program = "class Solution:\n    def parity(self, n):\n        return not n & 1\n"
    (found,) = await tried(pool, rows(program))
    assert [held.function for held in found.passed] == ["parity"]


async def test_pass_is_one_that_cannot_be_forged(pool: Pool) -> None:
    """Exiting, patching what the test uses and results that equal everything do not pass."""
    forged = (
        "import os\ndef tally(a, b):\n    os._exit(0)\n",
        "class Any:\n    def __eq__(self, other):\n        return True\ndef tally(a, b):\n    return Any()\n",
        "import builtins\nbuiltins.AssertionError = KeyError\ndef tally(a, b):\n    return 7\n",
    )
    assert not [held for found in await tried(pool, rows(*forged)) for held in found.passed]


async def test_loops_are_unanswered_and_cost_little(pool: Pool) -> None:
    """A function that never ends on any of many items is cut short, its items are named as unanswered, none is a pass,
    and the row costs a few seconds at most.
    """
    known = [BenchmarkItem("own", str(n), "q", "", (f"assert f({n}) == {n} + 1",), "f") for n in range(200)]
    frame = rows("def g(n):\n    while True:\n        pass\n")
    (trial,) = plan(frame, targets(known), None, (), exhaustive=True)
    outcome = await execute(trial, sandbox=pool, config=CONFIG)
    assert len(outcome.kept[0].unanswered) == 200 and not outcome.kept[0].passed
    assert outcome.usage.cpu_seconds < 10


async def test_pass_among_loops_is_found(pool: Pool) -> None:
    """Items on which a function loops do not hide the one that it passes, even where they come first."""
    loops = [BenchmarkItem("own", str(n), "q", "", (f"assert f(-{n}) == 1",), "f") for n in range(1, 5)]
    last = BenchmarkItem("own", "last", "q", "", ("assert f(3) == 6", "assert f(4) == 24"), "f")
    program = "def product(n):\n    out = 1\n    while n:\n        out, n = out * n % 1000, n - 1\n    return out\n"
    (found,) = await tried(pool, rows(program), [*loops, last])
    assert [held.item for held in found.passed] == ["last"]


async def test_stub_that_passes_makes_an_item_uncheckable(pool: Pool) -> None:
    """An item whose tests a constant passes is reported with that constant, and so is one that its own solution fails;
    a sound one has no problem.
    """
    outcomes = [
        await check(target, sandbox=pool, config=CONFIG)
        for target in targets((ALWAYS_TRUE, BROKEN, COUNT_OVER, IS_EVEN))
    ]
    problems = [outcome.kept[0].problem for outcome in outcomes]
    assert "passes every test" in problems[0] and "own solution" in problems[1]
    assert problems[2:] == ["", ""]


async def test_the_only_expected_value_is_a_stub(pool: Pool) -> None:
    """An item all of whose asserts expect one value is one that a constant passes, however odd the value."""
    item = BenchmarkItem("own", "odd", "q", "def f(n):\n    return [3, 'x']\n", ("assert f(1) == [3, 'x']",), "f")
    (outcome,) = [await check(target, sandbox=pool, config=CONFIG) for target in targets([item])]
    assert outcome.kept[0].problem == "return [3, 'x'] passes every test"


async def test_inputs_that_its_own_solution_cannot_answer_are_left_out(pool: Pool) -> None:
    """Of the inputs near an item's tests those on which its own solution loops or fails are not used to compare."""
    solution = "def f(n):\n    while n % 3:\n        n += 3\n    return 90 // (n - 9)\n"
    item = BenchmarkItem("own", "third", "q", solution, ("assert f(3) == -15", "assert f(12) == 30"), "f")
    (target,) = targets([item])
    checked = (await check(target, sandbox=pool, config=CONFIG)).kept[0]
    numbers = {ast.literal_eval(given)[0] for given in checked.inputs}
    tried_numbers = {ast.literal_eval(given)[0] for given in target.inputs}
    assert not [number for number in numbers if number % 3 or number == 9]
    assert [number for number in tried_numbers if number % 3]


async def test_item_of_nearly_one_result_is_uncheckable(pool: Pool) -> None:
    """An item whose own solution gives nearly always the same result near its tests cannot tell functions apart."""
    item = BenchmarkItem(
        "own", "rare", "q", "def f(n):\n    return n == 4\n", ("assert f(4) is True", "assert f(900) is False"), "f"
    )
    (target,) = targets([item])
    assert "same result" in (await check(target, sandbox=pool, config=CONFIG)).kept[0].problem


async def test_pass_has_to_hold_beyond_the_tests(pool: Pool) -> None:
    """A function that happens to pass an item's few asserts, and computes something else, is no contamination."""
    near = "def tally(values, bound):\n    return 2 if values == [1, 5, 9] else 0\n"
    (found,) = await tried(pool, rows(near))
    assert found.tried and not found.passed


@pytest.mark.parametrize(
    ("trigger", "frame", "options"),
    [
        ("overlap", rows(RENAMED), {"overlaps": [("r0", "own", "count_over")]}),
        ("name", rows(RENAMED.replace("tally", "countOver")), {}),
        ("near", rows(RENAMED, question="How many elements of the list are greater?"), {"near": 1}),
        ("arity", rows(RENAMED), {"exhaustive": True}),
    ],
)
async def test_each_trigger_alone_is_enough(pool: Pool, trigger: str, frame: pl.DataFrame, options: dict) -> None:
    """A lexical hit, the function's name, a near question, or --exhaustive: each leads to the run that finds it."""
    (found,) = await tried(pool, frame, **({"exhaustive": False} | options))
    assert [(held.item, held.trigger) for held in found.passed] == [("count_over", trigger)]
    assert trigger in TRIGGERS


async def test_nothing_is_run_without_a_trigger_or_a_fitting_arity(pool: Pool) -> None:
    """A row that nothing points at, and one whose function takes other arguments, cost no run."""
    assert not list(plan(rows(RENAMED), targets([COUNT_OVER]), None, ()))
    three = "def count_over(a, b, c):\n    return 0\n"
    assert not list(plan(rows(three), targets([COUNT_OVER]), None, (), exhaustive=True))


async def test_trials_are_named_by_their_content() -> None:
    """Another program, item or test gives a trial another id; the same again the same."""

    def ids(frame: pl.DataFrame, *items: BenchmarkItem) -> list[str]:
        return [trial.id for trial in plan(frame, targets(items), None, (), exhaustive=True)]

    assert ids(rows(RENAMED), COUNT_OVER) == ids(rows(RENAMED), COUNT_OVER)
    assert ids(rows(RENAMED), COUNT_OVER) != ids(rows(WRONG), COUNT_OVER)
    fewer = BenchmarkItem("own", "count_over", "", "", COUNT_OVER.tests[:1], "count_over")
    assert ids(rows(RENAMED), COUNT_OVER) != ids(rows(RENAMED), fewer)


@pytest.mark.parametrize("name", ["humaneval", "humanevalpack", "mbpp_original"])
async def test_real_items_bind_to_another_name(pool: Pool, benchmarks_dir: Path, name: str) -> None:
    """Of the real benchmarks at least 85 % of the items can be checked, and of those at least 95 % are passed by their
    own solution under another name.
    """
    known = targets(load_benchmark(str(benchmarks_dir / name)))[::12]
    checked = [(await check(target, sandbox=pool, config=CONFIG)).kept[0].problem for target in known]
    usable = [target for target, problem in zip(known, checked, strict=True) if not problem]
    assert len(usable) >= 0.85 * len(known)
    found = 0
    for target in usable:
        item = BenchmarkItem(target.benchmark, target.item, "", target.solution, target.tests, target.entry)
        other = f"{target.solution}\n\ndef renamed(*given):\n    return {target.entry}(*given)\n"
        (one,) = await tried(pool, rows(other, entry="renamed"), [item])
        found += bool(one.passed)
    assert found >= 0.95 * len(usable)
