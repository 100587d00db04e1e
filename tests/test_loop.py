"""The loop closed: what each arm reads, that all train alike, what is said of them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from small_run import small_recipe, work

from datagen import loop, workflow
from datagen.config import FinetuneConfig, LoopConfig
from datagen.demo.phrasing import match
from datagen.demo.problems import is_heldout
from datagen.demo.seeds import seed_rows
from datagen.errors import InputError, UsageError
from datagen.evaluation.compare import Finished
from datagen.recipe import load_recipe, recipe_path

STEPS = 2
TRAINING = FinetuneConfig(
    model="demo-model", length=256, packing="off", max_steps=STEPS, batch=2, micro_batch=2, distributed="single",
    threads=1, precision="float32",
)  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A small run, made by a function, and its recipe with a loop."""
    folder = tmp_path_factory.mktemp("loop")
    recipe = small_recipe(folder)
    asyncio.run(work(folder / "run", recipe, lambda run: run.everything()))
    engines = {step: replace(engine, model="demo-model") for step, engine in recipe.engines.items()}
    looped = LoopConfig(benchmarks=("demo-heldout",), seed_rows="demo:5")
    return folder / "run", replace(recipe, engines=engines, finetune=TRAINING, loop=looped)


def scores(rate):
    """A benchmark of three problems, of whose ten samples so many passed."""
    figures = {"value": rate / 10, "low": 0.0, "high": 1.0}
    counts = {f"p{number}": (10, rate) for number in range(3)}
    return {"demo-heldout": Finished("x", {"pass@k": {"1": figures}}, counts)}


def by_arm(folder: Path, model: str, recipe, say):
    """Scores that tell the arms apart."""
    return scores({"base": 5, "verified": 8, "unverified": 5, "seed": 6}[folder.name])


def test_the_unverified_arm_reads_the_first_candidate_whatever_the_tests_said(made):
    """Every question with tests is there once, with candidate 0, failing ones included, and one of its own tests."""
    run, recipe = made
    rows = loop.unverified(run, recipe.run.seed)
    candidates = pl.read_parquet(run / workflow.SOLVE / "candidates.parquet").filter(index=0)
    expected = {row["source_id"]: row for row in candidates.iter_rows(named=True)}
    assert rows["id"].to_list() == sorted(expected)
    assert {row["status"] for row in expected.values()} > {"pass"}
    for row in rows.iter_rows(named=True):
        assert row["solution"] == expected[row["id"]]["code"]
        assert row["shown_test"] in expected[row["id"]]["tests"]
        assert row["entry_point"] in row["shown_test"]


def test_seed_rows_are_right_different_and_never_held_out():
    """Each seed row maps back to a task of the training set, and no text comes twice."""
    rows = seed_rows(60, 3)
    tasks = [match(row["question"]) for row in rows]
    assert len({row["question"] for row in rows}) == 60
    assert all(task is not None and not is_heldout(task) for task in tasks)
    assert rows == seed_rows(60, 3)


@pytest.fixture(scope="module")
def closed(made):
    """The loop, trained for two steps an arm, scored by a function."""
    run, recipe = made
    return loop.close(run, recipe, lambda _: None, score=by_arm)


def test_every_arm_trains_the_same_steps_of_its_own_rows(made, closed):
    """Three arms, each with a model of its own, all with the steps of the recipe."""
    assert [arm.name for arm in closed.arms] == ["verified", "unverified", "seed"]
    assert {arm.steps for arm in closed.arms} == {STEPS}
    weights = {(Path(arm.model) / "model.safetensors").read_bytes() for arm in closed.arms}
    assert len(weights) == 3
    assert (made[0] / "loop" / "report.json").is_file()


