"""Decides from a solution x test matrix: which tests the candidates agree with, and which candidates pass.

A matrix has a row per candidate and a column per test, True where that candidate passes that test.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from datagen.extract.tests import subject
from datagen.models import Drop, Status

Matrix = Sequence[Sequence[bool]]

PASSES = frozenset({Status.PASS, Status.PASS_WEAK})


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
