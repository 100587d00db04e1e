"""What a Ray cluster adds to vLLM: the bare engine, a replica of ours, and ray.data.llm, Ray's own batch library.

    python -m benchmarks.ray_replicas [--model FOLDER] [--requests 1280] [--tokens 128] [--rounds 5]

One vLLM at a time: each round gives each side a process of its own, which loads the model, answers WARM_UP requests,
and is then handed all others at once - the same prompts, seeds and engine settings for all - and timed until the last
is answered. CPU seconds are those of the process and of all that come from it, Ray's own included. ray.data.llm neither
renders chats, tokenizes nor detokenizes in stages of its own, which is its cheapest way: its vLLM does it, as in the
others.

    python -m benchmarks.ray_replicas --driver

What one call costs the driver's own process, which there is one of: a request to a replica that answers at once, a
program in a sandbox on the cluster, and one in the pool of this machine.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import ray

from datagen.config import EngineConfig, RunConfig
from datagen.engines import open_engine
from datagen.engines import vllm_loading as loading
from datagen.engines.ray import open_engine as open_ray
from datagen.engines.replay import Replay
from datagen.models import Completion, Engine, Job, Request, Sample, Sampling
from datagen.pools import RemotePools
from datagen.resources import resolve_model
from sandbox import Pool

BATCH = 64
"""Rows that ray.data.llm hands on together."""
WARM_UP = 256
"""Requests that are answered before the others are asked."""

EQUAL = {"RAY_worker_niceness": "0", "OMP_NUM_THREADS": "1", "VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
"""For all sides alike. Ray's workers would be nicer than the rest; and on a CPU vLLM's scheduler would spin while it
waits for its worker, which counts as work the more, the more the machine has to do.
"""


@dataclass(frozen=True, slots=True)
class Pass:
    """What the requests took: tokens, seconds, CPU seconds."""

    tokens: int
    wall: float
    cpu: float

    def of(self, unit: str) -> float:
        """Tokens per second ("wall") or per CPU second ("cpu")."""
        return self.tokens / (self.cpu if unit == "cpu" else self.wall)


def requests(count: int, tokens: int, start: int = 0) -> list[Request]:
    """Prompts that differ, each with a seed of its own."""
    return [
        Request(prompt=f"Write a function that adds {i} to a number.\n", sampling=Sampling(max_tokens=tokens, seed=i))
        for i in range(start, start + count)
    ]


class Cpu:
    """CPU seconds of this process and all that come from it; of ended ones, as of a quarter of a second before."""

    def __init__(self) -> None:
        self._seen: dict[psutil.Process, float] = {}
        self._lock = threading.Lock()
        threading.Thread(target=self._watch, daemon=True).start()

    def read(self) -> float:
        """All that were spent up to now."""
        with self._lock:
            for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    times = process.cpu_times()
                    self._seen[process] = times.user + times.system
            return sum(self._seen.values())

    def _watch(self) -> None:
        while True:
            self.read()
            time.sleep(0.25)


class Clocks:
    """Starts when it is made."""

    def __init__(self) -> None:
        self._cpu = Cpu()
        self._start = (time.monotonic(), self._cpu.read())

    def taken(self, tokens: int) -> Pass:
        """What it took to write so many tokens."""
        return Pass(tokens, time.monotonic() - self._start[0], self._cpu.read() - self._start[1])


async def asked(config: EngineConfig, args: argparse.Namespace) -> Pass:
    """An engine of ours."""
    engine = await open_engine(config)
    work = requests(WARM_UP + args.requests, args.tokens)
    await asyncio.gather(*map(engine.complete, work[:WARM_UP]))
    clocks = Clocks()
    done = await asyncio.gather(*map(engine.complete, work[WARM_UP:]))
    taken = clocks.taken(sum(completion.completion_tokens for completion in done))
    await engine.close()
    return taken


def bare(args: argparse.Namespace) -> Pass:
    """vLLM's asynchronous engine."""
    return asyncio.run(asked(_config(args), args))


def replica(args: argparse.Namespace) -> Pass:
    """The same engine in an actor."""
    start_ray()
    return asyncio.run(asked(replace(_config(args), engine="ray"), args))


