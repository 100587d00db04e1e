"""Judges scripts: programs that read stdin and write stdout, one fresh process for each case.

The process gets the code and its input, and nothing else: what it should write stays here, where its output is
compared once it is gone. An exit code other than 0 is an error whatever was written before.
"""

from __future__ import annotations

import os
from typing import Protocol

from sandbox.compare import mismatch, printable
from sandbox.contract import Case, Limits, ScriptJob, Status, TestResult, Verdict
from sandbox.judge import MAX_SOURCE, STRIKES, Usage, conclude, death, how, limit, passed, stable, while_loading
from sandbox.script import MARK
from sandbox.sources import Compiled
from sandbox.watch import OUTPUT, WALL
from sandbox.worker import Output

_LIMITS = frozenset({Status.TIMEOUT, Status.MEMORY, Status.OUTPUT})
_DETAIL_LENGTH = 500
_LAST_LINE = 160


class Stage(Protocol):
    """Where a script is compiled and run."""

    async def compile_script(self, job: ScriptJob) -> Compiled:
        """The script as code, or why it is none."""

    async def script(self, code: bytes, stdin: bytes, seed: int, limits: Limits) -> Output:
        """One run on one input."""


async def judge_script(job: ScriptJob, stage: Stage) -> Verdict:
    """The verdict on a script: one result per case, of the comparison that the job asks for.

    After two cases that reached a limit, or one that used up the wall clock, the others are given up.
    """
    if len(job.program) > MAX_SOURCE:
        return _same_for_all(job, TestResult(Status.ERROR, f"the program exceeds {MAX_SOURCE >> 20} MB"))
    if not job.cases:
        return _same_for_all(job, TestResult(Status.ERROR))
    code = await stage.compile_script(job)
    if isinstance(code, TestResult):
        return _same_for_all(job, while_loading(code))
    usage = Usage()
    results = await _under(job.seed, job, code, stage, usage)
    if passed(results) and job.second_seed is not None:
        results = [stable(result) for result in await _under(job.second_seed, job, code, stage, usage)]
    return conclude(results, usage, "case")


def to_bytes(text: str) -> bytes:
    """What a script reads, or has to write, in UTF-8; surrogates that stand for bytes (PEP 383) become these bytes."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a surrogate that stands for no byte
        return text.encode("utf-8", "surrogatepass")


def _same_for_all(job: ScriptJob, result: TestResult) -> Verdict:
    return conclude([result] * len(job.cases), None, "case")


async def _under(seed: int, job: ScriptJob, code: bytes, stage: Stage, usage: Usage) -> list[TestResult]:
    """One result per case, of one seed."""
    results: list[TestResult] = []
    strikes = 0
    for case in job.cases:
        output = await stage.script(code, to_bytes(case.stdin), seed, job.limits)
        usage.add(output.ending)
        results.append(_result(output, case, job))
        strikes += _strikes(results[-1], output)
        if strikes >= STRIKES:
            break
    unrun = TestResult(results[-1].status, f"not run after case {len(results)}: {results[-1].detail}")
    return results + [unrun] * (len(job.cases) - len(results))


def _strikes(result: TestResult, output: Output) -> int:
    if output.ending.cause == WALL:
        return STRIKES
    return 1 if result.status in _LIMITS else 0


def _result(output: Output, case: Case, job: ScriptJob) -> TestResult:
    """The result of one run."""
    reached = limit(OUTPUT if output.too_much else output.ending.cause, job.limits)
    if reached is not None:
        return reached
    if output.ending.program_status != 0:
        return _failure(output)
    difference = mismatch(output.stdout, to_bytes(case.stdout), job.compare, job.tolerance)
    return TestResult(Status.FAIL, difference[:_DETAIL_LENGTH]) if difference else TestResult(Status.PASS)


def _failure(output: Output) -> TestResult:
    """The result of a run that did not end with exit code 0."""
    status = output.ending.program_status
    if status is None or not os.WIFEXITED(status):
        return death(status)
    before, marked, report = output.stderr.rpartition(MARK)
    if not marked:
        return TestResult(Status.ERROR, how(status) + _last_line(before or report))
    detail = printable(report.partition(b"\n")[0].decode("utf-8", "replace"), _DETAIL_LENGTH)
    return TestResult(Status.MEMORY if detail.startswith("MemoryError") else Status.ERROR, detail)


def _last_line(stderr: bytes) -> str:
    line = stderr.rstrip().rpartition(b"\n")[2].decode("utf-8", "replace")
    return f" (stderr ends in: {printable(line, _LAST_LINE)})" if line else ""
