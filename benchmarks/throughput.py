"""What the pipeline costs beside the bare engine: `vllm.LLM.generate` against `datagen solve`, in one run.

    python -m benchmarks.throughput --questions 300 --repetitions 3

All sides take turns, each in a process of its own, with the demo model, the same requests, seeds and engine settings;
loading the model is not counted:

    bare        vllm.LLM.generate on all requests of the solve stage at once; it need not wait for tests to be written
    replayed    the solve stage as `datagen solve` runs it, tables and report included, with recorded verdicts
    sandbox     the programs of the solve stage alone, in their order
    sandboxed   the solve stage with the real sandbox on the same cores

`starved` is the share of the time in which fewer sequences were asked of the engine than it has room for
(max_num_seqs), until the last request was made. Processes of others on the machine disturb wall times: medians are
compared, and CPU seconds beside them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import pickle
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from benchmarks.generated import questions, write_stage
from datagen.collaborators import LazyEngine
from datagen.config import EngineConfig
from datagen.engines import open_engine
from datagen.interrupt import Interrupt
from datagen.models import Completion, Engine, Job, Request, Sampling, Verdict
from datagen.recipe import STEPS, load_recipe, recipe_path
from datagen.store import DEDUP, QUESTIONS, RunFolder
from datagen.workflow import Run
from sandbox import Pool

SIDES = ("bare", "replayed", "sandbox", "sandboxed")


@dataclass(frozen=True, slots=True)
class Figures:
    """One turn of one side: seconds, tokens, CPU seconds of the engine, of all else and of the driver."""

    side: str
    wall: float
    tokens: int = 0
    engine_cpu: float = 0.0
    other_cpu: float = 0.0
    driver_cpu: float = 0.0
    starved: float = 0.0
    missed: int = 0


@dataclass(slots=True)
class Recording:
    """What the first turn asked and got: requests in order, groups of sibling programs in order, their verdicts."""

    requests: list[Request] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)
    verdicts: dict[Job, Verdict] = field(default_factory=dict)


class Meter:
    """An Engine that records requests and how long too few sequences were in flight."""

    def __init__(self, engine: Engine, slots: int) -> None:
        self._engine, self._slots = engine, slots
        self.reset()

    def reset(self) -> None:
        """Forgets what was."""
        self.requests: list[Request] = []
        self.tokens = self._flying = 0
        self._starved = self._since = self._starved_at_last = 0.0
        self.began = self.last = 0.0

    async def itself(self) -> Engine:
        """For those who load engines."""
        return self

    model = property(lambda self: self._engine.model)
    slots = property(lambda self: self._slots)

    def _count(self, change: int) -> None:
        now = time.monotonic()
        if self._flying < self._slots and self.began:
            self._starved += now - self._since
        self._since = now
        self._flying += change

    async def complete(self, request: Request) -> Completion:
        """As the engine; counts."""
        self._count(request.sampling.n)
        self.began = self.began or self._since
        self.last, self._starved_at_last = self._since, self._starved
        self.requests.append(request)
        try:
            completion = await self._engine.complete(request)
        finally:
            self._count(-request.sampling.n)
        self.tokens += completion.completion_tokens
        return completion

    @property
    def starved(self) -> float:
        """The share, until the last request."""
        return self._starved_at_last / max(self.last - self.began, 1e-9)

    async def close(self) -> None:
        """Frees the engine."""
        await self._engine.close()


class Replayed:
    """A Sandbox of recorded verdicts; a program that was not recorded runs for real, and is counted."""

    level = ""

    def __init__(self, recording: Recording, pool: Pool) -> None:
        self._verdicts, self._pool = recording.verdicts, pool
        self.missed = 0

    async def run(self, job: Job) -> Verdict:
        """The recorded verdict."""
        if job in self._verdicts:
            return self._verdicts[job]
        self.missed += 1
        return await self._pool.run(job)


class Recorder:
    """The real sandbox; records."""

    level = ""

    def __init__(self, recording: Recording, pool: Pool) -> None:
        self._recording, self._pool = recording, pool
        self.missed = 0

    async def run(self, job: Job) -> Verdict:
        """The program's verdict."""
        verdict = await self._pool.run(job)
        self._recording.jobs.append(job)
        self._recording.verdicts[job] = verdict
        return verdict


