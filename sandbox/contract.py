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

    PASS: every statement of the test held, on values that the program cannot fake. PASS_WEAK: it held, but the
    program's own judgement took part, such as an equality that it defines, or a test of the job may run what the
    program gives it as code (`eval`, `pickle`). FAIL: an assertion did not hold. ERROR: anything else was raised, or
    the program died. TIMEOUT, MEMORY, OUTPUT: the limit of that name was reached.
    DISPUTED: it held in the program's own process, and did not once the tests had a process of their own: the program
    tampers with its judge, or the test looks closer at an object than a handle allows. FLAKY: it held under the first
    seed and not under the second.
    """

    PASS = "pass"
    PASS_WEAK = "pass-weak"
    FAIL = "fail"
    ERROR = "error"
    TIMEOUT = "timeout"
    MEMORY = "memory"
    OUTPUT = "output"
    DISPUTED = "disputed"
    FLAKY = "flaky"


class Tier(StrEnum):
    """How hard a program is judged.

    SCREEN: tests and program share a process, which is as isolated as any: fast, final for what fails, and forgeable,
    so that a pass means little. SPLIT: tests and program have a process each; a pass cannot be forged. FULL: the
    screen, and for a program that passes all of it the split verdict.
    """

    SCREEN = "screen"
    SPLIT = "split"
    FULL = "full"


class Compare(StrEnum):
    """When a script's output is right.

    EXACT: byte for byte. WHITESPACE: the same words on the same lines; blanks between and around words and empty lines
    at the end do not count. FLOAT: as WHITESPACE, and words that are numbers are equal within a tolerance, relative
    or absolute; two integers have to be equal.
    """

    EXACT = "exact"
    WHITESPACE = "whitespace"
    FLOAT = "float"


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

    `seed` is the hash seed and the seed of `random`. With `second_seed`, a program that passes runs again under that
    seed: what then fails is FLAKY.
    """

    program: str
    tests: tuple[str, ...]
    limits: Limits = Limits()
    seed: int = 0
    tier: Tier = Tier.FULL
    second_seed: int | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """What a script reads from stdin, and what it has to write to stdout."""

    stdin: str
    stdout: str


@dataclass(frozen=True, slots=True)
class ScriptJob:
    """A program that runs as a script, once for each case, in a fresh process each time; limits are per case.

    `tolerance` is for `Compare.FLOAT`. `seed` and `second_seed` are as in a Job.
    """

    program: str
    cases: tuple[Case, ...]
    limits: Limits = Limits()
    seed: int = 0
    second_seed: int | None = None
    compare: Compare = Compare.WHITESPACE
    tolerance: float = 1e-6


@dataclass(frozen=True, slots=True)
class TestResult:
    """How one test ended; `detail` is for people: "got 3, expected 4", "ZeroDivisionError: ... (line 3)"."""

    __test__: ClassVar[bool] = False

    status: Status
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a job ended: one result per test (or case), in their order, and what the program used: seconds of CPU time of
    its processes together, MB of resident memory of the largest.

    In a FULL job that failed the screen, the single tests' PASS are the screen's. `status` is PASS only if there was a
    test and every one passed; PASS_WEAK if all passed and at least one did so weakly; else the status of the first test
    that did not pass (ERROR for a job without tests).
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
