"""What a test's names mean."""

from __future__ import annotations

import pytest

from sandbox.snippets import COMPARE, from_program, prepare


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("assert f(x) == 1", {"f", "x"}),
        ("import math\nassert math.pi == f()", {"f"}),
        ("x = 1\nassert f(x)", {"f"}),
        ("for i, j in pairs:\n    assert f(i) == j", {"pairs", "f"}),
        ("def check(candidate):\n    assert candidate(1)\ncheck(f)", {"candidate", "f"}),
        ("with open('a') as handle:\n    pass", {"open"}),
        ("class T(Base): pass\nT()", {"Base"}),
        ("try:\n    f()\nexcept Bad as e:\n    assert e", {"f", "Bad", "e"}),
    ],
)
def test_free_names(source, names):
    """A test takes from outside what it names and does not bind at its top level."""
    assert prepare(source).names == names


@pytest.mark.parametrize(
    ("source", "defined", "wanted"),
    [
        ("assert abs(f(2) - 4) < 1", {"f", "abs"}, {"f"}),
        ("assert sum(3, 4) == 12", {"sum"}, {"sum"}),
        ("assert math.isclose(f(2), 4)", {"f", "math"}, {"f"}),
        ("assert isclose(f(2), 4)", {"f", "isclose"}, {"f"}),
        ("assert calendar(2) == f(1)", {"f", "calendar"}, {"f", "calendar"}),
        ("assert abs(f(2)) == 1", {"abs"}, {"abs"}),
        ("assert f(2) == 1", set(), {"f"}),
    ],
)
def test_names_of_the_program(source, defined, wanted):
    """Python's own names mean the program's only in a test that takes nothing else from it."""
    snippet = prepare(source)
    assert from_program(snippet.names, snippet.reserved, frozenset(defined)) == wanted


@pytest.mark.parametrize("source", ["assert 1 < 2 < 3", "assert f()", "assert not a == b"])
def test_only_plain_comparisons_are_shown(source):
    """Other assertions are compiled as they stand."""
    assert COMPARE not in prepare(source).code.co_names


@pytest.mark.parametrize("source", ["assert f(", "x = \0", "(" * 1000])
def test_what_is_not_python(source):
    """A test that does not parse is an error that names itself."""
    with pytest.raises((SyntaxError, ValueError, MemoryError)):
        prepare(source)
