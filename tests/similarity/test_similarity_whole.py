"""Dedup as a whole: no false removal, no orphan, few leaked, the same whatever the route."""

from __future__ import annotations

import random

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import VOCABULARY, corpus, sentence, truth

from datagen.config import DedupConfig
from datagen.similarity.backend import choose
from datagen.similarity.bands import CAP, recall
from datagen.similarity.flips import turned
from datagen.similarity.matching import Found, Plan, find
from datagen.similarity.workspace import Workspace
from datagen.stages.dedup import MANY, dedup, plan_of

PLAN = Plan(0.7, 3, 130, 26, 5)
BACKENDS = {name: choose(name, 0) for name in ("numpy", "numba")}
both = pytest.mark.parametrize("backend", BACKENDS.values(), ids=BACKENDS)


def run(
    texts, plan: Plan = PLAN, *, backend=BACKENDS["numba"], budget: int = 1 << 30, chunks: int = 1, before=None
) -> Found:
    """What becomes of the texts, in their order."""
    columns = [pl.Series("text", part, pl.String) for part in np.array_split(np.array(texts, object), chunks)]
    with Workspace(budget) as room:
        return find(columns, plan, backend, room, before)


def kept_of(found: Found) -> list[int]:
    return np.flatnonzero(found.kept == np.arange(len(found.kept))).tolist()


@both
@pytest.mark.parametrize("seed", range(5))
def test_every_removal_is_true_and_names_a_kept_row(backend, seed):
    """Of a planted corpus nothing goes that reaches no kept row (false and orphan are 0), with its exact similarity."""
    texts = corpus(seed)
    similar, found = truth(texts, PLAN.threshold), run(texts, backend=backend)
    kept = set(kept_of(found))
    for row, target in enumerate(found.kept.tolist()):
        if row not in kept:
            assert target in kept
            assert found.jaccard[row] == similar[target, row]


@pytest.mark.parametrize("seed", range(5))
def test_leaks_stay_within_the_bands_theory(seed):
    """Of the true pairs, both are kept of no more than the bands are expected to miss (three standard errors)."""
    texts = corpus(seed, 800)
    similar, kept = truth(texts, PLAN.threshold), set(kept_of(run(texts)))
    leaked = sum(left in kept and right in kept for left, right in similar)
    chances = [1 - recall(similarity, PLAN.bands, PLAN.rows) for similarity in similar.values()]
    assert leaked <= sum(chances) + 3 * sum(chance * (1 - chance) for chance in chances) ** 0.5 + 1


def test_a_pair_at_exactly_the_threshold_counts():
    """7 shingles of 10 in common is 0.7: a duplicate at 0.7, none at 0.71."""
    a, b = " ".join("abcdefghijk"), " ".join("abcdefghi") + " x"
    assert list(truth([a, b], 0.0).values()) == [0.7]
    assert kept_of(run([a, b])) == [0]
    assert kept_of(run([a, b], Plan(0.71, 3, 130, 26, 5))) == [0, 1]


@given(seed=st.integers(0, 10**6), chunks=st.integers(1, 7), budget=st.sampled_from([0, 5000, 1 << 30]))
@settings(deadline=None, max_examples=15)
def test_the_route_does_not_matter(seed, chunks, budget):
    """Backend, chunks and a state that lies on disk change nothing of the result."""
    texts = corpus(seed, 120)
    whole = run(texts)
    for backend in BACKENDS.values():
        other = run(texts, backend=backend, budget=budget, chunks=chunks)
        assert other.kept.tolist() == whole.kept.tolist()
        assert other.jaccard.tolist() == whole.jaccard.tolist()


@given(seed=st.integers(0, 10**6), cut=st.floats(0, 1))
@settings(deadline=None, max_examples=15)
def test_a_then_b_is_a_and_b(seed, cut):
    """What is kept of A, and then of B against it, is what is kept of A and B together where A comes first."""
    texts = corpus(seed, 120)
    at = int(cut * len(texts))
    first = run(texts[:at])
    second = run(texts[at:], before=first.state)
    stayed = np.flatnonzero(second.kept == np.arange(len(texts) - at) + len(first.state)) + at
    assert [*kept_of(first), *stayed.tolist()] == kept_of(run(texts))


def test_fifty_thousand_equal_rows_are_no_pairs():
    """Equal rows are one row to the bands: nothing is compared."""
    found = run(["the same question again and again"] * 50_000)
    assert kept_of(found) == [0]
    assert found.counts.proposed == 0


def test_a_bucket_of_a_hundred_thousand_rows_stays_near_linear():
    """Rows that share all but one word of a long template cost each row few comparisons, not one with every other."""
    template = " ".join(sentence(random.Random(1), 24))
    texts = [f"{template} number{row}" for row in range(100_000)]
    found = run(texts)
    assert kept_of(found) == [0]
    assert found.counts.capped_buckets > 0
    assert found.counts.verified <= 40 * len(texts)
    assert found.counts.uncompared == 0


def test_what_a_capped_bucket_gives_up_is_counted():
    """Unlike rows that share a bucket beyond its leaders are counted as uncompared pairs, none in silence."""
    draw = random.Random(3)
    shared = " ".join(sentence(draw, 12))
    texts = [f"{shared} {' '.join(sentence(draw, 25))}" for _ in range(60 * CAP)]
    found = run(texts, Plan(0.7, 3, 16, 8, 2))
    assert len(kept_of(found)) == len(texts)
    assert (found.counts.uncompared > 0) == (found.counts.capped_buckets > 0)


