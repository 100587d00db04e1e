"""Which functions of a program a benchmark's tests could call, and how the tests are made to call one of them.

A test is bound by a line of its own, `entry_point = function`, so that no name of the program is touched: a helper of
the program that happens to have the benchmark's name stays what it is.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from datagen.extract import naming, syntax

Function = ast.FunctionDef | ast.AsyncFunctionDef

_DELEGATE = "\n\ndef {alias}(*args, **kwargs):\n    return {owner}().{method}(*args, **kwargs)\n"


@dataclass(frozen=True, slots=True, eq=False)
class Bindable:
    """A function of a program: its name, where that stands (characters), the global name that a test takes it by, and
    what has to stand below the program for that.
    """

    name: str
    start: int
    alias: str
    args: ast.arguments
    method: bool = False
    below: str = ""

    def accepts(self, calls: Sequence[ast.Call]) -> bool:
        """Whether it can take every one of these calls, by number and names of arguments."""
        return naming.accepts(self.args, calls, bound=self.method)


def bindables(program: str, entry: str = "") -> tuple[Bindable, ...]:
    """The functions that a test may mean: `entry` alone where the program defines it as a function, else every public
    top-level function, then every public method of a class that is made without arguments; none in what is not Python.
    """
    tree = syntax.parse(program)
    if tree is None:
        return ()
    found = [*_functions(tree, program), *_methods(tree, program)]
    named = [one for one in found if one.name == entry]
    return tuple(named[-1:] or found)


def normalised(name: str) -> str:
    """A function's name without case and underscores: `hasCloseElements` and `has_close_elements` are one."""
    return name.replace("_", "").casefold()


def calls_in(tests: Iterable[str], entry: str) -> tuple[ast.Call, ...]:
    """The calls of `entry` in these tests, one for each way to call it; also under the name of the parameter that a
    checking function (`check(candidate)`) takes it by.
    """
    trees = [tree for test in tests if (tree := syntax.parse(test)) is not None]
    shapes: dict[tuple[int, tuple[str | None, ...]], ast.Call] = {}
    for tree in trees:
        names = {entry} | _parameters(tree, entry)
        for call in syntax.calls(tree):
            if isinstance(call.func, ast.Name) and call.func.id in names and not _is_open(call):
                shapes.setdefault((len(call.args), tuple(sorted(k.arg or "" for k in call.keywords))), call)
    return tuple(shapes[key] for key in sorted(shapes))


def bound(test: str, entry: str, alias: str) -> str:
    """The test, which takes `alias` of the program for `entry`."""
    return test if alias == entry else f"{entry} = {alias}\n{test}"


def _functions(tree: ast.Module, program: str) -> Iterator[Bindable]:
    for node in tree.body:
        if isinstance(node, Function) and not node.name.startswith("_"):
            yield Bindable(node.name, _place(program, node.name), node.name, node.args)
        elif (named := _lambda(node)) is not None:
            yield Bindable(named[0], _place(program, named[0]), named[0], named[1])


def _lambda(node: ast.stmt) -> tuple[str, ast.arguments] | None:
    """Name and parameters of `name = lambda ...`."""
    match node:
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.Lambda(args=args)):
            return name, args
    return None


def _methods(tree: ast.Module, program: str) -> Iterator[Bindable]:
    for owner in (node for node in tree.body if isinstance(node, ast.ClassDef) and naming.constructible(node)):
        for node in owner.body:
            if isinstance(node, Function) and not node.name.startswith("_"):
                place, method = _place(program, node.name), not naming.is_static(node)
                alias = f"bound_{owner.name}_{node.name}"
                below = _DELEGATE.format(alias=alias, owner=owner.name, method=node.name)
                yield Bindable(node.name, place, alias, node.args, method, below)


def _place(program: str, name: str) -> int:
    """Where the name is defined in the text, 0 if it is written in an unusual way."""
    found = re.search(rf"\bdef\s+({re.escape(name)})\b|^({re.escape(name)})\s*=", program, re.MULTILINE)
    return found.start(found.lastindex or 0) if found else 0


def _is_open(call: ast.Call) -> bool:
    """Whether `*args` or `**kwargs` hide how many arguments it gives."""
    return any(isinstance(a, ast.Starred) for a in call.args) or any(k.arg is None for k in call.keywords)


def _parameters(tree: ast.Module, entry: str) -> set[str]:
    """The parameters by which functions of the test itself are given `entry`."""
    made = {node.name: syntax.arguments(node.args) for node in tree.body if isinstance(node, Function)}
    given = [
        (made[call.func.id], place)
        for call in syntax.calls(tree)
        if isinstance(call.func, ast.Name) and call.func.id in made
        for place, value in enumerate(call.args)
        if isinstance(value, ast.Name) and value.id == entry
    ]
    return {parameters[place].arg for parameters, place in given if place < len(parameters)}
