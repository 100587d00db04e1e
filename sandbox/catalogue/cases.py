"""What an entry of the catalogue is: a program, the tests that it faces, and the verdicts that are true of it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import StrEnum
from textwrap import dedent

from sandbox.contract import Job, Limits, Status, Tier

QUICK = Limits(cpu_seconds=1.0, wall_seconds=10.0)
"""For what ends by itself."""

NOW = "@now@"
PASSING = frozenset({Status.PASS, Status.PASS_WEAK})
NUMPY = frozenset({"numpy"})


class Kind(StrEnum):
    """What a program is after. MUST_PASS is after nothing: it is right, and unusual. OWN attacks are made for this
    sandbox's design, the others harm any.
    """

    FORGE = "forge"
    READ = "read"
    WRITE = "write"
    NETWORK = "network"
    PROCESS = "process"
    KERNEL = "kernel"
    HANG = "hang"
    MUST_PASS = "must-pass"
    FLAKY = "flaky"
    OWN = "own"


ESCAPES = frozenset({Kind.READ, Kind.WRITE, Kind.NETWORK, Kind.PROCESS, Kind.KERNEL})


@dataclass(frozen=True, slots=True)
class Entry:
    """One program, and which statuses are true verdicts on it in the screen and in the split tier.

    `says` is a regular expression to be found in the verdict's detail. `before` is a program that the same worker runs
    just before. `needs` names what this machine must have: "numpy", a processor, a level.
    """

    name: str
    kind: Kind
    program: str
    tests: tuple[str, ...]
    screen: frozenset[Status]
    split: frozenset[Status]
    limits: Limits = QUICK
    says: str = ""
    before: str = ""
    second_seed: int | None = None
    needs: frozenset[str] = frozenset()

    @property
    def title(self) -> str:
        """The name with its kind, which is unique."""
        return f"{self.kind}: {self.name}"

    def allowed(self, tier: Tier) -> frozenset[Status]:
        """The true verdicts of a tier; what passes the screen and fails the split tier is disputed once both judge."""
        if tier is Tier.SCREEN:
            return self.screen
        if tier is Tier.SPLIT:
            return self.split
        judged = {Status.DISPUTED if status in _DISPUTABLE else status for status in self.split}
        return self.screen - PASSING | (judged if self.screen & PASSING else set())

    def job(self, tier: Tier) -> Job:
        """The job to run; NOW in the program becomes the time."""
        program = self.program.replace(NOW, repr(time.time()))
        return Job(program, self.tests, self.limits, tier=tier, second_seed=self.second_seed)


_DISPUTABLE = frozenset({Status.FAIL, Status.ERROR})  # a limit that was reached is no dispute


def text(source: str) -> str:
    """A program or test as it is written in a literal: without common indentation and outer empty lines."""
    return dedent(source).strip()


def statuses(*values: Status) -> frozenset[Status]:
    """A set of them."""
    return frozenset(values)
