"""Several servers of one model are one engine, and the death of one of them costs nothing."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import pytest
from fault_server import MODEL, Fault, FaultServer, answer

from datagen.cli import build_parser
from datagen.config import EngineConfig, build
from datagen.engines import open_engine
from datagen.engines.server import Servers
from datagen.errors import EngineUnavailable, RequestFailed
from datagen.fleet import Pace
from datagen.models import Message, Request, Sampling

ASK = Request((Message("user", "hi"),), Sampling(seed=100))
CONFIG = EngineConfig(engine="server", model=MODEL, retries=3, request_timeout=5.0, concurrency=64)
QUICK = Pace(first=0.01, longest=0.05, every=0.05, answer=0.05, patience=0.5)


@asynccontextmanager
async def connected(*servers: FaultServer):
    async with AsyncExitStack() as stack:
        for server in servers:
            await stack.enter_async_context(server.running())
        engine = Servers(CONFIG, [server.url for server in servers], pace=QUICK)
        stack.push_async_callback(engine.close)
        await engine.check()
        yield engine


def asked(seed: int) -> Request:
    return replace(ASK, sampling=replace(ASK.sampling, seed=seed))


async def many(engine: Servers, count: int) -> list[str]:
    found = await asyncio.gather(*(engine.complete(asked(seed)) for seed in range(count)))
    return [completion.samples[0].text for completion in found]


def slow(seconds: float, count: int = 40) -> FaultServer:
    """A server whose first answers take a while, and are right."""
    server = FaultServer()
    server.faults.extend(Fault(body=answer({"prompt": "hi", "seed": 0}), delay=seconds) for _ in range(count))
    return server


RIGHT = [f"hi|{seed}" for seed in range(40)]


async def test_requests_go_where_least_is_in_hand():
    """While a slow server has a request, those that follow go to the other."""
    fast, lame = FaultServer(), slow(60.0)
    async with connected(fast, lame) as engine:
        first = asyncio.ensure_future(many(engine, 2))
        while not lame.in_flight:
            await asyncio.sleep(0.005)
        for seed in range(10):
            await engine.complete(asked(seed))
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
    assert (len(fast.seen), len(lame.seen)) == (11, 1)


async def test_a_server_that_dies_costs_nothing():
    """Every request in flight at a server that is killed is answered by another, as it would have been."""
    doomed, other = slow(5.0), FaultServer()
    async with connected(doomed, other) as engine:
        asking = asyncio.ensure_future(many(engine, 40))
        while doomed.in_flight < 20:
            await asyncio.sleep(0.005)
        doomed.die()
        assert await asking == RIGHT


async def test_a_server_that_hangs_costs_nothing_either():
    """One that takes requests and answers neither them nor a health check loses them to another."""
    stuck, other = FaultServer(), FaultServer()
    async with connected(stuck, other) as engine:
        stuck.frozen = True
        assert await asyncio.wait_for(many(engine, 40), 4) == RIGHT


async def test_a_server_that_comes_back_is_used_again():
    """Once its health check passes, a server that was gone gets requests again."""
    one, other = FaultServer(), FaultServer()
    async with connected(one, other) as engine:
        one.die()
        await many(engine, 10)
        before = len(one.seen)
        await one.start()
        await asyncio.sleep(0.3)
        await many(engine, 10)
        assert len(one.seen) > before


async def test_a_busy_server_is_left_alone_as_long_as_it_asks():
    """HTTP 429 with Retry-After sends what was refused elsewhere, and nothing more there meanwhile."""
    busy, other = FaultServer(), FaultServer()
    async with connected(busy, other) as engine:
        busy.faults.append(Fault(429, {"error": {"message": "slow down"}}, {"Retry-After": "30"}))
        assert await many(engine, 1) + await many(engine, 1) + await many(engine, 1) == ["hi|0"] * 3
    assert (len(busy.seen), len(other.seen)) == (1, 3)


async def test_a_request_that_is_refused_is_not_taken_elsewhere():
    """HTTP 400 is the request's fault: it fails alone, and no server is left out for it."""
    one, other = FaultServer(), FaultServer()
    async with connected(one, other) as engine:
        one.faults.append(Fault(400, {"error": {"message": "prompt is too long"}}))
        with pytest.raises(RequestFailed, match="too long"):
            await engine.complete(ASK)
        assert await many(engine, 40) == RIGHT
    assert one.seen and not other.faults and len(other.seen) <= 21


async def test_all_servers_dead_stops_the_run():
    """Where none comes back in time, that is EngineUnavailable, as with one server."""
    one, other = FaultServer(), FaultServer()
    async with connected(one, other) as engine:
        one.die()
        other.die()
        with pytest.raises(EngineUnavailable, match="the same command"):
            await many(engine, 4)


async def test_a_refused_key_takes_one_server_out():
    """HTTP 401 from one server leaves the work to the others; from the last one it stops the run."""
    one, other = FaultServer(), FaultServer()
    async with connected(one, other) as engine:
        one.faults.append(Fault(401, {"error": {"message": "no"}}))
        assert await many(engine, 40) == RIGHT
        other.faults.append(Fault(401, {"error": {"message": "no"}}))
        with pytest.raises(EngineUnavailable, match="OPENAI_API_KEY"):
            await engine.complete(ASK)


async def test_opening_goes_on_without_a_server_that_is_away(capsys):
    """One address without a server is told, and the others are used; none at all is an error."""
    async with FaultServer().running() as there:
        engine = await open_engine(replace(CONFIG, base_url=("http://127.0.0.1:1/v1", there.url)))
        assert (await engine.complete(ASK)).samples[0].text == "hi|100"
        await engine.close()
    assert "http://127.0.0.1:1/v1: not there" in capsys.readouterr().err
    with pytest.raises(EngineUnavailable, match="no server answers"):
        await open_engine(replace(CONFIG, base_url=("http://127.0.0.1:1/v1", "http://127.0.0.1:2/v1")))


def test_addresses_may_be_listed_or_repeated():
    """--base-url a b is --base-url a --base-url b; a recipe may give one address as a plain text."""
    listed = build_parser().parse_args(["solve", "--base-url", "a", "b"])
    repeated = build_parser().parse_args(["solve", "--base-url", "a", "--base-url", "b"])
    assert getattr(listed, "engine.base_url") == getattr(repeated, "engine.base_url") == ["a", "b"]
    assert build(EngineConfig, {"base_url": "a"}, {}).base_url == ("a",)
    assert build(EngineConfig, {"base_url": ""}, {}).base_url == ()


async def test_opening_refuses_a_server_of_another_model():
    """One address that serves other models is an error, whatever the others do."""
    async with FaultServer().running() as right, FaultServer(models={"data": [{"id": "alpha"}]}).running() as wrong:
        with pytest.raises(EngineUnavailable, match=f"{wrong.url}: does not serve {MODEL}, but alpha"):
            await open_engine(replace(CONFIG, base_url=(right.url, wrong.url)))
