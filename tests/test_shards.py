"""Shards of a run, merged, are the run that one process makes."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_run import answer, small_recipe, tables, work

from datagen import workflow
from datagen.cli import main
from datagen.collaborators import LazySandbox
from datagen.config import BudgetConfig
from datagen.engines.replay import Replay
from datagen.errors import BudgetReached, InputError, RequestFailed, SettingsChanged, UsageError
from datagen.files import read_json
from datagen.interrupt import Interrupt
from datagen.models import Request
from datagen.recipe import STEPS
from datagen.shards import Shard, read_shard
from datagen.store import RunFolder


async def part(shard: Shard, recipe, step, engine=answer) -> None:
    """Does `step` on one shard."""
    with RunFolder(shard.folder) as opened:
        async with LazySandbox(recipe.run) as sandbox:
            engines = dict.fromkeys(STEPS, Replay(engine))
            run = workflow.Run(opened, recipe, engines, sandbox, Interrupt(), lambda line: None, shard)
            opened.write_recipe(recipe.to_toml())
            await step(run)


def silent(request: Request) -> None:
    """A model that may not be asked."""
    raise AssertionError(request)


async def merged(base: Path, recipe, folders: tuple[Path, ...] = ()) -> None:
    await work(base, recipe, workflow.then(lambda run: run.merge(folders)), silent)


async def in_parts(base: Path, recipe, of: int) -> None:
    """Questions and solve, each in `of` parts."""
    for _ in range(2):
        for index in range(1, of + 1):
            await part(Shard(index, of, base), recipe, lambda run: run.next_part())
        await merged(base, recipe)


@pytest.fixture
def recipe(tmp_path):
    return small_recipe(tmp_path)


async def test_merged_shards_are_the_run_of_one_process(recipe, tmp_path):
    """The run goes on from the merge and ends with the bytes of one never split; what the first round lacks is asked
    for after it."""
    recipe = replace(recipe, questions=replace(recipe.questions, target=20))
    await work(tmp_path / "whole", recipe, lambda run: run.everything())
    await in_parts(tmp_path / "split", recipe, 3)
    await work(tmp_path / "split", recipe, lambda run: run.everything())
    assert own_tables(tmp_path / "split") == tables(tmp_path / "whole")


def test_the_command_line_works_in_shards(recipe, tmp_path):
    """`run --shard` does a part of what is next, in a folder of its own, and `merge` finishes what it puts together:
    where the first round is enough, the last `run` has only decontamination and export to do."""
    recipe = replace(recipe, questions=replace(recipe.questions, target=0, count=12))
    asyncio.run(work(tmp_path / "whole", recipe, lambda run: run.everything()))
    (tmp_path / "mine.toml").write_text(recipe.to_toml())
    model = ["--engine", "replay", "--replay", str(tmp_path / "whole"), "--model", "replay"]
    command = ["run", str(tmp_path / "mine.toml"), *model, "--run", str(tmp_path / "split")]
    for stage in ("2-dedup", "3-solve"):
        for part in ("1/2", "2/2"):
            assert main([*command, "--shard", part]) == 0
        assert main(["merge", "--run", str(tmp_path / "split")]) == 0
        assert (tmp_path / "split" / stage / "report.json").exists()
    assert main(command) == 0
    assert own_tables(tmp_path / "split") == tables(tmp_path / "whole")


async def test_shards_may_lie_anywhere(recipe, tmp_path):
    """Folders that are named are merged, wherever they were copied to; merging twice changes nothing."""
    for index in (1, 2):
        await part(Shard(index, 2, tmp_path / "a"), recipe, lambda run: run.questions())
        shutil.copytree(Shard(index, 2, tmp_path / "a").folder, tmp_path / f"copy{index}")
    copies = (tmp_path / "copy2", tmp_path / "copy1")
    await merged(tmp_path / "b", recipe, copies)
    before = tables(tmp_path / "b")
    await merged(tmp_path / "b", recipe, copies)
    assert before and tables(tmp_path / "b") == before


async def first_round(base: Path, recipe) -> None:
    """The questions of the first round, in two parts, merged."""
    for index in (1, 2):
        await part(Shard(index, 2, base), recipe, lambda run: run.questions())
    await merged(base, recipe)


def own_tables(base: Path) -> dict[str, bytes]:
    """Every table and report of a run but those of its shards."""
    return {name: data for name, data in tables(base).items() if not name.startswith("shards")}


async def test_a_merge_keeps_the_rounds_that_the_run_went_on_with(recipe, tmp_path):
    """A first round that was not enough, a second one after its merge, all of them solved in shards: the next merge has
    the tables of one process, and so has the one after it."""
    recipe = replace(recipe, questions=replace(recipe.questions, target=20, per_prompt=10))  # of which five come
    for step in (workflow.Run.questions, workflow.Run.solve):
        await work(tmp_path / "whole", recipe, step)
    await first_round(tmp_path / "split", recipe)
    await work(tmp_path / "split", recipe, lambda run: run.questions())
    assert len(read_json(tmp_path / "split/1-questions/rounds.json")) > 1
    for index in (1, 2):
        await part(Shard(index, 2, tmp_path / "split"), recipe, lambda run: run.next_part())
    for _ in range(2):
        await merged(tmp_path / "split", recipe)
        assert own_tables(tmp_path / "split") == tables(tmp_path / "whole")


async def test_a_merge_leaves_what_the_run_did_since(recipe, tmp_path):
    """Merged once more after rounds for --target-rows, a run keeps all of its questions and rows."""
    await in_parts(tmp_path / "run", recipe, 2)
    await work(tmp_path / "run", recipe, lambda run: run.everything(target_rows=20))
    before = tables(tmp_path / "run")
    await merged(tmp_path / "run", recipe)
    assert tables(tmp_path / "run") == before


async def test_a_merge_says_what_the_run_itself_has_to_finish(recipe, tmp_path):
    """A second round that was broken off, then its questions that no shard solved: each is one line with the command
    to type, and after it the merge goes through."""

    def broken(request: Request) -> None:
        raise KeyError("a crash")

    recipe = replace(recipe, questions=replace(recipe.questions, target=20, per_prompt=10))  # of which five come
    base = tmp_path / "run"
    await first_round(base, recipe)
    for index in (1, 2):
        await part(Shard(index, 2, base), recipe, lambda run: run.solve())
    with pytest.raises(KeyError):
        await work(base, recipe, lambda run: run.questions(), broken)
    for command, step in (("questions", workflow.Run.questions), ("solve", workflow.Run.solve)):
        with pytest.raises(InputError, match=f"to go. Type: datagen {command} --run {base}"):
            await merged(base, recipe)
        await work(base, recipe, step)
    await merged(base, recipe)
    for step in (workflow.Run.questions, workflow.Run.solve):
        await work(tmp_path / "whole", recipe, step)
    assert own_tables(base) == tables(tmp_path / "whole")


async def test_missing_and_unfinished_shards_are_named(recipe, tmp_path):
    """A merge names every shard that is not there or not finished, and writes nothing."""
    for index in (2, 4):
        await part(Shard(index, 4, tmp_path / "run"), recipe, lambda run: run.questions())
    with pytest.raises(InputError, match="shards missing: 1/4, 3/4"):
        await merged(tmp_path / "run", recipe)

    def broken(request: Request) -> None:
        raise KeyError("a crash")

    for index in (1, 3):
        with pytest.raises(KeyError):
            await part(Shard(index, 4, tmp_path / "run"), recipe, lambda run: run.questions(), broken)
    with pytest.raises(InputError, match="not finished: 1/4, 3/4"):
        await merged(tmp_path / "run", recipe)
    assert not (tmp_path / "run/1-questions").exists()


async def test_shards_of_different_settings_are_refused(recipe, tmp_path):
    """Where a shard was made with another setting, the merge names the setting and both values."""
    other = replace(recipe, run=replace(recipe.run, seed=1))
    await part(Shard(1, 2, tmp_path / "run"), recipe, lambda run: run.questions())
    await part(Shard(2, 2, tmp_path / "run"), other, lambda run: run.questions())
    with pytest.raises(SettingsChanged, match="seed 0 and 1"):
        await merged(tmp_path / "run", recipe)


async def test_shards_of_other_inputs_are_refused(recipe, tmp_path):
    """Shards of runs that ask for different numbers of questions, or split into different parts, do not go together."""
    more = replace(recipe, questions=replace(recipe.questions, target=40))
    await part(Shard(1, 2, tmp_path / "a"), recipe, lambda run: run.questions())
    await part(Shard(2, 2, tmp_path / "b"), more, lambda run: run.questions())
    await part(Shard(2, 3, tmp_path / "c"), recipe, lambda run: run.questions())
    first = Shard(1, 2, tmp_path / "a").folder
    for other, what in ((Shard(2, 2, tmp_path / "b"), "other inputs"), (Shard(2, 3, tmp_path / "c"), "other parts")):
        with pytest.raises(InputError, match=what):
            await merged(tmp_path / "d", recipe, (first, other.folder))
    second = Shard(2, 2, tmp_path / "a")
    await part(second, recipe, lambda run: run.questions())
    shutil.copytree(first, tmp_path / "copy")
    with pytest.raises(InputError, match="given twice"):
        await merged(tmp_path / "d", recipe, (first, second.folder, tmp_path / "copy"))


async def test_what_an_engine_failed_on_stays_owed(recipe, tmp_path):
    """An item whose request failed in a shard counts as owed after the merge, and is asked for by the same command."""

    def failing(request: Request):
        raise RequestFailed("down")

    await part(Shard(1, 2, tmp_path / "run"), recipe, lambda run: run.questions(), failing)
    await part(Shard(2, 2, tmp_path / "run"), recipe, lambda run: run.questions())
    await merged(tmp_path / "run", recipe)
    await work(tmp_path / "run", recipe, lambda run: run.questions())
    await work(tmp_path / "whole", recipe, lambda run: run.questions())
    assert own_tables(tmp_path / "run") == tables(tmp_path / "whole")


async def test_a_shard_names_no_limit(recipe, tmp_path):
    """A shard whose budget is spent names no --limit, which would be another split."""
    await part(Shard(1, 1, tmp_path / "run"), recipe, lambda run: run.questions())
    await merged(tmp_path / "run", recipe)
    poor = replace(recipe, budget=BudgetConfig(max_tokens_total=300))
    with pytest.raises(BudgetReached, match=r"[1-9] items done") as stopped:
        await part(Shard(1, 1, tmp_path / "run"), poor, lambda run: run.solve())
    assert not stopped.value.hint


@given(items=st.lists(st.integers()), of=st.integers(1, 9))
def test_every_item_is_in_one_part(items, of):
    """The parts together are the items, each once, and no part has more than one item more than another."""
    parts = [Shard(index, of, Path()).part(items) for index in range(1, of + 1)]
    assert sorted(item for part in parts for item in part) == sorted(items)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("text", ["0/4", "5/4", "3", "a/b", "1/0", "-1/4"])
def test_what_names_no_part_is_a_usage_error(text):
    """Parts are counted from 1 to N."""
    with pytest.raises(UsageError, match="3/16"):
        read_shard(text, Path("run"))


def test_what_cannot_be_split_or_merged_is_said(recipe, tmp_path, capsys):
    """A run without shards, a part that is none, and rows as a target are one line each."""
    (tmp_path / "mine.toml").write_text(recipe.to_toml())
    run = ["run", str(tmp_path / "mine.toml"), "--run", str(tmp_path / "run")]
    assert main(["merge", "--run", str(tmp_path / "run")]) == InputError.exit_code
    assert main([*run, "--shard", "7/2"]) == UsageError.exit_code
    assert main([*run, "--shard", "1/2", "--target-rows", "5"]) == UsageError.exit_code
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 3 and "--shard i/N" in said[0] and "3/16" in said[1] and "--target" in said[2]
