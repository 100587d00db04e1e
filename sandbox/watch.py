"""The zygote's eyes on a running round: time, output, deaths. Sleeps until something happens or a limit can have been
reached.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Sequence, Set
from typing import Any

import sandbox.kernel as kernel
from sandbox.limits import Quota

_GRADER_MARGIN = 1.0
_LAST_WORDS = 5.0
_SHORTEST_SLEEP = 0.005
_CHUNK = 1 << 16
_PROCESSORS = os.cpu_count() or 1

CPU, WALL, OUTPUT, TESTS_CPU = "cpu", "wall", "output", "tests-cpu"


class Watch:
    """One round: what it may use, what it has used, what ended it.

    `program` and `tests` are process ids, one and the same where program and tests share a process.
    """

    def __init__(self, program: int, tests: int, quota: Quota, without: Sequence[str]) -> None:
        self._program, self._tests, self._alone = program, tests, program == tests
        self._quota = quota
        self._without = without
        self._deadline = time.monotonic() + quota.wall_seconds
        self._cause = ""
        self._written = 0

    def follow(self, output: int, ends: tuple[int, ...], readers: tuple[int, ...] = ()) -> bool:
        """Until the tests' process has ended or has to be ended; False if one of the descriptors `ends` spoke first.

        Where the other end of one of `readers` hangs up, it has been written more than allowed.
        """
        tests = os.pidfd_open(self._tests)
        program = tests if self._alone else os.pidfd_open(self._program)
        poll = select.poll()
        for descriptor in (tests, program, output, *ends):
            poll.register(descriptor, select.POLLIN)
        for descriptor in readers:
            poll.register(descriptor, 0)
        try:
            # most rounds end by themselves before a limit can be reached, so one look suffices
            ready = dict(poll.poll(1000 * min(self._quota.wall_seconds, self._quota.cpu_seconds / _PROCESSORS)))
            while ready.keys().isdisjoint(ends):
                if tests in ready or not self._goes_on(poll, ready.keys(), program, output, readers):
                    return True
                ready = dict(poll.poll(1000 * self._sleep()))
            return False
        finally:
            os.close(tests)
            if not self._alone:
                os.close(program)

    def _goes_on(self, poll: select.poll, ready: Set[int], program: int, output: int, readers: tuple[int, ...]) -> bool:
        """Take note of what happened; whether the round may go on."""
        if output in ready and not self._drain(output):
            poll.unregister(output)
        for descriptor in ready & set(readers):
            poll.unregister(descriptor)
            self._written = self._quota.output_bytes + 1
        if program in ready:
            poll.unregister(program)
            self._deadline = min(self._deadline, time.monotonic() + _LAST_WORDS)
        return self._within()

    def end(self) -> dict[str, Any]:
        """End and reap what is left of the round; what it used, and how each process ended by itself."""
        tests = None if self._alone else _reap(self._tests)[0]
        program, cpu, peak = _reap(self._program)
        statuses = {"program": program, "tests": program if self._alone else tests}
        return {"cause": self._cause, **statuses, "cpu": cpu, "peak_mb": peak / 1024}

    def _sleep(self) -> float:
        """Seconds in which no limit can be reached, whatever runs."""
        quota, left = self._quota, self._deadline - time.monotonic()
        if not self._cause:
            left = min(left, (quota.cpu_seconds - _cpu(self._program)) / _PROCESSORS)
        if not self._alone:
            left = min(left, (quota.cpu_seconds + _GRADER_MARGIN - _cpu(self._tests)) / _PROCESSORS)
        return max(_SHORTEST_SLEEP, left)

    def _within(self) -> bool:
        """Whether the round may go on; kills the program at its first excess, and gives the tests' process a moment to
        report.
        """
        if not self._alone and _cpu(self._tests) >= self._quota.cpu_seconds + _GRADER_MARGIN:
            self._cause = self._cause or TESTS_CPU
            return False
        excess = self._excess()
        if excess and self._cause:
            return time.monotonic() < self._deadline
        if excess:
            self._cause = excess
            os.kill(self._program, signal.SIGKILL)
            self._deadline = time.monotonic() + _LAST_WORDS
        return True

    def _excess(self) -> str:
        if time.monotonic() >= self._deadline:
            return WALL
        if self._written > self._quota.output_bytes and "output" not in self._without:
            return OUTPUT
        if self._cause or "clock" in self._without:
            return ""
        return CPU if _cpu(self._program) >= self._quota.cpu_seconds else ""

    def _drain(self, output: int) -> bool:
        """Take what was written; whether more can come."""
        count = len(os.read(output, _CHUNK))
        self._written += count
        return count > 0


def _cpu(pid: int) -> float:
    """Seconds of CPU time of another process, all its threads; its clock's number follows from its id."""
    return time.clock_gettime(~pid << 3 | 2)


def _reap(pid: int) -> tuple[int | None, float, int]:
    """The wait status of a process that ended by itself, None for one that had to be killed now; its seconds of CPU
    time and peak memory in KB.
    """
    done, status, cpu, peak = kernel.wait4(pid, os.WNOHANG)
    if done == pid:
        return status, cpu, peak
    os.kill(pid, signal.SIGKILL)
    _, _, cpu, peak = kernel.wait4(pid, 0)
    return None, cpu, peak
