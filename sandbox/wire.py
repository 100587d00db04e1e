"""Frames on a descriptor: a four-byte length and that many bytes.

What comes from a program's process is JSON, and never pickle or marshal, for it may be hostile: the parser cannot be
made to build anything but plain data. What comes from a process that no program runs in is marshalled, which is
cheaper.
"""

from __future__ import annotations

import marshal
import os
import struct
from collections.abc import Callable, Sequence
from itertools import accumulate
from json import JSONDecoder
from json.encoder import c_make_encoder, encode_basestring_ascii  # type: ignore[attr-defined]  # what json.dumps calls

MAX_FRAME = 32 << 20
_HEADER = 4
_CHUNK, _MOST = 1 << 13, 1 << 20  # bytes per read: at least, so that small messages come together, and at most

Node = None | bool | int | float | str | list["Node"]

_size = struct.Struct(">I").unpack
Encode = Callable[[Node], bytes]
Decode = Callable[[bytes], Node]


class Closed(Exception):
    """The other end is gone."""


class ProtocolError(Exception):
    """The other end sent something that is not in the protocol."""


class TooLarge(Exception):
    """A message of ours would be larger than the other end takes."""


class Frames:
    """Messages over one stream socket; blocking, one reader. Both directions are JSON unless something else is given:
    `encode` for what is sent, `decode` for what is received.
    """

    def __init__(self, descriptor: int, *, encode: Encode | None = None, decode: Decode | None = None) -> None:
        self._descriptor = descriptor
        self._buffer = b""
        self._encode = encode or pack
        self._decode = decode or unpack

    def send(self, message: Node) -> None:
        """Write one message; Closed if nobody is left to read it, TooLarge before anything is written."""
        self._write(self._encode(message))

    def _write(self, data: bytes) -> None:
        try:
            written = os.write(self._descriptor, data)
            if written < len(data):  # a signal interrupted it: else a blocking socket takes all
                self._write(data[written:])
        except OSError as error:
            raise Closed(str(error)) from error

    def more(self) -> bool:
        """Wait for the next message; False if the stream ends instead, Closed if it cannot be read."""
        if not self._buffer:
            self._buffer = self._read(_CHUNK)
        return self._buffer != b""

    def receive(self) -> Node:
        """Read one message; Closed at the end of the stream, ProtocolError if it is not one."""
        data = self._buffer
        if len(data) < _HEADER:
            data = self._fill(data, _HEADER)
        end = _HEADER + int.from_bytes(data[:_HEADER], "big")
        if end > _HEADER + MAX_FRAME:
            raise ProtocolError(f"a message of {end - _HEADER} bytes")
        if len(data) < end:
            data = self._fill(data, end)
        self._buffer = data[end:]
        return self._decode(data[_HEADER:end])

    def send_parts(self, parts: Sequence[bytes]) -> None:
        """Write several pieces of bytes as one message."""
        self._write(pack_parts(parts))

    def send_bytes(self, message: bytes) -> None:
        """Write a message that `pack` made."""
        self._write(message)

    def receive_job(self) -> list[bytes]:
        """Read what `pack_job` wrote, and not a byte more. Only for what comes from the user's process."""
        (size,) = _size(self._exactly(4))
        return marshal.loads(self._exactly(size))  # type: ignore[no-any-return]  # by pack_job

    def _exactly(self, size: int) -> bytes:
        data = os.read(self._descriptor, size)
        while len(data) < size:
            part = os.read(self._descriptor, size - len(data))
            if not part:
                raise Closed("end of stream")
            data += part
        return data

    def _fill(self, data: bytes, size: int) -> bytes:
        """What is there and what follows it, so many bytes at least."""
        parts, missing = [data], size - len(data)
        while missing > 0:
            part = self._read(min(max(_CHUNK, missing), _MOST))
            if not part:
                raise Closed("end of stream")
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def _read(self, size: int) -> bytes:
        try:
            return os.read(self._descriptor, size)
        except OSError as error:
            raise Closed(str(error)) from error


def pack(message: Node) -> bytes:
    """One message with its length in front."""
    data = "".join(_chunks(message, 0)).encode()
    if len(data) > MAX_FRAME:
        raise TooLarge(f"{len(data) >> 20} MB")
    return len(data).to_bytes(4, "big") + data


def pack_job(parts: Sequence[bytes]) -> bytes:
    """Several pieces of bytes as one message, which a fresh process can read by next to no code of its own."""
    data = marshal.dumps(list(parts))
    return len(data).to_bytes(4, "big") + data


def pack_trusted(message: Node) -> bytes:
    """One message, with its length in front, of a process that no program runs in."""
    try:
        data = marshal.dumps(message)
    except ValueError as error:
        raise RecursionError("nested too deeply") from error
    if len(data) > MAX_FRAME:
        raise TooLarge(f"{len(data) >> 20} MB")
    return len(data).to_bytes(4, "big") + data


unpack_trusted: Decode = marshal.loads
"""What `pack_trusted` made."""


def pack_parts(parts: Sequence[bytes]) -> bytes:
    """Several pieces of bytes as one message: their number, their lengths, themselves."""
    sizes = [len(part) for part in parts]
    return struct.pack(f">{len(parts) + 1}I", len(parts), *sizes) + b"".join(parts)


def cut(data: bytes, sizes: Sequence[int]) -> list[bytes]:
    """The pieces of the given lengths."""
    ends = list(accumulate(sizes))
    return [data[end - size : end] for end, size in zip(ends, sizes, strict=True)]


def unpack(data: bytes) -> Node:
    """The JSON of one message; objects are not part of the protocol."""
    try:
        text = data.decode("utf-8", "surrogatepass")
        node: Node
        node, end = _scan(text, 0)
    except (ValueError, RecursionError, StopIteration) as error:
        raise ProtocolError(f"not a message: {type(error).__name__}") from error
    if end != len(text):
        raise ProtocolError("not a message: something follows it")
    return node


def _no_objects(pairs: list[tuple[str, object]]) -> Node:
    raise ValueError("an object")


# what json.dumps(message, separators=(",", ":")) makes anew each time
_chunks = c_make_encoder(None, None, encode_basestring_ascii, None, ":", ",", False, False, True)
_scan = JSONDecoder(object_pairs_hook=_no_objects).scan_once  # type: ignore[attr-defined]  # what its decode() calls
