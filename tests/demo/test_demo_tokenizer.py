"""The demo model's tokenizer and the packing of its lessons."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.demo.lessons import lesson
from datagen.demo.packing import arrays, rows
from datagen.resources import resource

transformers = pytest.importorskip("transformers", reason="needs the model's libraries")


@pytest.fixture(scope="module")
def tokens():
    return transformers.AutoTokenizer.from_pretrained(resource("data/demo-model"))


def there_and_back(tokens, text):
    return tokens.decode(tokens.encode(text, add_special_tokens=False))


def test_lessons_come_back_exactly(tokens):
    """Prompts and answers, with their code and line breaks, survive encoding and decoding."""
    rng = Random(0)
    texts = [text for drawn in (lesson(rng) for _ in range(300)) for text in (drawn.answer, drawn.messages[-1].content)]
    assert all(there_and_back(tokens, text) == text for text in texts)


@settings(max_examples=200, deadline=None)
@given(text=st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_any_text_comes_back_exactly(tokens, text):
    """Bytes stand in for what the vocabulary lacks: tabs, accents, other scripts, emoji."""
    assert there_and_back(tokens, text) == text


def test_digits_and_words_are_single_tokens(tokens):
    """A digit and a word of the generator cost one token each, beside their commas and quotes."""
    assert tokens.tokenize("[3, 1, 4]") == ["[", "3", ",Ġ", "1", ",Ġ", "4", "]"]
    assert {"cat", "dog"} < set(tokens.tokenize("['cat', 'dog']"))


def test_the_chat_template_ends_an_answer_with_the_end_token(tokens):
    """A conversation ends with the token that stops generation; a prompt ends where the answer begins."""
    asked = {"role": "user", "content": "Ask 5 questions about words."}
    whole = tokens.apply_chat_template([asked, {"role": "assistant", "content": "1. None."}], tokenize=False)
    assert whole.endswith("1. None." + tokens.eos_token)
    assert tokens.apply_chat_template([asked], tokenize=False, add_generation_prompt=True).endswith("<|assistant|>")


@given(st.lists(st.integers(1, 30), min_size=300, max_size=400), st.integers(30, 60))
@settings(max_examples=20, deadline=None)
def test_packing_cuts_and_loses_nothing(lengths, length):
    """Every row holds whole lessons that fit it, and lessons come out at most once, the oldest first."""
    drawn = iter([[number + 1] * size for number, size in enumerate(lengths)] + [[9999] * length] * 400)
    made = rows(lambda: next(drawn), length)
    seen = [part for _ in range(3) for part in next(made)]
    assert seen[0] == [1] * lengths[0]
    assert all(part == [part[0]] * lengths[part[0] - 1] for part in seen)
    assert len({part[0] for part in seen}) == len(seen)


def test_positions_restart_with_each_lesson():
    """Packed lessons are numbered, positions count from 0 in each, and padding belongs to none."""
    ids, positions, owners = arrays([[[7, 8, 9], [5, 6]]], 6)
    assert ids.tolist() == [[7, 8, 9, 5, 6, 0]]
    assert positions.tolist() == [[0, 1, 2, 0, 1, 0]]
    assert owners.tolist() == [[1, 1, 1, 2, 2, 0]]
