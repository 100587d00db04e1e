"""What runs inside an actor of the Ray engine, without Ray."""

from __future__ import annotations

import asyncio

import pytest

from datagen.engines.ray import Replica
from datagen.engines.replay import Replay
from datagen.errors import EngineUnavailable, RequestFailed
from datagen.models import Completion, Request, Sample


def opener(answers: list[Replay]):
    """Opens these engines, one after the other."""

    async def open_next() -> Replay:
        await asyncio.sleep(0)
        return answers.pop(0)

    return open_next


def saying(text: str) -> Replay:
    return Replay(lambda request: Completion((Sample(text),)), "m")


def dying(error: Exception) -> Replay:
    def answer(request: Request) -> Completion:
        raise error

    return Replay(answer, "m")


async def test_the_model_is_loaded_once():
    """However many ask at the start, one engine is opened."""
    left = [saying("a"), saying("b")]
    replica = Replica(opener(left))
    found = await asyncio.gather(replica.ready(), *(replica.complete(Request(prompt="x")) for _ in range(5)))
    assert {completion.samples[0].text for completion in found[1:]} == {"a"}
    assert len(left) == 1


async def test_an_engine_that_died_is_loaded_anew():
    """EngineUnavailable costs the engine: the next call has a new one. RequestFailed does not."""
    left = [dying(EngineUnavailable("its process ended")), dying(RequestFailed("too long")), saying("c")]
    replica = Replica(opener(left))
    with pytest.raises(EngineUnavailable):
        await replica.complete(Request(prompt="x"))
    for _ in range(2):
        with pytest.raises(RequestFailed):
            await replica.complete(Request(prompt="x"))
    assert len(left) == 1


async def test_a_replica_says_how_much_its_engine_works_on():
    """What `ready` returns is the engine's slots; 0 of one that does not say."""
    wide = saying("a")
    wide.slots = 48  # type: ignore[attr-defined]  # as vLLM's engine has it
    assert await Replica(opener([wide])).ready() == 48
    assert await Replica(opener([saying("a")])).ready() == 0
