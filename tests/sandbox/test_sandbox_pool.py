"""The pool: many at once, its own faults, and nothing left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from family import alive, descendants, until

from sandbox import Job, Limits, Pool, SandboxError, Status, Tier, run
from sandbox.catalogue.traces import children

ROOT = Path(__file__).parents[2]
GOOD = Job("def f(x): return x + 1", ("assert f(1) == 2",))
SLOW = Job("import time\ntime.sleep(0.4)\ndef f(x): return x + 1", ("assert f(1) == 2",))
LOOP = Job("def f():\n    while True: pass", ("f()",), Limits(cpu_seconds=60, wall_seconds=60))


def script(text: str, **options) -> subprocess.Popen[str]:
    """A program of a user, in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", text], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def test_plain_call():
    """`run` needs no event loop and no pool."""
    assert run(GOOD).status is Status.PASS


async def test_level_is_known():
    """An open pool says how well it fences programs in."""
    async with Pool(workers=1) as pool:
        assert pool.level in ("L0", "L1")


async def test_one_result_per_test():
    """A verdict has as many results as the job has tests, none included."""
    async with Pool(workers=1) as pool:
        for count in (0, 1, 7):
            verdict = await pool.run(Job("import os\nos._exit(0)", ("assert True",) * count))
            assert len(verdict.tests) == count
            assert verdict.status is Status.ERROR


async def test_workers_run_side_by_side():
    """Two workers take two sleeping jobs in the time of one."""
    job = Job("import time\ndef f(): time.sleep(1.5)", ("f()",), tier=Tier.SCREEN)
    async with Pool(workers=2) as pool:
        started = time.monotonic()
        await asyncio.gather(pool.run(job), pool.run(job))
        assert time.monotonic() - started < 2.9


async def test_many_jobs_keep_their_own_results():
    """Each of many jobs at once gets its own verdict."""
    jobs = [Job(f"def f(): return {n}", (f"assert f() == {n if n % 3 else -1}",)) for n in range(90)]
    async with Pool(workers=2) as pool:
        verdicts = await asyncio.gather(*map(pool.run, jobs))
    assert [verdict.passed for verdict in verdicts] == [bool(n % 3) for n in range(90)]


async def test_two_pools_at_once():
    """Two pools do not disturb each other."""
    async with Pool(workers=1) as one, Pool(workers=1) as two:
        verdicts = await asyncio.gather(*(pool.run(GOOD) for pool in (one, two) for _ in range(10)))
    assert {verdict.status for verdict in verdicts} == {Status.PASS}


async def test_killed_zygote_is_replaced():
    """A zygote killed while idle costs no job."""
    before = set(children(os.getpid()))
    async with Pool(workers=1) as pool:
        (zygote,) = set(children(os.getpid())) - before
        os.kill(zygote, signal.SIGKILL)
        assert (await pool.run(GOOD)).status is Status.PASS


async def test_job_of_a_killed_zygote_runs_again():
    """A zygote killed in the middle of a job: the job runs once more, on a fresh one."""
    before = set(children(os.getpid()))
    async with Pool(workers=1) as pool:
        (zygote,) = set(children(os.getpid())) - before
        task = asyncio.create_task(pool.run(SLOW))
        assert await until(lambda: children(zygote))
        os.kill(zygote, signal.SIGKILL)
        assert (await task).status is Status.PASS


async def test_zygotes_killed_again_and_again_are_an_error():
    """If the second attempt fails as well, the sandbox says so instead of blaming the program."""
    others = set(children(os.getpid()))
    async with Pool(workers=1) as pool:
        task = asyncio.create_task(pool.run(SLOW))
        killed = 0
        while not task.done():
            for zygote in set(children(os.getpid())) - others:
                if children(zygote):
                    os.kill(zygote, signal.SIGKILL)
                    killed += 1
            await asyncio.sleep(0.05)
        with pytest.raises(SandboxError, match="python -m sandbox check"):
            await task
        assert killed == 2
        assert (await pool.run(GOOD)).status is Status.PASS


async def test_cancelled_job_dies_and_frees_its_worker():
    """Cancelling `run` ends the program at once, and the worker takes the next job."""
    before = set(descendants(os.getpid()))
    async with Pool(workers=1) as pool:
        task = asyncio.create_task(pool.run(LOOP))
        assert await until(lambda: len(set(descendants(os.getpid())) - before) >= 3)
        mine = set(descendants(os.getpid())) - before
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await until(lambda: not any(alive(pid) for pid in mine))
        assert (await pool.run(GOOD)).status is Status.PASS


async def test_waiting_job_can_be_cancelled():
    """A job that waits for a worker can be cancelled; the pool goes on."""
    async with Pool(workers=1) as pool:
        first = asyncio.create_task(pool.run(SLOW))
        second = asyncio.create_task(pool.run(GOOD))
        await asyncio.sleep(0.05)
        second.cancel()
        assert (await first).status is Status.PASS
        assert (await pool.run(GOOD)).status is Status.PASS


