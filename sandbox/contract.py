"""What goes into the sandbox and what comes out: plain values that a caller can store, compare and print.

A program that fails is a value (`Verdict`); a sandbox that fails is an exception (`SandboxError`). Neither ever turns
into the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar


class Status(StrEnum):
    """How a test, or a whole program, ended.

    PASS: every statement of the test held, on values that the program cannot fake. PASS_WEAK: it held, but an
    equality that the program itself defines took part. FAIL: an assertion did not hold. ERROR: anything else was
    raised, or the program died. TIMEOUT, MEMORY, OUTPUT: the limit of that name was reached.
    """

    PASS = "pass"
    PASS_WEAK = "pass-weak"
    FAIL = "fail"
    ERROR = "error"
    TIMEOUT = "timeout"
    MEMORY = "memory"
    OUTPUT = "output"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one program may use: seconds of its CPU clock, seconds of the wall clock, MB of address space, processes and
    threads, KB written to stdout and stderr together, MB in its temporary folder.
    """

    cpu_seconds: float = 2.0
    wall_seconds: float = 20.0
    memory_mb: int = 512
    processes: int = 64
    output_kb: int = 1024
    file_mb: int = 16


@dataclass(frozen=True, slots=True)
class Job:
    """A program and its tests: each test is a snippet of Python that asserts something about names which the program
    defines.

    `seed` is the hash seed and the seed of `random`: the same job under two seeds shows a program that depends on
    either.
    """

    program: str
    tests: tuple[str, ...]
    limits: Limits = Limits()
    seed: int = 0


@dataclass(frozen=True, slots=True)
class TestResult:
    """How one test ended; `detail` is for people: "got 3, expected 4", "ZeroDivisionError: ... (line 3)"."""

    __test__: ClassVar[bool] = False

    status: Status
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a job ended: one result per test, in the order of the tests, and what the program used.

    `status` is PASS only if there was a test and every one passed; PASS_WEAK if all passed and at least one did so
    weakly; else the status of the first test that did not pass (ERROR for a job without tests).
    """

    status: Status
    tests: tuple[TestResult, ...]
    detail: str = ""
    cpu_seconds: float = 0.0
    peak_memory_mb: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether every test passed, weakly or not."""
        return self.status in (Status.PASS, Status.PASS_WEAK)


class SandboxError(Exception):
    """The sandbox itself is broken or cannot start here; the message says what, and what to do next.

    Never raised for what a program does.
    """