class Cpu:
    """CPU seconds of this process and its descendants from here on: of vLLM's, of others, of this process itself."""

    def __init__(self) -> None:
        self._start = self._now()

    def _now(self) -> tuple[float, float, float]:
        me = psutil.Process()
        children = {child.pid: child for child in me.children(recursive=True)}
        engine = sum(_seconds(child) for child in children.values() if "VLLM" in _name(child))
        return engine, sum(map(_seconds, children.values())) - engine + _waited(), _own()

    def used(self) -> tuple[float, float, float]:
        """(engine, others, own) since the start."""
        return tuple(b - a for a, b in zip(self._start, self._now(), strict=True))  # type: ignore[return-value]


def _name(process: psutil.Process) -> str:
    try:
        return " ".join([process.name(), *process.cmdline()])
    except psutil.Error:
        return ""


def _seconds(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)


def _own() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _waited() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


# -- the sides -------------------------------------------------------------------------------------------------------


def engine_config() -> EngineConfig:
    """The demo recipe's."""
    return load_recipe(recipe_path("demo"), {}).engines["solutions"]


async def stage(work: Path, count: int, side: str, flags: dict[str, Any]) -> Figures:
    """The solve stage on `count` questions, verdicts replayed or not."""
    recipe = load_recipe(recipe_path("demo"), {"engine": flags})
    config = recipe.engines["solutions"]
    engine = await open_engine(config)
    meter = Meter(engine, int(engine.slots))  # type: ignore[attr-defined]
    lazy = LazyEngine(config, meter.itself)
    await asyncio.gather(*(lazy.complete(warm_up(index)) for index in range(64)))
    meter.reset()
    recording = load(work)
    with tempfile.TemporaryDirectory(dir=work) as name, RunFolder(Path(name)) as folder:
        for finished in (QUESTIONS, DEDUP):
            write_stage(Path(name), finished, questions(count))
        async with Pool() as pool:
            sandbox = Replayed(recording, pool) if side == "replayed" else Recorder(recording, pool)
            run = Run(folder, recipe, dict.fromkeys(STEPS, lazy), sandbox, Interrupt(), lambda line: None)  # type: ignore[arg-type]
            cpu, start = Cpu(), time.monotonic()
            await run.solve()
            wall = time.monotonic() - start
            used = cpu.used()
    recording.requests = recording.requests or meter.requests
    if side == "sandboxed":
        save(work, recording)
    await lazy.close()
    return Figures(side, wall, meter.tokens, *used, meter.starved, sandbox.missed)


def bare(work: Path, count: int, side: str, flags: dict[str, Any]) -> Figures:
    """LLM.generate on the recorded requests, with the settings that datagen gives the engine."""
    from datagen.engines import vllm_loading as loading
    from datagen.engines.chat import open_chat
    from datagen.engines.vllm import _sampling
    from datagen.engines.weights import fetch
    from datagen.resources import resolve_model

    loading._environment()
    from vllm import LLM

    config, requests = engine_config(), load(work).requests
    settings = loading.settings(config, fetch(resolve_model(config.model), config.revision), 1.0, on_cpu=True)
    llm = LLM(**settings)
    chat = open_chat(llm.get_tokenizer(), config.chat_template, config.model)
    llm.generate(*prompts(chat, [warm_up(index) for index in range(64)], _sampling), use_tqdm=False)
    inputs, sampling = prompts(chat, requests, _sampling)
    cpu, start = Cpu(), time.monotonic()
    outputs = llm.generate(inputs, sampling, use_tqdm=False)
    wall, used = time.monotonic() - start, cpu.used()
    return Figures(side, wall, sum(len(sample.token_ids) for one in outputs for sample in one.outputs), *used)


def prompts(chat: Any, requests: list[Request], sampling: Callable[[Request], Any]) -> tuple[list[Any], list[Any]]:
    """Requests as the engine takes them."""
    return [{"prompt_token_ids": chat.encode(r)[0]} for r in requests], [sampling(r) for r in requests]


def warm_up(index: int) -> Request:
    """A request that no question makes."""
    return Request(prompt=f"warm up {index}", sampling=Sampling(max_tokens=32, seed=index))


async def sandbox_alone(work: Path, count: int, side: str, flags: dict[str, Any]) -> Figures:
    """All recorded programs, as fast as the pool takes them."""
    jobs = load(work).jobs
    async with Pool() as pool:
        cpu, start = Cpu(), time.monotonic()
        await asyncio.gather(*(pool.run(job) for job in jobs))
        wall, used = time.monotonic() - start, cpu.used()
    return Figures(side, wall, 0, *used)


