"""One child of each kind, played out to see which pages of the zygote's memory several of them write to."""

from __future__ import annotations

import _socket
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from typing import NamedTuple

import sandbox.child as child
import sandbox.kernel as kernel
from sandbox.grader import LOADED_MESSAGE, PASS_MESSAGE
from sandbox.hotpages import Tools

Role = Callable[[], object]
_CLONE = kernel.clone(0)
_ID = 4  # bytes


@dataclass(frozen=True, slots=True)
class Play:
    """What children do, each returning at its end, and the job for it, of so many tests, which all pass."""

    screen: Role
    program: Role
    tests: Role
    job: bytes
    number: int


class Shared(NamedTuple):
    """The numbers of pages that several children write to: every child; beyond these, both of a pair."""

    every: set[int]
    pair: set[int]


class Unexpected(OSError):
    """A child did not do what it was to do."""


def shared(tools: Tools, fence: child.Fence, limited: child.Calls, play: Play, *, patience: float = 5.0) -> Shared:
    """What the screen, the program's process and the tests' process write to; OSError where they cannot be looked at,
    or say nothing for `patience` seconds.
    """
    # it could not be looked at if it became another user, and needs no locks
    open_fence = replace(fence, clone=_CLONE, rights=(), filters=(), layers=replace(fence.layers, filtered=False))
    with ExitStack() as stack:
        ours, screen_end = _pair(stack)
        our_verdict, verdict_end = _pair(stack)
        program_end, tests_end = _pair(stack)
        children = [
            stack.enter_context(_started(open_fence, limited, role, *doors))
            for role, *doors in (
                (play.screen, screen_end, None),
                (play.program, program_end, None),
                (play.tests, tests_end, verdict_end),
            )
        ]
        for channel in (ours, our_verdict):
            channel.settimeout(patience)
            channel.sendall(play.job)
        for end in (screen_end, verdict_end, program_end, tests_end):
            end.close()
        for channel in (ours, our_verdict):
            _await_passes(channel, play.number)
        screen, program, tests = tools.written(children)
        every = screen & program & tests
        return Shared(every, (program & tests) - every)


def _pair(stack: ExitStack) -> tuple[_socket.socket, _socket.socket]:
    one, other = _socket.socketpair()
    stack.callback(one.close)
    stack.callback(other.close)
    return one, other


@contextmanager
def _started(
    fence: child.Fence, limited: child.Calls, role: Role, link: _socket.socket, second: _socket.socket | None
) -> Iterator[int]:
    """A child that plays the role and then waits; its process id.

    Its parent is not this process but a copy of it, which starts it and touches nothing from then on. So what the child
    has for itself afterwards is what it wrote to: the rest it shares with its parent, whatever this process writes to.
    """
    ours, theirs = _socket.socketpair()
    with closing(ours):
        with closing(theirs):
            parent = kernel.make(_CLONE)
            if parent == 0:
                ours.close()
                doors = link.fileno(), None if second is None else second.fileno(), theirs.fileno()
                _start(fence, limited, role, doors)
        try:
            started = ours.recv(_ID)
            if len(started) != _ID:
                raise Unexpected("a trial did not start")
            yield int.from_bytes(started, "little")
        finally:
            ours.close()
            os.waitpid(parent, 0)


def _start(fence: child.Fence, limited: child.Calls, role: Role, doors: child.Doors) -> None:
    """Start the child; end it, and this process, when the other end of the last of the doors is closed."""
    channel = doors[-1]

    def play() -> None:
        role()
        os.read(child.OUTPUT, 1)

    try:
        started = child.start(play, fence, limited, doors)
        os.write(channel, started.to_bytes(_ID, "little"))
        os.read(channel, 1)
        os.kill(started, child.SIGKILL)
        os.waitpid(started, 0)
    finally:
        os._exit(0)


def _await_passes(channel: _socket.socket, number: int) -> None:
    expected = LOADED_MESSAGE + number * PASS_MESSAGE
    found = b""
    while len(found) < len(expected):
        piece = channel.recv(len(expected) - len(found))
        if not piece:
            break
        found += piece
    if found != expected:
        raise Unexpected("a trial did not pass")
