"""The command line: `python -m sandbox check` and `python -m sandbox run FILE --tests FILE`."""

from __future__ import annotations

import argparse
import ast
import asyncio
import sys
from pathlib import Path

import sandbox.landlock as landlock
from sandbox.contract import Job, Limits, SandboxError, Verdict
from sandbox.pool import LEVELS, Pool

CHECK_EXAMPLE = """
example:
  python -m sandbox check        prints the level that this machine reaches; exit code 1 below L1
"""
RUN_EXAMPLE = """
example:
  echo 'def add(a, b): return a + b' > program.py
  echo 'assert add(1, 2) == 3' > tests.py
  python -m sandbox run program.py --tests tests.py        exit code 0 only if every test passes
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
}
_PROBE = Job("def double(x):\n    return 2 * x\n", ("assert double(2) == 4", "assert double(2) == 5"))


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    options = _parser().parse_args(arguments)
    try:
        return asyncio.run(_check() if options.command == "check" else _run(options))
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


async def _check() -> int:
    for level in LEVELS:
        try:
            async with Pool(workers=1, levels=(level,)) as pool:
                verdict = await pool.run(_PROBE)
        except SandboxError as error:
            print(f"{level}: no ({error})", file=sys.stderr)
            continue
        if [str(result.status) for result in verdict.tests] != ["pass", "fail"]:
            raise SandboxError(f"a level {level} sandbox starts but judges wrongly: {verdict}")
        print(f"level {level} (Landlock version {landlock.version()})")
        for name, gives in _LAYERS[level]:
            print(f"  {name:<20}{gives}")
        return 0
    return 1


async def _run(options: argparse.Namespace) -> int:
    program = Path(options.file).read_text(encoding="utf-8")
    tests = split_tests(Path(options.tests).read_text(encoding="utf-8"))
    limits = Limits(cpu_seconds=options.cpu_seconds, memory_mb=options.memory_mb)
    async with Pool(workers=1, allow_unsafe=options.unsafe_sandbox) as pool:
        verdict = await pool.run(Job(program, tests, limits, options.seed))
    _show(verdict)
    return 0 if verdict.passed else 1


def _show(verdict: Verdict) -> None:
    for number, result in enumerate(verdict.tests, 1):
        print(f"test {number}: {result.status}{f' ({result.detail})' if result.detail else ''}")
    used = f"{verdict.cpu_seconds:.3f} s of CPU, {verdict.peak_memory_mb:.0f} MB"
    print(f"{verdict.status}: {used}" if verdict.tests else f"{verdict.status}: {verdict.detail}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sandbox", description="Run untrusted Python programs against tests."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    raw = argparse.RawDescriptionHelpFormatter
    commands.add_parser("check", help="what this machine can fence in", formatter_class=raw, epilog=CHECK_EXAMPLE)
    run = commands.add_parser("run", help="run one program", formatter_class=raw, epilog=RUN_EXAMPLE)
    defaults = Limits()
    run.add_argument("file", metavar="FILE", help="the program")
    run.add_argument("--tests", metavar="FILE", required=True, help="assertions on the names that the program defines")
    run.add_argument("--cpu-seconds", type=float, default=defaults.cpu_seconds, help="default: %(default)s")
    run.add_argument("--memory-mb", type=int, default=defaults.memory_mb, help="default: %(default)s")
    run.add_argument("--seed", type=int, default=0, help="hash seed and seed of `random` (default: %(default)s)")
    run.add_argument(
        "--unsafe-sandbox", action="store_true", help="run even where this machine cannot fence programs in"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
