"""What half a million programs leave behind: nothing, or this exits with 1.

    python -m benchmarks.sandbox_soak --programs 500000 --workers 2 --level L0

Distinct small programs (60 % right, 30 % wrong, 10 % raising), one in fifty of them replaced by one of the catalogue's
attacks, go through one pool, several at once, with the full verdict. Counted before (once a warm-up has filled every
cache) and after: processes, descriptors, mounts, temporary files and memory of the user's process, the zygotes and the
compile servers. The table goes to stdout as Markdown, progress to stderr; Ctrl-C ends it early with the table so far.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import count, cycle, islice
from pathlib import Path
from random import Random

from benchmarks.sandbox_workload import programs
from sandbox import Job, Limits, Pool, SandboxError, Tier, Verdict
from sandbox.catalogue import CATALOGUE, Entry, Kind
from sandbox.catalogue.runner import Fault, applicable, judge
from sandbox.catalogue.traces import children

HOSTILE_EVERY = 50
WARM_UP = 60_000  # programs: the pool's cache of compiled tests is full after 20,000, the heap has settled after this
IN_FLIGHT = 60  # jobs for each worker: many wait, so that their programs are compiled together
SHORT = Limits(cpu_seconds=0.25, wall_seconds=1.5)
REPORT_SECONDS = 10.0
SHOWN = 10
SETTLING = 10.0
STOPPED = 130

MAY_GROW = {"coordinator": 8.0, "zygotes": 1.0, "compile servers": 32.0}
"""MB for each process. A compile server is replaced after every 20,000 sources, and is as large as the largest source
since then has made it.
"""


@dataclass(frozen=True, slots=True)
class Task:
    """A job, and what its true verdict is: whether it passes, or the entry of the catalogue that says more."""

    job: Job
    passes: bool
    entry: Entry | None = None


@dataclass(slots=True)
class Tally:
    """What came of the programs so far."""

    ran: int = 0
    hostile: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    forged: list[str] = field(default_factory=list)
    odd: Counter[str] = field(default_factory=Counter)

    def add(self, task: Task, verdict: Verdict, seconds: float) -> None:
        """One more program."""
        self.ran += 1
        if task.entry is None:
            self.statuses[verdict.status] += 1
            if verdict.passed is not task.passes:
                self.wrong.append(f"{verdict.status} ({verdict.detail}): {task.job.program!r}")
            return
        self.hostile += 1
        fault = judge(task.entry, Tier.FULL, verdict, seconds, "")
        if fault in (Fault.FORGED, Fault.ESCAPED):
            self.forged.append(f"{task.entry.title}: {verdict.status}")
        elif fault is not Fault.NONE:
            self.odd[f"{task.entry.title}: {verdict.status} ({verdict.detail[:100]})"] += 1


@dataclass(frozen=True, slots=True)
class Census:
    """What there is at one moment: numbers by name, MB of memory of each process by kind and age; the zygotes' ids."""

    numbers: dict[str, tuple[int | str, ...]]
    memory: dict[str, tuple[float, ...]]
    zygotes: frozenset[int]


def tasks(level: str, seed: int) -> Iterator[Task]:
    """An endless mix of honest programs and attacks."""
    attacks, random = _attacks(level), Random(seed)
    random.shuffle(attacks)
    hostile = cycle(attacks)
    honest = (program for block in count() for program in programs(seed + block, 1))
    for number, program in enumerate(honest):
        if number % HOSTILE_EVERY == random.randrange(HOSTILE_EVERY):
            entry = next(hostile)
            yield Task(replace(entry.job(Tier.FULL), limits=_short(entry)), passes=False, entry=entry)
        else:
            yield Task(Job(program.source, program.tests), program.passes)


def _attacks(level: str) -> list[Entry]:
    """What the catalogue has against a level, save what takes two programs in a row on one worker."""
    return [entry for entry in applicable(CATALOGUE, level) if entry.kind is not Kind.MUST_PASS and not entry.before]


def _short(entry: Entry) -> Limits:
    if entry.kind is not Kind.HANG:
        return entry.limits
    cpu, wall = min(entry.limits.cpu_seconds, SHORT.cpu_seconds), min(entry.limits.wall_seconds, SHORT.wall_seconds)
    return replace(entry.limits, cpu_seconds=cpu, wall_seconds=wall)


