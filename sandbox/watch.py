"""The zygote's eyes on a running round: time, output, deaths. Sleeps until something happens or a limit can have been
reached.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sandbox.limits import Quota

_GRADER_MARGIN = 1.0
_LAST_WORDS = 5.0
_SHORTEST_SLEEP = 0.005
_CHUNK = 1 << 16
_PROCESSORS = os.cpu_count() or 1

CPU, WALL, OUTPUT, TESTS_CPU = "cpu", "wall", "output", "tests-cpu"


@dataclass(frozen=True, slots=True)
class Processes:
    """The process ids of a round: the program's and the tests', which are one where they share a process."""

    program: int
    tests: int

    @property
    def alone(self) -> bool:
        """Whether the program is the only process."""
        return self.program == self.tests


class Watch:
    """One round: what it may use, what it has used, what ended it."""

    def __init__(self, processes: Processes, quota: Quota, without: Sequence[str]) -> None:
        self._processes = processes
        self._quota = quota
        self._without = without
        self._deadline = time.monotonic() + quota.wall_seconds
        self._cause = ""
        self._written = 0

    def follow(self, output: int, ends: tuple[int, ...], readers: tuple[int, ...] = ()) -> bool:
        """Until the tests' process has ended or has to be ended; False if one of the descriptors `ends` spoke first.

        Where the other end of one of `readers` hangs up, it has been written more than allowed.
        """
        tests = os.pidfd_open(self._processes.tests)
        program = tests if self._processes.alone else os.pidfd_open(self._processes.program)
        try:
            return self._follow(tests, program, output, ends, readers)
        finally:
            for descriptor in {tests, program}:
                os.close(descriptor)

    def _follow(self, tests: int, program: int, output: int, ends: tuple[int, ...], readers: tuple[int, ...]) -> bool:
        poll = select.poll()
        for descriptor in (tests, program, output, *ends):
            poll.register(descriptor, select.POLLIN)
        for descriptor in readers:
            poll.register(descriptor, 0)
        while True:
            ready = {descriptor for descriptor, _ in poll.poll(1000 * self._sleep())}
            if not ready.isdisjoint(ends):
                return False
            if tests in ready:
                return True
            if output in ready and not self._drain(output):
                poll.unregister(output)
            for descriptor in ready.intersection(readers):
                poll.unregister(descriptor)
                self._written = self._quota.output_bytes + 1
            if program in ready:
                poll.unregister(program)
                self._deadline = min(self._deadline, time.monotonic() + _LAST_WORDS)
            if not self._within():
                return True

    def end(self) -> dict[str, Any]:
        """End and reap what is left of the round; what it used, and how each process ended by itself."""
        report: dict[str, Any] = {"cause": self._cause}
        tests, program = self._processes.tests, self._processes.program
        if not self._processes.alone:
            report["tests"], _ = _reap(tests)
        report["program"], usage = _reap(program)
        report.setdefault("tests", report["program"])
        return {**report, "cpu": usage.ru_utime + usage.ru_stime, "peak_mb": usage.ru_maxrss / 1024}

    def _sleep(self) -> float:
        """Seconds in which no limit can be reached, whatever runs."""
        quota, left = self._quota, self._deadline - time.monotonic()
        if not self._cause:
            left = min(left, (quota.cpu_seconds - _cpu(self._processes.program)) / _PROCESSORS)
        if not self._processes.alone:
            left = min(left, (quota.cpu_seconds + _GRADER_MARGIN - _cpu(self._processes.tests)) / _PROCESSORS)
        return max(_SHORTEST_SLEEP, left)

    def _within(self) -> bool:
        """Whether the round may go on; kills the program at its first excess, and gives the tests' process a moment to
        report.
        """
        if not self._processes.alone and _cpu(self._processes.tests) >= self._quota.cpu_seconds + _GRADER_MARGIN:
            self._cause = self._cause or TESTS_CPU
            return False
        excess = self._excess()
        if excess and self._cause:
            return time.monotonic() < self._deadline
        if excess:
            self._cause = excess
            os.kill(self._processes.program, signal.SIGKILL)
            self._deadline = time.monotonic() + _LAST_WORDS
        return True

    def _excess(self) -> str:
        if time.monotonic() >= self._deadline:
            return WALL
        if self._written > self._quota.output_bytes and "output" not in self._without:
            return OUTPUT
        if self._cause or "clock" in self._without:
            return ""
        return CPU if _cpu(self._processes.program) >= self._quota.cpu_seconds else ""

    def _drain(self, output: int) -> bool:
        """Take what was written; whether more can come."""
        count = len(os.read(output, _CHUNK))
        self._written += count
        return count > 0


def _cpu(pid: int) -> float:
    """Seconds of CPU time of another process, all its threads; its clock's number follows from its id."""
    return time.clock_gettime(~pid << 3 | 2)


def _reap(pid: int) -> tuple[int | None, Any]:
    """The wait status of a process that ended by itself, None for one that had to be killed now; what it used."""
    done, status, usage = os.wait4(pid, os.WNOHANG)
    if done == pid:
        return status, usage
    os.kill(pid, signal.SIGKILL)
    _, _, usage = os.wait4(pid, 0)
    return None, usage
