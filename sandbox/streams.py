"""The user's process at its ends of the sockets: never blocks, and reads no more of a program than it has room for."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from sandbox.wire import MAX_FRAME, Closed, cut

_CHUNK = 1 << 16


class Meter:
    """Counts what several streams of one process bring together."""

    def __init__(self, most: int) -> None:
        self._left = most
        self.exceeded = False

    async def read(self, channel: socket.socket, keep: int | None = None) -> bytes:
        """All that comes, or its last `keep` bytes; closes the stream once it is too much."""
        loop, data = asyncio.get_running_loop(), bytearray()
        with suppress(ConnectionResetError):
            while not self.exceeded and (part := await loop.sock_recv(channel, _CHUNK)):
                data += part
                self._left -= len(part)
                self.exceeded = self._left < 0
                if keep is not None:
                    del data[:-keep]
        if self.exceeded:
            with suppress(OSError):
                channel.shutdown(socket.SHUT_RDWR)
        return bytes(data)


async def send(channel: socket.socket, data: bytes) -> None:
    """Write all of it, or as much as the other end lives to read: how it ended is told elsewhere."""
    with suppress(BrokenPipeError, ConnectionResetError):
        try:
            sent = channel.send(data)  # most fits at once
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            await asyncio.get_running_loop().sock_sendall(channel, memoryview(data)[sent:])


async def feed(channel: socket.socket, data: bytes) -> None:
    """Write all of it, then say that no more comes."""
    await send(channel, data)
    with suppress(OSError):
        channel.shutdown(socket.SHUT_WR)


async def receive_parts(channel: socket.socket, count: int) -> list[bytes]:
    """A message of `count` parts; Closed if the other end sends anything else."""
    head = await _exactly(channel, 4 + 4 * count)
    announced, *sizes = struct.unpack(f">{count + 1}I", head)
    if announced != count or sum(sizes) > MAX_FRAME:
        raise Closed("not an answer")
    return cut(await _exactly(channel, sum(sizes)), sizes)


async def _exactly(channel: socket.socket, size: int) -> bytes:
    loop, data = asyncio.get_running_loop(), bytearray()
    while len(data) < size:
        try:
            part = await loop.sock_recv(channel, size - len(data))
        except ConnectionResetError as error:
            raise Closed(str(error)) from error
        if not part:
            raise Closed("end of stream")
        data += part
    return bytes(data)


async def read_all(channel: socket.socket, most: int) -> bytes:
    """What a process writes until it is gone, or until it has written too much."""
    loop, data = asyncio.get_running_loop(), bytearray()
    with suppress(ConnectionResetError):
        while len(data) < most and (part := await loop.sock_recv(channel, _CHUNK)):
            data += part
    return bytes(data)


def left(channel: socket.socket, most: int) -> bytes:
    """What lies in the channel of a process that is gone."""
    data = bytearray()
    with suppress(BlockingIOError, ConnectionResetError):
        while len(data) < most and (part := channel.recv(_CHUNK)):
            data += part
    return bytes(data)


async def together(*coroutines: Coroutine[Any, Any, Any]) -> list[Any]:
    """All results; if one fails, or this is cancelled, none goes on."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
