"""The shipped demo model: it loads, it stops, it is small, and it scores what its card says."""

from __future__ import annotations

import json

import pytest

from datagen.demo.card import AGAIN
from datagen.demo.local import generator, runner
from datagen.demo.score import measure, outside
from datagen.demo.suite import text
from datagen.resources import resource

pytest.importorskip("transformers", reason="needs the model's libraries")
FOLDER = resource("data/demo-model")


@pytest.mark.slow
def test_the_scores_are_those_of_the_card():
    """Measured again on fewer samples, every score falls inside its interval in scores.json."""
    entries = json.loads((FOLDER / "scores.json").read_text(encoding="utf-8"))
    intervals = {name: (entry["low"], entry["high"]) for name, entry in entries.items()}
    scores = measure(generator(FOLDER, seed=1), runner(), AGAIN, seed=1)
    assert scores.keys() == intervals.keys()
    assert not list(outside(scores, intervals))


def test_the_model_is_small():
    """The whole folder stays under 12 MB."""
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 12e6


def test_the_card_states_the_scores():
    """README.md shows the share of every entry of scores.json."""
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    entries = json.loads((FOLDER / "scores.json").read_text(encoding="utf-8"))
    assert all(f"| {name} | {100 * entry['value']:.1f} % |" in card for name, entry in entries.items())


def test_the_heldout_suite_is_up_to_date():
    """data/suites/demo-heldout.jsonl is what the generator writes."""
    assert resource("data/suites/demo-heldout.jsonl").read_text(encoding="utf-8") == text()


def test_every_heldout_problem_is_solved_by_its_canonical_solution():
    """prompt + canonical_solution passes check, for all rows."""
    for row in map(json.loads, text().splitlines()):
        scope: dict[str, object] = {}
        exec(row["prompt"] + row["canonical_solution"] + row["test"], scope)
        scope["check"](scope[row["entry_point"]])
