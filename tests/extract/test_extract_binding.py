"""What `binding` promises: which functions a benchmark's tests may mean; binding touches no name of a program."""

from __future__ import annotations

from typing import Any

import pytest

from datagen.extract.binding import bindables, bound, calls_in, normalised

PROGRAM = """\
import math

def helper(a, b=2):
    return a + b

def _private(a):
    return a

double = lambda n: 2 * n

class Solution:
    def twoSum(self, nums, target):
        return [0, 1]

class Needy:
    def __init__(self, size):
        self.size = size
    def grow(self):
        return self.size
"""


def names(program: str, entry: str = "") -> list[str]:
    return [function.name for function in bindables(program, entry)]


def test_public_functions_and_methods_of_plain_classes() -> None:
    """Without an entry point: top-level functions, lambdas and methods of classes that need no arguments."""
    assert names(PROGRAM) == ["helper", "double", "twoSum"]


def test_entry_point_stands_alone() -> None:
    """The entry point is the only one, where the program defines it; a name it lacks is ignored."""
    assert names(PROGRAM, "double") == ["double"]
    assert names(PROGRAM, "nowhere") == names(PROGRAM)


@pytest.mark.parametrize("program", ["", "def f(:", "x = 1", "\x00", "(" * 5000])
def test_no_function_in_what_is_none(program: str) -> None:
    """What is not Python, or defines nothing, has nothing to bind."""
    assert names(program) == []


def test_method_is_called_on_an_object_of_its_own() -> None:
    """A method is bound by a function that stands below the program and makes an object for each call."""
    (method,) = bindables(
        "class Counter:\n    n = 0\n    def up(self, by):\n        self.n += by\n        return self.n\n"
    )
    names: dict[str, Any] = {}
    exec(
        "class Counter:\n    n = 0\n    def up(self, by):\n        self.n += by\n        return self.n\n"
        + method.below,
        names,
    )
    assert [names[method.alias](2), names[method.alias](3)] == [2, 3]


def test_place_is_where_the_name_is_defined() -> None:
    """`start` is the place of the name in its definition, also where a call of it comes first."""
    program = "def outer(n):\n    return inner(n)\n\ndef inner(n):\n    return n\n"
    found = {function.name: function.start for function in bindables(program)}
    assert program[found["inner"] :].startswith("inner(n):\n    return n\n")


def test_calls_are_seen_through_a_checking_function() -> None:
    """A test that hands the function to `check(candidate)` calls it in the ways in which `check` calls `candidate`."""
    test = "def check(candidate):\n    assert candidate(1, 2) == 3\n    assert candidate(4, b=5) == 9\n\ncheck(add)\n"
    assert [(len(call.args), len(call.keywords)) for call in calls_in([test], "add")] == [(1, 1), (2, 0)]


@pytest.mark.parametrize(
    ("definition", "fits"),
    [
        ("def f(a): pass", False),
        ("def f(a, b): pass", True),
        ("def f(a, b, c): pass", False),
        ("def f(a, b, c=1): pass", True),
        ("def f(*values): pass", True),
        ("def f(a, *, b): pass", False),
    ],
)
def test_arity_decides(definition: str, fits: bool) -> None:
    """A function fits if it can take every call of the tests, by number and names of arguments."""
    (function,) = bindables(definition)
    assert function.accepts(calls_in(["assert add(1, 2) == 3"], "add")) is fits


def test_binding_is_a_line_of_the_test() -> None:
    """A bound test is the test below one assignment, and the same for every program."""
    aliases = {function.alias for program in ("def f(a): pass", "def g(b): pass") for function in bindables(program)}
    assert [bound("assert add(1) == 2", "add", alias) for alias in aliases] == [
        "add = bound_candidate_0\nassert add(1) == 2"
    ]


def test_names_are_compared_without_case_and_underscores() -> None:
    """camelCase and snake_case of one name are one."""
    assert normalised("hasCloseElements") == normalised("has_close_elements") != normalised("has_close_element")
