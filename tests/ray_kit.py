"""A Ray cluster of several nodes on this machine, and what kills parts of it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import small_run

from datagen.config import EngineConfig
from datagen.engines.replay import Replay
from datagen.models import Completion, Engine, Request

MEMORY = 100_000_000
SETTINGS = {
    "health_check_period_ms": 500, "health_check_failure_threshold": 10, "health_check_timeout_ms": 5000,
    "worker_niceness": 0,
}  # fmt: skip
"""A lost node is noticed soon, and workers are no nicer than the tests beside them."""


@contextmanager
def cluster(nodes: int) -> Iterator[Any]:
    """A head without CPUs and this many nodes with two each; workers import what this process can import."""
    import ray
    from ray.cluster_utils import Cluster

    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    terminated = signal.getsignal(signal.SIGTERM)  # ray takes it over when it starts a node
    made = Cluster()
    try:
        head = {"num_cpus": 0, "include_dashboard": False, "_system_config": SETTINGS}
        made.add_node(object_store_memory=MEMORY, **head)
        for _ in range(nodes):
            made.add_node(object_store_memory=MEMORY, num_cpus=2)
        yield made
    finally:
        ray.shutdown()
        made.shutdown()
        signal.signal(signal.SIGTERM, terminated)
        os.environ.pop("PYTHONPATH") if before is None else os.environ.update(PYTHONPATH=before)


def raylet(node: Any) -> int:
    """The process id of a node's raylet."""
    pid: int = node.all_processes["raylet"][0].process.pid
    return pid


def actors(kind: str, raylets: list[int]) -> list[int]:
    """The processes of these nodes that are actors of this class: Ray names them so."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            name, stat = (folder / "cmdline").read_bytes(), (folder / "stat").read_text()
        except OSError:
            continue
        if name.startswith(f"ray::{kind}".encode()) and int(stat.rpartition(")")[2].split()[1]) in raylets:
            found.append(int(folder.name))
    return found


def kill_one(kind: str, made: Any) -> None:
    """SIGKILL to an actor of this class, as soon as there is one."""
    for _ in range(600):
        if found := actors(kind, [raylet(node) for node in made.worker_nodes]):
            os.kill(found[0], signal.SIGKILL)
            return
        time.sleep(0.05)
    raise AssertionError(f"no {kind} runs on {len(made.worker_nodes)} nodes")


async def slow_model(config: EngineConfig) -> Engine:
    """What a replica holds: the small run's model, which takes its time and says what it says anywhere."""
    rng = Random()

    async def answer(request: Request) -> Completion:
        await asyncio.sleep(rng.uniform(0.1, 0.6))
        return small_run.answer(request)

    return Replay(answer, config.model)
