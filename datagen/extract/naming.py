"""Makes a program define the name that the tests call: renames its function, or adds one that calls its method."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Sequence
from dataclasses import dataclass
from inspect import Parameter

from datagen.extract import syntax

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Named:
    """A program that defines the entry point, and what was done to it for that ("" if nothing)."""

    code: str
    note: str = ""


def fit(code: str, entry: str, tests: Sequence[str]) -> Named | None:
    """The program with `entry` defined at its top level, or None if no one thing in it is meant by that name."""
    tree = syntax.parse(code)
    if tree is None:
        return None
    if any(entry in syntax.binds(node) for node in tree.body):
        return Named(code)
    shapes = [call for test in tests for call in _calls_of(test, entry)]
    method = _method(tree, shapes, entry)
    if method is not None and method[1] == entry:
        return _delegating(code, entry, *method)
    function = _only_root(tree)
    if function is not None and accepts(function.args, shapes):
        return _renamed(code, function.name, entry)
    return _delegating(code, entry, *method) if method is not None else None


def _calls_of(test: str, entry: str) -> list[ast.Call]:
    tree = syntax.parse(test)
    found = syntax.calls(tree) if tree is not None else []
    return [call for call in found if isinstance(call.func, ast.Name) and call.func.id == entry]


def accepts(args: ast.arguments, shapes: Sequence[ast.Call], *, bound: bool = False) -> bool:
    """Whether a function with these parameters can take every call; `bound`: its first parameter is given already."""
    signature = _signature(args, skip=int(bound))
    return signature is not None and all(_binds(signature, call) for call in shapes)


def _signature(args: ast.arguments, *, skip: int) -> inspect.Signature | None:
    plain = [*args.posonlyargs, *args.args]
    kinds = [Parameter.POSITIONAL_ONLY] * len(args.posonlyargs) + [Parameter.POSITIONAL_OR_KEYWORD] * len(args.args)
    required = len(plain) - len(args.defaults)
    found = [_parameter(plain[i], kinds[i], i >= required) for i in range(skip, len(plain))]
    found += [_parameter(args.vararg, Parameter.VAR_POSITIONAL)] if args.vararg else []
    pairs = zip(args.kwonlyargs, args.kw_defaults, strict=True)
    found += [_parameter(a, Parameter.KEYWORD_ONLY, default is not None) for a, default in pairs]
    found += [_parameter(args.kwarg, Parameter.VAR_KEYWORD)] if args.kwarg else []
    try:
        return inspect.Signature(found)
    except ValueError:  # two parameters of one name: parses, but does not compile
        return None


def _parameter(argument: ast.arg, kind: inspect._ParameterKind, optional: bool = False) -> Parameter:
    return Parameter(argument.arg, kind, default=None if optional else Parameter.empty)


def _binds(signature: inspect.Signature, call: ast.Call) -> bool:
    if any(isinstance(a, ast.Starred) for a in call.args) or any(k.arg is None for k in call.keywords):
        return True
    try:
        signature.bind(*call.args, **{k.arg: k.value for k in call.keywords if k.arg is not None})
    except TypeError:
        return False
    return True


def _only_root(tree: ast.Module) -> Function | None:
    """The only top-level function, or the only one that no other definition uses."""
    functions = [node for node in tree.body if isinstance(node, Function)]
    definitions = [node for node in tree.body if syntax.is_definition(node)]
    used = {name for node in definitions for name in syntax.loads(node) - syntax.binds(node)}
    free = functions if len(functions) == 1 else [node for node in functions if node.name not in used]
    return free[0] if len(free) == 1 else None


def _method(tree: ast.Module, shapes: Sequence[ast.Call], entry: str) -> tuple[str, str] | None:
    """Class and method that are meant by `entry`: of that name, or the only public one of the only class."""
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and constructible(node)]
    public = [(c, m) for c in classes for m in c.body if isinstance(m, Function) and not m.name.startswith("_")]
    fitting = [(c.name, m.name) for c, m in public if accepts(m.args, shapes, bound=not is_static(m))]
    named = [pair for pair in fitting if pair[1] == entry]
    if named:
        return named[0]
    return fitting[0] if len(public) == len(fitting) == 1 else None


def constructible(node: ast.ClassDef) -> bool:
    """Whether `Class()` works, as far as its own __init__ tells."""
    inits = [m for m in node.body if isinstance(m, Function) and m.name == "__init__"]
    empty = ast.Call(ast.Name(node.name), [], [])
    return all(accepts(init.args, [empty], bound=True) for init in inits)


def is_static(method: Function) -> bool:
    return any(isinstance(d, ast.Name) and d.id == "staticmethod" for d in method.decorator_list)


def _delegating(code: str, entry: str, owner: str, method: str) -> Named:
    added = f"def {entry}(*args, **kwargs):\n    return {owner}().{method}(*args, **kwargs)"
    return Named(f"{code.rstrip()}\n\n\n{added}", f"added {entry}, which calls {owner}.{method}")


def _renamed(code: str, old: str, new: str) -> Named:
    """`old` renamed where it is defined and used; where that may not be safe, `new` is a second name for it."""
    wanted = _Rename(old, new).visit(syntax.fresh(code))
    if (changed := _substituted(code, old, new)) is not None and _is_safe(code, old, new):
        after = syntax.parse(changed)
        if after is not None and ast.dump(after) == ast.dump(wanted):
            return Named(changed, f"renamed {old} to {new}")
    return Named(f"{code.rstrip()}\n\n\n{new} = {old}", f"added {new}, another name for {old}")


class _Rename(ast.NodeTransformer):
    """The tree that a rename must give: the definition and every plain use."""

    def __init__(self, old: str, new: str) -> None:
        self.old, self.new = old, new

    def visit_Name(self, node: ast.Name) -> ast.Name:
        node.id = self.new if node.id == self.old else node.id
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._definition(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._definition(node)

    def _definition(self, node: Function) -> ast.AST:
        node.name = self.new if node.name == self.old else node.name
        return self.generic_visit(node)


def _is_safe(code: str, old: str, new: str) -> bool:
    """Whether every `old` in the program is the one function, and nothing is called `new` yet."""
    tree = syntax.parse(code)
    if tree is None:
        return False
    nodes = list(ast.walk(tree))
    bound = [n.name for n in nodes if isinstance(n, Function | ast.ClassDef)]
    bound += [n.id for n in nodes if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)]
    bound += [n.arg for n in nodes if isinstance(n, ast.arg)]
    bound += [n.asname or n.name for n in nodes if isinstance(n, ast.alias)]
    bound += [name for n in nodes if isinstance(n, ast.Global | ast.Nonlocal) for name in n.names]
    bound += [n.name for n in nodes if isinstance(n, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) if n.name]
    return bound.count(old) == 1 and new not in bound and new not in syntax.loads(tree)


def _substituted(code: str, old: str, new: str) -> str | None:
    """The text with the definition's name and every use replaced in place; None where a position does not hold."""
    tree = syntax.parse(code)
    lines = [line.encode() for line in code.split("\n")]
    places = [_place(node, lines, old) for node in ast.walk(tree)] if tree is not None else []
    for line, column in sorted((place for place in places if place is not None), reverse=True):
        if line >= len(lines) or lines[line][column : column + len(old.encode())] != old.encode():
            return None
        lines[line] = lines[line][:column] + new.encode() + lines[line][column + len(old.encode()) :]
    return b"\n".join(lines).decode()


def _place(node: ast.AST, lines: list[bytes], old: str) -> tuple[int, int] | None:
    """Line and byte where this node spells `old`."""
    if isinstance(node, ast.Name) and node.id == old:
        return node.lineno - 1, node.col_offset
    if isinstance(node, Function) and node.name == old:
        keyword = re.compile(rb"(?:async\s+)?def\s+").match(lines[node.lineno - 1], node.col_offset)
        return node.lineno - 1, keyword.end() if keyword else 0
    return None
