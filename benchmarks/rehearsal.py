"""A run at full scale on one machine: every stage, the real sandbox, what it cost; then it is counted that nothing was
lost and nothing came twice, and the run is opened and resumed again.

    python -m benchmarks.rehearsal --questions 62000                 answers made by benchmarks.generated
    python -m benchmarks.rehearsal --questions 6200 --engine demo    the demo model in vLLM

With `--run FOLDER` one that was stopped goes on; `--limit N` solves the first N unique questions only.

Reported for each stage: seconds, tokens, the driver's CPU seconds and those spent on making answers, its memory at five
moments; then sizes, the funnel, and how long the finished ledger takes to open, to read and to resume.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any

import polars as pl

from benchmarks.generated import answer
from datagen.collaborators import LazySandbox, opened_engines
from datagen.engines.replay import Replay
from datagen.funnel import funnel
from datagen.interrupt import Interrupt
from datagen.ledger import Ledger, read_records
from datagen.models import Completion, Request
from datagen.recipe import STEPS, Recipe, load_recipe, recipe_path
from datagen.store import DECONTAMINATE, DEDUP, QUESTIONS, SOLVE, RunFolder, read_reports, read_status
from datagen.workflow import Run

MOMENTS = 5


@dataclass(slots=True)
class Timed:
    """Seconds of the clock, the driver's CPU seconds, its resident MB over time."""

    wall: float = 0.0
    cpu: float = 0.0
    children_cpu: float = 0.0
    memory: list[float] = field(default_factory=list)


class Watching:
    """Samples this process's memory while the body runs."""

    def __init__(self, into: Timed) -> None:
        self._into, self._end = into, Event()
        self._thread = Thread(target=self._sample, daemon=True)

    def _sample(self) -> None:
        while not self._end.wait(0.25):
            self._into.memory.append(resident())

    def __enter__(self) -> None:
        self._before = time.monotonic(), time.process_time(), waited()
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        now = time.monotonic(), time.process_time(), waited()
        self._into.wall, self._into.cpu, self._into.children_cpu = (
            b - a for a, b in zip(self._before, now, strict=True)
        )
        self._into.memory.append(resident())


def resident() -> float:
    """Resident MB of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def waited() -> float:
    """CPU seconds of children that ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Answers:
    """`benchmarks.generated.answer`, with a count of what making answers costs."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self, request: Request) -> Completion:
        start = time.thread_time()
        completion = answer(request)
        self.seconds += time.thread_time() - start
        return completion


def recipe(args: argparse.Namespace) -> Recipe:
    """The demo's, with this many raw questions; many per completion where answers are made."""
    asked = {"count": args.questions} | ({"per_prompt": 50} if args.engine == "generated" else {})
    settings = {"questions": asked, "solve": {"limit": args.limit}, "decontaminate": {"against": ("demo-heldout",)}}
    return load_recipe(recipe_path("demo"), settings)


@asynccontextmanager
async def opened(folder: RunFolder, args: argparse.Namespace, answers: Answers) -> Any:
    """The run, its engines and its sandbox."""
    settings = recipe(args)
    folder.update_manifest(recipe="rehearsal", seed=settings.run.seed)
    async with opened_engines(settings.engines, say) as engines, LazySandbox(settings.run) as sandbox:
        made = dict.fromkeys(STEPS, Replay(answers, "generated"))
        yield Run(folder, settings, made if args.engine == "generated" else engines, sandbox, Interrupt(say), say)


def say(line: str) -> None:
    """For the person watching."""
    print(line, file=sys.stderr, flush=True)


async def rehearse(args: argparse.Namespace, timed: dict[str, Timed], answers: Answers) -> None:
    """Every stage, each measured; then the solve stage once more, with nothing owed."""
    with RunFolder(args.run) as folder:
        async with opened(folder, args, answers) as run:
            for name, step in stages(run).items():
                spent = answers.seconds
                with Watching(timed.setdefault(name, Timed())):
                    done = step()
                    if asyncio.iscoroutine(done):
                        await done
                if answers.seconds > spent:
                    timed.setdefault(f"(answers of {name})", Timed(cpu=answers.seconds - spent))


def stages(run: Run) -> dict[str, Callable[[], Any]]:
    """What is measured, in order; questions end with dedup."""
    return {
        QUESTIONS: run.questions,
        DEDUP: run.dedup,
        SOLVE: run.solve,
        DECONTAMINATE: run.decontaminate,
        "export": run.export,
        "solve, nothing owed": run.solve,
    }


# -- nothing lost, nothing twice -------------------------------------------------------------------------------------


