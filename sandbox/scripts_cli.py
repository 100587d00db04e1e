"""The part of the command line that is about scripts: what `run` takes for them, and the job that it makes of it."""

from __future__ import annotations

import argparse
from pathlib import Path

from sandbox.contract import Case, Compare, Limits, SandboxError, ScriptJob


def add_options(parser: argparse.ArgumentParser) -> None:
    """What `run` takes for a script, besides what it takes for any program."""
    group = parser.add_argument_group("scripts: a program that reads stdin and writes stdout")
    group.add_argument("--stdin", metavar="FILE", help="what the script reads (default: nothing)")
    group.add_argument("--stdout", metavar="FILE", help="what it has to write")
    kinds, usual = [str(compare) for compare in Compare], str(Compare.WHITESPACE)
    group.add_argument("--compare", choices=kinds, default=usual, help="what counts (default: %(default)s)")
    group.add_argument("--tolerance", type=float, default=1e-6, help="for --compare float (default: %(default)s)")


def script_job(program: str, options: argparse.Namespace, limits: Limits) -> ScriptJob | None:
    """The job of a script, None if the options name tests; SandboxError if they name both or neither."""
    if (options.tests is None) == (options.stdout is None):
        raise SandboxError("give --tests FILE, or for a script --stdout FILE (and --stdin FILE)")
    if options.stdout is None:
        return None
    case = Case(_read(options.stdin) if options.stdin else "", _read(options.stdout))
    return ScriptJob(
        program, (case,), limits, options.seed, compare=Compare(options.compare), tolerance=options.tolerance
    )


def _read(path: str) -> str:
    return Path(path).read_bytes().decode("utf-8", "surrogateescape")
