"""Engines and the sandbox, opened when first used: a finished stage loads no model, a distinct model loads once."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Self

from datagen.config import IN_FLIGHT, EngineConfig, RunConfig
from datagen.engines import open_engine
from datagen.errors import DatagenError, SandboxUnavailable
from datagen.models import Completion, Engine, Job, Request, Verdict
from datagen.pools import RemotePools
from sandbox import Pool, SandboxError, ScriptJob

Announce = Callable[[str], None]


class LazyEngine:
    """An Engine that loads its model at the first request."""

    def __init__(self, config: EngineConfig, load: Callable[[], Awaitable[Engine]]) -> None:
        self._config, self._load = config, load
        self._engine: Engine | None = None
        self.asked = 0
        self._failure: DatagenError | None = None
        self._lock = asyncio.Lock()

    @property
    def model(self) -> str:
        """The model's name as the recipe has it, with its revision: what published rows say."""
        return f"{self._config.model}@{self._config.revision}" if self._config.revision else self._config.model

    @property
    def slots(self) -> int:
        """How many samples the engine works on at once; 0 while it is not loaded, or does not say."""
        return int(getattr(self._engine, "slots", 0))

    @property
    def idle(self) -> float:
        """The share of the engine that has nothing to do, 0 to 1."""
        return max(0.0, 1 - self.asked / (self.slots or self._config.in_flight))

    async def complete(self, request: Request) -> Completion:
        self.asked += request.sampling.n
        try:
            return await (await self._opened()).complete(request)
        finally:
            self.asked -= request.sampling.n

    async def _opened(self) -> Engine:
        async with self._lock:
            if self._failure is not None:  # who waited while loading failed does not try again
                raise self._failure
            if self._engine is None:
                self._engine = await self._loaded()
        return self._engine

    async def _loaded(self) -> Engine:
        try:
            return await self._load()
        except DatagenError as error:
            self._failure = error
            raise

    async def close(self) -> None:
        if self._engine is not None:
            await self._engine.close()


AHEAD = 1.25
"""Samples asked of an engine for each one that it works on: so many wait that the next is always there."""

MOST = 4
"""Items in flight for each sample that an engine works on, where they wait for the sandbox or for another engine."""


def room(config: EngineConfig, engines: Iterable[Engine]) -> Callable[[int], int]:
    """From the number of items in flight to how many more to begin, so that no engine idles.

    A fixed number of items would not do: an item asks for one test file, then for ten candidates, then for nothing
    while its programs run. So what counts is how many samples are asked of the engines; `config.concurrency`, if set,
    bounds the items instead.
    """
    known = {id(engine): engine for engine in engines if isinstance(engine, LazyEngine)}

    def more(items: int) -> int:
        busy = [(engine.asked, engine.slots) for engine in known.values() if engine.slots]
        if config.concurrency or not busy:
            return config.in_flight - items
        free = max(math.ceil(AHEAD * slots) - asked for asked, slots in busy)
        return min(free, max(IN_FLIGHT, MOST * sum(slots for _, slots in busy)) - items)

    return more


def idleness(engine: Engine) -> Callable[[], float]:
    """The share of an engine that has nothing to do, whenever it is asked for; none of one that does not say."""
    return lambda: engine.idle if isinstance(engine, LazyEngine) else 0.0


@asynccontextmanager
async def opened_engines(configs: Mapping[str, EngineConfig], announce: Announce) -> AsyncIterator[dict[str, Engine]]:
    """An Engine for each step; steps with equal settings share one, and all of them are closed at the end."""
    priceless = {step: replace(config, price_read=0.0, price_written=0.0) for step, config in configs.items()}
    loads = dict.fromkeys(priceless.values())
    distinct = {config: _lazy(config, 1 / len(loads), announce) for config in loads}
    try:
        yield {step: distinct[config] for step, config in priceless.items()}
    finally:
        for engine in distinct.values():
            await engine.close()


def _lazy(config: EngineConfig, share: float, announce: Announce) -> LazyEngine:
    async def load() -> Engine:
        announce(f"loading {config.model} ({config.engine})")
        return await open_engine(config, share=share)

    return LazyEngine(config, load)


class LazySandbox:
    """A Sandbox that starts its workers at the first program; `level` is known from then on.

    Where one of the engines in use runs on a Ray cluster, so do the programs: on its nodes.
    """

    def __init__(self, config: RunConfig, engines: Iterable[EngineConfig] = ()) -> None:
        self._config = config
        self._address = next((engine.address or "auto" for engine in engines if engine.engine == "ray"), "")
        self._pool: Pool | RemotePools | None = None
        self._lock = asyncio.Lock()

    @property
    def level(self) -> str:
        """How well programs are fenced in; empty before the first."""
        return self._pool.level if self._pool is not None else ""

    async def run(self, job: Job | ScriptJob) -> Verdict:
        async with self._lock:
            if self._pool is None:
                self._pool = await self._open()
        return await self._pool.run(job)

    async def _open(self) -> Pool | RemotePools:
        if self._address:
            return await RemotePools(self._config, self._address).__aenter__()
        pool = Pool(self._config.sandbox_workers or None, allow_unsafe=self._config.unsafe_sandbox)
        try:
            await pool.__aenter__()
        except SandboxError as error:
            raise SandboxUnavailable(str(error), hint="See `python -m sandbox check`") from error
        return pool

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._pool is not None:
            await self._pool.close()
