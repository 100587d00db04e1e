"""The sandbox under faults of its own and of its machine: no job is lost, none gets a verdict that is not its own,
nothing is left behind, and what cannot be mended is said in one line.
"""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from family import alive, descendants, until

from sandbox import Case, Job, Limits, Pool, SandboxError, ScriptJob, Status, Tier
from sandbox.catalogue.traces import children
from sandbox.compiler import CODE
from sandbox.contract import TestResult
from sandbox.sources import Known, Server
from sandbox.wire import Frames
from sandbox.worker import Setup, Worker

ROOT = Path(__file__).parents[2]
LEVELS = ("L0", "L1")
OTHER_PYTHON = "/usr/bin/python3"
SLEEPING = "import time\ntime.sleep(0.3)\ndef f(x): return x + 1"
GOOD = Job("def f(x): return x + 1", ("assert f(1) == 2",))
TRIED = ("assert f(1) == 2",)
SCRIPT = ScriptJob("import time\ntime.sleep(0.3)\nprint(2)", (Case("", "2"),))
NESTED = "".join(f"{'  ' * n}try: a()\n{'  ' * n}finally:\n" for n in range(1, 13)) + "  " * 13 + "b()\n"


def heavy(functions: int, statement: str = "  return\n") -> str:
    """A source that takes some milliseconds to compile for each function; little comes of it: nothing is reached."""
    return "".join(f"def g{n}():\n{statement}{NESTED}" for n in range(functions)) + TRIED[0]


PHASES = {
    "screen": Job(SLEEPING, TRIED, tier=Tier.SCREEN),
    "split": Job(SLEEPING, TRIED, tier=Tier.SPLIT),
    "script": SCRIPT,
    "compiling": Job(GOOD.program, (heavy(60),)),
}
LONG = Limits(cpu_seconds=60, wall_seconds=60)
LOOP = "while True: pass"
ENDLESS = {
    "screen": Job(LOOP, TRIED, LONG),
    "split": Job(LOOP, TRIED, LONG, tier=Tier.SPLIT),
    "script": ScriptJob(LOOP, (Case("", ""),), LONG),
    "compiling": Job(GOOD.program, (heavy(1000),), LONG),
}
PROCESSES = {"screen": 1, "split": 2, "script": 1, "compiling": 0}
"""How many processes a job has in a phase, besides the compile server."""

each_phase = pytest.mark.parametrize("phase", PHASES)
each_level = pytest.mark.parametrize("level", LEVELS)
in_any_phase = pytest.mark.parametrize(
    ("level", "phase"), [*(("L0", phase) for phase in PHASES), ("L1", "split"), ("L1", "compiling")]
)
"""L1 differs in its folder, which has to go with its worker whatever that does."""


@dataclass
class Scene:
    """An open pool of one worker and what is known of its processes."""

    pool: Pool
    before: set[int]

    @property
    def zygotes(self) -> set[int]:
        return set(children(os.getpid())) - self.before

    @property
    def zygote(self) -> int:
        (pid,) = self.zygotes
        return pid

    async def begun(self, phase: str, jobs: dict) -> asyncio.Task:
        """A job that has reached its phase."""
        task = asyncio.create_task(self.pool.run(jobs[phase]))
        assert await until(lambda: self.zygotes and len(children(self.zygote)) > PROCESSES[phase])
        await asyncio.sleep(0.05)
        return task


@asynccontextmanager
async def opened(level: str = "L0", workers: int = 1):
    """A pool; in the end, none of its processes lives, and it leaves no descriptor open."""
    before, descriptors = descendants(os.getpid()), len(os.listdir("/proc/self/fd"))
    async with Pool(workers, levels=(level,)) as pool:
        yield Scene(pool, before)
    assert await until(lambda: descendants(os.getpid()) <= before)
    assert len(os.listdir("/proc/self/fd")) == descriptors


