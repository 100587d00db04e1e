"""The zygote's eyes on a running round: time, output, deaths. Sleeps until something happens or a limit can have been
reached.
"""

from __future__ import annotations

import os
import select
import signal
import time
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
class Pair:
    """The process ids of a round: the program's and the tests'."""

    program: int
    tests: int


@dataclass(slots=True)
class _State:
    deadline: float
    cause: str = ""
    written: int = 0


def watch(pair: Pair, quota: Quota, output: int, control: int) -> dict[str, Any]:
    """Until the tests' process ends or has to be ended; nothing of the round is alive afterwards.

    Only the program's process is killed when it exceeds a limit, so that the tests' process can still say what was
    going on.
    """
    state = _State(time.monotonic() + quota.wall_seconds)
    program, tests = os.pidfd_open(pair.program), os.pidfd_open(pair.tests)
    poll = select.poll()
    for descriptor in (program, tests, output, control):
        poll.register(descriptor, select.POLLIN)
    while True:
        ready = {descriptor for descriptor, _ in poll.poll(1000 * _sleep(pair, quota, state))}
        if tests in ready:
            break
        if control in ready:
            _abandon(pair)
        if output in ready and not _drain(output, state):
            poll.unregister(output)
        if program in ready:
            poll.unregister(program)
            state.deadline = min(state.deadline, time.monotonic() + _LAST_WORDS)
        if not _within(pair, quota, state):
            break
    os.close(program)
    os.close(tests)
    return _end(pair, state, output)


def _sleep(pair: Pair, quota: Quota, state: _State) -> float:
    """Seconds in which no limit can be reached, whatever runs."""
    program = (quota.cpu_seconds - _cpu(pair.program)) / _PROCESSORS if not state.cause else quota.wall_seconds
    tests = quota.cpu_seconds + _GRADER_MARGIN - _cpu(pair.tests)
    return max(_SHORTEST_SLEEP, min(program, tests / _PROCESSORS, state.deadline - time.monotonic()))


def _within(pair: Pair, quota: Quota, state: _State) -> bool:
    """Whether the round may go on; kills the program at its first excess, and gives the tests' process a moment to
    report.
    """
    if _cpu(pair.tests) >= quota.cpu_seconds + _GRADER_MARGIN:
        state.cause = state.cause or TESTS_CPU
        return False
    excess = _excess(pair, quota, state)
    if excess and state.cause:
        return time.monotonic() < state.deadline
    if excess:
        state.cause = excess
        os.kill(pair.program, signal.SIGKILL)
        state.deadline = time.monotonic() + _LAST_WORDS
    return True


def _excess(pair: Pair, quota: Quota, state: _State) -> str:
    if time.monotonic() >= state.deadline:
        return WALL
    if state.written > quota.output_bytes:
        return OUTPUT
    return CPU if not state.cause and _cpu(pair.program) >= quota.cpu_seconds else ""


def _drain(output: int, state: _State) -> bool:
    """Take what was written; whether more can come."""
    count = len(os.read(output, _CHUNK))
    state.written += count
    return count > 0


def _cpu(pid: int) -> float:
    """Seconds of CPU time of another process, all its threads; its clock's number follows from its id."""
    return time.clock_gettime(~pid << 3 | 2)


def _abandon(pair: Pair) -> None:
    """The coordinator is gone or wants this to end."""
    for pid in (pair.program, pair.tests):
        os.kill(pid, signal.SIGKILL)
    os._exit(0)


def _end(pair: Pair, state: _State, output: int) -> dict[str, Any]:
    report: dict[str, Any] = {"cause": state.cause}
    for name, pid in (("tests", pair.tests), ("program", pair.program)):
        done, status, usage = os.wait4(pid, os.WNOHANG)
        died = done == pid
        if not died:
            os.kill(pid, signal.SIGKILL)
            _, status, usage = os.wait4(pid, 0)
        report[name] = status if died else None
        if name == "program":
            report["cpu"] = usage.ru_utime + usage.ru_stime
            report["peak_mb"] = usage.ru_maxrss / 1024
    return report
