"""The Ray engine keeps every engine's contract, and a run on a cluster is the run of one machine, whatever dies."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
import ray_kit
import small_run
from small_run import small_recipe, tables
from toy_model import toy_model
from vllm_kit import lean

pytest.importorskip("ray")
from test_engine_contract import *  # noqa: F403 -- the same claims, asked of the engine below

from datagen import workflow
from datagen.collaborators import LazySandbox
from datagen.config import EngineConfig, RunConfig
from datagen.engines import open_engine
from datagen.engines.ray import open_engine as open_ray
from datagen.engines.replay import Replay
from datagen.errors import ClusterUnavailable, InputError, RequestFailed
from datagen.fleet import Pace
from datagen.interrupt import Interrupt
from datagen.models import Request, Sampling
from datagen.pools import RemotePools
from datagen.recipe import STEPS
from datagen.store import RunFolder
from sandbox import Job

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]
CONFIG = EngineConfig(engine="ray", model="toy", replicas=2)
QUICK = Pace(first=0.2, longest=1.0, every=5.0, answer=20.0, patience=60.0)


@pytest.fixture(scope="module")
def cluster():
    """A head and two nodes."""
    with lean(), ray_kit.cluster(2) as made:
        yield made


async def toy(config: EngineConfig) -> Replay:
    """What each replica holds."""
    return Replay(toy_model, config.model)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def engine(cluster):
    """Two replicas of a function, for the contract."""
    made = await open_ray(replace(CONFIG, address=cluster.address), opener=toy, pace=QUICK)
    yield made
    await made.close()


async def test_what_keeps_a_replica_from_loading_is_said_here(cluster, tmp_path):
    """An error of the engine inside a replica comes out as it would on this machine."""
    config = replace(CONFIG, address=cluster.address, replicas=1, replay=str(tmp_path))
    with pytest.raises(InputError, match="holds no recorded calls"):
        await open_engine(config)


async def test_a_request_that_fails_fails_alone(cluster):
    """RequestFailed inside a replica is RequestFailed here, and the replica goes on."""

    async def picky(config: EngineConfig) -> Replay:
        def answer(request: Request):
            if request.prompt == "bad":
                raise RequestFailed("the prompt is too long")
            return toy_model(request)

        return Replay(answer, config.model)

    made = await open_ray(replace(CONFIG, address=cluster.address, replicas=1), opener=picky, pace=QUICK)
    with pytest.raises(RequestFailed, match="the prompt is too long"):
        await made.complete(Request(prompt="bad"))
    assert (await made.complete(Request(prompt="good", sampling=Sampling(max_tokens=3)))).samples
    await made.close()


async def test_no_cluster_is_one_line(cluster):
    """An address where nothing answers is ClusterUnavailable, with what to type."""
    code = (
        "import asyncio, sys; from datagen.config import EngineConfig; from datagen.engines import open_engine\n"
        "asyncio.run(open_engine(EngineConfig(engine='ray', address='127.0.0.1:9')))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=280)
    assert ClusterUnavailable.__name__ in ended.stderr and "ray start --head" in ended.stderr


async def test_programs_run_on_all_nodes_and_survive_the_death_of_a_pool(cluster):
    """A pool that is killed while programs run loses none of them: each verdict is its own program's."""
    async with RemotePools(RunConfig(), cluster.address, pace=QUICK) as pools:
        jobs = [Job(f"def f(n):\n    return n + {i}", (f"assert f(1) == {i + 1 + i % 2}",)) for i in range(200)]
        running = asyncio.ensure_future(asyncio.gather(*(pools.run(job) for job in jobs)))
        await asyncio.sleep(0.3)
        await asyncio.to_thread(ray_kit.kill_one, "NodePool", cluster)
        assert [verdict.passed for verdict in await running] == [i % 2 == 0 for i in range(200)]
        assert pools.level in ("L0", "L1")


