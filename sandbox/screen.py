"""The first tier: program and tests in one process, one line about each test.

As isolated as any program, and quick: one fork, nothing crosses a codec. But what the program does to this process it
does to its judge: a pass here means only that the split verdict is worth its price. A failure is final, because a
program has no use for forging one.
"""

from __future__ import annotations

import os
import sys
import types
from dataclasses import dataclass
from typing import Any

import sandbox.stand_ins as stand_ins
from sandbox.candidate import MODULE, loaded, set_seed
from sandbox.compiler import unpack_snippet
from sandbox.contract import Status
from sandbox.failures import PROGRAM
from sandbox.grader import LOADED_MESSAGE, UNLOADED, Result, failed, raised, report
from sandbox.loans import library_claim
from sandbox.reports import Comparison
from sandbox.snippets import COMPARE, Snippet, from_program
from sandbox.wire import Frames

_PYTEST = stand_ins.pytest()


class Names(dict[str, Any]):
    """A test's globals: its own, and the program's as they are at the time of use."""

    def __init__(self, known: dict[str, Any], program: dict[str, Any], snippet: Snippet) -> None:
        super().__init__(known)
        self._program = program
        self._wanted = from_program(snippet.names, snippet.reserved, frozenset(program))
        self._reserved = snippet.reserved

    def __missing__(self, name: str) -> Any:
        value = self._program[name]
        if name in self._wanted or (name in self._reserved and library_claim(name, value) is not None):
            return value
        raise KeyError(name)


@dataclass(frozen=True, slots=True)
class Seat:
    """What a screen needs, made ahead of its process: making it there would copy more memory."""

    frames: Frames
    program: types.ModuleType


def ready(descriptor: int) -> Seat:
    """A seat at the socket on which the job comes and the results go."""
    return Seat(Frames(descriptor), types.ModuleType(MODULE))


def main(seat: Seat) -> None:
    """Judge, and end this process."""
    judge(seat)
    os._exit(0)


def judge(seat: Seat) -> None:
    """Load the program, run each test, report on the same socket as it goes."""
    sys.modules["pytest"] = _PYTEST
    frames, program = seat.frames, seat.program
    seed, part, *tests = frames.receive_job()
    set_seed(int(seed))
    sys.modules[MODULE] = program
    try:
        exec(loaded(part), program.__dict__)
    except BaseException as error:  # the program may raise anything while it loads
        frames.send([UNLOADED, *raised(error)])
        return
    frames.send_bytes(LOADED_MESSAGE)
    for test in tests:
        report(frames, *_judge(unpack_snippet(test), program.__dict__))


def _judge(snippet: Snippet, program: dict[str, Any]) -> Result:
    comparison = Comparison()
    known = {"__name__": "__test__", COMPARE: comparison.check}
    try:
        exec(snippet.code, Names(known, program, snippet))
    except AssertionError as error:
        return raised(error) if _by_program(error) else failed(error, snippet, comparison)
    except BaseException as error:  # a test may raise anything, and so may the program under it
        return raised(error)
    return Status.PASS, ""


def _by_program(error: AssertionError) -> bool:
    """Whether the program, and not the test, asserted."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_code.co_filename == PROGRAM
