"""Verdicts cannot be forged."""

from __future__ import annotations

import pytest
from forging_programs import FORGERIES, OPINIONS


@pytest.mark.parametrize("case", FORGERIES, ids=lambda case: case.name)
def test_forgery_does_not_pass(host, case):
    """A program that computes nothing does not pass, whatever it does to its own process, and gets a true verdict."""
    verdict = host.run(case.program, case.test)
    assert verdict.status is case.status, verdict


@pytest.mark.parametrize("case", OPINIONS, ids=lambda case: case.name)
def test_opinion_is_weak(host, case):
    """A test that rests on the program's own judgement passes weakly at most."""
    assert host.run(case.program, case.test).status is case.status
