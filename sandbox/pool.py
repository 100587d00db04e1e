"""The user's side: a pool of workers, one job at a time on each."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import TypeVar

import sandbox.kernel as kernel
from sandbox.ahead import BATCH, Ahead
from sandbox.compiler import PROGRAMS, SCRIPTS, TESTS
from sandbox.contract import Job, Limits, SandboxError, ScriptJob, Tier, Verdict
from sandbox.judge import judge
from sandbox.scripts import judge_script
from sandbox.sources import Compiled, Known, Server
from sandbox.turns import Turns
from sandbox.worker import HASH_SEEDS, Output, Round, Setup, Shortage, Unreachable, Worker, WorkerDied, remedy

LEVELS = ("L0", "L1")
BELOW = ("L2", "unsafe")
"""Levels that nobody gets without asking: no namespaces and no Landlock; then no system call filter either."""
UNSAFE = BELOW[-1]
HUNG_AFTER = 60.0
"""Seconds beyond its wall clock limit in which a round has to end, whatever happens to its worker."""
NAMESPACES = "namespaces"
LAYERS = frozenset({NAMESPACES, "pids", "identity", "landlock", "filter", "child-filter", "rlimits", "clock", "output"})

Result = TypeVar("Result")


class Slot:
    """Room for one job: a worker for each hash seed in use, started when first needed, replaced when it dies, and
    compile servers.
    """

    def __init__(self, setup: Setup, known: Known) -> None:
        self._setup = setup
        self._known = known
        self._workers: dict[int, Worker] = {}
        self._servers = {name: Server(name, self) for name in (SCRIPTS, TESTS)}
        self._homes: dict[str, Worker] = {}
        self._open = True

    async def compile_tests(self, job: Job) -> list[Compiled]:
        """The tests as code, or why one is none."""
        return await self._known.compiled(TESTS, job.tests, self._servers[TESTS], job.limits.wall_seconds)

    async def compile_script(self, job: ScriptJob) -> Compiled:
        """A script as code, or why it is none."""
        (code,) = await self._known.compiled(SCRIPTS, [job.program], self._servers[SCRIPTS], job.limits.wall_seconds)
        return code

    async def play(self, tier: Tier, program: bytes, tests: Sequence[bytes], seed: int, limits: Limits) -> Round:
        """One round of tests; one more, on a fresh worker, if the worker dies of it."""
        parts = [str(seed).encode(), program, *tests]
        return await self._twice(seed, limits.wall_seconds, lambda worker: worker.tests(tier, parts, limits))

    async def script(self, code: bytes, stdin: bytes, seed: int, limits: Limits) -> Output:
        """One run of a script; one more, on a fresh worker, if the worker dies of it."""
        parts = [str(seed).encode(), code]
        return await self._twice(seed, limits.wall_seconds, lambda worker: worker.script(parts, stdin, limits))

    async def warm(self, seed: int = 0) -> Worker:
        """The worker for a seed, started if need be."""
        number = seed % HASH_SEEDS
        self._insist_open()
        if number not in self._workers:
            self._workers[number] = await Worker.start(self._setup, number)
            if not self._open:
                self.kill()
                self._insist_open()
        return self._workers[number]

    async def start_server(self, name: str) -> socket.socket:
        """A compile server, in a worker that is there anyway."""

        async def serve(worker: Worker) -> socket.socket:
            self._homes[name] = worker
            return await worker.serve_compiler(name)

        return await self._twice(next(iter(self._workers), 0), 0.0, serve)

    def may_serve(self, name: str) -> bool:
        """Whether the worker that a compile server is a child of lives."""
        return self._homes[name].alive

    def end_server(self, name: str) -> None:
        """End the worker that a compile server is a child of: nobody else can end one that is busy."""
        home = self._homes[name]
        self._workers = {number: worker for number, worker in self._workers.items() if worker is not home}
        home.kill()

    def kill(self) -> None:
        """End all workers of this slot, for good."""
        self._open = False
        for server in self._servers.values():
            server.close()
        while self._workers:
            self._workers.popitem()[1].kill()

    def _insist_open(self) -> None:
        if not self._open:
            raise SandboxError("the pool was closed while a job ran: close it after the last `run`")

    async def _twice(self, seed: int, seconds: float, work: Callable[[Worker], Awaitable[Result]]) -> Result:
        with suppress(WorkerDied):
            return await self._once(seed, seconds, work)
        try:
            return await self._once(seed, seconds, work)
        except WorkerDied as error:
            advice = remedy(str(error)) or "run `python -m sandbox check`"
            raise SandboxError(f"the sandbox failed twice on one job ({error}): {advice}") from error

    async def _once(self, seed: int, seconds: float, work: Callable[[Worker], Awaitable[Result]]) -> Result:
        try:
            worker = await self.warm(seed)
        except Unreachable as error:
            raise WorkerDied(str(error)) from error
        # a zygote that does not answer is as good as dead; cheaper than asyncio.timeout, which each round would pay for
        silence = asyncio.get_running_loop().call_later(seconds + HUNG_AFTER, worker.kill)
        try:
            return await work(worker)
        except Shortage:
            raise
        except BaseException:  # a cancelled round included: whatever runs in the worker goes with it
            self._workers.pop(seed % HASH_SEEDS, worker).kill()
            raise
        finally:
            silence.cancel()


class Pool:
    """An asynchronous pool of sandbox workers, one per processor unless `workers` says otherwise.

    `level` says, once the pool is open, how well programs are fenced in: "L0", "L1", or "L2" or "unsafe", which
    `allow_unsafe` permits where neither can be reached; `levels` are tried in order. Jobs with the same `seed` modulo
    4 share a hash seed, and workers. `without` leaves out layers (`LAYERS`), to measure them or to show what each is
    for: the level is then "unsafe".
    """

    def __init__(
        self,
        workers: int | None = None,
        *,
        allow_unsafe: bool = False,
        levels: tuple[str, ...] = LEVELS,
        without: frozenset[str] = frozenset(),
    ) -> None:
        if unknown := without - LAYERS:
            raise ValueError(f"no layers of these names: {sorted(unknown)}; there are {sorted(LAYERS)}")
        self.level = ""
        processors = _processors()
        self._count = workers or len(processors)
        # a worker that stays on one processor finds its memory in the caches there: only if each has one of its own
        self._processors = processors if self._count == len(processors) else [None] * self._count
        self._levels = tuple(level for level in levels if level != "L0" or NAMESPACES not in without)
        self._levels += tuple(level for level in BELOW if allow_unsafe and level not in levels)
        self._without = tuple(sorted(without))
        self._slots: list[Slot] = []

    async def __aenter__(self) -> Pool:
        known = Known()
        setups = [Setup(level, self._without, self._processors[0]) for level in self._levels]
        setup, first = await _reach(setups, known)
        self.level = UNSAFE if self._without else setup.level
        others = [Slot(replace(setup, processor=processor), known) for processor in self._processors[1:]]
        self._slots = [first, *others]
        self._clerk = Slot(replace(setup, processor=None), known)
        self._ahead = Ahead(Server(PROGRAMS, self._clerk))
        self._turns = Turns[Slot](self._ahead.expect, 2 * BATCH)
        try:
            await asyncio.gather(*(slot.warm() for slot in self._slots))
        except BaseException:
            await self.close()
            raise
        for slot in self._slots:
            self._turns.free(slot)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def run(self, job: Job | ScriptJob) -> Verdict:
        """Run one job when a worker is free; SandboxError only if the sandbox itself fails."""
        if not self._slots:
            raise SandboxError("the pool is not open: use `async with Pool() as pool`")
        slot, ticket = await self._turns.wait(partial(_program, job))
        try:
            if isinstance(job, ScriptJob):
                return await judge_script(job, slot)
            return await judge(job, slot, None if ticket is None else await ticket.code())
        finally:
            self._turns.free(slot)

    async def close(self) -> None:
        """End all workers and whatever still runs in them."""
        await self._ahead.close()
        self._clerk.kill()
        slots, self._slots = self._slots, []
        for slot in slots:
            slot.kill()


def _program(job: Job | ScriptJob) -> bytes:
    """What may be compiled while the job waits."""
    return b"" if isinstance(job, ScriptJob) else job.program.encode("utf-8", "surrogatepass")


def _processors() -> list[int | None]:
    return [*sorted(os.sched_getaffinity(0))] if kernel.supported() else [None]


async def _reach(setups: Sequence[Setup], known: Known) -> tuple[Setup, Slot]:
    """The first level that a worker can be started at, and a slot with that worker."""
    if not kernel.supported():
        raise SandboxError(
            "the sandbox needs Linux on x86-64 or aarch64: use a container or virtual machine (WSL2 on Windows)"
        )
    refusals = []
    for setup in setups:
        slot = Slot(setup, known)
        try:
            await slot.warm()
        except Unreachable as error:
            refusals.append(str(error))
        else:
            return setup, slot
    reasons = "; ".join(refusals)
    advice = "run `python -m sandbox check`, or accept a leaky fence with --unsafe-sandbox (allow_unsafe=True)"
    raise SandboxError(f"{reasons}: {advice}")


def run(job: Job | ScriptJob) -> Verdict:
    """Run one job in a pool of its own, which costs about 0.2 s: for many, open a `Pool`."""

    async def once() -> Verdict:
        async with Pool(workers=1) as pool:
            return await pool.run(job)

    return asyncio.run(once())
