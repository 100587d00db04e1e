"""Questions of the demo problems, and the way back from a question to its task."""

from __future__ import annotations

import re
from itertools import product
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen.demo.lessons import popular
from datagen.demo.operations import OPERATIONS
from datagen.demo.phrasing import ARGUMENTS, INPUTS, JOINS, PATTERNS, TOPICS, match, phrased, question, third_person
from datagen.demo.problems import heldout, singles, tasks

EVERY = tasks() + heldout()


def test_every_single_operation_is_found_again_in_every_wording():
    """match inverts all patterns, phrases and inputs of every operation asked alone."""
    for task in singles():
        words = product(PATTERNS, task.steps[0].phrases, INPUTS[task.takes])
        asked = [
            phrased(task, pattern=pattern, phrases=(phrase,), join="", given=source, argument=ARGUMENTS[task.takes][0])
            for pattern, phrase, source in words
        ]
        assert all(match(text) == task for text in asked), task.key


def test_every_task_is_found_again_in_every_pattern_and_join():
    """match inverts the questions of all tasks, whichever pattern and join they use."""
    rng = Random(0)
    for task, pattern in product(EVERY, PATTERNS):
        phrases = tuple(rng.choice(step.phrases) for step in task.steps)
        text = phrased(
            task, pattern=pattern, phrases=phrases, join=rng.choice(JOINS), given=INPUTS[task.takes][0], argument="x"
        )
        assert match(text) == task, text


@given(st.sampled_from(EVERY), st.integers(0, 10**9))
def test_any_question_leads_back_to_its_task(task, seed):
    """match(question(task)) is the task, for any random choice of words."""
    assert match(question(task, Random(seed))) == task


@given(st.sampled_from(EVERY), st.integers(0, 10**9))
def test_case_and_white_space_do_not_matter(task, seed):
    """A question in capitals with line breaks for spaces is still found."""
    text = question(task, Random(seed))
    assert match(f"  {text.upper()} ") == match(text.replace(" ", "\n  ")) == task


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Write a function that adds two numbers.",
        "Write a function `total(words)` that takes a list of words and adds up the numbers.",
        "Write a function `f(numbers)` that takes a list of numbers and adds up the number.",
        "Write a function `f(word)` that takes a word and reverses the word, then adds up the numbers.",
    ],
)
def test_other_questions_lead_to_no_task(text):
    """Free text, types that do not meet and phrases that do not exist are no task."""
    assert match(text) is None


def test_the_functions_name_is_not_looked_at():
    """A question is matched by what it describes, not by what it calls the function."""
    found = match("Write a function `largest(numbers)` that takes a list of numbers and adds up the numbers.")
    assert found is not None and found.name == "total"


def test_no_phrase_serves_two_operations():
    """Among the operations that take one type, each phrase (ignoring case) belongs to one."""
    phrases = [(step.takes, phrase.lower()) for step in OPERATIONS for phrase in step.phrases]
    assert len(set(phrases)) == len(phrases)


def test_no_phrase_holds_a_join():
    """Two steps can be told apart because no phrase contains the words that join them."""
    assert not any(join in phrase for step in OPERATIONS for phrase in step.phrases for join in JOINS)


@pytest.mark.parametrize(
    ("imperative", "third"), [("add 1", "adds 1"), ("multiply it", "multiplies it"), ("return it", "returns it")]
)
def test_verbs_are_conjugated(imperative, third):
    """The first word of a phrase takes the ending of the third person."""
    assert third_person(imperative) == third


def test_different_tasks_rarely_count_as_near_duplicates():
    """Of 600 questions, at most 1 % have word-3-gram Jaccard >= 0.7 with a question of another task."""
    rng = Random(7)
    asked = [(task, grams(question(task, rng))) for task in (popular(rng.choice("LLLLWWSND"), rng) for _ in range(600))]
    merged = sum(
        any(one != other and len(a & b) >= 0.7 * len(a | b) for other, b in asked[:number])
        for number, (one, a) in enumerate(asked)
    )
    assert merged <= 6


def grams(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[start : start + 3]) for start in range(len(words) - 2)}


def test_the_topics_file_names_what_the_model_was_trained_on():
    """data/demo-topics.toml and the generator agree on the topics."""
    import tomllib

    from datagen.resources import resource

    topics = tomllib.loads(resource("data/demo-topics.toml").read_text(encoding="utf-8"))["topic"]
    assert {topic["name"] for topic in topics} == set(TOPICS.values())
