"""Claims about the command line: its help, its errors, its exit codes."""

from __future__ import annotations

import asyncio
import errno
import os
import runpy
import shutil
import signal
import subprocess
import sys
from collections import deque
from pathlib import Path

import pytest
from fault_server import MODEL, Fault, FaultServer

from datagen import errors
from datagen.cli import COMMANDS, build_parser, main, unreachable

SCREEN_LINES, SCREEN_COLUMNS = 50, 110


def datagen(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, as a user types it."""
    command = [sys.executable, "-m", "datagen", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=120)


def help_of(name: str, capsys) -> str:
    with pytest.raises(SystemExit):
        build_parser().parse_args([name, "--help"])
    return capsys.readouterr().out


@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_a_screen_and_has_an_example(name, capsys):
    """Every command's --help is at most 50 lines of 110 columns and shows a command to type."""
    lines = help_of(name, capsys).splitlines()
    assert len(lines) <= SCREEN_LINES
    assert max(map(len, lines)) <= SCREEN_COLUMNS
    assert any(line.startswith(f"example: datagen {name}") for line in lines)


def test_command_reference_is_current():
    """docs/cli.md is what the commands print for --help, and the exit codes of the errors; `make docs` writes it."""
    folder = Path(__file__).parent.parent / "docs"
    page = runpy.run_path(str(folder / "write_cli.py"))["page"]
    assert (folder / "cli.md").read_text(encoding="utf-8") == page()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["questions", "--n", "3"], 2, "datagen questions --help"),
        (["solve", "--n", "many"], 2, "--n"),
        (["solve", "--n", "0"], 2, "Use 1 or more"),
        (["run", "dmeo"], 2, "demo"),
        (["run", "a" * 300], 3, "File name too long"),
        (["questions", "--recipe", "missing.toml"], 2, "missing.toml"),
        (["preview", "--rows", "0"], 2, "--rows: 0 is under 1"),
        (["preview", "--rows", "-1"], 2, "datagen preview --help"),
        (["run", "demo", "--target-rows", "-5"], 2, "--target-rows: -5 is under 0"),
        (["run", "demo", "--target-rows", "many"], 2, "invalid int value"),
        (["dedup"], 3, "datagen questions"),
        (["solve"], 3, "datagen dedup"),
        (["decontaminate"], 2, "--against"),
        (["push", "me/set"], 3, "datagen export"),
        (["status"], 3, "datagen questions"),
        (["questions", "--prompts", "nowhere"], 3, "nowhere"),
        (["questions", "--topics", "nowhere.toml"], 3, "nowhere.toml"),
        (["questions", "--topics", "."], 3, "Check the path"),
        (["export", "--license", "apache2"], 2, "apache-2.0"),
        (["eval"], 2, "--benchmarks"),
        (["eval", "--benchmarks", "humanevil"], 3, "humaneval"),
        (["eval", "--benchmarks", "interview", "--protocol", "fix", "--style", "chat"], 2, "plain"),
        (["eval", "--benchmarks", "interview", "--samples", "nowhere.jsonl"], 3, "nowhere.jsonl"),
        (["eval", "--benchmarks", "interview", "--exclude-items", "nowhere"], 3, "hits.parquet"),
        (["eval", "--benchmarks", "interview", "--engine", "replay", "--model", "x"], 2, "--style"),
        (["compare", "nowhere", "elsewhere"], 3, "datagen eval --model nowhere"),
    ],
)
def test_mistakes_end_in_one_line_and_a_documented_code(arguments, code, says, tmp_path):
    """A user's mistake prints one line that names what to type next, no traceback, and ends with its exit code."""
    ended = datagen(*arguments, cwd=tmp_path)
    assert ended.returncode == code
    assert says in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1 and "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["status", "--run", "locked/run"],
        ["dedup", "--run", "locked/run"],
        ["run", "locked/mine.toml"],
        ["questions", "--topics", "locked/mine.toml"],
        ["compare", "locked/one", "locked/other"],
        ["finetune", "locked/run", "--model", "demo-model"],
    ],
)
def test_folder_that_may_not_be_entered_ends_in_one_line(arguments, tmp_path):
    """A path within a folder that the user may not enter is named in one line, with the code of wrong inputs."""
    (tmp_path / "locked").mkdir(mode=0)
    rights = "-dac_override,-dac_read_search"  # with these, root may enter every folder
    without = ["setpriv", "--bounding-set", rights, "--inh-caps", rights] if os.geteuid() == 0 else []
    if without and (not shutil.which("setpriv") or subprocess.run([*without, "true"], check=False).returncode):
        pytest.skip("root cannot give up its rights here")
    command = [*without, sys.executable, "-m", "datagen", *arguments]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == errors.InputError.exit_code
    assert "locked" in ended.stderr and "Permission denied. Check the path" in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1


def test_errors_that_are_no_mistake_are_not_explained_away():
    """A full disk that no message of ours covers, or an error about no path, stays the error that it is."""
    for error in (OSError(errno.ENOSPC, "No space left", "here"), OSError(errno.EPERM, "Not permitted"), OSError("x")):
        with pytest.raises(OSError) as caught:
            unreachable(error)
        assert caught.value is error


async def test_interrupted_preview_promises_nothing(tmp_path):
    """A preview that is stopped says that nothing was kept, not that the same command goes on."""
    async with FaultServer(faults=deque([Fault(delay=600.0)])).running() as server:
        preview = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "datagen", "preview", "--engine", "server", "--base-url", server.url,
            "--model", MODEL, cwd=tmp_path, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        while not server.seen:
            await asyncio.sleep(0.02)
        preview.send_signal(signal.SIGINT)
        said = await preview.stderr.readuntil(b"press Ctrl-C again")
        preview.send_signal(signal.SIGINT)
        said += await preview.stderr.read()
    assert await preview.wait() == errors.Interrupted.exit_code
    assert b"nothing was kept of the preview" in said and b"same command" not in said


def test_dead_server_stops_with_its_address(tmp_path):
    """A server that does not answer ends the run with the engine's exit code and the address that was tried."""
    ended = datagen("questions", "--engine", "server", "--base-url", "http://127.0.0.1:9/v1", cwd=tmp_path)
    assert ended.returncode == errors.EngineUnavailable.exit_code
    assert "127.0.0.1:9" in ended.stderr and "Traceback" not in ended.stderr


def test_dry_run_prints_the_resolved_recipe(capsys, tmp_path):
    """--dry-run prints every setting as a recipe, flags applied, and touches nothing."""
    folder = tmp_path / "run"
    assert main(["run", "demo", "--n", "3", "--run", str(folder), "--dry-run"]) == 0
    assert "n = 3" in capsys.readouterr().out and not folder.exists()


def test_closed_pipe_is_no_error(tmp_path):
    """`datagen ... | head` ends quietly when the reader goes away."""
    command = f"{sys.executable} -m datagen run demo --dry-run | head -1"
    ended = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert ended.returncode == 0 and ended.stderr == ""


def test_exit_codes_are_distinct():
    """Every error of a user's has an exit code of its own."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and "exit_code" in vars(kind)]
    assert len({kind.exit_code for kind in kinds}) == len(kinds)
