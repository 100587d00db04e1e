"""Claims about decontamination's judge by the command itself: the demo model, through real vLLM.

The demo model has never seen such a question and writes neither yes nor no. What it shows is that whatever a real
model writes is kept apart, reported and not asked again.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from datagen.ledger import read_outcomes
from datagen.stages.judge import UNRESOLVED, Judged, parsed

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

ITEMS = (
    "Write a function that returns the largest element of a list of integers.",
    "Return how many vowels a string contains.",
    "Given a list of numbers, compute the sum of the squares of the even ones.",
)
ROWS = (
    "A teacher has a list with the marks of her pupils as integers. Find the largest one.",
    "Write a function that counts the vowels in a sentence, a string given by the user.",
    "Read a list of numbers and return the sum of the cubes of the odd ones.",
    "Simulate clouds drifting over mountains.",
    ITEMS[0],
)
"""Other words, other words, another task, nothing alike, a copy."""


def command(address: str, folder: Path, rows: int) -> list[str]:
    """Decontamination of the first so many of a table's rows, whose questions repeat with other numbers."""
    folder.mkdir(exist_ok=True)
    texts = [ROWS[number % len(ROWS)] + f" Case {number}." * (number >= len(ROWS)) for number in range(rows)]
    for name, questions in (("bench", ITEMS), ("my", texts)):
        lines = (json.dumps({"id": f"{name}{number}", "question": text}) for number, text in enumerate(questions))
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    return [
        sys.executable, "-m", "datagen", "decontaminate", str(folder / "my.jsonl"), "--against",
        str(folder / "bench.jsonl"), "--judge", "--judge-near", "2", "--judge-similarity", "0.1", "--engine", "server",
        "--base-url", address, "--judge-model", "served", "--concurrency", "1",
    ]  # fmt: skip


def finish(address: str, folder: Path, rows: int) -> str:
    ended = subprocess.run(command(address, folder, rows), capture_output=True, text=True, check=False, timeout=280)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def ledger(folder: Path) -> Path:
    return folder / ".my-decontaminated.verify/verify/judge/ledger"


async def test_what_a_real_model_writes_is_kept_apart(vllm_server: str, tmp_path: Path):
    """Each doubt has the two answers that the model wrote, and what the rule makes of them. A row without a clear one
    is dropped as unresolved, with the answers; the copy as contaminated, unasked; the row that is like nothing stays.
    """
    printed = finish(vllm_server, tmp_path / "t", len(ROWS))
    found = [outcome for outcome in read_outcomes(ledger(tmp_path / "t"), Judged) if outcome.final]
    judged = [outcome.kept[0] for outcome in found]
    assert judged and all(len(one.said) == 2 for one in judged)
    for outcome, one in zip(found, judged, strict=True):
        texts = [call.completion.samples[0] for call in outcome.attempts.calls]
        assert all(sample.text for sample in texts) and outcome.usage.completion_tokens > 0
        cut = [sample.finish_reason == "length" and "\n" not in sample.text.strip() for sample in texts]
        first, second = (parsed(sample.text) for sample in texts)
        assert one.answer == (first if first == second and not any(cut) else UNRESOLVED)
    results = tmp_path / "t/my-decontaminated"
    dropped, kept = (pl.read_parquet(results / f"{name}.parquet") for name in ("dropped", "kept"))
    reasons = dict(dropped.select("source_id", "reason").iter_rows())
    open_rows = {f"my{one.source_id}" for one in judged if one.answer == UNRESOLVED}
    assert open_rows and reasons == dict.fromkeys(open_rows, UNRESOLVED) | {"my4": "contaminated"}
    assert "my4" not in {f"my{one.source_id}" for one in judged} and "my3" in kept["id"].to_list()
    told = dropped.filter(pl.col("reason") == UNRESOLVED)["detail"]
    assert all(any(" | ".join(one.said) in detail for one in judged) for detail in told)
    counted = sum(one.answer == UNRESOLVED for one in judged)
    assert f"judge: {len(judged)} pairs asked about" in printed and f"{counted} unresolved" in printed


async def test_killed_it_goes_on_from_its_ledger(vllm_server: str, tmp_path: Path):
    """kill -9 while it asks, then the same command: what was answered is not asked again, and the tables are those of a
    command that nobody killed.
    """
    rows = 30
    finish(vllm_server, tmp_path / "whole", rows)
    folder = tmp_path / "killed"
    started = subprocess.Popen(
        command(vllm_server, folder, rows), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    active = ledger(folder) / "active.jsonl"
    while started.poll() is None and not (active.exists() and active.read_bytes().count(b"\n") > 3):
        time.sleep(0.002)
    os.killpg(started.pid, signal.SIGKILL)
    started.wait()
    before = active.read_bytes()
    assert not (folder / "my-decontaminated").exists()
    finish(vllm_server, folder, rows)
    lines = active.read_bytes().splitlines()
    asked = [json.loads(line)["source_id"] for line in lines]
    whole = before.splitlines() if before.endswith(b"\n") else before.splitlines()[:-1]
    assert 3 < len(whole) < len(lines) and lines[: len(whole)] == whole and len(set(asked)) == len(asked)
    for name in ("kept", "dropped", "hits"):
        same = [tmp_path / place / f"my-decontaminated/{name}.parquet" for place in ("whole", "killed")]
        assert same[0].read_bytes() == same[1].read_bytes()
