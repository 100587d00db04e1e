"""What `dedup` promises: nothing unlike is dropped, nothing disappears, and the order of the rows does not matter."""

from __future__ import annotations

import itertools
import os
import random
import subprocess
import sys
from collections.abc import Sequence

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.config import DedupConfig
from datagen.errors import InputError, UsageError
from datagen.models import REASONS
from datagen.sets import Selection
from datagen.similarity.bands import RECALL, bands_for, recall
from datagen.similarity.normalise import tokens
from datagen.similarity.verify import shingles
from datagen.stages.dedup import dedup

CONFIG = DedupConfig()


def frame(texts: Sequence[str | None], *, rounds: Sequence[int] | None = None) -> pl.DataFrame:
    """Questions with ids q000, q001 ... in this order."""
    return pl.DataFrame(
        {
            "id": [f"q{index:03}" for index in range(len(texts))],
            "question": pl.Series(texts, dtype=pl.String),
            "round": pl.Series(rounds or [0] * len(texts), dtype=pl.Int64),
            "prompt_index": pl.Series([0] * len(texts), dtype=pl.Int64),
            "position": pl.Series(range(len(texts)), dtype=pl.Int64),
        }
    )


def words(count: int, start: int = 0) -> str:
    return " ".join(f"w{index}" for index in range(start, start + count))


def corpus(seed: int, size: int = 150, vocabulary: int = 400) -> list[str]:
    """Random texts of which a third are copies of earlier ones with one to four words changed."""
    rng = random.Random(seed)
    texts: list[str] = []
    for _ in range(size):
        changed = rng.choice(texts).split() if texts and rng.random() < 0.35 else []
        for _ in range(rng.randint(1, 4) if changed else 0):
            changed[rng.randrange(len(changed))] = f"w{rng.randrange(vocabulary)}"
        texts.append(" ".join(changed or (f"w{rng.randrange(vocabulary)}" for _ in range(rng.randint(20, 60)))))
    return texts


def reference_set(text: str, size: int = 3) -> set[tuple[str, ...]]:
    found = tokens(text)
    return {tuple(found[i : i + size]) for i in range(max(1, len(found) - size + 1))}


def similarity(a: str, b: str) -> float:
    """Jaccard of two raw texts by the definition."""
    left, right = reference_set(a), reference_set(b)
    return len(left & right) / len(left | right)


def similar_pairs(texts: Sequence[str], threshold: float = 0.7) -> set[tuple[str, str]]:
    """Every pair at or over the threshold, by comparing all."""
    sets = {f"q{row:03}": reference_set(text) for row, text in enumerate(texts)}
    pairs = itertools.combinations(sets, 2)
    return {(a, b) for a, b in pairs if len(sets[a] & sets[b]) / len(sets[a] | sets[b]) >= threshold}


def keep_first(ids: Sequence[str], pairs: set[tuple[str, str]]) -> set[str]:
    """The reference: a row is kept unless it is similar to a kept row before it."""
    survivors: list[str] = []
    for row in ids:
        if not any((other, row) in pairs for other in survivors):
            survivors.append(row)
    return set(survivors)


def kept(selection: Selection) -> list[str]:
    return selection.kept["id"].to_list()


def assert_explained(texts: dict[str, str], selection: Selection, threshold: float = 0.7) -> None:
    """Every drop names a kept row, and the similarity it states is the true one and reaches the threshold."""
    survivors = set(kept(selection))
    for drop in selection.dropped.filter(pl.col("reason") != "empty").to_dicts():
        assert drop["kept_id"] in survivors
        assert drop["jaccard"] == pytest.approx(similarity(texts[drop["source_id"]], texts[drop["kept_id"]]))
        assert drop["jaccard"] >= threshold