@pytest.fixture(autouse=True)
def folder(tmp_path_factory, monkeypatch):
    """Where temporary folders are made; nothing of the sandbox is in it when a test ends."""
    path = tmp_path_factory.mktemp("tmp")
    monkeypatch.setattr(tempfile, "tempdir", str(path))
    yield path
    assert not list(path.iterdir())


def driver(text: str, python: str = sys.executable, **options) -> subprocess.Popen[str]:
    """A program of a user, in a process of its own."""
    head = "import asyncio, os, resource, sys, tempfile, time\nfrom sandbox import *\n"
    return subprocess.Popen(
        [python, "-c", head + text], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def said(process: subprocess.Popen[str]) -> list[str]:
    """The lines that a driver prints."""
    output, noise = process.communicate(timeout=60)
    assert process.returncode == 0, noise
    return output.splitlines()


# Zygotes that die


@in_any_phase
async def test_job_of_a_killed_zygote_runs_again(level, phase):
    """A zygote killed in any phase of a job: the job runs once more, on a fresh one, and gets its true verdict."""
    async with opened(level) as scene:
        task, killed = await scene.begun(phase, PHASES), scene.zygote
        os.kill(killed, signal.SIGKILL)
        assert (await task).status is Status.PASS
        assert len(scene.zygotes - {killed}) == 1


@each_level
async def test_zygote_killed_between_jobs(level):
    """A zygote that dies while no job runs costs nothing: the next job gets a fresh one and its true verdict."""
    async with opened(level) as scene:
        assert (await scene.pool.run(GOOD)).status is Status.PASS
        killed = scene.zygote
        os.kill(killed, signal.SIGKILL)
        await asyncio.sleep(0.1)
        assert (await scene.pool.run(GOOD)).status is Status.PASS
        assert scene.zygotes - {killed}


@each_phase
async def test_zygote_killed_each_time(phase):
    """A second attempt that fails as the first is an exception, never a verdict, and the pool goes on."""
    async with opened() as scene:
        task, killed = await scene.begun(phase, PHASES), {scene.zygote}
        os.kill(scene.zygote, signal.SIGKILL)
        assert await until(lambda: scene.zygotes - killed and children(scene.zygote))
        await asyncio.sleep(0.05)
        os.kill(scene.zygote, signal.SIGKILL)
        with pytest.raises(SandboxError, match=r"failed twice on one job.*: run `python -m sandbox check`"):
            await task
        assert (await scene.pool.run(GOOD)).status is Status.PASS


@each_phase
async def test_stopped_zygote_can_be_cancelled(phase):
    """A zygote that is stopped in any phase hangs its job until that is cancelled, and no job after it."""
    async with opened() as scene:
        task, stopped = await scene.begun(phase, ENDLESS), scene.zygote
        os.kill(stopped, signal.SIGSTOP)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await scene.pool.run(GOOD)).status is Status.PASS
        assert not alive(stopped)


# Compile servers that die


async def compile_server(scene: Scene) -> int:
    """The compile server, once it is idle."""
    assert (await scene.pool.run(GOOD)).passed
    (server,) = children(scene.zygote)
    return server


@each_level
async def test_compile_server_killed_while_idle(level):
    """A compile server that dies between two jobs is replaced; its worker lives on."""
    async with opened(level) as scene:
        server, zygote = await compile_server(scene), scene.zygote
        os.kill(server, signal.SIGKILL)
        assert (await scene.pool.run(replace(GOOD, tests=("assert f(2) == 3",)))).status is Status.PASS
        assert scene.zygote == zygote


@each_level
async def test_compile_server_killed_while_compiling(level):
    """A compile server that dies with a source in its hands gets a successor, which is given the source again."""
    async with opened(level) as scene:
        task, zygote = await scene.begun("compiling", PHASES), scene.zygote
        os.kill(children(zygote)[0], signal.SIGKILL)
        assert (await task).status is Status.PASS
        assert scene.zygote == zygote


