"""Reads Python that a model wrote: what parses, statement by statement, and which names a statement uses and binds.

Model output is hostile by accident: prose between functions, half a function at the end, a thousand nested brackets.
Everything here answers any text without raising.
"""

from __future__ import annotations

import ast
import builtins
import re
import textwrap
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

MAX_CHARS = 100_000
MAX_DEPTH = 100
"""Deeper trees are refused: no solution needs them, and Python's own tree functions recurse."""
MAX_BITS = 14_000
"""Longer integers are refused: Python reads them in base 16 and cannot write them in base 10 (4,300 digits)."""

BUILTINS = frozenset(dir(builtins))
_CONTINUATION = re.compile(r"(?:else|elif|except|finally)\b|[)\]}]")
_OPEN = ("was never closed", "unterminated triple-quoted", "unexpected EOF")
_COMPOUND_START = re.compile(r"(?:async|class|def|for|if|try|while|with)\b|@")
_MAX_GROWTH = 40
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_BLOCKS = (*_DEFINITIONS, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.If, ast.Try, ast.Match)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some whole lines of a text; `tree` is None where they are not Python."""

    text: str
    tree: ast.Module | None


def normalise(text: str) -> str:
    """Unix line ends, no byte order mark, no NUL, no non-breaking space."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "")
    return text.replace("\ufeff", "").replace("\u00a0", " ")


def parse(text: str) -> ast.Module | None:
    """The syntax tree, never to be changed (trees are shared); None for what is not Python, too long or too deep."""
    return _parsed(text)[0]


@lru_cache(maxsize=128)
def _parsed(text: str) -> tuple[ast.Module | None, str]:
    """The tree, or None and the parser's message. Extraction reads the same few texts again and again."""
    if len(text) > MAX_CHARS:
        return None, "too long"
    try:
        tree = fresh(text)
    except SyntaxError as error:
        return None, error.msg or ""
    except (ValueError, RecursionError, MemoryError) as error:
        return None, str(error)
    return (tree, "") if _is_modest(tree, len(text)) else (None, "nested too deeply")


def fresh(text: str) -> ast.Module:
    """A tree of one's own, for a text that `parse` accepts; without Python's warnings about the model's style."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(text)


def _is_modest(tree: ast.AST, length: int) -> bool:
    """Whether Python's tree functions can handle it: not nested too deeply, no integer too long to write."""
    if length < MAX_DEPTH // 2:
        return True  # a level takes a character, an integer that long takes thousands
    depth, level = 0, [tree]
    while level and depth < MAX_DEPTH:
        if any(isinstance(node, ast.Constant) and _is_long(node.value) for node in level):
            return False
        depth, level = depth + 1, [child for node in level for child in _children(node)]
    return not level


def _is_long(value: object) -> bool:
    return isinstance(value, int) and value.bit_length() > MAX_BITS


def chunks(text: str) -> list[Chunk]:
    """The text cut into runs of lines that parse and runs that do not; every non-blank line is in exactly one.

    A run starts at a line without indentation and takes the indented lines below it, so that a definition whose body is
    broken is one broken run and never a shorter valid one.
    """
    tree = parse(text)
    return [Chunk(text, tree)] if tree is not None else list(_recovered(text.split("\n")))


def _recovered(lines: list[str]) -> Iterator[Chunk]:
    start = 0
    while start < len(lines):
        end, tree = _grown(lines, start)
        if tree is None:
            yield from _broken(lines[start:end])
        elif tree.body or any(line.strip() for line in lines[start:end]):
            yield Chunk("\n".join(lines[start:end]), tree)
        start = end


def _broken(lines: list[str]) -> Iterator[Chunk]:
    """A run that does not parse: perhaps all of it has a margin, or a line of prose stands before indented code."""
    if lines[0][:1].isspace():
        yield from chunks(textwrap.dedent("\n".join(lines)).lstrip())
    elif len(lines) > 1 and not _COMPOUND_START.match(lines[0]):
        yield Chunk(lines[0], None)
        yield from chunks(textwrap.dedent("\n".join(lines[1:])).strip("\n"))
    else:
        yield Chunk("\n".join(lines), None)


def _grown(lines: list[str], start: int) -> tuple[int, ast.Module | None]:
    """Where the run from `start` ends, and its tree; an open bracket or string takes more lines, if they close it."""
    first = end = _extent(lines, start)
    for _ in range(_MAX_GROWTH):
        tree, message = _parsed("\n".join(lines[start:end]))
        if tree is not None:
            return end, tree
        if end >= len(lines) or not any(sign in message for sign in _OPEN):
            break
        end = _extent(lines, end)
    return first, None


def _extent(lines: list[str], start: int) -> int:
    end = start + 1
    while end < len(lines) and (_belongs(lines[end]) or lines[end - 1].startswith("@")):
        end += 1
    return end


def _belongs(line: str) -> bool:
    return not line.strip() or line[0].isspace() or _CONTINUATION.match(line) is not None


def span(node: ast.stmt) -> tuple[int, int]:
    """First and last line of a statement, counted from 1, decorators included."""
    decorators = getattr(node, "decorator_list", [])
    return min([node.lineno, *(decorator.lineno for decorator in decorators)]), node.end_lineno or node.lineno


