"""Three small stages over a deterministic engine, for tests that kill the process running them.

    python kill_driver.py RUN CALLS [--items N] [--slowest SECONDS] [--rotate LINES]    one run; says "ready" first
    python kill_driver.py RUN CALLS --every-step ...                                    see `every_step`

Every call to the engine is a line "stage id" in CALLS. Each item takes a random time, different in every process.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import sys
import time
from functools import partial
from pathlib import Path

import polars as pl
import pyarrow.compute
import pyarrow.dataset  # noqa: F401 - loaded once, here, and not in each of the forked runs

from datagen.errors import Interrupted
from datagen.interrupt import Interrupt
from datagen.ledger import Ledger
from datagen.models import Attempts, Candidate, Drop, Message, Outcome, PromptItem, Question, Row, Usage, content_id
from datagen.pipeline import drive, finish, run_whole_set
from datagen.progress import Progress
from datagen.sets import Selection
from datagen.store import RunFolder, finished_table
from datagen.tables import iter_rows, read_table

WRITES = os.O_WRONLY | os.O_RDWR
STAGES = ("1-questions", "2-dedup", "3-solve")


def prompt(index):
    return PromptItem(content_id("prompt", str(index)), index, 0, "lists", "easy", "a shop")


class Engine:
    """Answers by the item alone, after a random while; writes down that it was called."""

    def __init__(self, calls, slowest):
        self._calls, self._slowest = os.open(calls, os.O_WRONLY | os.O_CREAT | os.O_APPEND), slowest

    async def called(self, stage, item_id):
        os.write(self._calls, f"{stage} {item_id}\n".encode())
        await asyncio.sleep(random.random() * self._slowest)

    async def questions(self, item):
        """Each prompt gives one to four questions, some of them equal to others', and sometimes a drop."""
        await self.called("1-questions", item.id)
        texts = [f"question {item.index * 3 + position}" for position in range(1 + item.index % 4)]
        kept = tuple(
            Question(content_id(text), text, item.topic, item.difficulty, item.scenario, 0, item.index, position, "m")
            for position, text in enumerate(texts)
        )
        drops = (Drop("truncated", "cut", "questi"),) if item.index % 5 == 0 else ()
        return Outcome(item.id, kept, drops, usage=Usage(10, len(kept), random.random()))

    async def solve(self, question):
        """Two of three questions get a row."""
        await self.called("3-solve", question.id)
        tried = Attempts(candidates=tuple(Candidate(i, f"code {i}", "pass", ("pass",), "", 1) for i in range(3)))
        if question.prompt_index % 3 == 0:
            return Outcome(question.id, (), (Drop("none-passed", "0 of 3", question.question),), tried)
        messages = (Message("user", question.question), Message("assistant", "code 0"))
        row = Row(
            messages, question.id, question.question, "code 0", ("t",), "t", "f", 3, 3, 3, 1.0, 0, "easy", "lists", "m",
            "p", 0,
        )  # fmt: skip
        return Outcome(question.id, (row,), (), tried, Usage(5, 6, random.random()))


def first_of_each(frame):
    """Keeps the first question of each id."""
    ordered = frame.sort("id", "prompt_index")
    first = ordered["id"].is_first_distinct()
    dropped = ordered.filter(~first).select(
        source_id="id", reason=pl.lit("exact-duplicate"), detail=pl.lit(""), text="question"
    )
    return Selection(ordered.filter(first), dropped)


async def stages(run, engine, interrupt, count):
    """The three stages in order, each resumed where it stopped."""
    options = {"item_id": lambda item: item.id, "concurrency": 6, "interrupt": interrupt}
    progress = partial(Progress, stream=sys.stderr, clock=time.monotonic)
    first = run.stage(STAGES[0], {"count": "any"})
    await drive((prompt(i) for i in range(count)), engine.questions, first, progress=progress("questions"), **options)
    finish(first, Question, (prompt(i).id for i in range(count)))
    dedup = run.stage(STAGES[1], {})
    run_whole_set(dedup, read_table(finished_table(run.path, STAGES[0])), first_of_each, Question)
    path = finished_table(run.path, STAGES[1])
    last = run.stage(STAGES[2], {"n": 3})
    await drive(iter_rows(path, Question), engine.solve, last, progress=progress("solve"), **options)
    finish(last, Row, (question.id for question in iter_rows(path, Question)), candidates=True)


async def one_run(args):
    """Runs all stages; 130 if the user stopped it."""
    interrupt = Interrupt(lambda line: print(line, file=sys.stderr, flush=True))
    with RunFolder(args.run, open_ledger=partial(Ledger, rotate_lines=args.rotate)) as run:
        try:
            with interrupt.installed():
                print("ready", flush=True)
                await stages(run, Engine(args.calls, args.slowest), interrupt, args.items)
        except Interrupted as stopped:
            print(stopped, file=sys.stderr)
            return stopped.exit_code
    return 0


def every_step(args):
    """For k = 1, 2, ...: kills a fresh run at its k-th operation on a file, then lets the same command finish.

    Each run is a forked child in RUN/k; the loop ends with the run that finished before its k-th operation. The
    operations are those that change something: open for writing, rename, remove, truncate, mkdir.
    """
    for step in range(1, 10_000):
        args.run = args.folder / str(step)
        killed = forked(args, step)
        if not killed:
            break
        if forked(args, 0):
            sys.exit(f"the run after step {step} did not finish")
    print(step - 1)
    return 0


def forked(args, step):
    """Whether the run, in a child, was killed (at its step-th file operation; 0: let it run)."""
    child = os.fork()
    if child == 0:
        if step:
            kill_at(args.run, step)
        os._exit(asyncio.run(one_run(args)))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code not in (0, -signal.SIGKILL):
        sys.exit(f"step {step}: exit code {code}")
    return code != 0


def kill_at(folder, step):
    """SIGKILL to this process right before the step-th operation that changes a file of the folder."""
    left = [step]

    def hook(event, arguments):
        changes = event in {"os.rename", "os.remove", "os.mkdir"} or (event == "open" and arguments[2] & WRITES)
        if event == "os.truncate" or (changes and str(folder) in str(arguments[0])):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("calls", type=Path)
    parser.add_argument("--items", type=int, default=40)
    parser.add_argument("--slowest", type=float, default=0.02)
    parser.add_argument("--rotate", type=int, default=5)
    parser.add_argument("--every-step", action="store_true")
    args = parser.parse_args()
    args.folder = args.run
    return every_step(args) if args.every_step else asyncio.run(one_run(args))


if __name__ == "__main__":
    sys.exit(main())
