"""Decides from a solution x test matrix: which tests the candidates agree with, which candidates pass, and which tests
are themselves left to chance.

A matrix has a row per candidate and a column per test, True where that candidate passes that test.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Sequence
from dataclasses import dataclass

from datagen.extract import syntax
from datagen.extract.tests import subject
from datagen.models import Drop, Status

Matrix = Sequence[Sequence[bool]]

PASSES = frozenset({Status.PASS, Status.PASS_WEAK})

_SETS = frozenset({"set", "frozenset"})
_IN_ORDER = frozenset({"list", "tuple", "str", "repr", "next", "iter", "enumerate", "zip", "map", "filter"})
_METHODS_IN_ORDER = frozenset({"join", "extend", "format"})


def passers(matrix: Matrix, test: int) -> frozenset[int]:
    """The candidates that pass one test."""
    return frozenset(index for index, row in enumerate(matrix) if row[test])


def passing(matrix: Matrix, tests: Sequence[int]) -> list[int]:
    """The candidates that pass all of these tests, by index."""
    return [index for index, row in enumerate(matrix) if all(row[test] for test in tests)]


def agreed(tests: Sequence[str], matrix: Matrix, entry: str, share: float) -> tuple[tuple[int, ...], tuple[Drop, ...]]:
    """The tests that the candidates' consensus supports, and drops for the others.

    A test stays if at least `share` of all candidates pass it and no rival has as many: a rival looks at the same call
    and is passed by other candidates. After CodeT's dual execution agreement (arXiv 2207.10397, section 2), per call
    instead of per set of tests; candidates that share an error are its failure mode.
    """
    votes = [passers(matrix, index) for index in range(len(tests))]
    calls = [subject(test, entry) for test in tests]
    needed = math.ceil(share * len(matrix) - 1e-9)
    reasons = [_objection(index, votes, calls, needed) for index in range(len(tests))]
    kept = tuple(index for index, reason in enumerate(reasons) if not reason)
    details = [f"{len(vote)} of {len(matrix)} candidates pass it" for vote in votes]
    drops = tuple(Drop(reason, details[index], tests[index]) for index, reason in enumerate(reasons) if reason)
    return kept, drops


def _objection(index: int, votes: Sequence[frozenset[int]], calls: Sequence[str], needed: int) -> str:
    """A slug of TEST_REASONS if a test must go, else ""."""
    own = votes[index]
    if len(own) < max(needed, 1):
        return "too-few-votes"
    rivals = [vote for vote, call in zip(votes, calls, strict=True) if call == calls[index] and vote != own]
    return "outvoted" if any(len(rival) >= len(own) for rival in rivals) else ""


def flaky_tests(tests: Sequence[str], rows: Sequence[Sequence[Status]]) -> list[int]:
    """The tests that are to blame where nothing passes twice, by index.

    `rows` holds how each distinct program that passed all of `tests` under the first seed did under both. A test is
    flaky if every one of them lost it; of one program alone, only if the test's own text is left to chance, since else
    the program is the likelier cause.
    """
    lost = [test for test in range(len(tests)) if rows and all(row[test] is Status.FLAKY for row in rows)]
    return [test for test in lost if len(rows) > 1 or depends_on_chance(tests[test])]


def depends_on_chance(test: str) -> bool:
    """Whether a test's own text draws at random, as `np.random.rand()` does, or reads a set's order, as
    `list({"a", "b"})` does.
    """
    tree = syntax.parse(test)
    if tree is None:
        return False
    assigned = [node for node in ast.walk(tree) if isinstance(node, ast.Assign) and _is_set(node.value, set())]
    names = {name for node in assigned for name in syntax.stores(node)}
    return any(_is_chance(node, names) for node in ast.walk(tree))


def _is_chance(node: ast.AST, sets: set[str]) -> bool:
    """Whether this node draws at random, or takes the elements of a set (or of a name in `sets`) as they come."""
    match node:
        case ast.Attribute(attr="random"):
            return True
        case ast.For(iter=source) | ast.ListComp(generators=[ast.comprehension(iter=source), *_]) | ast.Starred(source):
            return _is_set(source, sets)
        case ast.Call(func=ast.Name(id=name), args=args) if name in _IN_ORDER:
            return any(_is_set(argument, sets) for argument in args)
        case ast.Call(func=ast.Attribute(value=owner, attr=name), args=args):
            taken = args if name in _METHODS_IN_ORDER else [owner] if name == "pop" else []
            return any(_is_set(argument, sets) for argument in taken)
    return False


def _is_set(node: ast.expr, sets: set[str]) -> bool:
    match node:
        case ast.Set() | ast.SetComp():
            return True
        case ast.Call(func=ast.Name(id=name)):
            return name in _SETS
        case ast.Name(id=name):
            return name in sets
    return False


def contradiction(tests: Sequence[str], entry: str) -> tuple[str, str] | None:
    """Two tests that claim different outcomes of one call, such as `f(1) == 2` and `f(1) == 3`, so that hardly any
    program passes both; None if there are none.

    Compared are equalities with literals, and truth values. (A result whose own equality holds for everything passes
    both.)
    """
    found: dict[str, list[tuple[str, _Claim]]] = {}
    for test in tests:
        claim = _claim(test, entry)
        if claim is None:
            continue
        others = found.setdefault(subject(test, entry), [])
        for other, theirs in others:
            if _contradict(claim, theirs):
                return other, test
        others.append((test, claim))
    return None


@dataclass(frozen=True, slots=True)
class _Claim:
    """What a test says of a call: that it equals a value, or only that its truth is that of the value."""

    value: object
    truth_only: bool = False


def _claim(test: str, entry: str) -> _Claim | None:
    """What the last assert of a test claims; None where that is neither equality with a literal nor a truth value."""
    tree = syntax.parse(test)
    if tree is None or not tree.body or not isinstance(tree.body[-1], ast.Assert):
        return None
    match tree.body[-1].test:
        case ast.UnaryOp(op=ast.Not(), operand=ast.Compare() | ast.UnaryOp() | ast.BoolOp()):
            return None
        case ast.UnaryOp(op=ast.Not()):
            return _Claim(False, truth_only=True)
        case ast.Compare(left=left, ops=[ast.Eq() | ast.Is()], comparators=[right]):
            return _literal(left if entry in syntax.loads(right) else right)
        case ast.Compare() | ast.BoolOp():
            return None
    return _Claim(True, truth_only=True)


def _literal(node: ast.expr) -> _Claim | None:
    try:
        return _Claim(ast.literal_eval(node))
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None


def _contradict(one: _Claim, other: _Claim) -> bool:
    if one.truth_only or other.truth_only:
        return bool(one.value) != bool(other.value)
    return one.value != other.value
