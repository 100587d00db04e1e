"""Programs compiled ahead of their turn: fewer wake-ups, and never another verdict."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
from family import until

from sandbox import Job, Limits, Pool, SandboxError, Status, Tier
from sandbox.ahead import BATCH, MAX_SOURCE, Ahead
from sandbox.catalogue import CATALOGUE, Kind
from sandbox.catalogue.runner import Fault, applicable, judge
from sandbox.catalogue.traces import children

DEADLY = "(" * 199 + ")" * 199  # too deep for the compiler's stack limit
GOOD = "def f(x):\n    return x + 1\n"
TRIED = ("assert f(1) == 2",)


class Compiler:
    """Answers with the sources themselves, or as `fate` says; remembers what it was asked."""

    def __init__(self, *fate) -> None:
        self._fate = list(fate)
        self.asked = []

    async def attempt(self, sources, seconds):
        self.asked.append(list(sources))
        await asyncio.sleep(0)
        answer = self._fate.pop(0) if self._fate else sources
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self):
        self.closed = True


def numbered(count: int, start: int = 0) -> list[bytes]:
    return [b"x = %d" % number for number in range(start, start + count)]


def expect(ahead: Ahead, count: int, start: int = 0) -> list:
    return [ahead.expect(source) for source in numbered(count, start)]


# When the server is asked


async def test_many_waiting_programs_are_one_question():
    """A batch of programs that wait together is one message to the server, and each gets its own code."""
    compiler = Compiler()
    tickets = expect(Ahead(compiler), BATCH)
    await asyncio.sleep(0)
    assert [await ticket.code() for ticket in tickets] == numbered(BATCH)
    assert compiler.asked == [numbered(BATCH)]


async def test_a_few_programs_are_not_worth_a_question():
    """Fewer than a batch are never asked for: their jobs get None, and compile where they run."""
    compiler = Compiler()
    tickets = expect(Ahead(compiler), BATCH - 1)
    await asyncio.sleep(0)
    assert [await ticket.code() for ticket in tickets] == [None] * (BATCH - 1)
    assert not compiler.asked


async def test_a_program_whose_turn_came_is_not_asked_for():
    """What a job began to run with meanwhile is not compiled for it any more."""
    compiler, early = Compiler(), b"early"
    ahead = Ahead(compiler)
    ahead.expect(early).drop()
    expect(ahead, BATCH)
    await asyncio.sleep(0)
    assert compiler.asked == [numbered(BATCH)]


async def test_large_programs_are_left_alone():
    """A program over MAX_SOURCE bytes does not hold up its neighbours in a batch."""
    compiler = Compiler()
    ahead = Ahead(compiler)
    large = [ahead.expect(b"#" * (MAX_SOURCE + 1)) for _ in range(BATCH)]
    await asyncio.sleep(0)
    assert [await ticket.code() for ticket in large] == [None] * BATCH
    assert not compiler.asked


async def test_one_question_at_a_time():
    """What comes while the server works waits for the next batch."""
    compiler = Compiler()
    ahead = Ahead(compiler)
    first = expect(ahead, BATCH)
    await asyncio.sleep(0)
    expect(ahead, BATCH - 1, start=100)
    await first[0].code()
    expect(ahead, 1, start=200)
    await asyncio.sleep(0)
    assert compiler.asked == [numbered(BATCH), [*numbered(BATCH - 1, 100), *numbered(1, 200)]]


# When it goes wrong


@pytest.mark.parametrize("failure", [None, SandboxError("no room")], ids=["died", "no server"])
async def test_a_failed_batch_costs_no_verdict(failure):
    """A batch that kills its server, or for which none can be started, is compiled where its programs run."""
    tickets = expect(Ahead(Compiler(failure)), BATCH)
    await asyncio.sleep(0)
    assert [await ticket.code() for ticket in tickets] == [None] * BATCH


async def test_failures_make_it_rest_longer_and_longer():
    """After each failure in a row twice as many programs are left alone: a bad one among many costs little."""
    compiler = Compiler(None, None, None)
    ahead, asked_after = Ahead(compiler), []
    for number in range(10 * BATCH):
        ahead.expect(b"%d" % number)
        await asyncio.sleep(0)
        if len(compiler.asked) > len(asked_after):
            asked_after.append(number + 1)
    assert asked_after == [BATCH, BATCH + 3 * BATCH, BATCH + 3 * BATCH + 5 * BATCH]


async def test_closing_does_not_wait_for_an_answer():
    """Closing ends the question that is under way; its jobs go on without an answer."""

    class Silent(Compiler):
        async def attempt(self, sources, seconds):
            await asyncio.sleep(3600)

    compiler = Silent()
    ahead = Ahead(compiler)
    tickets = expect(ahead, BATCH)
    await asyncio.sleep(0)
    await ahead.close()
    assert await tickets[0].code() is None
    assert compiler.closed


# In a real pool


async def together(pool: Pool, jobs: list[Job]) -> list:
    return await asyncio.gather(*map(pool.run, jobs))


def clerk(pool: Pool) -> int | None:
    """The process that programs are compiled in: the zygote that no job runs in."""
    workers = pool._clerk._workers.values()
    return next((worker.pid for worker in workers if children(worker.pid)), None)


async def test_waiting_programs_are_really_compiled_by_a_server():
    """With many jobs waiting, a server of its own has started and the verdicts are right."""
    jobs = [Job(f"def f(x): return x + {number}", (f"assert f(1) == {1 + number % 50}",)) for number in range(100)]
    async with Pool(workers=2) as pool:
        verdicts = await together(pool, jobs)
        assert clerk(pool) is not None
    assert [verdict.passed for verdict in verdicts] == [number < 50 for number in range(100)]


async def test_a_job_alone_starts_no_server():
    """One job after the other needs no second zygote."""
    async with Pool(workers=1) as pool:
        for _ in range(3):
            assert (await pool.run(Job(GOOD, TRIED))).passed
        assert clerk(pool) is None


NO_PYTHON = [
    "def f(x: return x", "\0", "x = '", "  x = 1", "return 1", "f(**{}, *[])", "a = 1\n b = 2", "é = ", "async x",
    "'\\N{NO SUCH NAME}'", "def f():\n\tx\n        y", "class", DEADLY, "\ufeff\ufeffx", "1 = 2", "nonlocal x", "0777",
]  # fmt: skip


async def test_refusals_are_the_same_in_either_place():
    """A program that is no Python has the same verdict, word for word, from the server as from its own process."""
    jobs = [Job(source, (*TRIED, "assert (")) for source in NO_PYTHON]
    async with Pool(workers=1) as pool:
        alone = [await pool.run(job) for job in jobs]
        crowd = await together(pool, [Job(GOOD, TRIED)] * (BATCH + 1) + jobs * 3)
    told = [(verdict.status, [test.detail for test in verdict.tests]) for verdict in alone]
    assert [(v.status, [t.detail for t in v.tests]) for v in crowd[-2 * len(jobs) :]] == told * 2


async def test_syntax_errors_start_no_process():
    """A program that its server refused is judged without a round: it used no CPU time of its own."""
    jobs = [Job("def f(:", TRIED)] * (3 * BATCH)
    async with Pool(workers=1) as pool:
        verdicts = await together(pool, jobs)
    assert {verdict.status for verdict in verdicts} == {Status.ERROR}
    assert sum(verdict.cpu_seconds == 0 for verdict in verdicts) >= BATCH


async def test_killed_server_costs_nothing_but_time():
    """The server's zygote killed again and again while jobs wait: every verdict is right."""
    jobs = [Job(f"def f(x): return x + {number % 2}", TRIED, tier=Tier.SCREEN) for number in range(600)]
    async with Pool(workers=2) as pool:
        task = asyncio.create_task(together(pool, jobs))
        killed = set()
        while not task.done():
            if (pid := clerk(pool)) is not None and pid not in killed and len(killed) < 3:
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
            await asyncio.sleep(0.01)
        verdicts = await task
        assert await until(lambda: killed)
    assert [verdict.passed for verdict in verdicts] == [number % 2 == 1 for number in range(600)]