async def test_seeds_in_turn():
    """Jobs of different seeds share a pool."""
    async with Pool(workers=1) as pool:
        for seed in (0, 1, 2, 3, 4, 5, 0):
            assert (await pool.run(Job(GOOD.program, GOOD.tests, seed=seed))).status is Status.PASS


async def test_pool_closed_under_a_job_says_so():
    """A job in flight when its pool closes is an error of the user's, and starts nothing anew."""
    before = set(descendants(os.getpid()))
    async with Pool(workers=1) as pool:
        task = asyncio.create_task(pool.run(LOOP))
        await asyncio.sleep(0.1)
    with pytest.raises(SandboxError, match="closed"):
        await task
    assert await until(lambda: set(descendants(os.getpid())) <= before)


async def test_closed_pool_refuses():
    """A pool that is not open says how to open one."""
    pool = Pool(workers=1)
    with pytest.raises(SandboxError, match="async with"):
        await pool.run(GOOD)
    async with pool:
        pass
    with pytest.raises(SandboxError, match="async with"):
        await pool.run(GOOD)


@pytest.mark.parametrize("level", ["L0", "L1"])
async def test_nothing_is_left_behind(level, tmp_path, monkeypatch):
    """After a pool has closed, processes, descriptors, mounts and temporary folders are as before."""

    def state():
        folders = list(tmp_path.iterdir())
        mounts = Path("/proc/self/mounts").read_text()
        mine = set(descendants(os.getpid())) - others
        return mine, len(list(Path("/proc/self/fd").iterdir())), mounts, folders

    others = set(descendants(os.getpid()))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = state()
    async with Pool(workers=2, levels=(level,)) as pool:
        mess = Job(
            "import threading, time\nopen('x', 'w').close()\nthreading.Thread(target=time.sleep, args=(99,)).start()",
            ("f()",),
        )
        await asyncio.gather(*(pool.run(job) for job in (GOOD, mess, mess, GOOD)))
    assert await until(lambda: state() == before), (before, state())


async def test_long_use_leaks_nothing():
    """A hundred jobs, with files, deaths and time-outs among them, leave no descriptor and no process behind."""
    job = Job("open('x', 'w').write('y')\ndef f(): return 1", ("assert f() == 1",))
    death = Job("import os\ndef f(): os._exit(0)", ("f()", "f()"))
    others = set(children(os.getpid()))
    async with Pool(workers=1, levels=("L0",)) as pool:
        await pool.run(job)
        (zygote,) = set(children(os.getpid())) - others

        def state():
            return (
                len(list(Path(f"/proc/{zygote}/fd").iterdir())),
                len(list(Path("/proc/self/fd").iterdir())),
                children(zygote),
            )

        before = state()
        for _ in range(50):
            await pool.run(job)
            await pool.run(death)
        assert state() == before


def test_interrupt_of_the_whole_group_spares_the_workers():
    """Ctrl-C reaches every process of the terminal's group; jobs in flight still finish."""
    text = """
import asyncio, os, signal
from sandbox import Pool, Job
async def main():
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, lambda: print("interrupted", flush=True))
    async with Pool(workers=1) as pool:
        job = Job("import time\\ntime.sleep(0.5)\\ndef f(): return 1", ("assert f() == 1",))
        task = asyncio.create_task(pool.run(job))
        await asyncio.sleep(0.2)
        os.killpg(0, signal.SIGINT)
        print((await task).status)
asyncio.run(main())
"""
    process = script(text, start_new_session=True)
    output, noise = process.communicate(timeout=60)
    assert output.split() == ["interrupted", "pass"], noise


def test_nothing_survives_the_coordinator():
    """When the user's process is killed, its zygotes and their programs die with it."""
    text = """
import asyncio
from sandbox import Pool, Job, Limits
async def main():
    async with Pool(workers=1) as pool:
        print("open", flush=True)
        await pool.run(Job("while True: pass", ("f()",), Limits(cpu_seconds=60)))
asyncio.run(main())
"""
    process = script(text)
    assert process.stdout.readline() == "open\n"
    end = time.monotonic() + 10
    while len(family := descendants(process.pid)) < 3 and time.monotonic() < end:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    while any(map(alive, family)) and time.monotonic() < end:
        time.sleep(0.01)
    assert len(family) >= 3
    assert not any(map(alive, family))


def test_unprivileged_user_reaches_a_level():
    """The sandbox needs no root: an ordinary user reaches L0 where user namespaces are allowed, else L1."""
    python = "/usr/bin/python3"
    if os.geteuid() != 0:
        pytest.skip("needs root to become somebody else")
    if not Path(python).exists() or not (ROOT / "sandbox").stat().st_mode & 0o005:
        pytest.skip("needs an interpreter and a checkout that others can read")
    command = [python, "-c", "import sys; print(sys.version_info >= (3, 11))"]
    if subprocess.run(command, capture_output=True, text=True, check=True).stdout != "True\n":
        pytest.skip("needs Python 3.11 there")
    done = subprocess.run(
        [python, "-m", "sandbox", "check", "--quick"],
        cwd=ROOT,
        user=65534,
        group=65534,
        extra_groups=[],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
