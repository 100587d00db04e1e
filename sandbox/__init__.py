"""Runs untrusted Python programs against tests: isolated, limited, and with verdicts that a program cannot forge.

    from sandbox import Job, Pool

    async with Pool(workers=2) as pool:
        verdict = await pool.run(Job("def add(a, b): return a + b", ("assert add(1, 2) == 3",)))

`run(job)` is the plain call. Standard library only; see README.md for what is stopped, by which layer, and what is not.
"""

from __future__ import annotations

from sandbox.contract import Case, Compare, Job, Limits, SandboxError, ScriptJob, Status, TestResult, Tier, Verdict
from sandbox.pool import Pool, run
from sandbox.staging import run_siblings

__all__ = [
    "Case",
    "Compare",
    "Job",
    "Limits",
    "Pool",
    "SandboxError",
    "ScriptJob",
    "Status",
    "TestResult",
    "Tier",
    "Verdict",
    "run",
    "run_siblings",
]
