"""How many items are in flight: as many as keep the engine busy, no more than asked for."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from datagen.collaborators import AHEAD, LazyEngine, idleness, room
from datagen.config import IN_FLIGHT, EngineConfig
from datagen.engines.replay import Replay
from datagen.models import Completion, Request, Sample, Sampling


class Engine:
    """Works on `slots` samples at once and answers when it is told to."""

    model = "test"

    def __init__(self, slots):
        self.slots = slots
        self.go = asyncio.Event()

    async def complete(self, request):
        await self.go.wait()
        return Completion((Sample("text"),) * request.sampling.n)

    async def close(self):
        pass


async def loaded(engine):
    """The engine as a stage is handed it, loaded, and asked for nothing."""

    async def load():
        return engine

    lazy = LazyEngine(EngineConfig(), load)
    await asked(lazy, engine, 0)
    return lazy


async def asked(lazy, engine, samples, n=1):
    """Asks for so many samples in requests for n, and leaves them unanswered; 0: asks once, and gets the answer."""
    tasks = [asyncio.ensure_future(lazy.complete(Request(sampling=Sampling(n=n)))) for _ in range(samples // n or 1)]
    if not samples:
        engine.go.set()
        await asyncio.gather(*tasks)
        engine.go.clear()
    await asyncio.sleep(0)
    return tasks


async def test_items_begin_until_the_engine_has_its_batch_and_some_that_wait():
    """An idle engine of 64 takes 80 items; with 60 samples asked for, 20 more; with 80, none."""
    engine = Engine(64)
    lazy = await loaded(engine)
    more = room(EngineConfig(), [lazy, lazy])
    assert more(0) == AHEAD * 64 == 80
    first = await asked(lazy, engine, 60, n=10)
    assert more(6) == 20
    second = await asked(lazy, engine, 20)
    assert more(26) == 0
    engine.go.set()
    await asyncio.gather(*first, *second)
    assert more(26) == 80


async def test_items_that_wait_for_the_sandbox_do_not_keep_the_engine_idle():
    """What counts is what the engine is asked for: items whose programs run leave their place to others, to a bound."""
    more = room(EngineConfig(), [await loaded(Engine(64))])
    assert more(200) == 56
    assert more(IN_FLIGHT) == 0


async def test_the_engine_that_lacks_most_decides():
    """With a model for tests and one for solutions, items begin as long as either has room."""
    tests, solutions = Engine(8), Engine(100)
    pair = [await loaded(tests), await loaded(solutions)]
    waiting = await asked(pair[1], solutions, 200, n=10)
    assert room(EngineConfig(), pair)(0) == 10
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


@given(st.integers(1, 1000), st.integers(0, 1000))
def test_concurrency_that_is_set_is_kept_to(concurrency, items):
    """--concurrency N means N items in flight, whatever the engine could take."""
    assert room(EngineConfig(concurrency=concurrency), [])(items) == concurrency - items


def test_engines_that_do_not_say_what_they_take_get_a_fixed_number():
    """Servers, replays and engines that are not loaded yet: 256 items."""
    lazy = LazyEngine(EngineConfig(), lambda: None)
    for engine in (Replay(lambda request: Completion(())), lazy):
        assert room(EngineConfig(), [engine])(6) == IN_FLIGHT - 6


def test_each_of_several_servers_gets_that_number():
    """Two addresses, 512 items; --concurrency bounds those of both together."""
    urls = ("http://a/v1", "http://b/v1")
    assert room(EngineConfig(base_url=urls), [])(0) == 2 * IN_FLIGHT
    assert room(EngineConfig(base_url=urls, concurrency=10), [])(0) == 10


async def test_an_engine_is_idle_as_far_as_it_is_asked_for_less_than_it_works_on():
    """Of 64, 16 asked for: three quarters are idle; all of them asked for, and more: nothing."""
    engine = Engine(64)
    lazy = await loaded(engine)
    idle = idleness(lazy)
    assert idle() == 1.0
    tasks = await asked(lazy, engine, 16)
    assert idle() == 0.75
    tasks += await asked(lazy, engine, 100, n=10)
    assert idle() == 0.0
    engine.go.set()
    await asyncio.gather(*tasks)


def test_an_engine_that_does_not_say_is_taken_to_be_busy():
    """Nothing is drawn in vain for a replay."""
    assert idleness(Replay(lambda request: Completion(())))() == 0.0
