"""Turns a completion that should hold five asserts into separate tests, each runnable on its own.

A test is one assert with the lines it needs (setup, imports, helpers) and nothing else. What the model wrote about the
solution, what it printed and what never looks at the function asked for is dropped, each with its reason.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from datagen.extract import blocks, syntax, unittests
from datagen.extract.syntax import Chunk
from datagen.models import Drop

TEST_REASONS: dict[str, str] = {
    "unparsable": "not Python",
    "truncated": "cut by max_tokens before it ended",
    "not-an-assert": "code that asserts nothing and that no assert needs, such as a print",
    "duplicate": "the same test again",
    "solution": "defines the function under test; tests know nothing of a solution",
    "no-entry-point": "never uses the function asked for",
    "no-outcome": "asserts something that does not depend on the function",
    "tautology": "holds whatever the function returns",
    "non-deterministic": "uses the clock, chance, identity, files, input, threads or the network",
    "unsupported": "needs a test framework: fixtures, self, pytest",
    "outvoted": "consensus: another outcome of the same call has at least as many candidates behind it",
    "too-few-votes": "consensus: too few candidates agree with it",
    "flaky": "whoever passed it failed it under another seed",
}
"""Every reason for which a single test is dropped: slug -> what it means."""

_MODULES = frozenset(
    [
        *("random", "time", "uuid", "secrets", "os", "threading", "multiprocessing", "subprocess", "socket"),
        *("requests", "urllib", "http", "tempfile", "shutil", "pathlib"),
    ]
)
_CALLS = frozenset(["input", "open", "id", "hash", "exec", "eval", "globals", "locals", "vars", "exit", "quit"])
_CLOCK = frozenset({"now", "today", "utcnow"})
_BROAD = frozenset({"Exception", "BaseException", "AssertionError"})
_FRAMEWORK = frozenset({"self", "pytest", "unittest"})
_ASSERT = re.compile(r"^[ \t]*(?:self\.)?assert", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class ParsedTests:
    """Usable tests in the order of the text, and everything that was not one."""

    tests: tuple[str, ...] = ()
    drops: tuple[Drop, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class _Statement:
    """A statement, how it is written, and what it does to names; equal to itself only."""

    node: ast.stmt
    source: str
    asserts: bool
    binds: frozenset[str]
    free: frozenset[str]
    acts_on: frozenset[str]  # what its calls are given, the object called included
    receivers: frozenset[str]  # what its calls are made on

    @classmethod
    def of(cls, node: ast.stmt, source: str) -> _Statement:
        """The statement with its facts, which slicing asks for again and again."""
        calls = syntax.calls(node)
        return cls(
            node=node,
            source=source,
            asserts=not syntax.is_definition(node) and any(isinstance(n, ast.Assert) for n in syntax.walk(node)),
            binds=frozenset(syntax.binds(node)),
            free=frozenset(syntax.free(node)),
            acts_on=frozenset(name for call in calls for name in syntax.loads(call)),
            receivers=frozenset(syntax.roots(call.func for call in calls)),
        )


def split_tests(text: str, *, cut: bool = False) -> ParsedTests:
    """The separate tests of a completion; `cut` says that max_tokens ended it.

    Asserts are found between [TESTS] tags, in fences or between prose, at module level, in test functions and in
    unittest methods.
    Asserts about one object that changes under them (`s.push(1)`) stay together as one test.
    """
    body, closed = _body(syntax.normalise(text))
    statements, drops = _statements(body, cut=cut and not closed, closed=closed)
    statements, solutions = _without_solution(statements)
    snippets, unused = _snippets(statements)
    tests, duplicates = _unique(snippets)
    return ParsedTests(tests, (*drops, *solutions, *unused, *duplicates))


def _body(text: str) -> tuple[str, bool]:
    """The part of the completion that holds the tests, and whether its end is marked."""
    tagged = [block for block in blocks.tagged(text, "TESTS") if "assert" in block.text]
    body = "\n".join(block.text for block in tagged) if tagged else text
    fenced = [block for block in blocks.fenced(body) if block.language in blocks.PYTHON and "assert" in block.text]
    closed = tagged[-1].closed if tagged else False
    if fenced:
        return "\n".join(block.text for block in fenced), closed or fenced[-1].closed
    return blocks.unfenced(body), closed


def _statements(body: str, *, cut: bool, closed: bool) -> tuple[list[_Statement], list[Drop]]:
    """Every statement that parses, and drops for asserts that do not; the last may be half a statement."""
    found: list[_Statement] = []
    drops: list[Drop] = []
    runs = syntax.chunks(unittests.plain_lines(body))
    for index, run in enumerate(runs):
        last = index == len(runs) - 1
        if run.tree is None and _ASSERT.search(run.text):
            drops.append(Drop("truncated" if last and not closed else "unparsable", text=run.text.strip()))
        found += _of(run)
    if cut and found and runs[-1].tree is not None and not body.endswith("\n"):
        drops.append(Drop("truncated", text=found.pop().source))
    return found, drops


def _of(run: Chunk) -> Iterator[_Statement]:
    for node in run.tree.body if run.tree is not None else ():
        if syntax.is_main_guard(node):
            yield from (_Statement.of(inner, syntax.written(inner)) for inner in getattr(node, "body", []))
        elif not _imports_solution(node):
            yield _Statement.of(node, syntax.source_of(run.text, node))


def _imports_solution(node: ast.stmt) -> bool:
    """`from solution import f`: the function is there already, under its own name."""
    if not isinstance(node, ast.ImportFrom):
        return False
    return bool(node.level) or (node.module or "").split(".")[0] not in sys.stdlib_module_names | {"numpy"}


def _without_solution(statements: list[_Statement]) -> tuple[list[_Statement], list[Drop]]:
    """Leaves out a definition of the very function that the asserts are about."""
    scopes = list(_scopes(statements))
    called = [name for scope in scopes for test in _targets(scope) for name in _called(_nodes(scope, test))]
    definitions = [s for s in statements if syntax.is_definition(s.node)]
    entry = _most(called, {name for s in definitions for name in s.binds})
    own = [s for s in definitions if entry in s.binds]
    return [s for s in statements if s not in own], [Drop("solution", entry or "", s.source) for s in own]


def _called(nodes: Iterable[ast.stmt]) -> list[str]:
    """Names that statements call, each once, other than Python's own and those they bind by assignment or import."""
    plain = [node for node in nodes if not syntax.is_definition(node)]
    bound = {name for node in plain for name in syntax.stores(node)} | syntax.BUILTINS
    names = [name for node in plain for name in syntax.called_names(node)]
    return [name for name in dict.fromkeys(names) if name not in bound]


