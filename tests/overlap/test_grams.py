"""Rare 5-grams and whole short items: what counts as rare, what a share is, what is a sentence."""

from __future__ import annotations

import random
import re

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen.config import DecontaminateConfig
from datagen.overlap.background import background
from datagen.sets import BenchmarkItem
from datagen.stages.decontaminate import decontaminate, scan

CONFIG = DecontaminateConfig()
WORDS = st.lists(st.sampled_from(["a", "bb", "Ccc", "dddd4", "é", "internationalisation", "x" * 40]), max_size=25)


def rows(*questions: str) -> pl.DataFrame:
    return pl.DataFrame(
        {"id": [f"r{number}" for number in range(len(questions))], "question": list(questions)},
        schema={"id": pl.String, "question": pl.String},
    )


def item(question: str, name: str = "0", benchmark: str = "b") -> BenchmarkItem:
    return BenchmarkItem(benchmark, name, question)


def hits(questions: list[str], items: list[BenchmarkItem], method: str) -> pl.DataFrame:
    return scan(rows(*questions), items, CONFIG, seed=0).hits.filter(pl.col("method") == method)


def sentence(seed: int, count: int = 30) -> str:
    rng = random.Random(seed)
    return " ".join("".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(3, 9))) for _ in range(count))


def grams(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"[^\W_]+", text.lower())
    return {tuple(words[at : at + 5]) for at in range(len(words) - 4)}


@given(st.lists(WORDS, max_size=4), st.lists(WORDS, max_size=4))
def test_containment_equals_sets_of_words(ours: list[list[str]], theirs: list[list[str]]) -> None:
    """The score is the share of the item's distinct 5-grams that the row has, from 0.3 and two grams on."""
    items = [item(" ".join(words), str(number)) for number, words in enumerate(ours)]
    questions = [", ".join(words) for words in theirs]
    expected = {}
    for row, question in enumerate(questions):
        for one in items:
            own = grams(one.question)
            count = len(own & grams(question))
            if count >= 2 and count / len(own) >= 0.3:
                expected[f"r{row}", one.item] = pytest.approx(count / len(own))
    found = hits(questions, items, "containment").to_dicts()
    assert {(hit["source_id"], hit["item"]): hit["score"] for hit in found} == expected
    for hit in found:
        assert questions[int(hit["source_id"][1:])][hit["start"] : hit["end"]] == hit["span"]


def test_edited_copies_are_found() -> None:
    """A copy with one word in ten replaced has no window left, and nearly half of its grams."""
    words = sentence(1, 60).split()
    edited = " ".join("other" if number % 10 == 5 else word for number, word in enumerate(words))
    assert hits([edited], [item(" ".join(words))], "containment")["score"].to_list() == [pytest.approx(26 / 56)]


def test_contamination_that_is_repeated_is_not_common() -> None:
    """Fifty edited copies of one item in the training set are fifty hits: rows teach nothing about what is rare."""
    words = sentence(2, 40).split()
    copies = [" ".join([*words[:25], *sentence(seed, 15).split()]) for seed in range(100, 150)]
    selection, _, _ = decontaminate(rows(*copies, "clean"), [item(" ".join(words))], CONFIG, seed=0)
    assert len(selection.dropped) == 50


def test_what_many_items_share_is_not_rare() -> None:
    """A formula that eleven of a benchmark's items begin with flags no row that has it, too; one of ten does."""
    formula = sentence(3, 12)
    for count, expected in ((11, 0), (10, 10)):
        items = [item(f"{formula} {sentence(50 + number, 6)}", str(number)) for number in range(count)]
        found = scan(rows(f"{formula}, they said"), items, CONFIG, seed=0).hits
        assert len(found.filter(pl.col("method") == "containment")) == expected
        assert len(found.filter(pl.col("method") == "window")) == expected
        assert len(found.filter(pl.col("method") == "window-common")) == (count if count > 10 else 0)


def test_the_same_task_in_many_benchmarks_stays_rare() -> None:
    """An item that twenty benchmarks contain is found in the name of each: sharing counts within a benchmark."""
    items = [item(sentence(4), "0", f"b{number}") for number in range(20)]
    assert len(hits([sentence(4)], items, "containment")) == len(hits([sentence(4)], items, "window")) == 20


def test_boilerplate_never_flags() -> None:
    """No phrase of the background is flagged by an item that consists of such phrases and ends in a task of its own."""
    items = [item(f"{phrase}\n\n{sentence(500 + number)}", str(number)) for number, phrase in enumerate(background())]
    selection, _, _ = decontaminate(rows(*background()), items, CONFIG, seed=0)
    names = [drop["method"] for drop in selection.dropped.to_dicts()]
    assert [name for name in names if name != "openai-min20"] == []


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("Reverse every second word", True),
        ("1. Reverse every second word.", True),
        ("Task: **Reverse, every second word!** Go.", True),
        ("reverse EVERY second  word", True),
        ("Please reverse every second word", False),
        ("Reverse every second word of a text", False),
        ("Reverse every second wording", False),
    ],
)
def test_short_items_are_found_as_a_sentence(question: str, found: bool) -> None:
    """An item too short for windows is found where it stands by itself, whatever the layout, not as part of more."""
    assert len(hits([question], [item("Reverse every second word.")], "whole")) == found


@pytest.mark.parametrize(
    "text", ["list(t)", "sorted(set(x))", "", "...", "a b c d", "collections.defaultdictionary(list)"]
)
def test_names_and_scraps_never_flag(text: str) -> None:
    """Items of few letters or few words act on nothing, not even on a row that is the very same."""
    selection, _, report = decontaminate(rows(text, f"Return {text}."), [item(text)], CONFIG, seed=0)
    strong = report["methods"]["strong"]["b"]
    assert (strong["rows_hit"], strong["too_short"]) == (0, 1)
    assert len(selection.kept) == 2 or len(text) > 30


@pytest.mark.parametrize(("length", "methods"), [(0, set()), (49, {"whole"}), (50, {"window"}), (51, {"window"})])
def test_lengths_around_the_window(length: int, methods: set[str]) -> None:
    """Nothing finds an empty item; one of 49 letters is found as a whole, from 50 on by windows; coverage says so."""
    text = " ".join("abcdefg"[: 4 + number % 3] + str(number) for number in range(20))
    letters = [place for place, letter in enumerate(text) if letter.isalnum()]
    question = text[: letters[length - 1] + 1] if length else ""
    found = scan(rows(question), [item(question)], CONFIG, seed=0)
    assert set(found.hits["method"]) & {"whole", "window"} == methods
    assert {name for name in ("whole", "window") if found.coverage[name][0]} == methods
    assert found.coverage["characters"].to_list() == [length]