def load(work: Path) -> Recording:
    """The recording of the first turn, or an empty one."""
    path = work / "recording.pickle"
    recording: Recording = pickle.loads(path.read_bytes()) if path.exists() else Recording()
    return recording


def save(work: Path, recording: Recording) -> None:
    """Keeps the recording of the first turn."""
    path = work / "recording.pickle"
    if not path.exists():
        path.write_bytes(pickle.dumps(recording))


def turn(side: str, work: Path, count: int, flags: dict[str, Any]) -> Figures:
    """One side, in this process."""
    if side == "bare":
        return bare(work, count, side, flags)
    if side == "sandbox":
        return asyncio.run(sandbox_alone(work, count, side, flags))
    return asyncio.run(stage(work, count, side, flags))


def in_process(side: str, args: argparse.Namespace, work: Path) -> Figures:
    """One side, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.throughput", "--side", side, "--work", str(work)]
    command += ["--questions", str(args.questions), "--concurrency", str(args.concurrency)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        sys.exit(ended.stderr)
    print(ended.stdout.splitlines()[-1], file=sys.stderr, flush=True)
    return Figures(**json.loads(ended.stdout.splitlines()[-1]))


# -- what they say ---------------------------------------------------------------------------------------------------


def report(found: list[Figures]) -> str:
    """A table of medians, and the ratios."""
    sides = {side: [one for one in found if one.side == side] for side in SIDES}
    middle = {side: _medians(turns) for side, turns in sides.items() if turns}
    lines = ["| | wall s | tokens | tokens/s | engine CPU s | driver CPU s | other CPU s | engine starved |"]
    lines += ["|---|---:|---:|---:|---:|---:|---:|---:|"]
    for side, one in middle.items():
        rate = f"{one['tokens'] / one['wall']:,.0f}" if one["tokens"] else ""
        starved = f"{one['starved']:.1%}" if side in ("replayed", "sandboxed") else ""
        lines.append(
            f"| {side} | {one['wall']:.1f} | {one['tokens']:,.0f} | {rate} | {one['engine_cpu']:.1f} | "
            f"{one['driver_cpu']:.1f} | {one['other_cpu']:.1f} | {starved} |"
        )
    return "\n".join([*lines, "", *_ratios(sides)])


def _medians(turns: list[Figures]) -> dict[str, float]:
    return {key: median(asdict(one)[key] for one in turns) for key in asdict(turns[0]) if key != "side"}


def _ratios(sides: dict[str, list[Figures]]) -> list[str]:
    """Each within one round, then the median of the rounds."""
    rounds = list(zip(*(sides[side] for side in SIDES), strict=True))
    speed = [(r.tokens / r.wall) / (b.tokens / b.wall) for b, r, _, _ in rounds]
    cpu = [_cpu(r) / _cpu(b) for b, r, _, _ in rounds]
    both = [s.wall / (b.wall + alone.wall) for b, _, alone, s in rounds]
    both_cpu = [_cpu(s) / (_cpu(b) + _cpu(alone)) for b, _, alone, s in rounds]
    return [
        f"tokens/s of the stage, verdicts replayed / bare: {_spread(speed)}",
        f"CPU seconds of the stage, verdicts replayed / bare: {_spread(cpu)}",
        f"wall of the stage with the sandbox / (bare + sandbox alone): {_spread(both)}",
        f"CPU seconds of the stage with the sandbox / (bare + sandbox alone): {_spread(both_cpu)}",
    ]


def _cpu(one: Figures) -> float:
    return one.engine_cpu + one.other_cpu + one.driver_cpu


def _spread(values: list[float]) -> str:
    return f"{median(values):.3f} (rounds: {', '.join(f'{value:.3f}' for value in values)})"


def main() -> None:
    """Takes turns and prints the report; with --side, takes one turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--questions", type=int, default=300)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--concurrency", type=int, default=0, help="items in flight (the engine's setting)")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        flags = {"concurrency": args.concurrency} if args.concurrency else {}
        print(json.dumps(asdict(turn(args.side, args.work, args.questions, flags))))
        return
    with tempfile.TemporaryDirectory() as name:
        in_process("sandboxed", args, Path(name))  # the recording
        found = [in_process(side, args, Path(name)) for _ in range(args.repetitions) for side in SIDES]
    print(report(found))


if __name__ == "__main__":
    main()