def _most(names: Iterable[str], defined: set[str]) -> str | None:
    """The most frequent name; of equals one that is not defined here, then the first."""
    counts = Counter(names)
    return max(counts, key=lambda name: (counts[name], name not in defined), default=None)


def _scopes(statements: list[_Statement]) -> Iterator[list[_Statement]]:
    """The module's own statements, then the body of every test function behind the module's setup."""
    module = [s for s in statements if not unittests.is_test(s.node)]
    yield module
    setup = [s for s in module if not s.asserts]
    for statement in statements:
        for body in unittests.bodies(statement.node):
            yield setup + [_Statement.of(node, syntax.written(node)) for node in body]


def _targets(scope: list[_Statement]) -> list[_Statement]:
    return [statement for statement in scope if statement.asserts]


def _needed(scope: list[_Statement], target: _Statement) -> list[_Statement]:
    """The statements that an assert depends on, and itself, in order: a backward slice over names."""
    before = scope[: scope.index(target)]
    changing = _changing(before)
    needed = target.free
    chosen = [target]
    for statement in reversed(before):
        if _matters(statement, needed, changing):
            chosen.append(statement)
            needed = (needed - _replaced(statement)) | statement.free
    return chosen[::-1]


def _nodes(scope: list[_Statement], target: _Statement) -> list[ast.stmt]:
    return [statement.node for statement in _needed(scope, target)]


