"""Claims about the command itself being killed: `datagen run` in a process of its own, whatever stage it is in."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from small_run import small_recipe, tables, work

from datagen.errors import Interrupted, RunLocked, SettingsChanged
from datagen.ledger import read_outcomes


@pytest.fixture
async def recorded(tmp_path) -> list[str]:
    """A finished run, and the command that makes it again from its recorded calls."""
    recipe = small_recipe(tmp_path)
    recipe = replace(recipe, questions=replace(recipe.questions, target=40))
    await work(tmp_path / "recorded", recipe, lambda run: run.everything())
    (tmp_path / "mine.toml").write_text(recipe.to_toml())
    replay = ["--engine", "replay", "--replay", str(tmp_path / "recorded")]
    return [sys.executable, "-m", "datagen", "run", str(tmp_path / "mine.toml"), *replay]


def start(command: list[str], run: Path) -> subprocess.Popen[bytes]:
    """The command in a session of its own, so that a signal reaches it and all that it started."""
    return subprocess.Popen(
        [*command, "--run", str(run)], stderr=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )


def finish(command: list[str], run: Path) -> None:
    ended = start(command, run)
    _, errors = ended.communicate(timeout=120)
    assert ended.returncode == 0, errors.decode()


def lines(run: Path) -> dict[str, int]:
    """How many outcomes each stage's ledger holds."""
    return {path.parent.name: sum(1 for _ in read_outcomes(path, dict)) for path in run.glob("*/ledger")}


@pytest.mark.slow
async def test_killed_command_ends_with_the_same_bytes(recorded, tmp_path):
    """kill -9 at random moments, then the same command: tables and reports equal those of a run never killed."""
    began = time.monotonic()
    finish(recorded, tmp_path / "whole")
    seconds = time.monotonic() - began
    rng, killed = random.Random(7), 0
    for _ in range(6):
        process = start(recorded, tmp_path / "killed")
        try:
            process.wait(timeout=seconds * rng.uniform(0.3, 0.9))
        except subprocess.TimeoutExpired:
            before = lines(tmp_path / "killed")
            os.kill(process.pid, signal.SIGKILL)
            killed += 1
            process.communicate()
            after = lines(tmp_path / "killed")
            assert all(after[stage] >= count for stage, count in before.items())
    finish(recorded, tmp_path / "killed")
    assert killed and tables(tmp_path / "killed") == tables(tmp_path / "whole")


@pytest.mark.slow
async def test_ctrl_c_keeps_what_is_done_and_says_how_to_go_on(recorded, tmp_path):
    """A SIGINT to the whole process group drains, ends with 130 and one line that says to run the command again."""
    process = start([*recorded, "--concurrency", "1"], tmp_path / "run")
    while not (tmp_path / "run/3-solve/ledger/active.jsonl").exists():
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == Interrupted.exit_code
    assert "the same command to go on" in errors.decode() and "Traceback" not in errors.decode()
    finish(recorded, tmp_path / "run")


@pytest.mark.slow
async def test_second_process_on_a_run_is_refused(recorded, tmp_path):
    """While one process works in a run's folder, another is refused at once, with the pid that holds it."""
    first = start(recorded, tmp_path / "run")
    while not (tmp_path / "run/run.json").exists():
        time.sleep(0.02)
    second = start(recorded, tmp_path / "run")
    _, errors = second.communicate(timeout=60)
    first.communicate(timeout=120)
    assert second.returncode == RunLocked.exit_code and str(first.pid) in errors.decode()
    assert first.returncode == 0


@pytest.mark.slow
async def test_changed_setting_is_refused_by_name(recorded, tmp_path):
    """The same run with another n is refused, naming the key with its old and new value; nothing is touched."""
    finish(recorded, tmp_path / "run")
    before, recipe = tables(tmp_path / "run"), (tmp_path / "run/recipe.toml").read_bytes()
    changed = start([*recorded, "--n", "9"], tmp_path / "run")
    _, errors = changed.communicate(timeout=60)
    assert changed.returncode == SettingsChanged.exit_code and "n 4 -> 9" in errors.decode()
    assert tables(tmp_path / "run") == before and (tmp_path / "run/recipe.toml").read_bytes() == recipe
