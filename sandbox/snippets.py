"""The tests' source: what it names, and assertions that say what they saw.

`assert a == b` becomes `assert compare("==", a, b)`: same order of evaluation, same outcome, and the values are at
hand for the report when it fails.
"""

from __future__ import annotations

import ast
import builtins
import sys
from collections.abc import Iterable, Iterator
from types import CodeType
from typing import NamedTuple

COMPARE = "_sandbox_compare"
TEST = "<test>"

_OPERATORS: dict[type[ast.cmpop], str] = {
    ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=",
    ast.Is: "is", ast.IsNot: "is not", ast.In: "in", ast.NotIn: "not in",
}  # fmt: skip
_CHECKERS = frozenset({"isclose", "approx", "allclose", "array_equal", "deepcopy", "np", "numpy", "pytest"})
_PYTHONS_OWN = frozenset(dir(builtins)) | _CHECKERS
_MODULES = frozenset(sys.stdlib_module_names)
_OF_A_FUNCTION = 0x1  # inspect.CO_OPTIMIZED


class Snippet(NamedTuple):
    """A test ready to run: its code, the names that it takes from outside, those of them that are Python's own, those
    that a class of its reads while it is made, its lines.
    """

    code: CodeType
    names: frozenset[str]
    reserved: frozenset[str]
    early: frozenset[str]
    lines: tuple[str, ...]


def prepare(source: str) -> Snippet:
    """Compile one test; SyntaxError, ValueError, RecursionError or MemoryError if it cannot be."""
    tree = ast.parse(source, TEST)
    names = _free_names(tree)
    reserved = names & _PYTHONS_OWN | names & _MODULES & _attribute_owners(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert):
            _show(node)
    code = compile(tree, TEST, "exec", dont_inherit=True)
    early = names.intersection(_read_in_classes(code))
    return Snippet(code, names, reserved, early, tuple(source.splitlines()))


def from_program(names: frozenset[str], reserved: frozenset[str], defined: frozenset[str]) -> frozenset[str]:
    """Which of a test's names mean the program's globals, given which of them the program says it defines.

    A reserved name (a builtin, a module of the library, a well-known checker such as `isclose`) means the program's
    only in a test that takes nothing else from the program: in `assert abs(f(2) - 1.5) < 1e-6` it stays Python's
    `abs` whatever the program defines, in `assert sum(10, 15) == 6` it is the program's `sum`. In such a test every
    other name that the program did not own up to stays undefined.
    """
    own = names - reserved
    if own & defined:
        return own
    return names & defined or own


def _read_in_classes(code: CodeType) -> Iterator[str]:
    """Names in the bodies of classes: what reads them there looks past the `__missing__` of the test's globals."""
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from () if inner.co_flags & _OF_A_FUNCTION else inner.co_names
            yield from _read_in_classes(inner)


def _attribute_owners(tree: ast.Module) -> frozenset[str]:
    owners = (node.value for node in ast.walk(tree) if isinstance(node, ast.Attribute))
    return frozenset(owner.id for owner in owners if isinstance(owner, ast.Name))


def _free_names(tree: ast.Module) -> frozenset[str]:
    loaded = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Store)}
    return frozenset(name for name in loaded - set(_bound(tree.body)) if not name.startswith("__"))


def _bound(statements: Iterable[ast.stmt]) -> Iterable[str]:
    """Names that the test itself binds at its top level."""
    for statement in statements:
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield statement.name
        elif isinstance(statement, (ast.Import, ast.ImportFrom)):
            yield from (alias.asname or alias.name.partition(".")[0] for alias in statement.names)
        else:
            yield from _stored(statement)
            yield from _bound(child for child in ast.iter_child_nodes(statement) if isinstance(child, ast.stmt))


def _stored(statement: ast.stmt) -> Iterable[str]:
    targets = getattr(statement, "targets", [getattr(statement, "target", None)])
    items = [item.optional_vars for item in getattr(statement, "items", ())]
    for target in [*targets, *items]:
        if target is not None:
            names = (node for node in ast.walk(target) if isinstance(node, ast.Name))
            yield from (node.id for node in names if isinstance(node.ctx, ast.Store))


def _show(node: ast.Assert) -> None:
    test = node.test
    if not isinstance(test, ast.Compare) or len(test.ops) != 1:
        return
    where = ast.Name(COMPARE, ast.Load())
    operator = ast.Constant(_OPERATORS[type(test.ops[0])])
    node.test = ast.Call(where, [operator, test.left, test.comparators[0]], [])
    for made in (where, operator, node.test):
        ast.copy_location(made, test)