@pytest.mark.parametrize("kind", ["test", "script"])
async def test_source_that_no_server_survives(kind):
    """A source whose code is more than a server may answer is an error, its own: its neighbours get their verdicts."""
    large = f"def g():\n{NESTED.replace('b()', '; '.join(['b()'] * 170))}"
    async with opened() as scene:
        if kind == "script":
            found = await scene.pool.run(ScriptJob(large, (Case("", ""),)))
        else:
            found = await scene.pool.run(replace(GOOD, tests=(TRIED[0], large, "assert f(3) == 4")))
            assert [result.status for result in found.tests] == ["pass", "error", "pass"]
        assert (found.status, "ends the compiler's process" in found.detail) == (Status.ERROR, True)
        assert (await scene.pool.run(GOOD)).status is Status.PASS


class Home:
    """Compile servers that are threads, die of some sources, and count themselves."""

    def __init__(self, deadly: bytes, *, lives: bool = True) -> None:
        self.started = 0
        self._deadly = deadly
        self._lives = lives

    async def start_server(self, name):
        self.started += 1
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        threading.Thread(target=self._serve, args=(theirs,), daemon=True).start()
        return ours

    def end_server(self, name):
        raise AssertionError("nothing takes long here")

    def may_serve(self, name):
        return self._lives

    def _serve(self, channel):
        frames = Frames(channel.fileno())
        with channel, suppress(Exception):
            while True:
                sources = frames.receive_job()
                if any(self._deadly in source for source in sources):
                    break
                frames.send_parts([CODE + source for source in sources])


async def test_deadly_source_is_found():
    """Of several sources at once, the one that kills each server is an error, the others are compiled."""
    server = Server("tests", Home(b"deadly"))
    assert await server.compile([b"a", b"deadly", b"c"], 5) == [
        b"a",
        TestResult(Status.ERROR, "compiling it ends the compiler's process"),
        b"c",
    ]
    server.close()


async def test_servers_that_always_die_are_no_verdict():
    """Where a harmless source kills each server too, that is an exception, and not an error of the source."""
    with pytest.raises(SandboxError, match=r"compile server.*: run `python -m sandbox check`"):
        await Server("tests", Home(b"")).compile([b"a"], 5)


async def test_a_server_that_worked_hard_is_replaced():
    """A source that took long to compile leaves a large process: the next one is compiled by a fresh server."""
    async with opened() as scene:
        assert (await scene.pool.run(GOOD)).passed
        before = await compile_server(scene)
        assert (await scene.pool.run(Job(GOOD.program, (heavy(400),), LONG))).passed
        assert (await scene.pool.run(Job(GOOD.program, ("assert f(2) == 3",)))).passed
        assert await compile_server(scene) != before


class Evicting(Server):
    """While it compiles, other jobs fill the cache."""

    def __init__(self, known):
        self._known = known

    async def compile(self, sources, seconds):
        self._known._remember(("tests", "#" * 3000), b"other")
        return [b"code of " + source for source in sources]


async def test_code_known_at_the_start_stays_known_for_the_job():
    """A test that was compiled before is not lost to a job when others push it out while the rest is compiled."""
    known = Known(most_bytes=1000)
    server = Evicting(known)
    known._remember(("tests", "old"), b"code of old")
    assert await known.compiled("tests", ["old", "new"], server, 1.0) == [b"code of old", b"code of new"]


async def test_servers_that_die_with_their_home_are_no_verdict():
    """Servers that die because what they live in did say nothing about a source; there is one more attempt."""
    home = Home(b"", lives=False)
    with pytest.raises(SandboxError, match="failed twice on one job"):
        await Server("tests", home).compile([b"a"], 5)
    assert home.started == 2


# Coordinators, and parts of them, that end

RUNS = """
import pickle
async def main():
    async with Pool(workers=1, levels=({level!r},)) as pool:
        print("open", flush=True)
        with open({job!r}, "rb") as file:
            await pool.run(pickle.load(file))
asyncio.run(main())
"""


