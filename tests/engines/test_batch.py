"""The batch engine against a loopback provider: one file for many requests, and nothing paid for twice."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from batch_server import BatchServer
from fault_server import MODEL, ignoring_n

from datagen.config import EngineConfig
from datagen.engines import open_engine
from datagen.engines.batch import Batched, Waits
from datagen.errors import EngineUnavailable, RequestFailed, UsageError
from datagen.models import Message, Request, Sampling

CONFIG = EngineConfig(engine="batch", model=MODEL, retries=2, concurrency=1000)


async def no_wait(seconds: float) -> None:
    """Stands in for the clock between tries."""


@asynccontextmanager
async def opened(server: BatchServer):
    """An engine on a provider that runs."""
    engine = Batched(CONFIG, server.url, waits=Waits(0.05, 0.02), sleep=no_wait)
    await engine.take_up()
    try:
        yield engine
    finally:
        await engine.close()


def asked(seed: int, n: int = 1) -> Request:
    return Request((Message("user", "hi"),), Sampling(n=n, seed=seed))


async def texts(engine: Batched, *requests: Request) -> list[str]:
    found = await asyncio.gather(*(engine.complete(request) for request in requests))
    return [sample.text for completion in found for sample in completion.samples]


async def test_many_requests_are_one_batch():
    """What is asked together is sent as one file, and each request gets its own answer."""
    async with BatchServer().running() as server, opened(server) as engine:
        assert await texts(engine, *map(asked, range(50))) == [f"hi|{seed}" for seed in range(50)]
    assert len(server.batches) == 1 and len(server.seen) == 50


async def test_raw_prompts_and_messages_are_batches_of_their_own():
    """A batch has one endpoint, so the two kinds of requests go in two."""
    async with BatchServer().running() as server, opened(server) as engine:
        found = await texts(engine, asked(1), Request(prompt="def f(", sampling=Sampling(seed=2)))
    assert found == ["hi|1", "def f(|2"]
    assert sorted(b["endpoint"] for b in server.batches.values()) == ["/v1/chat/completions", "/v1/completions"]


async def test_a_provider_that_ignores_n_is_asked_again_for_the_rest():
    """Missing samples are lines of a next batch, with the seeds that they would have had."""
    async with BatchServer(respond=ignoring_n).running() as server, opened(server) as engine:
        assert await texts(engine, asked(10, n=3)) == ["hi|10", "hi|11", "hi|12"]
    assert len(server.batches) == 2


async def test_a_driver_that_starts_again_sends_nothing_twice():
    """Batches that another driver left, in progress or ended, answer the requests that they hold."""
    async with BatchServer(holding=True).running() as server:
        async with opened(server) as engine:
            asking = asyncio.ensure_future(texts(engine, *map(asked, range(20))))
            while not server.batches:
                await asyncio.sleep(0.01)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        async with opened(server) as engine:
            asking = asyncio.ensure_future(texts(engine, *map(asked, range(30))))
            await asyncio.sleep(0.2)
            server.holding = False
            assert await asking == [f"hi|{seed}" for seed in range(30)]
        assert len(server.batches) == 2 and len(server.seen) == 30
        async with opened(server) as engine:
            assert await texts(engine, *map(asked, range(30))) == [f"hi|{seed}" for seed in range(30)]
        assert len(server.batches) == 2


async def test_batches_of_another_model_are_left_alone():
    """What another model was asked answers nothing here."""
    async with BatchServer().running() as server:
        async with opened(server) as engine:
            await texts(engine, asked(1))
        server.batches["batch-0"]["metadata"]["datagen"] = "other"
        async with opened(server) as engine:
            await texts(engine, asked(1))
    assert len(server.batches) == 2


@pytest.mark.parametrize("end", ["expired", "cancelled"])
async def test_what_a_batch_leaves_unanswered_is_sent_again(end):
    """A batch that ends early costs a try, not its requests."""
    async with BatchServer(ends=[end]).running() as server, opened(server) as engine:
        assert await texts(engine, asked(1), asked(2)) == ["hi|1", "hi|2"]
    assert len(server.batches) == 2


async def test_a_line_that_fails_fails_alone():
    """A refused line fails its request with the provider's words; one that met an overload is sent again."""
    async with BatchServer(line_faults={1: 400, 2: 500}).running() as server, opened(server) as engine:
        found = await asyncio.gather(*(engine.complete(asked(seed)) for seed in range(4)), return_exceptions=True)
    assert isinstance(found[1], RequestFailed) and "told to fail with 400" in str(found[1])
    assert [found[seed].samples[0].text for seed in (0, 2, 3)] == ["hi|0", "hi|2", "hi|3"]


async def test_whatever_json_lets_stand_in_a_text_stays_there():
    """An answer may hold, as they are, characters at which Python sees the end of a line; a restart reads it, too."""
    text = "a\u2028b\u2029c\x85d|e"
    async with BatchServer().running() as server:
        for _ in range(2):
            async with opened(server) as engine:
                asking = Request((Message("user", text),), Sampling(seed=1))
                assert await texts(engine, asking, asked(2)) == [f"{text}|1", "hi|2"]
    assert len(server.batches) == 1


SPOILT = {
    "a page of HTML": lambda told: b"<html>overloaded</html>",
    "a last line that is cut": lambda told: told[:-20],
    "an object that names no request": lambda told: b'{"a": 1}\n' + told[:-20],
    "a list": lambda told: b"[1]",
    "a name that is none": lambda told: b'{"custom_id": [1]}',
    "bytes that are no text": lambda told: b"\xff\xfe\xfd",
    "JSON without a bottom": lambda told: b"[" * 200_000,
    "a response in words": lambda told: told.replace(b'"response": {', b'"response": "oops", "x": {'),
    "a status in words": lambda told: told.replace(b": 200", b': "fine"'),
    "an error in words": lambda told: told.replace(b'200, "body": {', b'503, "body": {"error": "busy", '),
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT.keys())
async def test_what_an_output_file_does_not_answer_is_sent_again(spoil):
    """A file that holds something else costs its requests a try, and the run goes on."""
    async with BatchServer(rewrite=[spoil]).running() as server, opened(server) as engine:
        assert await texts(engine, asked(1), asked(2)) == ["hi|1", "hi|2"]
    assert len(server.batches) == 2


async def test_a_batch_that_is_refused_stops_the_run():
    """A file that does not pass the provider's checks is EngineUnavailable, with the reason."""
    async with BatchServer(ends=["failed"]).running() as server, opened(server) as engine:
        with pytest.raises(EngineUnavailable, match="the file is no good"):
            await engine.complete(asked(1))


async def test_one_address_that_has_batches():
    """Several addresses are a mistake, and a server without a batch API says so before anything is sent."""
    with pytest.raises(UsageError, match="one server"):
        await open_engine(replace(CONFIG, base_url=("a", "b")))
    async with BatchServer().running() as server:
        await (await open_engine(replace(CONFIG, base_url=(server.url,)))).close()
    async with BatchServer(absent=True).running() as server:
        with pytest.raises(EngineUnavailable, match="--engine server"):
            await open_engine(replace(CONFIG, base_url=(server.url,)))