@pytest.mark.parametrize(
    "variant",
    [
        "write a function is_prime(n) that returns true if n <= 2.",
        "  Write a\tfunction is_prime(n)\n\nthat returns True   if n<=2  ",
        "**Write** a *function* `is_prime(n)` that returns __True__ if n <= 2!",
        "# Write a function is_prime(n)\r\nthat returns True\r\nif n <= 2",
        "Write a function is_prime(n)\r\n- that returns True\r\n- if n <= 2",
        "> Write a function is_prime(n) that returns ***True*** if n <= 2",
        "1. Write a function\n```python\nis_prime(n)\n```\nthat returns True if n <= 2",
        "Ｗｒｉｔｅ ａ function is_prime（n） that returns True if n ≤ 2",
        "Write a [function](https://example.org/f_(n)) is_prime(n) that returns True if n <= 2".replace("f_(n)", "f"),
        "“Write” a func\u00adtion is\u200b_prime(n) — that returns True, if n <= 2…",
        "Write a function is_prime(n) that returns True if n <= 2 😀",
    ],
)
def test_variants_of_layout_collapse(variant: str) -> None:
    """Case, white space, markdown, NFKC forms, line ends, typography and emoji do not make a question another one."""
    selection = dedup(frame(["Write a function is_prime(n) that returns True if n <= 2.", variant]), CONFIG)
    assert selection.dropped["reason"].to_list() == ["exact-duplicate"]


@pytest.mark.parametrize(
    "texts",
    [
        ("a sum in C", "a sum in C++", "a sum in C#", "a sum in F#"),
        ("test a < b", "test a <= b", "test a > b", "test a >= b", "test a == b", "test a != b", "test a = b"),
        ("give a * b", "give a ** b", "give a / b", "give a // b", "give a % b", "give a + b", "give a - b"),
        ("give a & b", "give a && b", "give a | b", "give a || b", "give a ^ b", "give a << b", "give a >> b"),
        ("take 5 away", "take -5 away", "take 3.5 away", "take 35 away"),
        ("x - y", "x y", "x + y"),
        ("return a_b", "return a b", "return ab"),
        ("कि का", "का कि"),
    ],
)
def test_languages_and_operators_stay_apart(texts: tuple[str, ...]) -> None:
    """Short questions that differ only in an operator, a sign or C, C++, C#, F# are all kept."""
    assert len(dedup(frame(texts), CONFIG).kept) == len(texts)


def test_emphasis_goes_but_products_and_arguments_stay() -> None:
    """Asterisks are removed where they mark text, not where they multiply or unpack."""
    assert tokens("**a *b* c** and x*y, f(*args, **kwargs)") == [*"abc", "and", *"x*yf*", "args", "**", "kwargs"]


def test_chinese_characters_are_words() -> None:
    """Text without spaces is compared character by character, so that small edits of it are found."""
    texts = ["写一个函数，返回列表中所有偶数的平方之和并打印。", "写一个函数返回列表中所有偶数的平方之和并打印出"]
    assert dedup(frame(texts), CONFIG).dropped["reason"].to_list() == ["near-duplicate"]


def test_equals_brute_force_within_recall() -> None:
    """Over five corpora, at most 1 % of the truly similar pairs are both kept, and otherwise the same rows are kept."""
    true = leaked = 0
    for seed in range(5):
        texts = corpus(seed)
        pairs = similar_pairs(texts)
        survivors = set(kept(dedup(frame(texts), CONFIG)))
        both = {pair for pair in pairs if survivors.issuperset(pair)}
        assert both or survivors == keep_first(frame(texts)["id"].to_list(), pairs)
        true, leaked = true + len(pairs), leaked + len(both)
    assert true > 100
    assert leaked <= 0.01 * true


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(alphabet="ab \n*<=+é語😀", max_size=12), max_size=12), st.sampled_from([0.3, 0.7, 1.0]))
def test_every_drop_is_true_and_no_row_is_lost(texts: list[str], threshold: float) -> None:
    """No false removal, no orphan: each drop's kept row is kept and that similar; in == kept + dropped."""
    selection = dedup(frame(texts), DedupConfig(threshold=threshold))
    assert sorted(kept(selection) + selection.dropped["source_id"].to_list()) == frame(texts)["id"].to_list()
    assert_explained({f"q{row:03}": text for row, text in enumerate(texts)}, selection, threshold)
    empty = [f"q{row:03}" for row, text in enumerate(texts) if not tokens(text)]
    assert selection.dropped.filter(pl.col("reason") == "empty")["source_id"].sort().to_list() == empty


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(60)), st.integers(0, 3))
def test_order_of_rows_does_not_matter(order: list[int], seed: int) -> None:
    """Any permutation of the input gives the same kept and dropped rows, in the same order."""
    questions = frame(corpus(seed, size=60))
    first, second = dedup(questions, CONFIG), dedup(questions[order], CONFIG)
    assert first.kept.equals(second.kept)
    assert first.dropped.equals(second.dropped)