def conservation(run: Path, n: int, limit: int = 0) -> list[str]:
    """What is wrong with a finished run, of whose unique questions the first `limit` (0: all) were to be solved."""
    ids = {name: _ids(run, name) for name in (QUESTIONS, DEDUP, SOLVE, DECONTAMINATE)}
    wrong = [f"{name}: an id is twice" for name in (DEDUP, SOLVE, DECONTAMINATE) if _repeats(ids[name][0])]
    places = pl.read_parquet(run / QUESTIONS / "kept.parquet", columns=["prompt_index", "position"])
    wrong += [f"{QUESTIONS}: a place is twice"] if _repeats(places.rows()) else []  # equal texts have one id there
    unique = ids[DEDUP][0][: limit or None]
    came_to = {DEDUP: ids[QUESTIONS][0], SOLVE: unique, DECONTAMINATE: ids[SOLVE][0]}
    for after, before in came_to.items():
        came, went = Counter(before), Counter(ids[after][0]) + Counter(ids[after][1])
        if came != went:
            wrong.append(f"{after}: {(came - went).total()} lost, {(went - came).total()} too many")
    ledger = Counter(record["source_id"] for record in read_records(run / SOLVE / "ledger"))
    if set(ledger.values()) != {1} or not ledger.keys() >= set(unique) or not ledger.keys() <= set(ids[DEDUP][0]):
        wrong.append(f"{SOLVE}: the ledger's ids are not those of the unique questions")
    tried = pl.read_parquet(run / SOLVE / "candidates.parquet", columns=["source_id", "index", "chosen"])
    if tried.group_by("source_id", "index").len()["len"].max() != 1 or set(
        tried.group_by("source_id").len()["len"].to_list()
    ) != {n}:
        wrong.append(f"{SOLVE}: not every question has each candidate once")
    published = pl.concat([pl.read_parquet(path) for path in sorted((run / "dataset/data").glob("*.parquet"))])
    if Counter(published["id"].to_list()) != Counter(ids[DECONTAMINATE][0]):
        wrong.append("dataset: its rows are not those that decontamination kept")
    return wrong


def _repeats(names: Sequence[object]) -> bool:
    return len(set(names)) < len(names)


def _ids(run: Path, stage: str) -> tuple[list[str], list[str]]:
    """Kept and dropped."""
    kept, dropped = (pl.read_parquet(run / stage / f"{name}.parquet") for name in ("kept", "dropped"))
    return kept["id"].to_list(), dropped["source_id"].to_list()


# -- the report ------------------------------------------------------------------------------------------------------


def report(args: argparse.Namespace, timed: dict[str, Timed]) -> str:
    """All of it, as text."""
    tokens = {one.stage: one.notes.get("completion_tokens", 0) for one in read_reports(args.run)}
    lines = [f"{args.questions:,} raw questions, engine {args.engine}", "", funnel(read_reports(args.run)), ""]
    lines += ["| | wall s | driver CPU s | tokens | tokens/s | driver MB over time |", "|---|---:|---:|---:|---:|---|"]
    for name, one in timed.items():
        written = tokens.get(name, 0)
        rate = f"{written / one.wall:,.0f}" if written and one.wall else ""
        seen = ", ".join(f"{mb:.0f}" for mb in moments(one.memory))
        lines.append(f"| {name} | {one.wall:.1f} | {one.cpu:.1f} | {written or ''} | {rate} | {seen} |")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    lines += ["", f"driver's peak memory: {peak:,.0f} MB", *sizes(args.run), *reopened(args.run)]
    wrong = conservation(args.run, recipe(args).solve.n, args.limit)
    return "\n".join([*lines, "", *(wrong or ["nothing lost, nothing twice"])])


def moments(memory: list[float]) -> list[float]:
    """Of what was sampled, the first, the last and evenly between."""
    if len(memory) <= MOMENTS:
        return memory
    return [memory[round(index * (len(memory) - 1) / (MOMENTS - 1))] for index in range(MOMENTS)]


def sizes(run: Path) -> list[str]:
    """MB of the parts of a run's folder."""
    parts = {"whole run": run, "dataset": run / "dataset"}
    parts |= {f"ledger of {name}": run / name / "ledger" for name in (QUESTIONS, SOLVE)}
    return [f"{name}: {size(path) / 1e6:,.1f} MB" for name, path in parts.items()]


def size(path: Path) -> int:
    """Bytes of all files below."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def reopened(run: Path) -> list[str]:
    """How long opening, asking for the status and reading the largest ledger take."""
    ledger = run / SOLVE / "ledger"
    opening = cost(lambda: Ledger(ledger).close())
    status = cost(lambda: read_status(run))
    reading = cost(lambda: sum(1 for _ in read_records(ledger)))
    return [
        f"ledger of {SOLVE} opened in {opening:.2f} CPU s, status of the run in {status:.2f}, "
        f"all records read in {reading:.2f}"
    ]


def cost(work: Callable[[], object]) -> float:
    """CPU seconds that it takes."""
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    """Runs the rehearsal and prints the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--questions", type=int, default=62_000)
    parser.add_argument("--engine", choices=("generated", "demo"), default="generated")
    parser.add_argument("--limit", type=int, default=0, help="unique questions to solve (default: all)")
    parser.add_argument("--run", type=Path, help="folder of the run (default: a temporary one)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        args.run = args.run or Path(name)
        timed: dict[str, Timed] = {}
        asyncio.run(rehearse(args, timed, Answers()))
        print(report(args, timed))
        say(json.dumps({key: [one.wall, one.cpu] for key, one in timed.items()}))


if __name__ == "__main__":
    main()
