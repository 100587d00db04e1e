"""What a Ray cluster adds to vLLM: tokens per CPU second of the bare engine, a replica, and Ray's own batch library.

    python -m benchmarks.ray_replicas [--model FOLDER] [--requests 256] [--tokens 128] [--passes 3]

All three run one vLLM on this machine, with the same prompts, seeds and settings. The bare engine and the replica are
both loaded and take turns. ray.data.llm loads its model for each data set, so it answers one pass, then more, and the
difference counts. CPU seconds are those of this process and all that come from it, Ray's own included.

    python -m benchmarks.ray_replicas --driver

What one call costs the driver's own process, which there is one of: a request to a replica that answers at once, a
program in a sandbox on the cluster, and one in the pool of this machine.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import psutil
import ray

from datagen.config import EngineConfig, RunConfig
from datagen.engines import open_engine
from datagen.engines.ray import open_engine as open_ray
from datagen.engines.replay import Replay
from datagen.models import Completion, Engine, Job, Request, Sample, Sampling
from datagen.pools import RemotePools
from datagen.resources import resolve_model
from sandbox import Pool


def requests(count: int, tokens: int, start: int = 0) -> list[Request]:
    """Prompts that differ, each with a seed of its own."""
    return [
        Request(prompt=f"Write a function that adds {i} to a number.\n", sampling=Sampling(max_tokens=tokens, seed=i))
        for i in range(start, start + count)
    ]


def spent() -> float:
    """CPU seconds of this process and its descendants, ended ones included."""
    total = 0.0
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


async def rate(engine: Engine, work: Sequence[Request]) -> float:
    """Tokens per CPU second, all requests at once."""
    before = spent()
    done = await asyncio.gather(*(engine.complete(request) for request in work))
    return sum(completion.completion_tokens for completion in done) / (spent() - before)


async def in_turns(args: argparse.Namespace) -> dict[str, list[float]]:
    """The rates of the bare engine and of a replica, pass by pass."""
    config = EngineConfig(model=args.model, max_model_len=1024)
    engines: dict[str, Engine] = {
        "vLLM in this process's care": await open_engine(config, share=0.25),
        "a replica (--engine ray)": await open_engine(replace(config, engine="ray"), share=0.25),
    }
    rates: dict[str, list[float]] = {name: [] for name in engines}
    for number in range(args.passes):
        for name, engine in engines.items():
            rates[name].append(await rate(engine, requests(args.requests, args.tokens, 10_000 * number)))
    for engine in engines.values():
        await engine.close()
    return rates


def ray_data(args: argparse.Namespace) -> float:
    """The rate of ray.data.llm: what more requests cost it than a few."""
    costs = []
    for passes in (1, 1 + args.passes):
        before = spent()
        tokens = _ray_data(args, passes)
        costs.append((tokens, spent() - before))
    (few, little), (many, much) = costs
    return (many - few) / (much - little)


def _ray_data(args: argparse.Namespace, passes: int) -> int:
    """The tokens of this many passes."""
    from ray.data.llm import build_processor, vLLMEngineProcessorConfig

    settings = {
        "max_model_len": 1024, "enable_chunked_prefill": False, "max_num_batched_tokens": 8192, "block_size": 32,
        "enforce_eager": True, "kv_cache_memory_bytes": 1 << 30, "enable_prefix_caching": True,
    }  # fmt: skip
    config = vLLMEngineProcessorConfig(
        model_source=resolve_model(args.model), engine_kwargs=settings, concurrency=1, batch_size=64,
        max_concurrent_batches=16, chat_template_stage=False, placement_group_config={"bundles": [{"CPU": 1}]},
    )  # fmt: skip
    process = build_processor(
        config,
        preprocess=lambda row: {"prompt": row["prompt"], "sampling_params": _sampling(row, args.tokens)},
        postprocess=lambda row: {"tokens": row["num_generated_tokens"]},
    )
    rows = [{"prompt": r.prompt, "seed": r.sampling.seed} for r in requests(args.requests * passes, args.tokens)]
    done = process(ray.data.from_items(rows, override_num_blocks=len(rows) // 64)).take_all()
    return sum(int(row["tokens"]) for row in done)


def _sampling(row: dict[str, Any], tokens: int) -> dict[str, Any]:
    return {"temperature": 0.8, "top_p": 0.95, "max_tokens": tokens, "seed": row["seed"]}


async def driver(calls: int = 2000) -> None:
    """Prints the CPU time of the driver's process for each kind of call."""
    engine = await open_ray(EngineConfig(engine="ray", model="none", replicas=2), opener=at_once)
    work = requests(calls, 1)
    programs = [Job(f"def f(n):\n    return n + {i}", (f"assert f(1) == {i + 1}",)) for i in range(calls)]
    async with RemotePools(RunConfig(), "auto") as there, Pool(2) as here:
        for name, asked in (
            ("a request to a replica", lambda: asyncio.gather(*(engine.complete(request) for request in work))),
            ("a program on the cluster", lambda: asyncio.gather(*(there.run(job) for job in programs))),
            ("a program on this machine", lambda: asyncio.gather(*(here.run(job) for job in programs))),
        ):
            before = time.process_time()
            await asked()
            print(f"{name:30} {(time.process_time() - before) / calls * 1e3:8.2f} ms", flush=True)
    await engine.close()


async def at_once(config: EngineConfig) -> Engine:
    """A model that answers the same at once."""
    return Replay(lambda request: Completion((Sample("x" * 500),), 10, 100), config.model)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="demo-model")
    parser.add_argument("--requests", type=int, default=256)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--driver", action="store_true")
    args = parser.parse_args()
    ray.init(address="local", object_store_memory=200_000_000, num_cpus=4, include_dashboard=False)
    if args.driver:
        asyncio.run(driver())
        return
    for name, rates in asyncio.run(in_turns(args)).items():
        each = ", ".join(f"{one:,.0f}" for one in rates)
        print(f"{name:30} {statistics.median(rates):8,.0f} tokens per CPU s  ({each})", flush=True)
    print(f"{'ray.data.llm':30} {ray_data(args):8,.0f} tokens per CPU s", flush=True)


if __name__ == "__main__":
    main()
