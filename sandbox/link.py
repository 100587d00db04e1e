"""Calls between the two processes: one asks, the other answers, and while answering may ask back.

Requests nest like calls in one process, so a single stream suffices: whoever waits for an answer serves what arrives
before it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from sandbox.codec import Codec, Objects
from sandbox.failures import read_failure, write_failure
from sandbox.wire import Frames, Node, ProtocolError, TooLarge

Serve = Callable[[str, list[Any]], object]

_ASK, _ASK_AFRESH, _ANSWER, _FAILED, _FAILED_AFRESH = "q", "Q", "a", "x", "X"
_LENGTHS = {_ASK: 4, _ASK_AFRESH: 4, _ANSWER: 3, _FAILED: 3, _FAILED_AFRESH: 2}


class Link:
    """One end of the stream. `serve` carries out what the other end asks; `first` is 0 at the leading end, else 1."""

    def __init__(self, frames: Frames, objects: Objects, serve: Serve, first: int) -> None:
        self._frames = frames
        self._objects = objects
        self._serve = serve
        self._codec = Codec(objects, first)
        self._afresh = False
        self._turn = threading.RLock()
        self._answering = 0
        self._leads = first == 0

    def forget(self) -> None:
        """Share no container from before with what is asked next."""
        self._afresh = True

    def ask(self, operation: str, *values: object) -> object:
        """Have the other end carry out an operation; returns what it returned or raises what it raised.

        Any thread may ask, one at a time; where this end follows, only while it owes the other an answer.
        """
        with self._turn:
            if not self._leads and not self._answering:
                raise RuntimeError("the test that this belongs to is over")
            return self._ask(operation, *values)

    def _ask(self, operation: str, *values: object) -> object:
        kind = _ASK_AFRESH if self._afresh else _ASK
        if self._afresh:
            self._codec.forget()
        self._afresh = True  # holds if encoding fails half-way
        self._frames.send([kind, operation, *self._codec.encode_message(values)])
        self._afresh = False
        while True:
            message = _message(self._frames.receive())
            if message[0] in (_ASK, _ASK_AFRESH):
                self._answer(message)
            else:
                return self._result(message)

    def serve_forever(self) -> None:
        """Answer until the other end closes the stream; Closed if it does so within a message."""
        while self._frames.more():
            self._answer(_message(self._frames.receive()))

    def _result(self, message: list[Any]) -> object:
        if message[0] == _ANSWER:
            _, changes, nodes = message
            values = self._codec.decode_message(changes, nodes)
            if len(values) != 1:
                raise ProtocolError("not one result")
            return values[0]
        if message[0] == _FAILED_AFRESH:
            self._codec.forget()
            raise read_failure(message[1], self._codec, self._objects)
        if message[0] != _FAILED:
            raise ProtocolError("not an answer")
        self._codec.decode_message(message[1], [])
        raise read_failure(message[2], self._codec, self._objects)

    def _answer(self, message: list[Any]) -> None:
        kind, operation, changes, nodes = message
        if kind == _ASK_AFRESH:
            self._codec.forget()
        self._answering += 1
        try:
            result = self._serve(operation, self._codec.decode_message(changes, nodes))
        except BaseException as error:  # whatever code of the other end's choice raises belongs to the other end
            with self._turn:
                self._answering -= 1
                self._send_failure(error)
            return
        with self._turn:
            self._answering -= 1
            self._send_result(result)

    def _send_result(self, result: object) -> None:
        try:
            self._frames.send([_ANSWER, *self._codec.encode_message((result,))])
        except (TooLarge, RecursionError, MemoryError) as error:
            reason = "is too large" if isinstance(error, TooLarge) else "is nested too deeply or too large"
            self._give_up(ValueError(f"the result {reason} to be checked"))

    def _send_failure(self, error: BaseException) -> None:
        try:
            changes, _ = self._codec.encode_message(())
            self._frames.send([_FAILED, changes, write_failure(error, self._codec, self._objects)])
        except (TooLarge, RecursionError, MemoryError):
            self._give_up(error)

    def _give_up(self, error: BaseException) -> None:
        """Report a failure with nothing in it that could be too much, and start sharing afresh."""
        self._codec.forget()
        self._frames.send([_FAILED_AFRESH, write_failure(error, None, self._objects)])


def _message(node: Node) -> list[Any]:
    if type(node) is not list or not node or type(node[0]) is not str:
        raise ProtocolError("not a message")
    if len(node) != _LENGTHS.get(node[0]):
        raise ProtocolError("not a message")
    return node
