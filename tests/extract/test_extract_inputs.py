"""What `inputs` promises: inputs of the same types near to those that tests give, always the same for a seed."""

from __future__ import annotations

import ast
from random import Random
from typing import Any

from hypothesis import given as cases
from hypothesis import strategies as st

from datagen.extract.inputs import given, variations

VALUES = st.recursive(
    st.booleans() | st.integers(-50, 50) | st.text("ab(1", max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.tuples(inner, inner),
    max_leaves=6,
)


def kinds(value: Any) -> type:
    return type(value)


def test_arguments_are_those_of_literal_calls() -> None:
    """Arguments are read where all are literals, through a checking function too, and each once."""
    tests = [
        "assert f([1, 2], 'a') == 1",
        "def check(candidate):\n    assert candidate([1, 2], 'a') == 1\n    assert candidate([], x) == 2\n\ncheck(f)\n",
        "assert f([3], k='b') == 1",
    ]
    assert given(tests, "f") == [([1, 2], "a")]


@cases(st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=4), st.integers(0, 100))
def test_variations_are_new_distinct_and_of_the_same_types(known: list[tuple[Any, Any]], seed: int) -> None:
    """Every variation is none of the known inputs, all are distinct, can be written down and read back, and each
    argument has the type of the known ones at its place.
    """
    found = variations(known, 10, Random(seed))
    texts = [repr(arguments) for arguments in found]
    assert len(set(texts)) == len(texts) <= 10 and not set(texts) & {repr(arguments) for arguments in known}
    assert [ast.literal_eval(text) for text in texts] == found
    for arguments in found:
        assert all(kinds(value) in {kinds(one[place]) for one in known} for place, value in enumerate(arguments))


def test_same_seed_same_inputs() -> None:
    """A seed fixes the variations; without a known input there are none."""
    known = [([1, 2, 3], "abc")]
    assert variations(known, 5, Random("s")) == variations(known, 5, Random("s"))
    assert variations([], 5, Random(0)) == []