# What is found of edits


def edits(words: list[str], draw: random.Random) -> list[list[str]]:
    """Light edits: a word replaced, one cut, one added, two neighbours swapped, a sentence moved to the end."""
    place = draw.randrange(5, len(words) - 5)
    return [
        [*words[:place], draw.choice(VOCABULARY), *words[place + 1 :]],
        [*words[:place], *words[place + 1 :]],
        [*words[:place], draw.choice(VOCABULARY), *words[place:]],
        [*words[:place], words[place + 1], words[place], *words[place + 2 :]],
        [*words[len(words) // 2 :], *words[: len(words) // 2]],
    ]


def test_light_edits_go_and_other_tasks_of_one_template_stay():
    """Of edited copies at least 98 % go; of other tasks in the same template's words at most 10 %."""
    draw = random.Random(0)
    originals = [sentence(draw, 90) for _ in range(100)]
    copies = [" ".join(edit) for words in originals for edit in edits(words, draw)]
    found = run([*map(" ".join, originals), *copies])
    assert sum(kept < len(originals) for kept in found.kept[len(originals) :]) >= 0.98 * len(copies)
    frame = sentence(draw, 14)
    tasks = [" ".join([*frame[:7], *sentence(draw, 20), *frame[7:]]) for _ in range(300)]
    assert len(kept_of(run(tasks))) >= 0.9 * len(tasks)


# The guard


LONG = "write a function that takes a list of numbers and returns the {} of them " + " ".join(VOCABULARY[:40])
PAIRS = [("minimum", "maximum"), ("first", "last"), ("sum", "product"), ("3", "5")]


def frame_of(texts) -> pl.DataFrame:
    return pl.DataFrame({"id": [f"q{row}" for row in range(len(texts))], "question": texts})


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_turned_tasks_stay_under_the_guard(one, other):
    """Two texts that one word turns into different tasks are duplicates by default, and both kept with flips="keep"."""
    rows = frame_of([LONG.format(one), LONG.format(other)])
    assert len(dedup(rows, DedupConfig(), priority=("id",)).kept) == 1
    assert len(dedup(rows, DedupConfig(flips="keep"), priority=("id",)).kept) == 2


def test_the_guard_keeps_no_rewording():
    """A word that turns nothing around is as good a duplicate with the guard as without."""
    rows = frame_of([LONG.format("minimum"), LONG.format("minimum") + " please", LONG.format("rest")])
    assert len(dedup(rows, DedupConfig(flips="keep"), priority=("id",)).kept) == 1


def test_a_cap_keeps_as_many_turned_tasks_as_it_says():
    """flips="cap": of three tasks that are turns of one, flip_cap stay beside it."""
    rows = frame_of([LONG.format(word) for word in ("minimum", "maximum", "minimum or maximum"[:7], "MAXIMUM")])
    kept = dedup(rows, DedupConfig(flips="cap", flip_cap=1), priority=("id",)).kept
    assert kept["id"].to_list() == ["q0", "q1"]


def test_a_cap_holds_in_a_large_bucket():
    """Flips that stay beside their row in a bucket over CAP are found once, and the rest goes."""
    shared = " ".join(sentence(random.Random(1), 40))
    turned_rows = [f"{shared} {word} {number}x" for number in range(2) for word in ("minimum", "maximum")]
    texts = turned_rows + [f"{shared} item{number}" for number in range(2 * CAP)]
    found = run(texts, Plan(0.7, 3, 130, 26, 5, flips="cap", flip_cap=1))
    assert found.counts.capped_buckets > 0
    assert kept_of(found) == [0, 1]


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ("sort in ascending order", "sort in descending order", True),
        ("numbers that are even", "numbers that are not even", True),
        ("in python", "in javascript", True),
        ("return the sum", "return the sum", False),
        ("return the sum", "return the total", False),
        ("a b c d", "a b c d not e", False),
        ("min of the first", "max of the last", True),
    ],
)
def test_what_turns_a_task_around(left, right, expected):
    """Opposite words, other languages, numbers and negations do; synonyms and additions do not."""
    assert turned(left.split(), right.split()) is expected


# Settings


def test_only_equal_texts_go_when_asked():
    """exact=True drops what is equal after normalisation and nothing that is merely alike, as the paper did."""
    rows = frame_of([LONG.format("sum"), LONG.format("SUM!"), LONG.format("sum") + " please"])
    selection = dedup(rows, DedupConfig(exact=True), priority=("id",))
    assert selection.kept["id"].to_list() == ["q0", "q2"]
    assert selection.dropped["reason"].to_list() == ["exact-duplicate"]


def test_very_many_rows_get_longer_bands():
    """From ten million rows on, the bands have six rows: fewer needless pairs at the same recall."""
    small, large = plan_of(DedupConfig(), 1000), plan_of(DedupConfig(), MANY)
    assert (small.bands, small.rows) == (26, 5)
    assert (large.bands, large.rows) == (42, 6)
    assert recall(0.7, large.bands, large.rows) >= 0.99
