"""Frames on a descriptor: a four-byte length and that many bytes of JSON.

JSON, and never pickle or marshal, because the other end may be hostile: its parser cannot be made to build anything
but plain data.
"""

from __future__ import annotations

import json
import os
from json import JSONEncoder

MAX_FRAME = 32 << 20
_CHUNK = 1 << 13

Node = None | bool | int | float | str | list["Node"]

_dump = JSONEncoder(separators=(",", ":"), check_circular=False).encode


class Closed(Exception):
    """The other end is gone."""


class ProtocolError(Exception):
    """The other end sent something that is not in the protocol."""


class TooLarge(Exception):
    """A message of ours would be larger than the other end takes."""


class Frames:
    """Messages over one stream socket; blocking, one reader."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._buffer = b""

    def send(self, message: Node) -> None:
        """Write one message; Closed if nobody is left to read it, TooLarge before anything is written."""
        view = memoryview(pack(message))
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError as error:
            raise Closed(str(error)) from error

    def receive(self) -> Node:
        """Read one message; Closed at the end of the stream, ProtocolError if it is not one."""
        size = int.from_bytes(self._take(4), "big")
        if size > MAX_FRAME:
            raise ProtocolError(f"a message of {size} bytes")
        return unpack(self._take(size))

    def _take(self, size: int) -> bytes:
        if len(self._buffer) < size:
            self._buffer = self._fill(size)
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken

    def _fill(self, size: int) -> bytes:
        parts, have = [self._buffer], len(self._buffer)
        while have < size:
            try:
                part = os.read(self._descriptor, max(_CHUNK, size - have))
            except OSError as error:
                raise Closed(str(error)) from error
            if not part:
                raise Closed("end of stream")
            parts.append(part)
            have += len(part)
        return b"".join(parts)


def pack(message: Node) -> bytes:
    """One message with its length in front."""
    data = _dump(message).encode()
    if len(data) > MAX_FRAME:
        raise TooLarge(f"{len(data) >> 20} MB")
    return len(data).to_bytes(4, "big") + data


def unpack(data: bytes) -> Node:
    """The JSON of one message; objects are not part of the protocol."""
    try:
        return json.loads(data, object_pairs_hook=_no_objects)  # type: ignore[no-any-return]  # JSON without objects is a Node
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"not a message: {type(error).__name__}") from error


def _no_objects(pairs: list[tuple[str, object]]) -> Node:
    raise ValueError("an object")