async def play(pool: Pool, source: Iterator[Task], total: int, workers: int, stop: asyncio.Event, title: str) -> Tally:
    """Run so many programs, or as many as there are until `stop`."""
    tally, progress, some = Tally(), Progress(title, total), islice(source, total)

    async def lane() -> None:
        for task in some:
            started = time.monotonic()
            verdict = await pool.run(task.job)
            tally.add(task, verdict, time.monotonic() - started)
            progress.tell(tally)
            if stop.is_set():
                return

    async with asyncio.TaskGroup() as group:
        for _ in range(workers * IN_FLIGHT):
            group.create_task(lane())
    return tally


class Progress:
    """A line on stderr now and then."""

    def __init__(self, title: str, total: int) -> None:
        self._title, self._total = title, total
        self._started = self._told = time.monotonic()

    def tell(self, tally: Tally) -> None:
        """How far it is, how fast it goes, how long it will take."""
        now = time.monotonic()
        if now < self._told + REPORT_SECONDS and tally.ran < self._total:
            return
        self._told = now
        rate = tally.ran / (now - self._started)
        left = (self._total - tally.ran) / rate / 60
        faults = f", {len(tally.wrong)} wrong, {len(tally.forged)} forged" if tally.wrong or tally.forged else ""
        done = f"{self._title}: {tally.ran:,}/{self._total:,} programs, {rate:,.0f}/s, {left:.0f} min left"
        line = f"{done}{faults}, {_memory(os.getpid()):.0f} MB here"
        print(line, file=sys.stderr, flush=True)


async def start_all(pool: Pool, workers: int, level: str) -> None:
    """Have every slot start its worker for every seed that will come, and its compile server."""
    seeds = {seed for entry in _attacks(level) for seed in (0, entry.second_seed) if seed is not None}
    for seed in seeds:
        slow = Job("import time\ntime.sleep(0.5)", (f"assert True, {seed}",), seed=seed, tier=Tier.SCREEN)
        slots = [replace(slow, tests=(f"assert {number} + 1", *slow.tests)) for number in range(workers)]
        await asyncio.gather(*map(pool.run, slots))


async def census(mine: set[int]) -> Census:
    """What there is once everything that is about to end has ended; `mine`: other children of this process."""
    gc.collect()
    end = time.monotonic() + SETTLING
    while time.monotonic() < end and any(len(children(pid)) > 1 for pid in _zygotes(mine)):
        await asyncio.sleep(0.1)
    zygotes = _zygotes(mine)
    servers = [server for zygote in zygotes for server in children(zygote)]
    own = os.getpid()
    numbers: dict[str, tuple[int | str, ...]] = {
        "zygotes": (len(zygotes),),
        "compile servers": (len(servers),),
        "processes below those": (sum(len(children(server)) for server in servers),),
        "descriptors of the coordinator": (_entries(f"/proc/{own}/fd"),),
        "descriptors of the zygotes": tuple(_entries(f"/proc/{pid}/fd") for pid in zygotes),
        "mounts of the coordinator": (_lines(f"/proc/{own}/mountinfo"),),
        "mounts of the zygotes": tuple(_lines(f"/proc/{pid}/mountinfo") for pid in zygotes),
        "files in the workers' temporary folders": (sum(max(0, _entries(f"/proc/{pid}/cwd")) for pid in zygotes),),
        "files in the machine's temporary folder": (len(list(Path(tempfile.gettempdir()).rglob("*"))),),
    }
    groups = {"coordinator": [own], "zygotes": zygotes, "compile servers": servers}
    return Census(numbers, {name: tuple(map(_memory, pids)) for name, pids in groups.items()}, frozenset(zygotes))


def _zygotes(mine: set[int]) -> list[int]:
    return sorted(set(children(os.getpid())) - mine)


def _entries(folder: str) -> int:
    """-1 where this process may not look."""
    try:
        return len(list(Path(folder).iterdir()))
    except OSError:
        return -1


def _lines(path: str) -> int:
    """As _entries."""
    try:
        return len(Path(path).read_bytes().splitlines())
    except OSError:
        return -1


def _memory(pid: int) -> float:
    """MB of memory that is no file's."""
    return int(Path(f"/proc/{pid}/status").read_text().partition("RssAnon:")[2].split()[0]) / 1024


