"""A process on a machine that refuses: puts a filter around itself, then runs the catalogue and a few more programs at
one level of the ladder.

Started by test_sandbox_ladder.py, as any user, with any interpreter that has the package on its path: needs nothing of
pytest. Prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from dataclasses import dataclass

from sandbox import Job, Pool, SandboxError, Tier, kernel, seccomp, syscalls
from sandbox.catalogue import CATALOGUE, Kind
from sandbox.catalogue.cases import ESCAPES
from sandbox.catalogue.runner import Fault, applicable, run_catalogue
from sandbox.catalogue.traces import children

NAMESPACES = ("unshare", "mount", "umount2", "pivot_root", "mount_setattr")
LANDLOCK = ("landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self")
_NEW_NAMESPACE = 0x7E020000
_ENOSYS = 38
_PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True)
class Plan:
    level: str
    errors: dict[str, int]  # what the machine answers to which call
    powerless: bool  # a root without rights
    catalogue: bool  # whether to run it
    programs: dict[str, str]  # by name; each defines f()


def refuse(errors: dict[str, int]) -> None:
    """Have the kernel answer these calls with these errors, and any new namespace with EPERM, for good."""
    code = [(0x20, 0, 0, 0)]
    for name, error in {**errors, "clone3": _ENOSYS}.items():
        code += [(0x15, 0, 1, syscalls.number(name)), (0x06, 0, 0, 0x00050000 | error)]
    allow = (0x06, 0, 0, 0x7FFF0000)
    new_namespace = [(0x20, 0, 0, 16), (0x45, 0, 1, _NEW_NAMESPACE), (0x06, 0, 0, 0x00050001)]
    code += [(0x15, 0, 3, syscalls.number("clone")), *new_namespace, allow]
    kernel.make(kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1))
    kernel.make(seccomp.enter(code))


async def outcomes(plan: Plan) -> dict[str, object]:
    """What was wrong with which entry, how the programs ended, and what is left of it all."""
    wanted = ESCAPES | {Kind.MUST_PASS}
    chosen = [entry for entry in applicable(CATALOGUE, plan.level) if entry.kind in wanted]
    found = await run_catalogue(chosen, plan.level, Tier.FULL, 1) if plan.catalogue else []
    return {
        "ran": len(found),
        "faults": {o.entry.title: o.describe() for o in found if o.fault is not Fault.NONE},
        "programs": await verdicts(plan),
        "processes": await remaining(),
        "files": os.listdir(os.environ["TMPDIR"]),
    }


async def verdicts(plan: Plan) -> dict[str, str]:
    """The detail of each program's verdict, which is empty if it passes."""
    async with Pool(workers=1, levels=(plan.level,)) as pool:
        jobs = {name: Job(program, ("f()",)) for name, program in plan.programs.items()}
        return {name: (await pool.run(job)).detail for name, job in jobs.items()}


async def remaining() -> int:
    """How many processes are left, orphans of orphans included, once those that are about to end have."""
    end = time.monotonic() + 5
    while (count := len(children(os.getpid()))) and time.monotonic() < end:
        await asyncio.sleep(0.01)
    return count


def main(text: str) -> None:
    """Carry out the plan."""
    plan = Plan(**json.loads(text))
    kernel.make(kernel.prctl(_PR_SET_CHILD_SUBREAPER, 1))
    if plan.powerless:
        kernel.make(kernel.drop_capabilities())
    refuse(plan.errors)
    try:
        result = asyncio.run(outcomes(plan))
    except SandboxError as error:
        result = {"broken": str(error)}
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1])