def source_of(text: str, node: ast.stmt) -> str:
    """A statement as it was written; nested or one-line-shared ones in Python's own layout."""
    first, last = span(node)
    lines = text.split("\n")[first - 1 : last]
    whole = "\n".join(lines)
    if isinstance(node, _BLOCKS):
        return whole if node.col_offset == 0 else written(node)
    exact = _segment(text, lines, node)
    return exact if exact is not None and (node.col_offset == 0 or first == last) else written(node)


def _segment(text: str, lines: list[str], node: ast.stmt) -> str | None:
    """`ast.get_source_segment`, which takes the whole text apart for every statement, from the statement's lines."""
    if not text.isascii() or "\f" in text:  # columns count bytes, and Python's tokenizer knows form feeds
        return ast.get_source_segment(text, node)
    cut = [*lines[:-1], lines[-1][: node.end_col_offset]]
    return "\n".join([cut[0][node.col_offset :], *cut[1:]])


def written(node: ast.AST) -> str:
    """A node in Python's own layout; for the few f-strings that Python cannot write its tree."""
    try:
        return ast.unparse(node)
    except (ValueError, RecursionError):
        return repr(ast.dump(node))


@lru_cache(maxsize=256)
def walk(node: ast.AST) -> tuple[ast.AST, ...]:
    """The node and all below it, as `ast.walk` gives them, for trees that are never changed; a fifth of its time, since
    extraction asks about the same statement again and again.
    """
    found = [node]
    for inner in found:  # grows while it is read
        found += _children(inner)
    return tuple(found)


def _children(node: ast.AST) -> list[ast.AST]:
    """`ast.iter_child_nodes`, in half the time."""
    found: list[ast.AST] = []
    for name in node._fields:
        value = getattr(node, name, None)
        if isinstance(value, ast.AST):
            found.append(value)
        elif isinstance(value, list):
            found += [item for item in value if isinstance(item, ast.AST)]
    return found


def is_main_guard(node: ast.stmt) -> bool:
    """Whether it is `if __name__ == "__main__":`."""
    return isinstance(node, ast.If) and "__name__" in loads(node.test)


@lru_cache(maxsize=256)
def loads(node: ast.AST) -> frozenset[str]:
    """Every name that is read anywhere inside."""
    return frozenset(n.id for n in walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load))


def free(node: ast.AST) -> frozenset[str]:
    """Names that a statement needs from before it."""
    read = loads(node) - _inner(node)
    if isinstance(node, ast.AugAssign):
        return read | roots([node.target])
    return read - stores(node) if isinstance(node, _BLOCKS) else read


def _inner(node: ast.AST) -> set[str]:
    """Names bound by comprehensions and as arguments of functions inside."""
    found: set[str] = set()
    for inner in walk(node):
        if isinstance(inner, _COMPREHENSIONS):
            found |= {name for generator in inner.generators for name in stores(generator.target)}
        elif isinstance(inner, _FUNCTIONS):
            found |= {argument.arg for argument in arguments(inner.args)}
    return found


def arguments(args: ast.arguments) -> list[ast.arg]:
    """Every parameter of a function."""
    stars = [star for star in (args.vararg, args.kwarg) if star is not None]
    return [*args.posonlyargs, *args.args, *args.kwonlyargs, *stars]


@lru_cache(maxsize=256)
def stores(node: ast.AST) -> frozenset[str]:
    """Every name assigned, deleted, imported, defined or caught anywhere inside."""
    found: set[str] = set()
    for inner in walk(node):
        if isinstance(inner, ast.Name) and not isinstance(inner.ctx, ast.Load):
            found.add(inner.id)
        elif isinstance(inner, ast.alias):
            found.add((inner.asname or inner.name).split(".")[0])
        elif isinstance(inner, (*_DEFINITIONS, ast.ExceptHandler)) and inner.name:
            found.add(inner.name)
    return frozenset(found)


def binds(node: ast.stmt) -> frozenset[str]:
    """Names that a statement binds or changes in its own scope; `a[0] = 1` and `a.b = 1` change `a`."""
    if isinstance(node, _DEFINITIONS):
        return frozenset([node.name])
    targets = [inner for part in _assignments(node) for inner in part]
    return (stores(node) - _inner(node)) | roots(targets)


def _assignments(node: ast.AST) -> Iterator[Sequence[ast.expr]]:
    for inner in walk(node):
        if isinstance(inner, ast.Assign | ast.Delete):
            yield inner.targets
        elif isinstance(inner, ast.AugAssign | ast.AnnAssign):
            yield [inner.target]


def roots(nodes: Iterable[ast.expr]) -> set[str]:
    """The name that an attribute, an item or a call chain starts from: `a` for `a.b[0]`, `a.b()`."""
    return {root.id for node in nodes if isinstance(root := _root(node), ast.Name)}


def _root(node: ast.expr) -> ast.expr:
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Starred | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node


def calls(node: ast.AST) -> list[ast.Call]:
    """Every call inside, in the order of the text."""
    found = [inner for inner in walk(node) if isinstance(inner, ast.Call)]
    return sorted(found, key=lambda call: (call.lineno, call.col_offset, -(call.end_col_offset or 0)))


def called_names(node: ast.AST) -> list[str]:
    """Plain names that are called inside, in the order of the text: `f` for `f(1)`, nothing for `a.f(1)`."""
    return [call.func.id for call in calls(node) if isinstance(call.func, ast.Name)]


def is_definition(node: ast.AST) -> bool:
    """Whether it defines a function or a class."""
    return isinstance(node, _DEFINITIONS)