def ray_data(args: argparse.Namespace) -> Pass:
    """Ray's library, which maps a model over a data set.

    Its metrics are off: vLLM exports them only where ray.serve can be imported, and its actor dies where it cannot.
    """
    given, on_cpu = engine_settings(args)
    start_ray()
    from ray.data.llm import build_processor, vLLMEngineProcessorConfig

    config = vLLMEngineProcessorConfig(
        model_source=resolve_model(args.model), engine_kwargs=given, concurrency=1, batch_size=BATCH,
        max_concurrent_batches=16, log_engine_metrics=False,
        placement_group_config={"bundles": [{"CPU": 1} if on_cpu else {"CPU": 1, "GPU": 1}]},
        chat_template_stage=False, tokenize_stage=False, detokenize_stage=False,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        go = Path(folder, "go")
        process = build_processor(
            config,
            preprocess=lambda row: {"prompt": row["prompt"], "sampling_params": _sampling(row, args.tokens, go)},
            postprocess=lambda row: {"tokens": row["num_generated_tokens"], "text": row["generated_text"]},
            preprocess_map_kwargs={"concurrency": 2},  # those that wait for the warm-up leave room for its rest
        )
        work = requests(WARM_UP + args.requests, args.tokens)
        rows = [{"prompt": request.prompt, "seed": request.sampling.seed} for request in work]
        answers = process(ray.data.from_items(rows, override_num_blocks=len(rows) // BATCH))
        found = iter(answers.iter_batches(batch_size=None, prefetch_batches=0))  # else it waits for one more first
        answered = 0
        while answered < WARM_UP:
            answered += len(next(found)["tokens"])
        clocks = Clocks()
        go.touch()
        return clocks.taken(sum(int(batch["tokens"].sum()) for batch in found))


def engine_settings(args: argparse.Namespace) -> tuple[dict[str, Any], bool]:
    """(vLLM's arguments as datagen gives them, with as many sequences at once as it then takes; whether on a CPU)."""
    folder = resolve_model(args.model)
    resolved, on_cpu = loading.resolve(_config(args), folder, share=1.0)
    at_once = {"max_num_seqs": resolved.scheduler_config.max_num_seqs}
    return loading.settings(_config(args), folder, share=1.0, on_cpu=on_cpu) | at_once, on_cpu


def _config(args: argparse.Namespace) -> EngineConfig:
    return EngineConfig(model=args.model, max_model_len=1024)


def _sampling(row: dict[str, Any], tokens: int, go: Path) -> dict[str, Any]:
    """The settings of a request, once it is its turn."""
    while row["seed"] >= WARM_UP and not go.exists():
        time.sleep(0.02)
    return {"temperature": 0.8, "top_p": 0.95, "max_tokens": tokens, "seed": row["seed"]}


def start_ray() -> None:
    """A cluster of this process's own."""
    ray.init(address="local", object_store_memory=200_000_000, num_cpus=4, include_dashboard=False)


SIDES: dict[str, Callable[[argparse.Namespace], Pass]] = {
    "bare": bare, "replica": replica, "ray.data.llm": ray_data,
}  # fmt: skip


def in_process(side: str) -> Pass:
    """One side, in a process of its own with the same arguments."""
    command = [sys.executable, "-m", "benchmarks.ray_replicas", *sys.argv[1:], "--side", side]
    environment = os.environ | EQUAL
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return Pass(**json.loads(ended.stdout.splitlines()[-1]))


def report(found: dict[str, list[Pass]]) -> str:
    """Medians of the rounds, and what they are of the bare engine's."""
    base = [median(one.of(unit) for one in found["bare"]) for unit in ("cpu", "wall")]
    lines = [
        "| | tokens per CPU s | of bare | tokens/s | of bare | rounds: tokens per CPU s |",
        "|---|--:|--:|--:|--:|---|",
    ]
    for side, passes in found.items():
        cpu, wall = (median(one.of(unit) for one in passes) for unit in ("cpu", "wall"))
        each = ", ".join(f"{one.of('cpu'):,.0f}" for one in passes)
        lines.append(f"| {side} | {cpu:,.0f} | {cpu / base[0]:.2f} | {wall:,.0f} | {wall / base[1]:.2f} | {each} |")
    return "\n".join(lines)


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
    """Takes turns and prints the report; with --side, takes one turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="demo-model")
    parser.add_argument("--requests", type=int, default=1280)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--driver", action="store_true")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.driver:
        start_ray()
        asyncio.run(driver())
    elif args.side:
        print(json.dumps(asdict(SIDES[args.side](args))))
    else:
        found: dict[str, list[Pass]] = {side: [] for side in SIDES}
        for _ in range(args.rounds):
            for side, passes in found.items():
                passes.append(in_process(side))
                print(side, passes[-1], file=sys.stderr, flush=True)
        print(report(found))


if __name__ == "__main__":
    main()
