"""A cluster of two nodes on this machine, one of which is killed in the middle of a dedup; prints whether it took part,
and whether the result is that of one machine.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import ray
from planted import corpus
from ray.cluster_utils import Cluster

from datagen.similarity import on_ray
from datagen.similarity.backend import choose
from datagen.similarity.matching import Plan, find
from datagen.similarity.workspace import Workspace

PLAN = Plan(0.7, 3, 130, 26, 5)
NODE = {"num_cpus": 1, "object_store_memory": 80_000_000}
TIMES = 5
"""The work may be over before the node has had a task that it can be killed at."""
BUSY = (b"ray::_sketch", b"ray::_bucket", b"ray::_compare")


def family(pid: int) -> Iterator[int]:
    """A process and all below it."""
    yield pid
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = stat.read_text().rpartition(")")[2].split()[1]
        except OSError:
            continue
        if int(parent) == pid:
            yield from family(int(stat.parent.name))


def busy(pids: list[int]) -> bool:
    """Whether one of these processes runs one of our later tasks: what the node had made before is lost with it."""
    for pid in pids:
        try:
            if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(BUSY):
                return True
        except OSError:
            continue
    return False


def kill_when_busy(raylet: int, done: threading.Event, killed: list[int]) -> None:
    """kill -9 of a whole node, its object store included, as a power cut would."""
    while not done.is_set():
        pids = list(family(raylet))
        if busy(pids):
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            killed += pids
            return


def main() -> None:
    """Compares; the driver lives on the node that stays."""
    texts = [pl.Series("text", corpus(7, 3000))]
    cluster = Cluster(initialize_head=True, head_node_args=NODE | {"include_dashboard": False})
    other, done, killed = cluster.add_node(**NODE), threading.Event(), list[int]()
    ray.init(address=cluster.address, logging_level="ERROR", log_to_driver=False)
    raylet = other.all_processes["raylet"][0].process.pid
    killer = threading.Thread(target=kill_when_busy, args=(raylet, done, killed))
    killer.start()
    for _ in range(TIMES):
        there = on_ray.find(texts, PLAN, "numpy", address=cluster.address, partitions=4)
        if killed:
            break
    done.set()
    killer.join()
    with Workspace(1 << 30) as room:
        here = find(texts, PLAN, choose("numpy", 0), room)
    ray.shutdown()
    cluster.shutdown()
    same = np.array_equal(here.kept, there.kept) and np.array_equal(here.jaccard, there.jaccard)
    print("killed" if killed else "spared", "the same" if same and here.counts == there.counts else "another result")


if __name__ == "__main__":
    main()
