"""More inputs for a function from those that its tests give it: each a small change of one of them, of the same types.

The idea of mutating a benchmark's own inputs, type by type, is EvalPlus's (arXiv 2305.01210).
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from random import Random
from typing import Any

from datagen.extract.binding import every_call

Arguments = tuple[Any, ...]

_FAR = 9
_TRIES = 20


def given(tests: Sequence[str], entry: str) -> list[Arguments]:
    """The positional arguments of the tests' calls of `entry`, where all are literals and none is named; each once."""
    found: dict[str, Arguments] = {}
    for call in every_call(tests, entry):
        if not call.keywords and (arguments := _literals(call.args)) is not None:
            found.setdefault(repr(arguments), arguments)
    return list(found.values())


def variations(known: Sequence[Arguments], count: int, rng: Random) -> list[Arguments]:
    """Up to `count` distinct inputs, none of them known."""
    seen = {repr(arguments) for arguments in known}
    found: list[Arguments] = []
    for _ in range(_TRIES * count if known else 0):
        arguments = _varied(rng.choice(known), known, rng)
        if repr(arguments) not in seen:
            seen.add(repr(arguments))
            found.append(arguments)
        if len(found) == count:
            break
    return found


def _literals(nodes: Sequence[ast.expr]) -> Arguments | None:
    try:
        return tuple(ast.literal_eval(node) for node in nodes)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None


def _varied(arguments: Arguments, known: Sequence[Arguments], rng: Random) -> Arguments:
    """One argument changed, or taken from another input; sometimes a second one too."""
    changed = list(arguments)
    for place in rng.sample(range(len(changed)), min(len(changed), rng.choice((1, 1, 2)))):
        other = rng.choice(known)
        if rng.random() < 0.25 and place < len(other) and type(other[place]) is type(changed[place]):
            changed[place] = other[place]
        else:
            changed[place] = _change(changed[place], rng)
    return tuple(changed)


def _change(value: Any, rng: Random) -> Any:
    """A value of the same type near to this one; what is of no known type stays."""
    match value:
        case bool():
            return not value
        case int() | float():
            by = rng.choice((1, 1, 2, rng.randint(3, _FAR)))
            return value + (by if value < by or rng.random() < 0.6 else -by)
        case str():
            return "".join(_change_items(list(value), rng, _letter))
        case list():
            return _change_items(value, rng, _change)
        case tuple() | set():
            return type(value)(_change_items(list(value), rng, _change))
        case dict() if value:
            key = rng.choice(list(value))
            rest = {k: v for k, v in value.items() if k != key}
            return rest if rng.random() < 0.4 else {**value, key: _change(value[key], rng)}
    return value


def _change_items(items: list[Any], rng: Random, change: Any) -> list[Any]:
    """One item less, one twice, two swapped, or one changed."""
    if not items:
        return items
    place, other = rng.randrange(len(items)), rng.randrange(len(items))
    match rng.randrange(4):
        case 0:
            return [*items[:place], *items[place + 1 :]]
        case 1:
            return [*items[:place], items[other], *items[place:]]
        case 2:
            items = list(items)
            items[place], items[other] = items[other], items[place]
            return items
    return [*items[:place], change(items[place], rng), *items[place + 1 :]]


def _letter(letter: str, rng: Random) -> str:
    """Another character of the same kind."""
    for kind in ("0123456789", "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "()[]{}<>"):
        if letter in kind:
            return rng.choice(kind)
    return letter
