"""A loopback server that speaks the OpenAI protocol and fails on command: what a test queues, it does."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

MODEL = "tiny"


@dataclass
class Fault:
    """One misbehaviour: a status with headers and a body, a delay before it, or the connection cut within the body."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    cut: bool = False
    raw: bytes | None = None


def answer(body: dict[str, Any]) -> dict[str, Any]:
    """What a sound server answers: n texts, each of which tells its seed, and the tokens used."""
    n, chat = body.get("n", 1), "messages" in body
    prompt = body["messages"][-1]["content"] if chat else body["prompt"]
    texts = [f"{prompt}|{body['seed'] + i}" for i in range(n)]
    parts = [{"message": {"role": "assistant", "content": text}} if chat else {"text": text} for text in texts]
    choices = [{"index": i, "finish_reason": "stop"} | part for i, part in enumerate(parts)]
    return {"choices": choices, "usage": {"prompt_tokens": 7, "completion_tokens": 3 * n}}


def ignoring_n(body: dict[str, Any]) -> dict[str, Any]:
    """A server that knows no n: one text, whatever was asked for."""
    return answer(body | {"n": 1})


@dataclass
class FaultServer:
    """`faults` are used up one per request; then `respond` answers. `seen` holds the bodies of all requests."""

    respond: Callable[[dict[str, Any]], Any] = answer
    models: Any = field(default_factory=lambda: {"data": [{"id": MODEL}]})
    models_status: int = 200
    faults: deque[Fault] = field(default_factory=deque)
    seen: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    url: str = ""
    port: int = 0
    frozen: bool = False
    writers: set[asyncio.StreamWriter] = field(default_factory=set)
    listening: asyncio.Server | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[FaultServer]:
        """The server on a free port while the body runs."""
        await self.start()
        try:
            yield self
        finally:
            self.die()

    async def start(self) -> None:
        """Listens, on the port that it had before."""
        self.listening = await asyncio.start_server(self._connection, "127.0.0.1", self.port)
        self.port = self.listening.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"

    def die(self) -> None:
        """Stops listening and cuts all connections, as a killed process does."""
        if self.listening is not None:
            self.listening.close()
        for writer in list(self.writers):
            writer.transport.abort()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.add(writer)
        try:
            while request := await reader.readline():
                headers = await _headers(reader)
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                if not await self._reply(request.decode(), headers, body, writer):
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.writers.discard(writer)
            writer.close()

    async def _reply(self, request: str, headers: dict[str, str], body: bytes, writer: asyncio.StreamWriter) -> bool:
        """Answers; False if the connection is to be closed. Frozen, it takes all and says nothing."""
        while self.frozen:
            await asyncio.sleep(0.01)
        if request.startswith("GET"):
            self.headers.append(headers)
            writer.write(_response(Fault(self.models_status, self.models)))
            return True
        self.seen.append(json.loads(body))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        fault = self.faults.popleft() if self.faults else Fault(body=self.respond(self.seen[-1]))
        await asyncio.sleep(fault.delay)
        self.in_flight -= 1
        response = _response(fault)
        writer.write(response[:-9] if fault.cut else response)
        await writer.drain()
        return not fault.cut


async def _headers(reader: asyncio.StreamReader) -> dict[str, str]:
    headers = {}
    while line := (await reader.readline()).decode().strip():
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return headers


def _response(fault: Fault) -> bytes:
    content = json.dumps(fault.body).encode() if fault.raw is None else fault.raw
    headers = {"Content-Type": "application/json", "Content-Length": str(len(content))} | fault.headers
    lines = [f"HTTP/1.1 {fault.status} X", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode() + content
