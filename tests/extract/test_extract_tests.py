"""Tests that a model wrote: how they are separated, and which are of use."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.extract.tests import TEST_REASONS, entry_point, split_tests, subject, usable_tests

CASES = tomllib.loads((Path(__file__).parent / "corpus" / "tests.toml").read_text(encoding="utf-8"))["case"]
LINES = """[TESTS]
[/TESTS]
#Test case 1:
assert f(1) == 2
assert f(
x = [1]
x.append(2)
assert f(x) == x
```python
```
def test_a():
    assert f(2)
class TestF:
    def test_b(self):
        self.assertEqual(f(1), 2)
def f(x):
    return x
print(f(1))
import math
for i in x:
if __name__ == '__main__':
Some prose (here.
1. assert f(3)
try:
except:
    pass
'''
"""
FRAGMENTS = [*LINES.splitlines(keepends=True), "\x00", "\r\n"]


@pytest.mark.parametrize("case", CASES, ids=[case["claim"] for case in CASES])
def test_corpus(case):
    """Each completion of the corpus gives the tests and the drops that its claim says."""
    split = split_tests(case["text"], cut=case.get("cut", False))
    entry = entry_point(split.tests)
    usable = usable_tests(split.tests, case["entry"])
    assert entry == case["entry"]
    assert list(usable.tests) == case["tests"]
    assert sorted(drop.reason for drop in (*split.drops, *usable.drops)) == case["drops"]


def test_the_entry_point_is_what_most_tests_call():
    """A helper called by some tests does not win over the function that all call."""
    assert entry_point(["assert g(f(1)) == 1", "assert f(2) == 1", "assert f(3) == 1"]) == "f"


def test_of_equally_frequent_names_the_first_is_the_entry_point():
    """The outer of two nested calls comes first."""
    assert entry_point(["assert f(g(1)) == 1", "assert f(g(2)) == 1"]) == "f"


@pytest.mark.parametrize(
    "tests", [[], ["assert len([1]) == 1"], ["import math\nassert math.sqrt(4) == 2"], ["assert 1"]]
)
def test_tests_that_call_nothing_of_their_own_have_no_entry_point(tests):
    """Python's own functions and imported ones are not what is to be written."""
    assert entry_point(tests) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("assert f(1) == 2", "assert f( 1 ) == 3"),
        ("assert f(1) == 2", "assert 3 == f(1)"),
        ("assert f(1)", "assert not f(1)"),
        ("assert f(1) is True", "assert f(1) == False"),
        ("x = 1\nassert f(x) == 2", "x = 1\nassert f(x) == 3, 'message'"),
    ],
)
def test_rival_tests_look_at_the_same_call(one, other):
    """Claims about one call are told by it, whichever outcome they claim."""
    assert subject(one, "f") == subject(other, "f")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("assert f(1) == 2", "assert f(2) == 2"),
        ("assert f(1) < 2", "assert f(1) < 3"),
        ("x = 1\nassert f(x) == 2", "x = 2\nassert f(x) == 3"),
    ],
)
def test_tests_of_different_calls_are_no_rivals(one, other):
    """Other arguments, other setup or another kind of comparison is another claim."""
    assert subject(one, "f") != subject(other, "f")


@pytest.mark.parametrize(
    "hostile", ["(" * 50_000, "f(" * 500 + ")" * 500, "-" * 20_000 + "1", "\ud800", "f(0x" + "f" * 20_000 + ")"]
)
def test_asserts_that_break_parsers_are_dropped_or_kept_whole(hostile):
    """Nesting, surrogates and numbers that Python cannot handle raise nothing."""
    split = split_tests(f"[TESTS]\nassert f(1) == 1\nassert {hostile} == 1\n[/TESTS]")
    assert "assert f(1) == 1" in usable_tests(split.tests, "f").tests


@settings(deadline=None)
@given(st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=8), max_size=14).map("".join), st.booleans())
def test_anything_is_tests_that_parse_or_counted_drops(text, cut):
    """Whatever the text, each test is Python that uses the function, and each drop has a known reason and a text."""
    split = split_tests(text, cut=cut)
    usable = usable_tests(split.tests, "f")
    assert all("f" in ast.dump(ast.parse(test)) for test in usable.tests)
    assert all(drop.reason in TEST_REASONS and drop.text for drop in (*split.drops, *usable.drops))
    assert len(usable.tests) + len(usable.drops) == len(split.tests)


@settings(deadline=None)
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=14).map("".join))
def test_separate_tests_stay_separate(text):
    """A usable test, read again, is one test: itself."""
    for test in usable_tests(split_tests(text).tests, "f").tests:
        assert split_tests(f"[TESTS]\n{test}\n[/TESTS]").tests == (test,)