def wait(condition, seconds: float = 10.0) -> bool:
    return asyncio.run(until(condition, seconds))


@in_any_phase
def test_nothing_survives_the_coordinator(level, phase, folder, tmp_path):
    """When the user's process is killed in any phase, no process of the sandbox and no folder survives it."""
    (tmp_path / "job").write_bytes(pickle.dumps(ENDLESS[phase]))
    text = RUNS.format(level=level, job=str(tmp_path / "job"))
    process = driver(text, env={**os.environ, "TMPDIR": str(folder)})
    assert process.stdout.readline() == "open\n", process.stderr.read()
    assert wait(lambda: len(descendants(process.pid)) >= PROCESSES[phase] + 2)
    family = descendants(process.pid)
    process.kill()
    process.communicate()
    assert wait(lambda: not any(map(alive, family)) and not list(folder.iterdir()))


@pytest.mark.parametrize("level", ["L0", "L1"])
def test_nothing_survives_a_coordinator_that_is_just_starting(level, folder):
    """When the user's process is killed while it opens a pool, nothing survives it either."""
    process = driver(RUNS.format(level=level, job=""), env={**os.environ, "TMPDIR": str(folder)})
    assert wait(lambda: children(process.pid))
    family = descendants(process.pid)
    process.kill()
    process.communicate()
    try:
        assert wait(lambda: not any(map(alive, family)) and not list(folder.iterdir()), 2)
    finally:
        for path in folder.iterdir():
            path.rmdir()


def in_a_thread(coroutine):
    """Its result, from an event loop and a thread that have ended."""
    results = []
    thread = threading.Thread(target=lambda: results.append(asyncio.run(coroutine)))
    thread.start()
    thread.join()
    return results[0]


async def test_worker_outlives_the_thread_that_started_it():
    """A zygote belongs to the process and not to the thread that started it."""
    worker = in_a_thread(Worker.start(Setup("L0"), 0))
    await asyncio.sleep(0.1)
    assert worker.alive
    worker.kill()


@each_level
async def test_pool_outlives_the_thread_that_opened_it(level):
    """A pool that was opened in one thread's event loop works in another's after the first has ended."""
    pool = in_a_thread(Pool(workers=1, levels=(level,)).__aenter__())
    zygotes = set(children(os.getpid()))
    assert (await pool.run(GOOD)).status is Status.PASS
    assert set(children(os.getpid())) == zygotes
    await pool.close()


# Jobs that are given up


@in_any_phase
async def test_cancelled_job_leaves_nothing(level, phase):
    """A job cancelled in any phase ends at once, with all its processes; the pool takes the next."""
    async with opened(level) as scene:
        task = await scene.begun(phase, ENDLESS)
        mine = descendants(os.getpid()) - scene.before
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await until(lambda: not any(map(alive, mine)))
        assert (await scene.pool.run(GOOD)).status is Status.PASS


async def test_cancelled_while_waiting():
    """A job cancelled before it has a worker costs the one that runs nothing, and takes no worker with it."""
    async with opened() as scene:
        first = await scene.begun("screen", PHASES)
        waiting = [asyncio.create_task(scene.pool.run(GOOD)) for _ in range(5)]
        await asyncio.sleep(0)
        for task in waiting[:4]:
            task.cancel()
        assert (await first).status is Status.PASS
        assert (await waiting[4]).status is Status.PASS


@each_phase
async def test_pool_closed_during_a_job(phase):
    """A job whose pool is closed in any phase is an exception, at once; nothing is started for it any more."""
    async with opened() as scene:
        task = await scene.begun(phase, ENDLESS)
        started = time.monotonic()
        await scene.pool.close()
        with pytest.raises(SandboxError, match="closed while a job ran: close it after the last `run`"):
            await task
        assert time.monotonic() - started < 5
        assert not scene.zygotes


