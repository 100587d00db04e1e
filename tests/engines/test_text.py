"""Plain prompts, reasoning set apart, greedy copies."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen.engines.text import distinct, make_sample, plain_text, split_reasoning
from datagen.models import Message, Sample, Sampling


def test_plain_text_joins_contents_by_blank_lines():
    """Roles are left out."""
    assert plain_text([Message("system", "a"), Message("user", "b\nc")]) == "a\n\nb\nc"


@pytest.mark.parametrize(
    ("text", "answer", "reasoning"),
    [
        ("<think>why</think>42", "42", "why"),
        ("<think>\nwhy\n</think>\n\n42\n", "42\n", "why"),
        ("<think></think>\n\n42", "42", ""),
        ("first <think>why</think>then", "first then", "why"),
        ("<think>a</think>x<think>b</think>y", "xy", "a\n\nb"),
        ("why</think>42", "42", "why"),
        ("<think>cut in the mid", "", "cut in the mid"),
        ("x <think>cut", "x ", "cut"),
        ("if a < b: think()", "if a < b: think()", ""),
    ],
)
def test_thoughts_are_taken_out(text: str, answer: str, reasoning: str):
    """What stands between the tags is reasoning, to the end of the text where it is not closed."""
    assert split_reasoning(text) == (answer, reasoning)


def test_a_prompt_may_have_opened_the_thought():
    """Templates of some reasoning models end in <think>: the text then begins inside it."""
    assert split_reasoning("never closed", opened=True) == ("", "never closed")


@given(st.text().filter(lambda text: "think>" not in text))
def test_a_text_without_tags_is_left_alone(text: str):
    """Not one character of it changes."""
    assert split_reasoning(text) == (text, "")


def test_reasoning_that_comes_apart_is_kept():
    """A server that sets the reasoning apart itself wins over tags."""
    assert make_sample("42", "stop", reasoning="why") == Sample("42", "stop", "why")


def test_only_length_counts_as_cut():
    """Other finish reasons, and none, are stop."""
    assert [make_sample("x", reason).finish_reason for reason in ("length", "eos", None)] == ["length", "stop", "stop"]


def test_greedy_samples_cannot_differ():
    """At temperature 0 one sample is enough to know all n."""
    assert (distinct(Sampling(n=5, temperature=0.0)), distinct(Sampling(n=5, temperature=0.1))) == (1, 5)
