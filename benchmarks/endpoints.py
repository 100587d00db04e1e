"""Several endpoints as one engine: the wall time over that of servers which never idle, and what a death costs.

    python -m benchmarks.endpoints [--requests 600] [--repetitions 3]

Servers on loopback, all in one process of their own, answer a fixed number of requests at once, each after a fixed
time, and let the others wait: what a model's server does, without the model. The least that N requests can take is
N x seconds / places, whoever distributes them. The client is the engine of `--base-url`, with its health checks. The
endpoint that dies does so when half of the answers are there, with what it had in hand; the least is then reckoned
for the places that are left from that moment, the lost work done again included.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.pages import machine, markdown, tell
from datagen.config import EngineConfig
from datagen.engines import open_engine
from datagen.models import Request, Sampling

MODEL = "model"
SECONDS, PLACES = 0.2, 16


@dataclass(frozen=True, slots=True)
class Case:
    """Endpoints by their places; `dying`: the last one dies in the middle."""

    title: str
    places: tuple[int, ...]
    dying: bool = False

    def least(self, requests: int) -> float:
        """Seconds that the requests take if no place is ever empty."""
        if not self.dying:
            return requests * SECONDS / sum(self.places)
        lost = self.places[-1] / 2  # in hand at its death, and half done
        return requests * SECONDS / 2 / sum(self.places) + (requests / 2 + lost) * SECONDS / sum(self.places[:-1])


CASES = (
    Case("one endpoint", (PLACES,)),
    Case("two endpoints", (PLACES, PLACES)),
    Case("four endpoints", (PLACES,) * 4),
    Case("two endpoints, one of them half as large", (PLACES, PLACES // 2)),
    Case("two endpoints, one dies half-way", (PLACES, PLACES), dying=True),
)


# -- servers ---------------------------------------------------------------------------------------------------------


class Endpoint:
    """A server with so many places; speaks enough of the OpenAI protocol for completions and a list of models."""

    def __init__(self, places: int) -> None:
        self._places = asyncio.Semaphore(places)
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> int:
        """Its port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def die(self) -> None:
        """Cut every connection, take none."""
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while line := await reader.readline():
                length = 0
                while header := (await reader.readline()).strip():
                    name, _, value = header.partition(b":")
                    length = int(value) if name.lower() == b"content-length" else length
                await reader.readexactly(length)
                writer.write(_response(await self._answer(line)))
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, line: bytes) -> dict[str, Any]:
        if line.startswith(b"GET"):
            return {"object": "list", "data": [{"id": MODEL, "object": "model", "created": 0, "owned_by": ""}]}
        async with self._places:
            await asyncio.sleep(SECONDS)
        return {
            "choices": [{"index": 0, "text": "pass", "finish_reason": "stop", "logprobs": None}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        }


def _response(body: dict[str, Any]) -> bytes:
    content = json.dumps(body).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


def _host(places: Sequence[int], pipe: Connection) -> None:
    """Serve until the other end of the pipe is closed; a number that comes there is an endpoint to end."""

    async def serve() -> None:
        endpoints = [Endpoint(count) for count in places]
        pipe.send([await endpoint.start() for endpoint in endpoints])
        loop, over = asyncio.get_running_loop(), asyncio.Event()

        def told() -> None:
            try:
                endpoints[pipe.recv()].die()
            except EOFError:
                loop.remove_reader(pipe.fileno())
                over.set()

        loop.add_reader(pipe.fileno(), told)
        await over.wait()

    asyncio.run(serve())


@contextmanager
def hosted(places: Sequence[int]) -> Iterator[tuple[list[int], Callable[[int], None]]]:
    """The ports of endpoints in a process of their own, and the way to end one."""
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_host, args=(places, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours.recv(), ours.send
    finally:
        ours.close()
        process.join(10)


# -- the client ------------------------------------------------------------------------------------------------------


async def played(case: Case, requests: int) -> float:
    """Seconds from the first request to the last answer; as many in flight as a run would have."""
    with hosted(case.places) as (ports, end):
        urls = tuple(f"http://127.0.0.1:{port}/v1" for port in ports)
        engine = await open_engine(EngineConfig(engine="server", model=MODEL, base_url=urls, concurrency=4 * PLACES))
        answered, start = 0, time.monotonic()
        waiting = iter(range(requests))

        async def lane() -> None:
            nonlocal answered
            for seed in waiting:
                await engine.complete(Request(prompt="def f():", sampling=Sampling(max_tokens=1, seed=seed)))
                answered += 1
                if case.dying and answered == requests // 2:
                    end(len(ports) - 1)

        try:
            await asyncio.gather(*(lane() for _ in range(4 * PLACES * len(ports))))
        finally:
            await engine.close()
        if answered != requests:
            raise RuntimeError(f"{answered} answers to {requests} requests")
        return time.monotonic() - start


def report(requests: int, seconds: dict[str, list[float]]) -> str:
    """A table of medians."""
    rows = [
        [case.title, f"{case.least(requests):.2f}", f"{took:.2f}", f"{took / case.least(requests):.2f}"]
        for case in CASES
        for took in [statistics.median(seconds[case.title])]
    ]
    return markdown(["", "least, s", "took, s", "took / least"], rows)


def main() -> None:
    """Reads the command line, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--requests", type=int, default=600)
    parser.add_argument("--repetitions", type=int, default=3)
    options = parser.parse_args()
    seconds: dict[str, list[float]] = {case.title: [] for case in CASES}
    for number in range(options.repetitions):
        for case in CASES:
            seconds[case.title].append(asyncio.run(played(case, options.requests)))
            tell(f"{number + 1}/{options.repetitions} {case.title}: {seconds[case.title][-1]:.2f} s")
    print(f"{machine()}; {options.requests} requests, medians of {options.repetitions}\n")
    print(report(options.requests, seconds))


if __name__ == "__main__":
    main()
