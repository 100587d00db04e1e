"""The tests' process: has the other process load the program, runs the tests on handles, reports one result per test.

Only this process holds the verdict's channel, and nothing of the program runs in it. Everything that arrives from the
program goes through the codec's strict decoder.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Any, NamedTuple, cast

import sandbox.stand_ins as stand_ins
from sandbox.candidate import LIBRARY, LIVE
from sandbox.compiler import unpack_snippet
from sandbox.contract import Status
from sandbox.failures import guarded, text_of
from sandbox.handles import Handles, covers_assertions
from sandbox.link import Link
from sandbox.loans import attribute, call, genuine, parameters, set_attribute, special
from sandbox.reports import Comparison, describe_failure, show
from sandbox.snippets import COMPARE, Snippet, from_program
from sandbox.wire import Closed, Frames, ProtocolError, pack, pack_trusted

DETAIL_LENGTH = 500
_FRESH_SECONDS = 0.01
LOADED, RESULT, UNLOADED, DIED = "loaded", "result", "unloaded", "died"
LOADED_NODE: list[Any] = [LOADED]
PASS_NODE: list[Any] = [RESULT, Status.PASS.value, ""]
LOADED_MESSAGE, PASS_MESSAGE = pack(LOADED_NODE), pack(PASS_NODE)
_SERVED: dict[str, Callable[..., object]] = {
    "call": call, "special": special, "get": attribute, "set": set_attribute, "parameters": parameters,
}  # fmt: skip

_PYTEST = stand_ins.pytest()
_PASS = Status.PASS  # a look into an enumeration touches some eight pages of a child's memory

Result = tuple[Status, str]


class Program:
    """The program, as the tests reach it; remembers whether its own judgement took part, and whether it is lost."""

    def __init__(self, frames: Frames) -> None:
        handles = Handles()
        handles.asker = self
        self._link = Link(frames, handles, partial(_serve, handles), first=0)
        self.weak = False
        self.lost: Closed | ProtocolError | None = None
        self._read: dict[str, Any] = {}
        self._fresh_until = 0.0

    def begin_test(self) -> None:
        """Start afresh: no shared containers, nothing weak."""
        self._link.forget()
        self.weak = False
        self._fresh_until = 0.0

    def read(self, name: str) -> Any:
        """A global of the program's, NameError if there is none. Two looks find the same unless the program was asked
        for something else in between, or its threads had time: an answer of its own to each look would judge itself.
        """
        now, fresh_until = monotonic(), self._fresh_until
        if now >= fresh_until:
            self._read.clear()
            fresh_until = now + _FRESH_SECONDS
        if name not in self._read:
            self._read[name] = self.ask("global", name)
            fresh_until = monotonic() + _FRESH_SECONDS  # from the answer on, however long it took
        self._fresh_until = fresh_until
        return self._read[name]

    def ask(self, operation: str, *values: object) -> Any:
        """Have the program do something; raises what it raised. Once the program is lost, every question says so."""
        if self.lost is not None:
            raise self.lost
        self._fresh_until = 0.0
        try:
            return self._link.ask(operation, *values)
        except (Closed, ProtocolError) as error:
            self.lost = error
            raise
        except StopIteration as error:
            # would end an iteration of the test's own, as in all(map(check, cases)), and leave the rest unchecked
            if operation == "next":
                raise
            raise RuntimeError("the program raised StopIteration") from error


def _serve(handles: Handles, operation: str, values: list[Any]) -> object:
    """Only on what a test lent: plain data has methods too, and `str.format` reads any attribute of its arguments."""
    if not handles.has_lent(values[operation == "special"]):  # whose first value is the method's name
        raise AttributeError("nothing that a test lent")
    try:
        return _SERVED[operation](*values)
    except AssertionError:
        handles.asker.weak = True  # the program may keep it to itself
        raise


class Names(dict[str, Any]):
    """A test's globals; the program's plain data is fetched when it is used, for calls may change it."""

    def __init__(self, known: Mapping[str, Any], program: Program, live: frozenset[str]) -> None:
        super().__init__(known)
        self._program = program
        self._live = live

    def __missing__(self, name: str) -> Any:
        if name not in self._live:
            raise KeyError(name)
        try:
            return self._program.read(name)
        except NameError as error:
            raise KeyError(name) from error


class Scene(NamedTuple):
    """What tests that name the same names find: what is known of them before, which of them are asked for at each use,
    and whether the program's own judgement takes part by that alone.
    """

    known: dict[str, Any]
    live: frozenset[str]
    weak: bool


Scenes = dict[tuple[frozenset[str], frozenset[str]], Scene]
"""By what tests name, and what of it is Python's own: most tests of a job name the same function."""


