"""The shape of a function: its syntax tree without names of its own, annotations, docstrings and layout."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from datagen.extract import syntax
from datagen.extract.blocks import fenced
from datagen.models import content_id

LEAST_NODES = 22
"""Marks under which functions are alike by chance; `return len(text)` makes 20 of a function."""

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z")
_SKIPPED = {"ctx", "type_comment", "annotation", "returns", "type_params", "kind", "type_ignores", "simple"}


@dataclass(frozen=True, slots=True)
class Shape:
    """A function's fingerprint and how many nodes it was made of; where it stands in the text, as the parser counts."""

    name: str
    print: str
    nodes: int
    offset: int
    lines: tuple[int, int]
    columns: tuple[int, int]

    def span(self, text: str) -> tuple[int, int, str]:
        """First and last character of the function in the text that it was read from, and its source."""
        lines = _LINE.findall(text[self.offset :])
        start, end = (self.offset + _place(lines, *at) for at in zip(self.lines, self.columns, strict=True))
        return start, end, text[start:end]


def shapes(text: str) -> list[Shape]:
    """The shape of every top-level function and method in a program, or in the fenced blocks of other text."""
    found = list(_shapes(text, 0))
    if found or "```" not in text:
        return found
    return [shape for block in fenced(text) for shape in _placed(text, block.text)]


def _placed(text: str, code: str) -> Iterator[Shape]:
    """Those of a block, if it stands in the text as it was read."""
    place = text.find(code)
    return _shapes(code, place) if place >= 0 else iter(())


def _shapes(code: str, offset: int) -> Iterator[Shape]:
    tree = syntax.parse(code) if "def " in code else None
    for node in _functions(tree) if tree else ():
        marks = _marks(node)
        lines, columns = (node.lineno, node.end_lineno or 0), (node.col_offset, node.end_col_offset or 0)
        yield Shape(node.name, content_id(*marks), len(marks) - marks.count(repr(None)), offset, lines, columns)


def _functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in tree.body:
        inner = node.body if isinstance(node, ast.ClassDef) else [node]
        yield from (each for each in inner if isinstance(each, _FUNCTIONS))


def _place(lines: list[str], line: int, column: int) -> int:
    """The character at which a place of the parser's stands: it counts lines from 1 and columns in bytes."""
    return sum(map(len, lines[: line - 1])) + len(lines[line - 1].encode()[:column].decode(errors="ignore"))


def _marks(function: ast.AST) -> list[str]:
    """The tree in preorder; each name that is not Python's own is the number in which it came up."""
    marks: list[str | _Name] = []
    own: set[str] = set()
    stack: list[object] = [function]
    while stack:
        value = stack.pop()
        if isinstance(value, ast.AST):
            marks.append(type(value).__name__)
            stack.extend(reversed(_children(value, own)))
        else:
            marks.append(value if isinstance(value, _Name) else repr(value))
    numbers: dict[str, str] = {}
    return [mark if not isinstance(mark, _Name) else _numbered(mark, own, numbers) for mark in marks]


class _Name(str):
    """A name in the program, other than of an attribute, a keyword or an import."""

    __slots__ = ()


def _numbered(name: str, own: set[str], numbers: dict[str, str]) -> str:
    return str(name) if name in syntax.BUILTINS and name not in own else numbers.setdefault(name, str(len(numbers)))


def _children(node: ast.AST, own: set[str]) -> list[object]:
    """What counts of a node: names as such, docstrings and annotations not at all; names that it binds go to `own`."""
    if isinstance(node, ast.Name):
        if not isinstance(node.ctx, ast.Load):
            own.add(node.id)
        return [_Name(node.id)]
    found: list[object] = []
    for field in _counted(node._fields):
        value = getattr(node, field, None)
        if isinstance(value, list):
            body = _without_docstring(value) if field == "body" and isinstance(node, _FUNCTIONS) else value
            found.extend([len(body), *body])
        elif isinstance(value, str) and field in ("arg", "name") and not isinstance(node, ast.keyword | ast.alias):
            own.add(value)
            found.append(_Name(value))
        else:
            found.append(value)  # None too: x[:2], x[2:] and x[::2] differ in nothing else
    return found


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    first = body[0]
    is_text = (
        isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    )
    return body[1:] if is_text else body


@cache
def _counted(fields: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(field for field in fields if field not in _SKIPPED)