async def test_pool_closed_while_a_worker_starts():
    """A worker that is being started when its pool closes does not outlive it."""
    async with opened() as scene:
        task = asyncio.create_task(scene.pool.run(replace(GOOD, tests=(), program="", seed=1)))
        assert (await task).status is Status.ERROR
        task = asyncio.create_task(scene.pool.run(replace(GOOD, seed=1)))
        assert await until(lambda: len(scene.zygotes) == 2)
        await scene.pool.close()
        with pytest.raises(SandboxError, match="closed"):
            await task
        assert not scene.zygotes


async def test_waiting_jobs_of_a_closed_pool():
    """Jobs that still wait for a worker when their pool closes are exceptions too, all of them."""
    async with opened() as scene:
        running = await scene.begun("screen", ENDLESS)
        waiting = [asyncio.create_task(scene.pool.run(GOOD)) for _ in range(3)]
        await asyncio.sleep(0)
        await scene.pool.close()
        found = await asyncio.wait_for(asyncio.gather(running, *waiting, return_exceptions=True), 10)
        assert {type(error) for error in found} == {SandboxError}


async def test_two_pools_do_not_share_faults():
    """What kills the workers of one pool does nothing to another's, at whatever levels."""
    async with opened("L1") as other:
        assert (await other.pool.run(GOOD)).passed
        async with opened("L0") as scene:
            task = await scene.begun("split", PHASES)
            theirs = asyncio.gather(*(other.pool.run(GOOD) for _ in range(20)))
            os.kill(scene.zygote, signal.SIGKILL)
            assert (await task).status is Status.PASS
        assert {verdict.status for verdict in await theirs} == {Status.PASS}


# A machine that runs out of something


@pytest.fixture
def full(folder):
    """Runs a driver whose temporary folder is a tiny file system of its own, made with these options."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount")

    def run(text: str, options: str) -> list[str]:
        shell = f'mount -t tmpfs -o {options} none {folder} && exec {sys.executable} -c "$0"'
        head = "import asyncio, os, resource, sys\nfrom sandbox import *\n"
        command = ["unshare", "--mount", "sh", "-c", shell, head + text]
        done = subprocess.run(
            command, cwd=ROOT, env={**os.environ, "TMPDIR": str(folder)}, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return run


OPENS = """
async def main():
    try:
        async with Pool(workers=1, levels=({levels})) as pool:
            print(pool.level)
            print((await pool.run(Job("def f(): open('x', 'w').write('y' * 99_999)", ("f()",)))).status)
    except SandboxError as error:
        print(error)
{before}
asyncio.run(main())
"""


def test_no_temporary_folder():
    """Where no temporary folder can be made, a level that needs one says so and names TMPDIR, and no worse is tried."""
    text = OPENS.format(levels="'L1', 'L2', 'unsafe'", before="tempfile.tempdir = '/proc'")
    (line,) = said(driver(text))
    assert line.startswith("no temporary folder can be made (")
    assert line.endswith("): set TMPDIR to a folder that you can write to")


def test_full_disk_at_opening(full):
    """Where a worker's folders cannot be made because the disk is full, the message says so and names TMPDIR."""
    (line,) = full(OPENS.format(levels="'L1', 'L2'", before=""), "nr_inodes=3")
    assert "No space left on device" in line
    assert line.endswith("free some space, or set TMPDIR to a folder with more")


def test_folder_smaller_than_the_limit(full):
    """A program never meets a disk with less room than its limit promises: that is an exception, and no verdict."""
    level, line = full(OPENS.format(levels="'L1',", before=""), "size=1m")
    assert level == "L1"
    assert line.startswith("there are less than 16 MB left in ")
    assert line.endswith(": free some space, or set TMPDIR to a folder with more")


