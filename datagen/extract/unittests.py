"""Reads asserts where models also put them: in list items, test functions and unittest methods."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from datagen.extract import syntax

_ITEM = re.compile(r"^[ \t]*(?:(?:[-*+]|\d+[.)])[ \t]+`?|`)(assert\b.*?)`?[ \t]*$", re.MULTILINE)
_BINARY: dict[str, type[ast.cmpop]] = {
    "assertEqual": ast.Eq, "assertEquals": ast.Eq, "assertListEqual": ast.Eq, "assertDictEqual": ast.Eq,
    "assertTupleEqual": ast.Eq, "assertSetEqual": ast.Eq, "assertMultiLineEqual": ast.Eq, "assertNotEqual": ast.NotEq,
    "assertIs": ast.Is, "assertIsNot": ast.IsNot, "assertIn": ast.In, "assertNotIn": ast.NotIn,
    "assertGreater": ast.Gt, "assertGreaterEqual": ast.GtE, "assertLess": ast.Lt, "assertLessEqual": ast.LtE,
}  # fmt: skip
_FORMS = {
    "assertTrue": "{0}",
    "assertFalse": "not ({0})",
    "assertIsNone": "({0}) is None",
    "assertIsNotNone": "({0}) is not None",
    "assertIsInstance": "isinstance({0}, {1})",
    "assertCountEqual": "sorted({0}) == sorted({1})",
    "assertAlmostEqual": "round(({0}) - ({1}), 7) == 0",
}


def plain_lines(text: str) -> str:
    """Asserts that are list items or inline code become plain lines."""
    return _ITEM.sub(lambda match: match[1], text)


def is_test(node: ast.stmt) -> bool:
    """Whether it is a test function, or a class of test methods."""
    if isinstance(node, ast.ClassDef):
        return node.name.startswith("Test") or any("TestCase" in syntax.written(base) for base in node.bases)
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test")


def bodies(node: ast.stmt) -> Iterator[list[ast.stmt]]:
    """The body of each test function in `node`, unittest's assertions rewritten as plain asserts."""
    if not is_test(node):
        return
    if isinstance(node, ast.ClassDef):
        for method in node.body:
            yield from bodies(method)
    elif isinstance(node, ast.FunctionDef):
        yield [_plain(statement) for statement in node.body]


def _plain(statement: ast.stmt) -> ast.stmt:
    """`self.assertEqual(a, b)` as `assert a == b`; other statements as they are."""
    match statement:
        case ast.Expr(ast.Call(ast.Attribute(ast.Name("self"), method), args)):
            test = _rewritten(method, args)
            return statement if test is None else ast.copy_location(ast.Assert(test, None), statement)
    return statement


def _rewritten(method: str, args: list[ast.expr]) -> ast.expr | None:
    if method in _BINARY and len(args) >= 2:
        return ast.Compare(args[0], [_BINARY[method]()], [args[1]])
    form = _FORMS.get(method)
    if form is None or len(args) < 1 + ("{1}" in form):
        return None
    tree = syntax.parse(form.format(*map(syntax.written, args)))
    return tree.body[0].value if tree is not None and isinstance(tree.body[0], ast.Expr) else None