def test_hash_randomisation_does_not_matter() -> None:
    """Two processes with different hash seeds keep the same rows."""
    program = (
        "import polars as pl\nfrom datagen.config import DedupConfig\nfrom datagen.stages.dedup import dedup\n"
        "texts = [' '.join(f'w{(i * j) % 17}' for j in range(9 + i % 3)) for i in range(60)]\n"
        "frame = pl.DataFrame({'id': [str(i) for i in range(60)], 'question': texts})\n"
        "print(dedup(frame, DedupConfig(), priority=('id',)).dropped.write_json())\n"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2")
    ]  # fmt: skip
    assert runs[0] == runs[1]
    assert "near-duplicate" in runs[0]


def test_a_chain_keeps_both_ends() -> None:
    """Of A~B~C with A and C unlike, B goes for A and C stays: a dropped row drops nothing."""
    texts = [words(30), words(30, 4), words(30, 8)]
    selection = dedup(frame(texts), CONFIG)
    assert kept(selection) == ["q000", "q002"]
    assert selection.dropped["kept_id"].to_list() == ["q000"]


def test_a_copy_of_a_dropped_row_names_the_kept_one() -> None:
    """The equal of a near-duplicate is itself near the kept row and says so."""
    selection = dedup(frame([words(30), words(30, 2), words(30, 2)]), CONFIG)
    assert selection.dropped.select("kept_id", "reason").rows() == [("q000", "near-duplicate")] * 2


def test_the_most_similar_kept_row_is_named() -> None:
    """Where several kept rows are near, the drop names the nearest."""
    texts = [words(40), words(40, 7), words(40, 6)]
    selection = dedup(frame(texts), CONFIG)
    assert kept(selection) == ["q000", "q001"]
    assert selection.dropped["kept_id"].to_list() == ["q001"]


def test_exactly_the_threshold_is_a_duplicate() -> None:
    """7 common shingles of 10 reach 0.7; the same pair stays at a threshold a hair above."""
    texts = [words(9), words(12)]
    assert similarity(*texts) == 0.7
    assert dedup(frame(texts), CONFIG).dropped["jaccard"].to_list() == [0.7]
    assert dedup(frame(texts), DedupConfig(threshold=0.7000001)).dropped.is_empty()


def test_what_an_earlier_round_kept_stays_kept() -> None:
    """A later round's equal or near question goes, whatever its id."""
    selection = dedup(frame([words(30), words(30), words(30, 2)], rounds=[2, 1, 2]), CONFIG)
    assert kept(selection) == ["q001"]


def test_rounds_one_by_one_equal_all_at_once() -> None:
    """Dedup of (what round 0 kept) + round 1 keeps what dedup of both rounds together keeps."""
    questions = frame(corpus(7, size=120), rounds=[0] * 60 + [1] * 60)
    first = dedup(questions.filter(pl.col("round") == 0), CONFIG).kept
    stepwise = dedup(pl.concat([first, questions.filter(pl.col("round") == 1)]), CONFIG)
    assert kept(stepwise) == kept(dedup(questions, CONFIG))


def test_rows_without_content_are_empty() -> None:
    """Null, blank, punctuation-only and emoji-only texts are dropped as empty and name no kept row."""
    selection = dedup(frame([None, "", " \n", "...!?", "😀🎉", "---", "one"]), CONFIG)
    assert kept(selection) == ["q006"]
    assert set(selection.dropped.select("reason", "kept_id", "jaccard").rows()) == {("empty", None, None)}
    assert selection.dropped["text"].to_list() == ["", "", " \n", "...!?", "😀🎉", "---"]


def test_one_and_two_words_are_compared_whole() -> None:
    """A text shorter than a shingle only equals itself."""
    selection = dedup(frame(["sort", "Sort!", "sort list", "list sort", "sort list fast"]), CONFIG)
    assert kept(selection) == ["q000", "q002", "q003", "q004"]


def test_a_very_long_text_is_like_any_other() -> None:
    """100,000 characters, edited in one place, are a near-duplicate."""
    long = words(18_000)
    assert len(long) > 100_000
    assert dedup(frame([long, long.replace("w9000 ", "x ")]), CONFIG).dropped["reason"].to_list() == ["near-duplicate"]