def test_disk_that_fills_up_under_a_pool(full, folder):
    """When the disk fills up, jobs are exceptions; when there is room again, the same pool goes on."""
    lines = full(
        """
async def main():
    job = Job("def f(): open('x', 'w').write('y' * 99_999)", ("f()",))
    async with Pool(workers=1, levels=("L1",)) as pool:
        print((await pool.run(job)).status)
        with open(os.environ["TMPDIR"] + "/large", "wb") as file:
            file.write(bytes(30 << 20))
        try:
            print(await pool.run(job))
        except SandboxError as error:
            print(error)
        os.unlink(file.name)
        print((await pool.run(job)).status)
    print(os.listdir(os.environ["TMPDIR"]))
asyncio.run(main())
""",
        "size=32m",
    )
    assert (lines[0], lines[2:]) == ("pass", ["pass", "[]"])
    assert lines[1].startswith("there are less than 16 MB left")


SPARE = """
GOOD = Job("def f(x): return x + 1", ("assert f(1) == 2",))
resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
class few:
    def __init__(self, spare):
        self.spare = spare
    def __enter__(self):
        self.held = []
        try:
            while True: self.held.append(os.dup(0))
        except OSError:
            for _ in range(self.spare): os.close(self.held.pop())
    def __exit__(self, *_):
        for number in self.held: os.close(number)
def children():
    with open(f"/proc/self/task/{os.getpid()}/children") as file: return list(map(int, file.read().split()))
"""
OPENS_WITH_FEW = """
async def main(level):
    for spare in range(10):
        with few(spare):
            try:
                async with Pool(workers=1, levels=(level,)) as pool:
                    print((await pool.run(GOOD)).status)
            except SandboxError as error:
                print(error)
    print("then", children(), os.listdir(tempfile.gettempdir()))
"""
RUNS_WITH_FEW = """
async def main(level):
    async with Pool(workers=1, levels=(level,)) as pool:
        for dies in (False, True):
            for spare in range(12):
                job = Job(GOOD.program, (f"assert f({spare + 20 * dies}) == {spare + 20 * dies + 1}",))
                if spare == 0:
                    print((await pool.run(GOOD)).status)
                zygotes = children() if dies else []
                with few(spare):
                    for pid in zygotes: os.kill(pid, 9)
                    try:
                        print((await pool.run(job)).status)
                    except SandboxError as error:
                        print(error)
                print((await pool.run(GOOD)).status)
    print("then", children(), os.listdir(tempfile.gettempdir()))
"""


@pytest.mark.parametrize("text", [OPENS_WITH_FEW, RUNS_WITH_FEW], ids=["opening", "running"])
@pytest.mark.parametrize("level", ["L1"])  # which needs all that L0 needs, and folders
def test_descriptors_exhausted(level, text, folder):
    """However few descriptors are left, opening a pool and running a job work or are exceptions that name `ulimit -n`;
    once some are free, the same pool goes on.
    """
    process = driver(f"{SPARE}{text}asyncio.run(main({level!r}))", env={**os.environ, "TMPDIR": str(folder)})
    *lines, last = said(process)
    assert {line for line in lines if "ulimit -n" not in line} == {"pass"}
    assert any(line.endswith("raise `ulimit -n` or open fewer workers") for line in lines)
    assert last == "then [] []"


FEW_PROCESSES = """
LIMIT = resource.getrlimit(resource.RLIMIT_NPROC)
NONE = (1, LIMIT[1])
GOOD = Job("def f(x): return x + 1", ("assert f(1) == 2",))
def zygote():
    with open(f"/proc/self/task/{os.getpid()}/children") as file: return int(file.read())
async def attempt(work):
    try:
        print((await work).status)
    except SandboxError as error:
        print(error)
async def main(level):
    async with Pool(workers=1, levels=(level,)) as pool:
        await attempt(pool.run(GOOD))
        resource.prlimit(zygote(), resource.RLIMIT_NPROC, NONE)
        task = asyncio.create_task(pool.run(GOOD))
        await asyncio.sleep(0.5)
        print(task.done())
        resource.prlimit(zygote(), resource.RLIMIT_NPROC, LIMIT)
        await attempt(task)
        resource.prlimit(zygote(), resource.RLIMIT_NPROC, NONE)
        resource.setrlimit(resource.RLIMIT_NPROC, NONE)
        await attempt(pool.run(GOOD))
        resource.setrlimit(resource.RLIMIT_NPROC, LIMIT)
        await attempt(pool.run(GOOD))
"""