def _changing(statements: Sequence[_Statement]) -> set[str]:
    """Variables on which a bare call acts, as in `s.push(1)` or `sort(items)`."""
    variables = {name for s in statements if isinstance(s.node, ast.Assign) for name in s.binds}
    return variables & {name for s in statements if _is_bare_call(s.node) for name in s.acts_on}


def _matters(statement: _Statement, needed: frozenset[str], changing: set[str]) -> bool:
    """Whether a statement binds what is needed, or acts on a changing variable that is."""
    if statement.asserts:
        return bool(statement.receivers & needed & changing)
    acts_on = statement.acts_on if not _is_print(statement.node) else frozenset()
    return bool((statement.binds | acts_on & changing) & needed)


def _replaced(statement: _Statement) -> frozenset[str]:
    """Names whose earlier value no longer matters after this statement."""
    if isinstance(statement.node, ast.Assign):
        return frozenset(target.id for target in statement.node.targets if isinstance(target, ast.Name))
    final = syntax.is_definition(statement.node) or isinstance(statement.node, ast.Import | ast.ImportFrom)
    return statement.binds if final else frozenset()


def _is_bare_call(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and not _is_print(node)


def _is_print(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and "print" in syntax.called_names(node)


def _snippets(statements: list[_Statement]) -> tuple[list[str], list[Drop]]:
    """One text per independent test, and drops for code that belongs to none."""
    found: list[str] = []
    used: set[_Statement] = set()
    for scope in _scopes(statements):
        slices = [_needed(scope, target) for target in _targets(scope)]
        merged = {s for piece in slices for s in piece[:-1] if s.asserts}
        found += ["\n".join(s.source for s in piece) for piece in slices if piece[-1] not in merged]
        used.update(s for piece in slices for s in piece)
    stray = [s for s in statements if s not in used and not _is_noise(s.node)]
    return found, [Drop("not-an-assert", text=s.source) for s in stray]


def _is_noise(node: ast.stmt) -> bool:
    """Imports, words of prose that happen to parse, and test functions whose asserts were taken."""
    if unittests.is_test(node):
        return any(isinstance(inner, ast.Assert) for body in unittests.bodies(node) for inner in body)
    if isinstance(node, ast.Expr):
        return not syntax.calls(node)
    return isinstance(node, ast.Import | ast.ImportFrom | ast.If | ast.Pass | ast.AnnAssign)


def _unique(snippets: list[str]) -> tuple[tuple[str, ...], list[Drop]]:
    first: dict[str, str] = {}
    drops: list[Drop] = []
    for snippet in snippets:
        if (key := identity(snippet)) in first:
            drops.append(Drop("duplicate", text=snippet))
        first.setdefault(key, snippet)
    return tuple(first.values()), drops


def identity(test: str) -> str:
    """Equal for tests that differ in layout, comments or messages only."""
    if syntax.parse(test) is None:
        return test
    tree = syntax.fresh(test)
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert):
            node.msg = None
    return syntax.written(tree)


def entry_point(tests: Sequence[str]) -> str | None:
    """The function or class that most tests call: not Python's own, not defined by the test; of equals the first."""
    trees = [tree for test in tests if (tree := syntax.parse(test)) is not None]
    return _most((name for tree in trees for name in _called(tree.body) if name not in syntax.stores(tree)), set())


def usable_tests(tests: Sequence[str], entry: str) -> ParsedTests:
    """The tests that say something certain about `entry`, and drops for the others."""
    checked = [(test, unusable(test, entry)) for test in tests]
    return ParsedTests(
        tuple(test for test, reason in checked if reason is None),
        tuple(Drop(reason, text=test) for test, reason in checked if reason is not None),
    )


def unusable(test: str, entry: str) -> str | None:
    """A slug of TEST_REASONS if the test proves nothing about `entry`, else None."""
    tree = syntax.parse(test)
    if tree is None:
        return "unparsable"
    if entry in syntax.stores(tree):
        return "solution"
    if _is_chancy(tree):
        return "non-deterministic"
    if (syntax.free(tree) - syntax.stores(tree)) & _FRAMEWORK:
        return "unsupported"
    if entry not in syntax.loads(tree):
        return "no-entry-point"
    about = _about(tree, entry)
    if not about:
        return "no-outcome"
    return "tautology" if all(map(_always_true, about)) or _swallows(tree) else None


def _is_chancy(tree: ast.Module) -> bool:
    imported = {alias.name.split(".")[0] for n in syntax.walk(tree) if isinstance(n, ast.Import) for alias in n.names}
    imported |= {(n.module or "").split(".")[0] for n in syntax.walk(tree) if isinstance(n, ast.ImportFrom)}
    called = set(syntax.called_names(tree)) - syntax.stores(tree)
    attributes = {n.func.attr for n in syntax.calls(tree) if isinstance(n.func, ast.Attribute)}
    free = syntax.roots(n for n in syntax.walk(tree) if isinstance(n, ast.Attribute)) - syntax.stores(tree)
    return bool((imported | free) & _MODULES or called & _CALLS or attributes & _CLOCK)


def _about(tree: ast.Module, entry: str) -> list[ast.expr]:
    """What is asserted about an outcome of `entry`: about a call of it, or a variable that such a call reached."""
    reached: set[str] = set()
    found: list[ast.expr] = []
    for statement in tree.body:
        if _uses(statement, entry, reached):
            found += [node.test for node in syntax.walk(statement) if isinstance(node, ast.Assert)]
            reached |= syntax.binds(statement)
            reached |= {name for call in syntax.calls(statement) for name in syntax.loads(call)} - {entry}
            reached -= syntax.BUILTINS
    return [test for test in found if _uses(test, entry, reached)]


def _uses(node: ast.AST, entry: str, reached: set[str]) -> bool:
    called = any(entry in syntax.loads(call) for call in syntax.calls(node))
    return called or bool(syntax.loads(node) & reached)


def _always_true(test: ast.expr) -> bool:
    """Whether the expression holds for every outcome, as far as its form shows."""
    if isinstance(test, ast.Compare):
        sides = [ast.dump(side) for side in (test.left, *test.comparators)]
        return len(set(sides)) == 1 and all(isinstance(op, ast.Eq | ast.Is | ast.LtE | ast.GtE) for op in test.ops)
    if isinstance(test, ast.BoolOp):
        every = all if isinstance(test.op, ast.And) else any
        return every(map(_always_true, test.values))
    if isinstance(test, ast.Tuple | ast.List | ast.Set):
        return bool(test.elts)
    return isinstance(test, ast.Constant) and bool(test.value)


def _swallows(tree: ast.Module) -> bool:
    """Whether an assert stands in a `try` that also catches its failure."""
    tries = [node for node in syntax.walk(tree) if isinstance(node, ast.Try)]
    asserting = [node for node in tries if any(isinstance(inner, ast.Assert) for inner in syntax.walk(node))]
    return any(h.type is None or syntax.loads(h.type) & _BROAD for node in asserting for h in node.handlers)


def subject(test: str, entry: str) -> str:
    """What the last assert of a test looks at, normalised: tests with equal ones claim outcomes of the same call.

    `assert f(1) == 2`, `assert 3 == f(1)`, `assert f(1)` and `assert not f(1)` all look at `f(1)`; setup lines are part
    of it.
    """
    tree = syntax.parse(identity(test))
    if tree is None or not tree.body:
        return test
    last = tree.body[-1]
    claim = _side(last.test, entry) if isinstance(last, ast.Assert) else last
    return "\n".join(syntax.written(node) for node in (*tree.body[:-1], claim))


def _side(test: ast.expr, entry: str) -> ast.expr:
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return _side(test.operand, entry)
    if not isinstance(test, ast.Compare) or len(test.ops) > 1 or not isinstance(test.ops[0], ast.Eq | ast.Is):
        return test
    left, right = test.left, test.comparators[0]
    return right if entry in syntax.loads(right) and entry not in syntax.loads(left) else left
