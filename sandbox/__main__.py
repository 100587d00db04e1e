"""The command line: `python -m sandbox check`, and `run FILE` with `--tests FILE` or `--stdin` and `--stdout`."""

from __future__ import annotations

import argparse
import ast
import asyncio
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import sandbox.landlock as landlock
from sandbox.catalogue.check import check_catalogue, printable
from sandbox.contract import Job, Limits, SandboxError, Tier, Verdict
from sandbox.pool import BELOW, LEVELS, Pool
from sandbox.scripts_cli import add_options, script_job

CHECK_EXAMPLE = """
exit codes:
  0  level L0 or L1, and every program of the catalogue got a true verdict
  1  below L1: datagen, for one, then runs nothing without --unsafe-sandbox
  2  wrong usage, or the sandbox does not work
  3  some program forged a verdict, escaped, hung, wrongly failed, or left something behind; each is named

example:
  python -m sandbox check --quick        without what takes long: hangs, and programs that have to pass
"""
RUN_EXAMPLE = """
example:
  echo 'def add(a, b): return a + b' > program.py
  echo 'assert add(1, 2) == 3' > tests.py
  python -m sandbox run program.py --tests tests.py        exit code 0 only if every test passes

  echo 'print(sum(map(int, input().split())))' > script.py
  echo '1 2' > in; echo '3' > out
  python -m sandbox run script.py --stdin in --stdout out
"""
_LAYERS = {
    "L0": (
        ("namespaces", "no network, no host files, own process ids, own temporary folder in memory"),
        ("system call filter", "no new processes or programs, no sockets, no kernel interfaces beyond an allow-list"),
        ("Landlock", "files once more: nothing is writable but the temporary folder"),
        ("limits", "CPU time, wall time, memory, threads, output, file size"),
        ("two processes", "the program has neither the tests nor a way to report a verdict"),
    ),
    "L1": (
        ("system call filter", "no new processes or programs, no sockets, no kernel interfaces beyond an allow-list"),
        ("Landlock", "files: the standard library is readable, one temporary folder on the host's disk is writable"),
        ("limits", "CPU time, wall time, memory, output, size of each file"),
        ("two processes", "the program has neither the tests nor a way to report a verdict"),
    ),
    "L2": (
        ("system call filter", "no new processes or programs, no sockets, no kernel interfaces beyond an allow-list"),
        ("files", "for root a folder with a copy of the standard library; else nothing can be opened"),
        ("limits", "CPU time, wall time, memory, output, size of each file"),
        ("two processes", "the program has neither the tests nor a way to report a verdict"),
    ),
}
BELOW_L1, FAULTS = 1, 3
_PROBE = Job("def double(x):\n    return 2 * x\n", ("assert double(2) == 4", "assert double(2) == 5"), tier=Tier.SPLIT)


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    options = _parser().parse_args(arguments)
    try:
        play: Callable[[argparse.Namespace], Coroutine[Any, Any, int]] = options.play
        return asyncio.run(play(options))
    except (SandboxError, OSError, SyntaxError) as error:
        print(f"sandbox: {error}", file=sys.stderr)
        return 2


def split_tests(source: str) -> tuple[str, ...]:
    """The tests of a file: each top-level statement with an assertion, after all other statements before it."""
    tests, common = [], ""
    for statement in ast.parse(source).body:
        text = ast.get_source_segment(source, statement) or ""
        defines = isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        if not defines and any(isinstance(node, ast.Assert) for node in ast.walk(statement)):
            tests.append(common + text)
        else:
            common += f"{text}\n"
    return tuple(tests)


async def _check(options: argparse.Namespace) -> int:
    level = await _reached()
    if level is None:
        return BELOW_L1
    print(f"level {level} (Landlock version {landlock.version()})")
    for name, gives in _LAYERS[level]:
        print(f"  {name:<20}{gives}")
    clean = await check_catalogue(level, quick=options.quick)
    return BELOW_L1 if level not in LEVELS else 0 if clean else FAULTS


async def _reached() -> str | None:
    """The first level that this machine can take, L2 included; None if it is none of them."""
    for level in (*LEVELS, *BELOW[:-1]):
        try:
            async with Pool(workers=1, levels=(level,)) as pool:
                verdict = await pool.run(_PROBE)
        except SandboxError as error:
            print(f"{level}: no ({error})", file=sys.stderr)
            continue
        if [str(result.status) for result in verdict.tests] != ["pass", "fail"]:
            raise SandboxError(f"a level {level} sandbox starts but judges wrongly: {verdict}")
        return level
    return None


async def _run(options: argparse.Namespace) -> int:
    program = Path(options.file).read_text(encoding="utf-8")
    limits = Limits(cpu_seconds=options.cpu_seconds, memory_mb=options.memory_mb)
    job = script_job(program, options, limits) or _job(program, options, limits)
    async with Pool(workers=1, allow_unsafe=options.unsafe_sandbox) as pool:
        verdict = await pool.run(job)
    _show(verdict)
    return 0 if verdict.passed else 1


def _job(program: str, options: argparse.Namespace, limits: Limits) -> Job:
    return Job(program, split_tests(Path(options.tests).read_text(encoding="utf-8")), limits, options.seed)


def _show(verdict: Verdict) -> None:
    for number, result in enumerate(verdict.tests, 1):
        print(f"test {number}: {result.status}{f' ({printable(result.detail)})' if result.detail else ''}")
    used = f"{verdict.cpu_seconds:.3f} s of CPU, {verdict.peak_memory_mb:.0f} MB"
    print(f"{verdict.status}: {used}" if verdict.tests else f"{verdict.status}: {printable(verdict.detail)}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sandbox", description="Run untrusted Python programs against tests."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    raw = argparse.RawDescriptionHelpFormatter
    check = commands.add_parser(
        "check", help="what this machine can fence in", formatter_class=raw, epilog=CHECK_EXAMPLE
    )
    check.add_argument("--quick", action="store_true", help="leave out the programs that take long")
    check.set_defaults(play=_check)
    _add_run(commands.add_parser("run", help="run one program", formatter_class=raw, epilog=RUN_EXAMPLE))
    return parser


def _add_run(run: argparse.ArgumentParser) -> None:
    defaults = Limits()
    run.set_defaults(play=_run)
    run.add_argument("file", metavar="FILE", help="the program")
    run.add_argument("--tests", metavar="FILE", help="assertions on the names that the program defines")
    run.add_argument("--cpu-seconds", type=float, default=defaults.cpu_seconds, help="default: %(default)s")
    run.add_argument("--memory-mb", type=int, default=defaults.memory_mb, help="default: %(default)s")
    run.add_argument("--seed", type=int, default=0, help="hash seed and seed of `random` (default: %(default)s)")
    run.add_argument(
        "--unsafe-sandbox", action="store_true", help="run even where this machine cannot fence programs in"
    )
    add_options(run)


if __name__ == "__main__":
    sys.exit(main())
