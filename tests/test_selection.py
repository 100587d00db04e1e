"""Consensus over a solution x test matrix."""

from __future__ import annotations

import math
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.extract.tests import subject
from datagen.models import Status
from datagen.selection import agreed, depends_on_chance, flaky_tests, passers, passing

TESTS = ["assert f(1) == 1", "assert f(1) == 2", "assert not f(1)", "assert f(2) == 2", "assert f(3) == 3"]


@pytest.mark.parametrize(("passed", "kept"), [(2, ()), (3, (0,))])
def test_a_test_needs_its_share_of_all_candidates(passed, kept):
    """Of ten candidates three are 0.3, two are not enough."""
    matrix = [[index < passed] for index in range(10)]
    assert agreed(TESTS[:1], matrix, "f", 0.3)[0] == kept


def test_of_rivals_with_equal_votes_none_stays():
    """Where the candidates are split in halves neither outcome is agreed."""
    matrix = [[True, False], [True, False], [False, True], [False, True]]
    kept, drops = agreed(TESTS[:2], matrix, "f", 0.3)
    assert (kept, [drop.reason for drop in drops]) == ((), ["outvoted", "outvoted"])


def test_tests_of_one_call_that_agree_are_no_rivals():
    """f(1) == 1 and f(1) == True pass the same candidates, so both stay."""
    assert agreed(["assert f(1) == 1", "assert f(1) == True"], [[True, True]] * 3, "f", 0.5)[0] == (0, 1)


def test_a_test_that_nobody_passes_goes_even_without_a_threshold():
    """A share of zero still needs one vote."""
    assert agreed(TESTS[:1], [[False]] * 3, "f", 0.0)[0] == ()


def test_passing_lists_candidates_by_index():
    """Only columns asked for count."""
    assert passing([[True, False], [True, True], [False, True]], [0]) == [0, 1]


PASS, FLAKY = Status.PASS, Status.FLAKY


@pytest.mark.parametrize(
    ("rows", "flaky"),
    [
        ([], []),
        ([[PASS, FLAKY, PASS]], []),
        ([[PASS, FLAKY, PASS], [PASS, FLAKY, FLAKY]], [1]),
        ([[PASS, FLAKY, PASS], [PASS, PASS, PASS]], []),
        ([[PASS, PASS, FLAKY]], [2]),
    ],
)
def test_a_test_is_flaky_if_every_program_lost_it(rows, flaky):
    """At least two programs, or one where the test's own text is left to chance, as the last one's here."""
    assert flaky_tests(["assert f(1)", "assert f(2)", "assert f(list({'a', 'b'}))"], rows) == flaky


@pytest.mark.parametrize(
    "test",
    [
        "assert f(list({'a', 'b'})) == ['a', 'b']",
        "assert ''.join(set(f('ab'))) == 'ab'",
        "assert str(set(f('ab'))) == \"{'a', 'b'}\"",
        "assert [*{c for c in f('ab')}] == ['a', 'b']",
        "assert [c for c in set(f('ab'))] == ['a', 'b']",
        "out = set(f('ab'))\nassert tuple(out) == ('a', 'b')",
        "assert set(f('ab')).pop() == 'a'",
        "got = []\nfor c in frozenset(f('ab')):\n    got.append(c)\nassert got == ['a', 'b']",
        "import numpy as np\nassert f(np.random.rand()) > 0.5",
    ],
)
def test_chance_is_seen_in_a_tests_text(test):
    """Drawing at random, and reading a set's order, in whatever way it is written."""
    assert depends_on_chance(test)


@pytest.mark.parametrize(
    "test",
    [
        "assert set(f('ab')) == {'a', 'b'}",
        "assert sorted(set(f('ab'))) == ['a', 'b']",
        "assert len({*f('ab')}) == 2",
        "assert list(f({'a', 'b'})) == ['a', 'b']",
        "assert 'a' in set(f('ab'))",
        "s = [2, 1]\nassert f(list(s)) == s.pop()",
        "assert f(",
    ],
)
def test_sets_are_no_chance_where_their_order_is_not_read(test):
    """Then a program that is not stable is to blame itself."""
    assert not depends_on_chance(test)


@settings(deadline=None)
@given(st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=1, max_size=8), st.floats(0, 1))
def test_what_stays_has_the_votes_and_contradicts_nothing(matrix, share):
    """Each test is kept or dropped once; kept ones have their share, and two about one call have the same passers."""
    kept, drops = agreed(TESTS, matrix, "f", share)
    assert sorted([*(TESTS[index] for index in kept), *(drop.text for drop in drops)]) == sorted(TESTS)
    assert all(len(passers(matrix, index)) >= math.floor(share * len(matrix)) for index in kept)
    for one, other in combinations(kept, 2):
        rivals = subject(TESTS[one], "f") == subject(TESTS[other], "f")
        assert not rivals or passers(matrix, one) == passers(matrix, other)
