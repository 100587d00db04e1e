"""Tokens of a row: what is read, what is learnt, where it ends."""

import pytest
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.errors import UsageError
from datagen.models import Message
from datagen.training.encode import Encoder, encode_all, open_encoder, padding_token
from datagen.training.rows import Pair

TEXT = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=40)


@pytest.fixture(scope="module")
def encoder(tiny):
    return open_encoder(tiny, "", everything=False)


def asked(text, completion="x = 1"):
    return Pair("a", (Message("user", text),), completion)


@settings(deadline=None, max_examples=60)
@given(TEXT, TEXT)
def test_what_is_learnt_is_the_completion_and_the_end(encoder, question, answer):
    """For any texts, the learnt tokens read as the answer, the others as the prompt; the last is the end."""
    example = encoder.encode(asked(question, answer))
    decode = encoder.tokenizer.decode
    assert example.tokens[-1] == encoder.tokenizer.eos_token_id
    assert decode(example.tokens[example.start : -1]) == answer
    turns = [{"role": "user", "content": question}]
    rendered = encoder.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert decode(example.tokens[: example.start]) == rendered


def test_the_prompt_has_the_tokens_that_the_engine_would_send(encoder):
    """Read tokens equal the engine's own encoding of the prompt, so that training and inference see the same."""
    from datagen.engines.chat import open_chat
    from datagen.models import Request

    pair = asked("Write a function `f(x)`.")
    sent, _ = open_chat(encoder.tokenizer, "", "m").encode(Request(pair.messages))
    example = encoder.encode(pair)
    assert list(example.tokens[: example.start]) == sent


def test_a_template_that_writes_on_after_the_end_is_cut_there(tiny):
    """Blank lines after the end of a turn are not learnt: generation never gets there."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny)
    tokenizer.chat_template = (
        "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    encoder = Encoder(tokenizer, "", [])
    example = encoder.encode(asked("add"))
    assert tokenizer.decode(example.tokens[example.start :]) == "x = 1<|end|>"


def test_a_template_without_an_end_is_given_one(tiny):
    """Where the template writes none, the tokenizer's end of text is learnt, so that the model stops."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny)
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}\n{% endfor %}"
    example = Encoder(tokenizer, "", []).encode(asked("add"))
    assert example.tokens[-1] == tokenizer.eos_token_id


def test_a_prompt_that_ends_within_a_token_is_noticed(tiny):
    """A template that ends in a letter, before an answer that goes on with one, merges them: the token is only read."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny)
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m.role == 'assistant' %}re{{ m.content }}{% else %}{{ m.content }}\n{% endif %}"
        "{% endfor %}{% if add_generation_prompt %}re{% endif %}"
    )
    encoder = Encoder(tokenizer, "", [])
    example = encoder.encode(asked("add", "turn 1"))
    assert example.inside
    assert "turn" not in tokenizer.decode(example.tokens[example.start :])
    assert not encoder.encode(asked("add", " 1")).inside


@settings(deadline=None, max_examples=60)
@given(TEXT, TEXT)
def test_a_plain_prompt_has_the_tokens_that_the_engine_would_send(encoder, question, answer):
    """For any texts, without a template the engine's tokens are read; a blank line and the answer are learnt."""
    from datagen.engines.chat import open_chat
    from datagen.models import Request

    pair = asked(question, answer)
    example = Encoder(encoder.tokenizer, "none", []).encode(pair)
    sent, _ = open_chat(encoder.tokenizer, "none", "m").encode(Request(pair.messages))
    assert list(example.tokens[: example.start]) == sent
    assert encoder.tokenizer.decode(example.tokens[example.start : -1]) == f"\n\n{answer}"
    assert not example.inside


def test_with_loss_on_all_the_prompt_is_learnt_too(tiny):
    """loss = "all" starts at the first token."""
    example = open_encoder(tiny, "", everything=True).encode(asked("add"))
    assert example.start == 0
    assert example.learnt == len(example.tokens) - 1
    assert example.prompt == open_encoder(tiny, "", everything=False).encode(asked("add")).start


def test_a_long_row_is_dropped_whole_never_cut(encoder):
    """One token too many drops the row with its length; at the length it is kept whole."""
    size = len(encoder.encode(asked("add")).tokens)
    assert encode_all([asked("add")], encoder, size).examples[0].tokens[-1] == encoder.end
    dropped = encode_all([asked("add")], encoder, size - 1)
    assert dropped.examples == ()
    assert [drop.reason for drop in dropped.dropped] == ["over-length"]


def test_a_tokenizer_without_an_end_is_refused(tiny):
    """A model that has no token to stop with would never stop."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny)
    tokenizer.eos_token = None
    with pytest.raises(UsageError, match="ends an answer"):
        Encoder(tokenizer, "", [])


def test_padding_is_not_the_end_where_the_tokenizer_has_another(tiny):
    """A tokenizer whose padding token is its end is given another one, if it has any."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny)
    tokenizer.pad_token = tokenizer.eos_token
    ends = frozenset([tokenizer.eos_token_id])
    other = padding_token(tokenizer, ends, len(tokenizer))
    assert padding_token(tokenizer, ends, min(other, 1)) in ends
    assert (other not in ends) == any(
        name in tokenizer.get_vocab() for name in ("<pad>", "<|pad|>", tokenizer.unk_token)
    )
