"""Attacks on this design that need something of the test's own: a loop to block, a process to reach, a terminal to
speak to.
"""

from __future__ import annotations

import asyncio
import os
import time

import pytest

from sandbox import Job, Limits, Pool, Status, Tier, catalogue
from sandbox.__main__ import main
from sandbox.catalogue.own import NEIGHBOURS

SHORT = Limits(cpu_seconds=0.5, wall_seconds=2.0)
FLOODS = [
    "import os\nwhile True: os.write(3, b'\\0\\0\\0\\2[]' * 10_000)",
    "import os\nfor n in range(50): os.write(3, b'\\0\\0\\0\\2[]' * 3_000)\nos._exit(0)",
    "import os\nos.write(3, b'\\0\\1\\0\\0' + b'[' * 65536)\nos._exit(0)",
    "import os\nwhile True: os.write(1, bytes(65536))",
]


async def longest_pause(work) -> float:
    """Seconds for which the event loop did nothing else while `work` ran."""
    longest = 0.0
    task = asyncio.ensure_future(work)
    while not task.done():
        started = time.monotonic()
        await asyncio.sleep(0.01)
        longest = max(longest, time.monotonic() - started - 0.01)
    await task
    return longest


@pytest.mark.parametrize("program", FLOODS, ids=["endless frames", "many frames", "brackets", "output"])
async def test_flood_does_not_block_the_user(program):
    """Whatever a program writes, the user's event loop is never held up for long."""
    async with Pool(workers=1) as pool:
        job = Job(f"{program}\ndef f(x): return 4\n", ("assert f(2) == 4",) * 70, SHORT, tier=Tier.SCREEN)
        assert await longest_pause(pool.run(job)) < 0.5


@pytest.mark.parametrize("level", ["L0", "L1"])
async def test_user_is_out_of_a_programs_reach(level):
    """A program that knows the process ids of the user, the zygote and its neighbours reaches none with a signal."""
    program = """
import os, signal
def f(pids):
    reached = []
    for pid in pids:
        if pid == os.getpid(): continue
        for send in (os.kill, os.killpg, lambda pid, number: signal.pidfd_send_signal(os.pidfd_open(pid), number)):
            try: send(pid, 0)
            except OSError: continue
            reached.append(pid)
    return reached
"""
    async with Pool(workers=2, levels=(level,)) as pool:
        neighbour = asyncio.create_task(
            pool.run(Job("import time\ntime.sleep(0.5)\ndef f(): return 1", ("assert f()",)))
        )
        known = [os.getpid(), *(int(name) for name in os.listdir("/proc") if name.isdigit())]
        verdict = await pool.run(Job(program, (f"assert f({known}) == []",)))
        assert verdict.status is Status.PASS, verdict
        assert (await neighbour).status is Status.PASS


@pytest.mark.parametrize("level", ["L0", "L1"])
async def test_neighbours_keep_their_verdicts(level):
    """Programs that misbehave on one worker change nothing about those that run beside them and after them."""
    bad = [Job(f"{entry.before}\n", entry.tests, SHORT) for entry in NEIGHBOURS]
    good = [Job(f"def f(): return {n}", (f"assert f() == {n}", f"assert f() == {-n}")) for n in range(1, 30)]
    async with Pool(workers=2, levels=(level,)) as pool:
        verdicts = await asyncio.gather(
            *map(pool.run, [job for pair in zip(good, bad * 4, strict=False) for job in pair])
        )
    assert [[result.status for result in verdict.tests] for verdict in verdicts[::2]] == [["pass", "fail"]] * len(good)


async def test_deep_folders_are_cleaned_in_time():
    """As many folders in each other as a program can make are gone soon after it."""
    program = "import os\nwhile True:\n    os.mkdir('d'); os.chdir('d')"
    async with Pool(workers=1, levels=("L1",)) as pool:
        started = time.monotonic()
        await pool.run(Job(program, ("f()",), Limits(cpu_seconds=1.0, wall_seconds=5.0), tier=Tier.SCREEN))
        assert time.monotonic() - started < 60


def test_messages_do_not_command_the_terminal(tmp_path, capsys):
    """What a program raises is printed without anything that a terminal would obey."""
    program, tests = tmp_path / "program.py", tmp_path / "tests.py"
    program.write_text("def f(): raise ValueError('\\x1b]0;mine\\x07\\r\\n\\x1b[2J')\n")
    tests.write_text("assert f() == 1\n")
    assert main(["run", str(program), "--tests", str(tests)]) == 1
    printed = capsys.readouterr().out
    assert "mine" in printed
    assert all(character.isprintable() or character == "\n" for character in printed)


def test_catalogue_is_out_of_a_programs_reach(host):
    """A program finds neither the catalogue nor the sandbox's other sources."""
    program = f"import os\ndef f(): return os.listdir({os.path.dirname(catalogue.__file__)!r})"
    assert host.run(program, "f()").status is Status.ERROR
    assert host.run("def f():\n    import sandbox.catalogue", "f()").status is Status.ERROR
