"""Command-line flags made from the config dataclasses, with help that fits a screen."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import Any, NoReturn, get_type_hints

from datagen.config import kinds
from datagen.errors import UsageError

_NAMES = {int: "N", float: "X", str: "TEXT", tuple: "NAME"}


class Parser(argparse.ArgumentParser):
    """An argument parser whose mistakes are UsageErrors, with the command's own --help as the next step."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does it, but an unknown flag is this command's error, with the closest one as a suggestion."""
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown:
            flags = [flag for action in self._actions for flag in action.option_strings]
            close = difflib.get_close_matches(unknown[0], flags, n=1)
            self.error(f"unknown argument {unknown[0]}" + (f", did you mean {close[0]}" if close else ""))
        return parsed, unknown

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, hint=f"See {self.prog} --help")


class Formatter(argparse.RawDescriptionHelpFormatter):
    """One line per flag: its name, a short text, the default."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=110)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        return f"{', '.join(action.option_strings)} {self._format_args(action, str(action.metavar or action.dest))}"


def add_flags(parser: argparse.ArgumentParser, table: str, cls: type, *, only: Iterable[str] = ()) -> None:
    """A flag `--key-name` for each setting of `cls` (or those in `only`), stored as `table.key`; None: not given."""
    hints, chosen = get_type_hints(cls), tuple(only)
    for spec in fields(cls):
        if spec.name in chosen if chosen else spec.metadata["flag"]:
            text = str(spec.metadata["help"]).replace("%", "%%")
            shown = "" if "default" in text or spec.default in ("", 0, False, (), None) else f" ({_show(spec.default)})"
            _add(parser, table, spec.name, spec.metadata, kinds(hints[spec.name]), text + shown)


def _show(default: Any) -> str:
    return (
        " ".join(default)
        if isinstance(default, tuple)
        else f"{default:g}"
        if isinstance(default, float)
        else str(default)
    )


def _add(
    parser: argparse.ArgumentParser,
    table: str,
    name: str,
    metadata: Mapping[str, Any],
    types: tuple[type, ...],
    text: str,
) -> None:
    flag, dest = f"--{name.replace('_', '-')}", f"{table}.{name}"
    kind = types[0]
    if kind is bool:
        parser.add_argument(flag, dest=dest, action="store_const", const=True, help=text)
        return
    metavar = metadata["metavar"] or _NAMES[kind]
    if kind is tuple:  # --against a b, or --against a --against b
        parser.add_argument(flag, dest=dest, action="extend", nargs="+", metavar=metavar, help=text)
        return
    parser.add_argument(flag, dest=dest, type=kind, metavar=metavar, help=text)


def whole(least: int) -> Callable[[str], int]:
    """What argparse reads a flag with that is a whole number of `least` or more, and no setting."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"invalid int value: {text!r}") from error
        if number < least:
            raise argparse.ArgumentTypeError(f"{number} is under {least}")
        return number

    return read


def collect(args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """The flags that were given, as table -> key -> value."""
    tables: dict[str, dict[str, Any]] = {}
    for dest, value in vars(args).items():
        table, dot, key = dest.rpartition(".")
        if dot and value is not None:
            tables.setdefault(table, {})[key] = value
    return tables