def grown(before: Census, after: Census) -> list[str]:
    """What differs, in words."""
    pairs = ((name, before.numbers[name], now) for name, now in after.numbers.items())
    found = [f"{name}: {then} became {now}" for name, then, now in pairs if then != now]
    for name, sizes in after.memory.items():
        most = max(now - then for then, now in zip(before.memory[name], sizes, strict=False)) if sizes else 0.0
        if most > MAY_GROW[name]:
            found.append(f"memory of the {name}: {most:.1f} MB more, {MAY_GROW[name]:g} MB are allowed")
    return found


def report(before: Census, after: Census, tally: Tally, seconds: float, level: str, workers: int) -> str:
    """Markdown."""
    ran = f"{tally.ran:,} programs, {tally.hostile:,} of them hostile, in {seconds / 60:.1f} minutes"
    replaced = len(before.zygotes - after.zygotes)
    lines = [
        f"{ran} ({tally.ran / seconds:,.0f}/s), level {level}, {workers} workers, full verdict:",
        "",
        "| | before | after |",
        "|---|---|---|",
        *(_row(name, before.numbers[name], now) for name, now in after.numbers.items()),
        *(_row(_megabytes(name), before.memory[name], now) for name, now in after.memory.items()),
        "",
        f"Verdicts on honest programs: {', '.join(f'{n:,} {status}' for status, n in tally.statuses.most_common())}; "
        f"{len(tally.wrong)} wrong. Hostile programs that passed: {len(tally.forged)}; that ended otherwise than the "
        f"catalogue says: {sum(tally.odd.values())}. Zygotes that were replaced: {replaced}.",
    ]
    return "\n".join(lines)


def _megabytes(name: str) -> str:
    return f"memory of the {name}, MB (each may grow by {MAY_GROW[name]:g})"


def _row(name: str, then: tuple[object, ...], now: tuple[object, ...]) -> str:
    return f"| {name} | {_said(then)} | {_said(now)} |"


def _said(values: tuple[object, ...]) -> str:
    return " ".join(f"{value:.1f}" if isinstance(value, float) else str(value) for value in values) or "none"


async def soak(total: int, warm_up: int, workers: int, level: str, seed: int) -> int:
    """The exit code."""
    stop, mine = asyncio.Event(), set(children(os.getpid()))
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop.set)
    async with Pool(workers, levels=(level,)) as pool:
        await start_all(pool, workers, level)
        source = tasks(level, seed)
        first = await play(pool, source, warm_up, workers, stop, "warm-up")
        before, started = await census(mine), time.monotonic()
        if stop.is_set():
            return STOPPED
        tally = await play(pool, source, total, workers, stop, "soak")
        seconds = time.monotonic() - started
        after = await census(mine)
    print(report(before, after, tally, seconds, level, workers))
    return _judged(before, after, first, tally)


def _judged(before: Census, after: Census, first: Tally, tally: Tally) -> int:
    """The exit code; what is wrong goes to stderr."""
    faults = [*grown(before, after), *[f"wrong: {line}" for line in (*first.wrong, *tally.wrong)[:SHOWN]]]
    faults += [f"passed: {line}" for line in (*first.forged, *tally.forged)[:SHOWN]]
    for line in faults:
        print(line, file=sys.stderr)
    for line, times in (first.odd + tally.odd).most_common(SHOWN):
        print(f"otherwise than the catalogue says, {times} times: {line}", file=sys.stderr)
    return 1 if faults else 0


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Run very many programs, and show that nothing is left of them.")
    parser.add_argument("--programs", type=int, default=500_000, metavar="N")
    parser.add_argument("--warm-up", type=int, default=WARM_UP, metavar="N", help="programs before the first census")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)), metavar="W")
    parser.add_argument("--level", choices=("L0", "L1"), default="L0")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as own:
        Path(own).chmod(0o755)  # as /tmp: programs run as a user of their own, who has to get there
        tempfile.tempdir = own  # where nobody else makes folders meanwhile
        try:
            return asyncio.run(soak(options.programs, options.warm_up, options.workers, options.level, options.seed))
        except SandboxError as error:
            print(f"error: {error}", file=sys.stderr)
            return 3


if __name__ == "__main__":
    sys.exit(main())
