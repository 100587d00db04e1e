"""Writes docs/cli.md from the commands' own help and the tree of errors: `make docs`. A test finds it stale or not."""

from __future__ import annotations

from pathlib import Path

from datagen import errors
from datagen.cli import COMMANDS, build_parser

INTRODUCTION = """\
# Command line

`make docs` writes this page from the commands' own help. Results go to stdout, all else to stderr. A value comes from
its default, else from the recipe, else from the flag; nothing else.
"""


def page() -> str:
    """The whole page."""
    (commands,) = (action for action in build_parser()._actions if action.dest == "command")
    parsers = dict(commands.choices or {})
    helps = [f"## datagen {name}\n\n```\n{parsers[name].format_help().strip()}\n```\n" for name in COMMANDS]
    return "\n".join([INTRODUCTION, *helps, exit_codes()])


def exit_codes() -> str:
    """The table of exit codes, from the classes of datagen.errors."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and "exit_code" in vars(kind)]
    lines = [f"| {kind.exit_code} | {kind.__name__} | {(kind.__doc__ or '').splitlines()[0]} |" for kind in kinds]
    return "\n".join(["## Exit codes\n", "| code | error | meaning |", "|---|---|---|", "| 0 | - | done |", *lines, ""])


if __name__ == "__main__":
    Path(__file__).with_name("cli.md").write_text(page(), encoding="utf-8")
