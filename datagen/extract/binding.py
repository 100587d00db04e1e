"""Which functions of a program a benchmark's tests could call, and how the tests are made to call one of them.

The program gets an alias of the function below it, and the test a line of its own, `entry_point = alias`. So no name of
the program is touched: a helper of it that happens to have the benchmark's name stays what it is.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from datagen.extract import naming, syntax

Function = ast.FunctionDef | ast.AsyncFunctionDef

ALIAS = "bound_candidate_"
"""What functions are called for tests, with a number: the same in all programs, so that a test is compiled once."""


@dataclass(frozen=True, slots=True, eq=False)
class Bindable:
    """A function of a program: its name, where that stands (characters), the alias that tests call it by, and the
    template of the alias's definition.
    """

    name: str
    start: int
    alias: str
    args: ast.arguments
    method: bool = False
    definition: str = ""

    @property
    def below(self) -> str:
        """What has to stand below the program, so that it knows the alias."""
        return f"\n\n{self.definition.format(alias=self.alias)}\n"

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
    found = [*_functions(tree), *_methods(tree)]
    chosen = [one for one in found if one[0] == entry][-1:] or found
    return tuple(
        Bindable(name, _place(program, name), f"{ALIAS}{number}", args, method, definition)
        for number, (name, definition, args, method) in enumerate(chosen)
    )


def normalised(name: str) -> str:
    """A function's name without case and underscores: `hasCloseElements` and `has_close_elements` are one."""
    return name.replace("_", "").casefold()


def every_call(tests: Iterable[str], entry: str) -> Iterator[ast.Call]:
    """The calls of `entry` in these tests, in order; also under the name of the parameter that a checking function
    (`check(candidate)`) takes it by.
    """
    for test in tests:
        if (tree := syntax.parse(test)) is not None:
            names = {entry} | _parameters(tree, entry)
            yield from (c for c in syntax.calls(tree) if isinstance(c.func, ast.Name) and c.func.id in names)


def calls_in(tests: Iterable[str], entry: str) -> tuple[ast.Call, ...]:
    """One call of `entry` for each way in which these tests call it, by number and names of arguments."""
    ways: dict[tuple[int, tuple[str, ...]], ast.Call] = {}
    for call in every_call(tests, entry):
        if not _is_open(call):
            ways.setdefault((len(call.args), tuple(sorted(k.arg or "" for k in call.keywords))), call)
    return tuple(ways[key] for key in sorted(ways))


def bound(test: str, entry: str, alias: str) -> str:
    """The test, which takes `alias` of the program for `entry`."""
    return f"{entry} = {alias}\n{test}"


def _functions(tree: ast.Module) -> Iterator[tuple[str, str, ast.arguments, bool]]:
    """Name, definition of the alias, parameters of each top-level function."""
    for node in tree.body:
        if isinstance(node, Function) and not node.name.startswith("_"):
            yield node.name, f"{{alias}} = {node.name}", node.args, False
        elif (named := _lambda(node)) is not None:
            yield named[0], f"{{alias}} = {named[0]}", named[1], False


def _lambda(node: ast.stmt) -> tuple[str, ast.arguments] | None:
    """Name and parameters of `name = lambda ...`."""
    match node:
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.Lambda(args=args)):
            return name, args
    return None


def _methods(tree: ast.Module) -> Iterator[tuple[str, str, ast.arguments, bool]]:
    """The same of each method of a class that needs no arguments; last, whether the first parameter is the object."""
    for owner in (node for node in tree.body if isinstance(node, ast.ClassDef) and naming.constructible(node)):
        for node in owner.body:
            if isinstance(node, Function) and not node.name.startswith("_"):
                call = f"def {{alias}}(*args, **kwargs):\n    return {owner.name}().{node.name}(*args, **kwargs)"
                yield node.name, call, node.args, not naming.is_static(node)


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