def test_no_room_for_processes():
    """Where no process can be made just now, a job waits; where none can be made at all, that is an exception which
    names `ulimit -u`, and never a verdict; the same pool goes on when there is room again.
    """
    if os.geteuid() != 0 or not Path(OTHER_PYTHON).exists() or not ROOT.stat().st_mode & 0o005:
        pytest.skip("needs root to become a user of whom nothing else runs, who can read this")
    user = {"user": 40_000 + os.getpid() % 9_999, "group": 65534, "extra_groups": []}
    lines = said(driver(f"{FEW_PROCESSES}asyncio.run(main('L0'))", OTHER_PYTHON, **user))
    assert lines[:3] == ["pass", "False", "pass"]
    assert lines[3].endswith("raise `ulimit -u` (or the container's limit) or open fewer workers")
    assert lines[4:] == ["pass"]


# Verdicts are of programs


ENDINGS = {
    "exits": "import os\nos._exit({n})",
    "kills itself": "import os\nos.kill(os.getpid(), 9)",
    "crashes": "import ctypes\nctypes.string_at(0)",
    "aborts": "import os\nos.abort()",
    "closes all": "import os\nos.closerange(0, 256)",
    "writes to all": "import os\nfor n in range(256):\n    try: os.write(n, b'\\0\\0\\0\\2[]')\n"
    "    except OSError: pass",
    "writes complaints": "import os\nfor n in range(3, 9):\n    try: os.write(n, b'OSError: [Errno 11] broken')\n"
    "    except OSError: pass\nos._exit(1)",
    "stops": "import os\nos.kill(os.getpid(), 19)",
    "does not parse": "def f(:",
    "raises its name": "raise BaseException('SandboxError: [Errno 24] Too many open files')",
}


async def test_no_end_of_a_program_is_the_sandboxs():
    """However a program ends its process, in whatever tier or as a script, the job has a verdict, which is no pass."""
    limits = Limits(cpu_seconds=1, wall_seconds=0.5)
    jobs = [
        job
        for program in ENDINGS.values()
        for job in (
            Job(program.replace("{n}", "1"), ("f()",), limits, tier=Tier.SCREEN),
            Job(program.replace("{n}", "0"), ("f()",), limits, tier=Tier.SPLIT),
            ScriptJob(program.replace("{n}", "1"), (Case("", "unheard"),), limits),
        )
    ]
    async with opened() as scene:
        zygote = scene.zygote
        verdicts = [await scene.pool.run(job) for job in jobs]
        assert not [(job, verdict) for job, verdict in zip(jobs, verdicts, strict=True) if verdict.passed]
        assert scene.zygote == zygote


def own_memory() -> float:
    """MB of this process that are its own."""
    text = Path("/proc/self/status").read_text()
    return int(text.partition("RssAnon:")[2].split()[0]) / 1024


async def test_memory_of_the_coordinator_does_not_grow():
    """A thousand jobs and more, some of which die, leave the user's process as large as it was."""
    jobs = [Job(f"def f(x): return x + {n}", ("assert f(0)",), tier=Tier.SCREEN) for n in range(300)]
    jobs += [Job("import os\nos._exit(0)", ("assert f(0)",))] * 20
    async with opened(workers=2) as scene:
        sizes = []
        for _ in range(4):
            await asyncio.gather(*map(scene.pool.run, jobs))
            gc.collect()
            sizes.append(own_memory())
    assert sizes[-1] - sizes[0] < 2
