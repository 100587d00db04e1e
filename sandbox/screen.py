"""The first tier: program and tests in one process, one line about each test.

As isolated as any program, and quick: one fork, nothing crosses a codec. But what the program does to this process it
does to its judge: a pass here means only that the split verdict is worth its price. A failure is final, because a
program has no use for forging one.
"""

from __future__ import annotations

import marshal
import os
import sys
import types
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import sandbox.stand_ins as stand_ins
from sandbox.candidate import MODULE, SEEDED, loaded, set_seed
from sandbox.compiler import unpack_snippet
from sandbox.failures import PROGRAM
from sandbox.grader import LOADED_MESSAGE, PASS_MESSAGE, UNLOADED, Result, failed, raised, report
from sandbox.loans import library_claim
from sandbox.reports import Comparison
from sandbox.snippets import COMPARE, from_program
from sandbox.wire import Frames

_PYTEST = stand_ins.pytest()
_SEEDED = str(SEEDED).encode()


class Names(dict[str, Any]):
    """A test's globals: its own, and the program's as they are at the time of use."""

    __slots__ = ("program", "reserved", "wanted")

    program: dict[str, Any]
    wanted: frozenset[str]
    reserved: frozenset[str]

    def __missing__(self, name: str) -> Any:
        value = self.program[name]
        if name in self.wanted or (name in self.reserved and library_claim(name, value) is not None):
            return value
        raise KeyError(name)


@dataclass(frozen=True, slots=True)
class Seat:
    """What a screen needs, made ahead of its process: making it there would copy more memory."""

    frames: Frames
    program: types.ModuleType
    names: dict[str, Any]  # the program's
    comparison: Comparison


def ready(descriptor: int) -> Seat:
    """A seat at the socket on which the job comes and the results go."""
    program = types.ModuleType(MODULE)
    return Seat(Frames(descriptor), program, program.__dict__, Comparison())


def main(seat: Seat) -> None:
    """Judge, and end this process."""
    judge(seat)
    os._exit(0)


def judge(seat: Seat) -> None:
    """Load the program, run each test, report on the same socket as it goes."""
    sys.modules["pytest"] = _PYTEST
    frames, names = seat.frames, seat.names
    seed, part, *tests = frames.receive_job()
    if seed != _SEEDED:
        set_seed(int(seed))
    sys.modules[MODULE] = seat.program
    try:
        exec(loaded(part), names)
    except BaseException as error:  # the program may raise anything while it loads
        frames.send([UNLOADED, *raised(error)])
        return
    frames.send_bytes(LOADED_MESSAGE)
    for test in tests:
        result = _judge(test, names, seat.comparison)
        if result is None:
            frames.send_bytes(PASS_MESSAGE)
        else:
            report(frames, *result)


def _judge(test: bytes, program: dict[str, Any], comparison: Comparison) -> Result | None:
    """The result of one test unless it passes. Most do, in the fewest steps: each touches memory for the first time."""
    code, names, reserved, early, _ = marshal.loads(test)
    comparison.failed = None
    known = Names({"__name__": "__test__", COMPARE: comparison.check})
    known.program, known.reserved = program, reserved
    known.wanted = from_program(names, reserved, frozenset(program))
    for name in early:
        with suppress(KeyError):
            known[name] = known[name]
    try:
        exec(code, known)
    except AssertionError as error:
        return raised(error) if _by_program(error) else failed(error, unpack_snippet(test), comparison)
    except BaseException as error:  # a test may raise anything, and so may the program under it
        return raised(error)
    return None


def _by_program(error: AssertionError) -> bool:
    """Whether the program, and not the test, asserted."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_code.co_filename == PROGRAM