def test_the_verified_arm_is_compared_with_every_other_problem_by_problem(closed):
    """Base, unverified and seed each stand beside it, with the paired difference of pass@1."""
    found = {pair.first: round(pair.difference.value, 3) for _, _, pair in closed.against}
    assert found == {"base": 0.3, "unverified/1": 0.3, "seed/1": 0.2}
    told = loop.shown(closed)
    assert "verified is ahead by" in told
    assert "+30.0" in told


def test_a_loop_that_was_killed_trains_no_arm_twice(made, closed):
    """The same call again changes no weights and asks for the same scores."""
    run, recipe = made
    before = {arm.name: (Path(arm.model) / "model.safetensors").stat().st_mtime_ns for arm in closed.arms}
    again = loop.close(run, recipe, lambda _: None, score=by_arm)
    after = {arm.name: (Path(arm.model) / "model.safetensors").stat().st_mtime_ns for arm in again.arms}
    assert before == after


@pytest.mark.parametrize(
    ("change", "words"), [({"max_steps": 0}, "equal compute"), ({"model": "other"}, "model that made the rows")]
)
def test_arms_that_could_not_be_compared_are_refused(made, change, words):
    """Without a number of steps, or with another base model, nothing is trained."""
    run, recipe = made
    with pytest.raises(UsageError, match=words):
        loop.close(run, replace(recipe, finetune=replace(recipe.finetune, **change)), lambda _: None, score=by_arm)


@pytest.mark.parametrize(
    ("table", "change", "kind", "words"),
    [
        ("finetune", {"batch": 30, "micro_batch": 16}, UsageError, "Give --batch 16"),
        ("finetune", {"distributed": "single", "processes": 2}, UsageError, "single is one process"),
        ("loop", {"benchmarks": ("demo-heldout", "nonesuch")}, InputError, "nonesuch: no benchmark of this name"),
        ("loop", {"seed_rows": "missing.jsonl"}, InputError, "missing.jsonl"),
        ("loop", {"seed_rows": "demo:0"}, UsageError, "Give demo:400"),
        ("loop", {"seed_rows": "demo:\N{SUPERSCRIPT TWO}"}, UsageError, "Give demo:400"),
    ],
)
def test_what_would_fail_after_hours_is_said_first(made, table, change, kind, words):
    """A step that cannot be shared, a benchmark or seed rows that are not there: nothing is asked or trained."""
    recipe = made[1]
    with pytest.raises(kind, match=words):
        loop.check(replace(recipe, **{table: replace(getattr(recipe, table), **change)}))


@pytest.mark.parametrize("engine", ["server", "batch", "replay"])
@pytest.mark.parametrize(("rounds", "step"), [(1, "solutions"), (2, "questions")])
def test_the_loops_engines_can_load_what_it_trains(made, engine, rounds, step):
    """No server has the new model: refused for the step that is scored, in later rounds for those that make rows."""
    recipe = made[1]
    engines = {**recipe.engines, step: replace(recipe.engines[step], engine=engine)}
    asked = replace(recipe, engines=engines, loop=replace(recipe.loop, rounds=rounds))
    with pytest.raises(UsageError, match=f"{engine} cannot load what the loop trains"):
        loop.check(asked)


def test_what_the_loop_does_not_ask_may_be_a_server(made):
    """In one round other steps are done before anything is trained, and a judge that is off asks nothing."""
    recipe = made[1]
    for step, rounds in (("questions", 1), ("judge", 2)):
        engines = {**recipe.engines, step: replace(recipe.engines[step], engine="server")}
        loop.check(replace(recipe, engines=engines, loop=replace(recipe.loop, rounds=rounds)))


def test_the_shipped_loop_is_a_recipe_that_writes_itself_down():
    """demo-loop resolves, and its written form resolves to the same; recipes without a loop do not mention one."""
    recipe = load_recipe(recipe_path("demo-loop"), {})
    assert recipe.loop.benchmarks
    assert "[loop]" in recipe.to_toml()
    assert "[loop]" not in load_recipe(recipe_path("demo"), {}).to_toml()
