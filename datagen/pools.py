"""Sandbox pools on the nodes of a Ray cluster, an actor each: a program runs where the fewest are waiting."""

from __future__ import annotations

import asyncio
from typing import Any

from datagen.cluster import PACE, Remote, connect
from datagen.config import RunConfig
from datagen.errors import SandboxUnavailable
from datagen.fleet import AllLost, Fleet, Lost, Pace
from datagen.models import Job, Verdict
from sandbox import Pool, SandboxError, ScriptJob

LOOK_EVERY = 30.0
"""Seconds after which nodes that joined the cluster get a pool, and those that left are forgotten."""
_AT_ONCE = 100_000


class RemotePools:
    """A pool on each node that has CPUs, with a worker for each of them, as one Sandbox. `level` is the weakest."""

    def __init__(self, config: RunConfig, address: str, *, pace: Pace = PACE, look_every: float = LOOK_EVERY) -> None:
        self._config, self._address, self._look_every = config, address, look_every
        self._nodes: dict[str, Remote] = {}
        self._fleet: Fleet[Remote] = Fleet((), pace=pace)
        self._looking: asyncio.Task[None] | None = None

    @property
    def level(self) -> str:
        """How well programs are fenced in, on the node where that is worst."""
        return max((str(remote.said) for remote in self._nodes.values() if remote.said), default="")

    async def __aenter__(self) -> RemotePools:
        await asyncio.to_thread(connect, self._address)
        try:
            await self._look()
            await self._fleet.ready()
        except BaseException as error:
            await self.close()
            if isinstance(error, AllLost):
                raise SandboxUnavailable(f"no node runs a sandbox ({error})", hint="See `ray status`") from error
            raise
        self._looking = asyncio.create_task(self._keep_looking())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def run(self, job: Job | ScriptJob) -> Verdict:
        """The verdict from the node with the least in hand, from another where that one is lost."""
        try:
            verdict: Verdict = await self._fleet.ask(lambda pool: pool.call("run", job))
        except Lost as error:
            raise SandboxError(f"lost with every node that had it ({error}): see `ray status`") from error
        except AllLost as error:
            raise SandboxError(f"all nodes are lost ({error}): see `ray status`") from error
        return verdict

    async def close(self) -> None:
        """Ends all pools."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        await self._fleet.close()
        for remote in self._nodes.values():
            await asyncio.to_thread(remote.kill)

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(self._look_every)
            await self._look()

    async def _look(self) -> None:
        """Gives a pool to each node that has none, and lets those of lost nodes go."""
        nodes = await asyncio.to_thread(_nodes)
        for node in self._nodes.keys() - nodes.keys():
            self._fleet.remove(self._nodes.pop(node))
        for node in nodes.keys() - self._nodes.keys():
            workers = self._config.sandbox_workers or nodes[node]
            actor = _actor(node).remote(workers, self._config.unsafe_sandbox)
            self._nodes[node] = Remote(f"sandbox on node {node[:8]}", actor)
            self._fleet.add(self._nodes[node])


def _nodes() -> dict[str, int]:
    """The CPUs of each node that is alive and has some."""
    import ray

    found = {node["NodeID"]: int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]}
    return {node: cpus for node, cpus in found.items() if cpus}


def _actor(node: str) -> Any:
    """The class of a pool that stays on this node. It asks for no CPU: what a replica beside it leaves idle is used."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(node, soft=False)
    return ray.remote(NodePool).options(num_cpus=0, max_restarts=-1, max_concurrency=_AT_ONCE, scheduling_strategy=here)


class NodePool:
    """What runs in an actor: a pool that is opened at the first call."""

    def __init__(self, workers: int, allow_unsafe: bool) -> None:
        self._pool = Pool(workers, allow_unsafe=allow_unsafe)
        self._lock = asyncio.Lock()

    async def ready(self) -> str:
        """The pool's level, once it is open."""
        async with self._lock:
            if not self._pool.level:
                try:
                    await self._pool.__aenter__()
                except SandboxError as error:
                    raise SandboxUnavailable(str(error), hint="See `python -m sandbox check` on the node") from error
        return self._pool.level

    async def run(self, job: Job | ScriptJob) -> Verdict:
        """As the pool judges."""
        await self.ready()
        return await self._pool.run(job)