@dataclass(frozen=True, slots=True)
class Seat:
    """What a tests' process needs, made ahead of it: making it there would copy more memory."""

    program: Program
    channel: Frames


def ready(descriptor: int, verdict: int) -> Seat:
    """A seat between the program's process and the verdict's channel."""
    return Seat(Program(Frames(descriptor, encode=pack_trusted)), Frames(verdict))


def main(seat: Seat) -> None:
    """Read the job from the verdict's channel, run it, report on the same channel."""
    gc.disable()  # a collection would touch, and so copy, much of the zygote's memory
    try:
        judge(seat)
    except Closed:
        os._exit(1)
    os._exit(0)


def judge(seat: Seat) -> None:
    """One job, from the verdict's channel back to it; Closed if nobody is there to read the results."""
    sys.modules["pytest"] = _PYTEST
    seed, part, *tests = seat.channel.receive_job()
    snippets = [unpack_snippet(test) for test in tests]
    run(seat.program, seat.channel, part, snippets, int(seed))


def run(program: Program, channel: Frames, part: bytes, snippets: list[Snippet], seed: int) -> None:
    """All tests in their order, or one report that the program does not load; stops where the program dies."""
    names = frozenset[str]().union(*(snippet.names for snippet in snippets))
    try:
        claims = cast("Any", program.ask("load", part, seed, tuple(sorted(names))))
    except (Closed, ProtocolError) as error:
        channel.send([DIED, UNLOADED, _lost(error)])
    except BaseException as error:  # the program may raise anything while it loads
        channel.send([UNLOADED, *raised(error)])
    else:
        channel.send_bytes(LOADED_MESSAGE)
        _run_tests(program, channel, snippets, claims)


def report(channel: Frames, status: Status, detail: str) -> None:
    """One test's result."""
    if status is _PASS:
        channel.send_bytes(PASS_MESSAGE)
    else:
        channel.send([RESULT, status.value, detail[:DETAIL_LENGTH]])


def _run_tests(program: Program, channel: Frames, snippets: list[Snippet], claims: Any) -> None:
    scenes: Scenes = {}
    for snippet in snippets:
        status, detail = _run_test(program, snippet, scenes, claims)
        if program.lost is not None:
            channel.send([DIED, RESULT, _lost(program.lost)])
            return
        report(channel, status, detail)


def _run_test(program: Program, snippet: Snippet, scenes: Scenes, claims: Any) -> Result:
    program.begin_test()
    comparison = Comparison()
    try:
        exec(snippet.code, _namespace(program, snippet, scenes, claims, comparison))
    except AssertionError as error:
        if hasattr(error, "_sandbox_line"):
            return raised(error)
        return failed(error, snippet, comparison)
    except BaseException as error:  # a test may raise anything, and so may the program under it
        return raised(error)
    return (Status.PASS_WEAK if program.weak else Status.PASS), ""


def _namespace(program: Program, snippet: Snippet, scenes: Scenes, claims: Any, comparison: Comparison) -> Names:
    key = snippet.names, snippet.reserved
    scene = scenes.get(key)
    if scene is None:
        scene = scenes[key] = _scene(program, *key, claims)
    program.weak = scene.weak
    names = Names(scene.known, program, scene.live)
    names[COMPARE] = comparison.check
    for name in snippet.early & scene.live:
        with suppress(KeyError):
            names[name] = names[name]
    return names


def _scene(program: Program, names: frozenset[str], reserved: frozenset[str], claims: Any) -> Scene:
    defined = {name: (kind, value) for name, kind, value in claims if type(name) is str and name in names}
    wanted = from_program(names, reserved, frozenset(defined))
    known: dict[str, Any] = {"__name__": "__test__"}
    for name, (kind, value) in defined.items():
        if kind == LIBRARY:
            known[name] = genuine(name, value)
        elif kind != LIVE and name in wanted:
            known[name] = value
    live = wanted if wanted - reserved else frozenset(name for name in wanted if defined[name][0] == LIVE)
    weak = program.weak or any(map(covers_assertions, known.values()))  # a claim's kind may be an object that answers
    return Scene({name: value for name, value in known.items() if value is not None}, live, weak)


def failed(error: AssertionError, snippet: Snippet, comparison: Comparison) -> Result:
    """The result of a test whose assertion did not hold."""
    return Status.FAIL, guarded(partial(describe_failure, error, snippet, comparison))


def raised(error: BaseException) -> Result:
    """The result of a test, or of loading, that ended in an exception."""
    status = Status.MEMORY if isinstance(error, MemoryError) else Status.ERROR
    return status, guarded(lambda: text_of(error))


def _lost(error: Closed | ProtocolError) -> str:
    return "" if isinstance(error, Closed) else f"the program broke the protocol: {show(str(error))}"
