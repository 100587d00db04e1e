"""Replicas of one model on a Ray cluster, an actor each: a request goes to the one with the least in hand.

Each replica is another engine inside an actor: vLLM, or with --replay the recorded calls of a run. Ray starts a replica
again that died, elsewhere if its node is gone; meanwhile the others have its requests.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any

from datagen.cluster import PACE, Remote, connect
from datagen.config import EngineConfig
from datagen.engines.processes import in_thread
from datagen.errors import EngineUnavailable, RequestFailed
from datagen.fleet import AllLost, Fleet, Lost, Pace
from datagen.models import Completion, Engine, Request

Opener = Callable[[EngineConfig], Awaitable[Engine]]
_PATIENT = 60.0
_CALLS = 1 << 14  # that an actor takes at once: more than are ever in flight, for checks must not wait behind requests


async def open_engine(
    config: EngineConfig, *, share: float = 1.0, opener: Opener | None = None, pace: Pace = PACE
) -> Engine:
    """Connects to --address (auto) and returns when the first of --replicas can answer; the others join as they can.

    `opener` makes the engine inside each replica, which has --tensor-parallel-size GPUs of one node, or as many CPUs on
    a cluster without GPUs. What keeps it from loading comes out here, as it would on this machine.
    """
    await in_thread(lambda: connect(config.address or "auto"))
    inside = replace(config, engine="replay" if config.replay else "vllm")
    own = 1.0 if _has_gpus() else share  # a replica has its GPUs to itself, and a node's memory not
    replicas = Replicas(config, partial(opener or partial(_open, share=own), inside), pace)
    try:
        await replicas.ready()
    except BaseException:
        await replicas.close()
        raise
    return replicas


async def _open(config: EngineConfig, *, share: float) -> Engine:
    from datagen.engines import open_engine as open_here

    return await open_here(config, share=share)


class Replicas:
    """The replicas of a model as one engine. `complete` may be called without bound."""

    def __init__(self, config: EngineConfig, opener: Callable[[], Awaitable[Engine]], pace: Pace = PACE) -> None:
        self.model = config.model
        make = _actor(config)
        self._members = [Remote(f"replica {number + 1}", make.remote(opener)) for number in range(config.replicas)]
        self._fleet = Fleet(self._members, tries=config.retries + 1, pace=pace)

    @property
    def slots(self) -> int:
        """How many samples the replicas that have come up work on at once; 0 if they do not say."""
        return sum(member.said or 0 for member in self._members)

    async def ready(self) -> None:
        """Returns when the first replica has loaded its model; says after a while what it may wait for."""
        waiting = asyncio.get_running_loop().call_later(_PATIENT, _say_waiting)
        try:
            await self._fleet.ready()
        except AllLost as error:
            raise EngineUnavailable(f"no replica came up ({error})", hint="See `ray status`") from error
        finally:
            waiting.cancel()

    async def complete(self, request: Request) -> Completion:
        """The samples from the replica with the least in hand, from another where that one is lost."""
        try:
            return await self._fleet.ask(partial(_complete, request))
        except Lost as error:
            raise RequestFailed(f"lost with every replica that had it ({error})") from error
        except AllLost as error:
            hint = "See `ray status`, then run the same command to go on"
            raise EngineUnavailable(f"all replicas are lost ({error})", where=self.model, hint=hint) from error

    async def close(self) -> None:
        """Ends the replicas and frees what they held."""
        await self._fleet.close()
        for member in self._members:
            await asyncio.to_thread(member.kill)


def _say_waiting() -> None:
    text = "no replica has loaded its model yet; `ray status` shows whether a node has room for one"
    print(text, file=sys.stderr, flush=True)


async def _complete(request: Request, replica: Remote) -> Completion:
    try:
        completion: Completion = await replica.call("complete", request)
    except EngineUnavailable as error:  # its engine died, and is loaded anew at the next check
        raise Lost(str(error)) from error
    return completion


def _has_gpus() -> bool:
    import ray

    return bool(ray.cluster_resources().get("GPU"))


def _actor(config: EngineConfig) -> Any:
    """The class of the replicas, with what each of them needs of a node."""
    import ray

    size = config.tensor_parallel_size
    needs = {"num_gpus": size, "num_cpus": 1} if _has_gpus() else {"num_cpus": size}
    options = {"max_restarts": -1, "max_concurrency": _CALLS, "scheduling_strategy": "SPREAD"}
    return ray.remote(Replica).options(**needs, **options)


class Replica:
    """What runs in an actor: an engine that is loaded at the first call, and again after it has died."""

    def __init__(self, opener: Callable[[], Awaitable[Engine]]) -> None:
        self._opener = opener
        self._engine: Engine | None = None
        self._lock = asyncio.Lock()

    async def ready(self) -> int:
        """How many samples the engine works on at once, once it is loaded; 0 if it does not say."""
        return int(getattr(await self._loaded(), "slots", 0))

    async def complete(self, request: Request) -> Completion:
        """As the engine answers."""
        engine = await self._loaded()
        try:
            return await engine.complete(request)
        except EngineUnavailable:
            if self._engine is engine:
                self._engine = None
                await engine.close()
            raise

    async def _loaded(self) -> Engine:
        async with self._lock:
            if self._engine is None:
                self._engine = await self._opener()
            return self._engine