async def test_compiling_that_never_ends_holds_up_nobody_for_long():
    """A program that the compiler does not finish is judged within its own limits, its neighbours rightly."""
    depth = 19  # each level doubles the code
    nested = "".join(f"{'  ' * n}try: a()\n{'  ' * n}finally:\n" for n in range(depth)) + "  " * depth + "b()\n"
    limits = Limits(cpu_seconds=0.5, wall_seconds=5.0)
    async with Pool(workers=2) as pool:
        jobs = [Job(GOOD, TRIED, limits)] * 40 + [Job(nested, TRIED, limits)] + [Job(GOOD, TRIED, limits)] * 60
        verdicts = await together(pool, jobs)
    assert verdicts[40].status in (Status.TIMEOUT, Status.MEMORY)
    assert all(verdict.passed for number, verdict in enumerate(verdicts) if number != 40)


async def test_a_program_of_much_code_is_compiled_where_it_runs():
    """A small source that makes megabytes of code is not sent through the user's process, and judged all the same."""
    depth = 15
    nested = "".join(f"{'  ' * n}try: a()\n{'  ' * n}finally:\n" for n in range(1, depth)) + "  " * depth + "b()\n"
    large = Job(f"def f(x): return x + 1\ndef g():\n{nested}", TRIED, Limits(memory_mb=1024))
    async with Pool(workers=2) as pool:
        verdicts = await together(pool, [large if number == 50 else Job(GOOD, TRIED) for number in range(120)])
    assert all(verdict.passed for verdict in verdicts)


async def test_the_catalogue_together_gets_the_same_verdicts():
    """Forgers and unusual programs that were compiled together, side by side, are judged as each alone."""
    kinds = (Kind.FORGE, Kind.MUST_PASS)
    entries = [entry for entry in applicable(CATALOGUE, "L0") if entry.kind in kinds and not entry.before]
    async with Pool(workers=2, levels=("L0",)) as pool:
        verdicts = await together(pool, [entry.job(Tier.FULL) for entry in entries])
    faults = [judge(entry, Tier.FULL, verdict, 0.0, "") for entry, verdict in zip(entries, verdicts, strict=True)]
    assert [entry.title for entry, fault in zip(entries, faults, strict=True) if fault is not Fault.NONE] == []
