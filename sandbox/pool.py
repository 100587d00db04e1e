"""The user's side: a pool of workers, one job at a time on each."""

from __future__ import annotations

import asyncio
import os
from types import TracebackType

import sandbox.kernel as kernel
from sandbox.contract import Job, Limits, SandboxError, Verdict
from sandbox.judge import judge
from sandbox.worker import HASH_SEEDS, Round, Worker, WorkerDied

LEVELS = ("L0", "L1")
UNSAFE = "unsafe"


class Slot:
    """Room for one job: a worker for each hash seed in use, started when first needed, replaced when it dies."""

    def __init__(self, level: str) -> None:
        self._level = level
        self._workers: dict[int, Worker] = {}
        self._open = True

    async def play(self, program: str, tests: tuple[str, ...], seed: int, limits: Limits) -> Round:
        """One round; one more, on a fresh worker, if the worker dies of it."""
        try:
            return await self._play(program, tests, seed, limits)
        except WorkerDied:
            pass
        try:
            return await self._play(program, tests, seed, limits)
        except WorkerDied as error:
            message = f"the sandbox failed twice on one job ({error}): run `python -m sandbox check`"
            raise SandboxError(message) from error

    async def warm(self, seed: int = 0) -> Worker:
        """The worker for a seed, started if need be."""
        number = seed % HASH_SEEDS
        if not self._open:
            raise SandboxError("the pool was closed while a job ran: close it after the last `run`")
        if number not in self._workers:
            self._workers[number] = await Worker.start(self._level, number)
        return self._workers[number]

    def kill(self) -> None:
        """End all workers of this slot, for good."""
        self._open = False
        while self._workers:
            self._workers.popitem()[1].kill()

    async def _play(self, program: str, tests: tuple[str, ...], seed: int, limits: Limits) -> Round:
        worker = await self.warm(seed)
        try:
            return await worker.round(program, tests, seed, limits)
        except BaseException:  # a cancelled round included: whatever runs in the worker goes with it
            self._workers.pop(seed % HASH_SEEDS, worker).kill()
            raise


class Pool:
    """An asynchronous pool of sandbox workers, one per processor unless `workers` says otherwise.

    `level` says, once the pool is open, how well programs are fenced in: "L0", "L1", or "unsafe", which
    `allow_unsafe` permits where neither can be reached; `levels` are tried in order. Jobs with the same `seed` modulo
    4 share a hash seed, and workers.
    """

    def __init__(
        self, workers: int | None = None, *, allow_unsafe: bool = False, levels: tuple[str, ...] = LEVELS
    ) -> None:
        self.level = ""
        self._count = workers or _processors()
        self._levels = (*levels, UNSAFE) if allow_unsafe else levels
        self._slots: list[Slot] = []
        self._free: asyncio.Queue[Slot] = asyncio.Queue()

    async def __aenter__(self) -> Pool:
        self.level, first = await _reach(self._levels)
        self._slots = [first, *(Slot(self.level) for _ in range(self._count - 1))]
        try:
            await asyncio.gather(*(slot.warm() for slot in self._slots))
        except BaseException:
            await self.close()
            raise
        for slot in self._slots:
            self._free.put_nowait(slot)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def run(self, job: Job) -> Verdict:
        """Run one job when a worker is free; SandboxError only if the sandbox itself fails."""
        if not self._slots:
            raise SandboxError("the pool is not open: use `async with Pool() as pool`")
        slot = await self._free.get()
        try:
            return await judge(job, slot.play)
        finally:
            self._free.put_nowait(slot)

    async def close(self) -> None:
        """End all workers and whatever still runs in them."""
        slots, self._slots = self._slots, []
        for slot in slots:
            slot.kill()


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if kernel.supported() else 1


async def _reach(levels: tuple[str, ...]) -> tuple[str, Slot]:
    """The first level that a worker can be started at, and a slot with that worker."""
    if not kernel.supported():
        raise SandboxError(
            "the sandbox needs Linux on x86-64 or aarch64: use a container or virtual machine (WSL2 on Windows)"
        )
    refusals = []
    for level in levels:
        slot = Slot(level)
        try:
            await slot.warm()
        except SandboxError as error:
            refusals.append(str(error))
        else:
            return level, slot
    reasons = "; ".join(refusals)
    advice = "run `python -m sandbox check`, or accept a leaky fence with --unsafe-sandbox (allow_unsafe=True)"
    raise SandboxError(f"{reasons}: {advice}")


def run(job: Job) -> Verdict:
    """Run one job in a pool of its own, which costs about 0.2 s: for many, open a `Pool`."""

    async def once() -> Verdict:
        async with Pool(workers=1) as pool:
            return await pool.run(job)

    return asyncio.run(once())
