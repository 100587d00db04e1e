"""Ways in which a benchmark's text turns up in training data."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Sequence
from random import Random

STRENGTHS = (0.05, 0.1, 0.2, 0.3, 0.5)
"""Shares of the words that are changed at random."""

_WORDS = re.compile(r"(\s+)")


def first_three_fifths(text: str) -> str:
    """The first 60 % of the words."""
    parts, words = _split(text)
    return "".join(parts[: words[round(0.6 * len(words)) - 1] + 1])


def every_tenth_word_changed(text: str) -> str:
    """Every tenth word another."""
    parts, words = _split(text)
    for place in words[9::10]:
        parts[place] = "replaced"
    return "".join(parts)


def words_changed(text: str, share: float, others: Sequence[str], rng: Random) -> str:
    """Each word, with this chance, replaced by one of `others`."""
    parts, words = _split(text)
    for place in words:
        if rng.random() < share:
            parts[place] = rng.choice(others)
    return "".join(parts)


def names_changed(code: str) -> str:
    """The program with each function, parameter and variable of its own called otherwise, without its docstrings."""
    tree = ast.parse(code)
    own = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    own |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    own |= {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    names = {name: f"v{number}" for number, name in enumerate(sorted(own - set(dir(builtins))))}
    return ast.unparse(_Renamed(names).visit(tree))


def _split(text: str) -> tuple[list[str], list[int]]:
    """Words and what is between them, and the places of the words."""
    parts = _WORDS.split(text)
    return parts, [place for place, part in enumerate(parts) if part.strip()]


class _Renamed(ast.NodeTransformer):
    def __init__(self, names: dict[str, str]) -> None:
        self.names = names

    def visit_Name(self, node: ast.Name) -> ast.AST:
        node.id = self.names.get(node.id, node.id)
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.arg = self.names.get(node.arg, node.arg)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.name = self.names.get(node.name, node.name)
        if ast.get_docstring(node) is not None and len(node.body) > 1:
            node.body = node.body[1:]
        return self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.name = self.names.get(node.name, node.name)
        return self.generic_visit(node)