async def test_a_run_on_a_cluster_is_that_of_one_machine_whatever_dies(cluster, tmp_path):
    """With two replicas and two sandbox nodes, of which a replica, a pool and then a whole raylet are killed: tables
    and reports equal, byte for byte, those of the run on this machine."""
    recipe = small_recipe(tmp_path)
    recipe = replace(recipe, questions=replace(recipe.questions, target=60), solve=replace(recipe.solve, n=6))
    await small_run.work(tmp_path / "here", recipe, lambda run: run.everything())
    running = asyncio.ensure_future(on_cluster(tmp_path / "there", recipe, cluster.address))
    await solved(tmp_path / "there", 3)
    await asyncio.to_thread(ray_kit.kill_one, "Replica", cluster)
    await solved(tmp_path / "there", 8)
    await asyncio.to_thread(ray_kit.kill_one, "NodePool", cluster)
    await solved(tmp_path / "there", 12)
    doomed = next(iter(cluster.worker_nodes))
    os.kill(ray_kit.raylet(doomed), signal.SIGKILL)
    assert not running.done()
    await running
    assert tables(tmp_path / "there") == tables(tmp_path / "here")
    cluster.remove_node(doomed, allow_graceful=False)
    cluster.add_node(num_cpus=2, object_store_memory=ray_kit.MEMORY)


async def on_cluster(folder: Path, recipe, address: str) -> None:
    """All stages with a slow model in two replicas, programs on the nodes."""
    config = replace(CONFIG, address=address, model="replay")
    engine = await open_ray(config, opener=ray_kit.slow_model, pace=QUICK)
    recipe = replace(recipe, engines={step: replace(one, concurrency=8) for step, one in recipe.engines.items()})
    with RunFolder(folder) as opened:
        async with LazySandbox(recipe.run, [config]) as sandbox:
            engines = dict.fromkeys(STEPS, engine)
            await workflow.Run(opened, recipe, engines, sandbox, Interrupt(), lambda line: None).everything()
    await engine.close()


async def solved(folder: Path, count: int) -> None:
    """Returns when this many questions are in the ledger of solve."""
    ledger = folder / "3-solve/ledger/active.jsonl"
    for _ in range(1200):
        if ledger.exists() and ledger.read_bytes().count(b"\n") >= count:
            return
        await asyncio.sleep(0.05)
    pytest.fail(f"{count} questions were not solved in a minute")


async def test_a_killed_driver_goes_on(cluster, tmp_path):
    """`datagen run --engine ray` killed by SIGKILL and typed again ends as the recorded run did; the replicas of the
    dead driver do not stay."""
    raylets = [ray_kit.raylet(node) for node in cluster.worker_nodes]
    others = set(ray_kit.actors("Replica", raylets))
    recipe = small_recipe(tmp_path)
    await small_run.work(tmp_path / "recorded", recipe, lambda run: run.everything())
    (tmp_path / "mine.toml").write_text(recipe.to_toml())
    command = [
        sys.executable, "-m", "datagen", "run", str(tmp_path / "mine.toml"), "--run", str(tmp_path / "again"),
        "--engine", "ray", "--address", cluster.address, "--replicas", "2",
        "--model", "replay", "--replay", str(tmp_path / "recorded"),
    ]  # fmt: skip
    first = subprocess.Popen(command, stderr=subprocess.PIPE)
    for _ in range(1200):
        if (tmp_path / "again/3-solve/ledger/active.jsonl").exists():
            break
        await asyncio.sleep(0.05)
    first.kill()
    _, errors = first.communicate()
    assert first.returncode == -signal.SIGKILL, errors.decode()
    ended = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=280, check=False)
    assert ended.returncode == 0, ended.stderr
    assert tables(tmp_path / "again") == tables(tmp_path / "recorded")
    for _ in range(200):
        if not (left := set(ray_kit.actors("Replica", raylets)) - others):
            return
        await asyncio.sleep(0.05)
    pytest.fail(f"replicas of a dead driver: {left}")


async def test_replicas_of_a_real_model_say_what_one_engine_says(cluster, model_folder, vllm_engine):
    """Two replicas in vLLM give the texts of vLLM on this machine, request by request."""
    config = replace(CONFIG, address=cluster.address, model=str(model_folder), max_model_len=512)
    made = await open_engine(config, share=0.1)
    requests = [replace(ASK, sampling=replace(ASK.sampling, n=2, seed=1000 + i)) for i in range(24)]  # noqa: F405
    there = await asyncio.gather(*(made.complete(request) for request in requests))
    await made.close()
    assert there == await asyncio.gather(*(vllm_engine.complete(request) for request in requests))