def test_many_equal_rows_collapse_to_one() -> None:
    """20,000 identical rows leave one, without comparing them pairwise."""
    selection = dedup(frame(["Write a function that adds two numbers."] * 20_000), CONFIG)
    assert len(selection.kept) == 1 and len(selection.dropped) == 19_999


@pytest.mark.parametrize("opening", ["*a ", "[a](", "__a ", "`a ", "- - ", "> > ", "~~~ "])
def test_unclosed_markup_takes_linear_time(opening: str) -> None:
    """Markup that is opened 100,000 times and never closed does not hang (a quadratic pattern would take minutes)."""
    assert len(tokens(opening * 100_000)) <= len(opening) * 100_000


@given(st.permutations(range(6)), st.sampled_from([("rank",), ("rank", "rank"), ("rank", "id"), ()]))
@settings(deadline=None)
def test_ties_in_the_priority_are_broken_by_the_other_columns(order, priority):
    """Whether the priority ranks all rows, some or none, the rows' order changes nothing."""
    rows = pl.DataFrame({"id": [*"abcdef"], "question": [words(30, start) for start in (0, 1, 2, 0, 9, 9)],
                         "rank": [1, 1, None, 0, 2, 2]})  # fmt: skip
    first, second = (dedup(frame_, CONFIG, priority=priority) for frame_ in (rows, rows[order]))
    assert first.kept.equals(second.kept)
    assert first.dropped.equals(second.dropped)


def test_ids_that_repeat_lose_no_row() -> None:
    """Rows that share an id are told apart by their text."""
    questions = frame(["first thing", "second thing", "first thing"]).with_columns(id=pl.lit("same"))
    selection = dedup(questions, CONFIG)
    assert selection.kept["question"].to_list() == ["first thing", "second thing"]
    assert selection.dropped["reason"].to_list() == ["exact-duplicate"]


def test_an_empty_set_stays_empty() -> None:
    """No rows in, no rows out, with the columns of any other answer."""
    selection = dedup(frame([]), CONFIG)
    assert selection.kept.is_empty() and selection.dropped.is_empty()
    assert selection.dropped.schema == dedup(frame(["a", "a"]), CONFIG).dropped.schema


def test_any_column_and_priority() -> None:
    """Any text column can be compared and any columns can rank the rows."""
    rows = pl.DataFrame({"id": ["a", "b"], "prompt": ["Say hi", "say hi!"], "rank": [2, 1]})
    assert dedup(rows, CONFIG, column="prompt", priority=("rank",)).kept["id"].to_list() == ["b"]


def test_a_missing_column_is_named() -> None:
    """An absent column is an InputError that lists those present."""
    with pytest.raises(InputError, match=r"no column prompt.*Columns here: id, question"):
        dedup(frame(["a"]), CONFIG, column="prompt")


@pytest.mark.parametrize(
    "config", [DedupConfig(threshold=0), DedupConfig(threshold=1.1), DedupConfig(shingle=0), DedupConfig(num_perm=3)]
)
def test_settings_that_cannot_work_are_refused(config: DedupConfig) -> None:
    """A threshold outside ]0, 1], shingles of no words and too few permutations are a UsageError."""
    with pytest.raises(UsageError):
        dedup(frame(["a b c", "d e f"]), config)


@pytest.mark.parametrize("num_perm", [64, 128, 130, 256])
@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7, 0.9, 1.0])
def test_bands_reach_the_recall(threshold: float, num_perm: int) -> None:
    """The bands fit the permutations and find at least 99 % of pairs at the threshold."""
    bands, rows = bands_for(threshold, num_perm)
    assert 2 <= bands <= num_perm // rows
    assert recall(threshold, bands, rows) >= RECALL


def test_the_similarity_is_the_definition() -> None:
    """The similarity of two normalised texts, by their `shingles`, is |A & B| / |A | B|."""
    a, b = shingles("a b c d e", 3), shingles("b c d e f", 3)
    assert len(a & b) / len(a | b) == 2 / 4


def test_the_reasons_are_documented() -> None:
    """Every reason that dedup gives is a slug of REASONS."""
    reasons = dedup(frame([None, words(30), words(30), words(30, 1)]), CONFIG).dropped["reason"]
    assert set(reasons) == {"empty", "exact-duplicate", "near-duplicate"} <= set(REASONS)
