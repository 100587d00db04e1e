"""The demo model's tokenizer: whole words, numbers and runs of punctuation as single tokens, bytes for all the rest.

Whole pre-tokens instead of merges: a model of two million weights computes with `12` or `cat` far sooner as one token.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

SPLIT = r"\n *| ?[A-Za-z]+|_[A-Za-z]+|\d+| ?[^\sA-Za-z0-9]+ ?|\s"
BEGIN, END, PAD = "<|begin|>", "<|end|>", "<|pad|>"
ROLES = ("system", "user", "assistant")
SPECIAL = (PAD, BEGIN, END, *(f"<|{role}|>" for role in ROLES))
CHAT_TEMPLATE = (
    BEGIN + "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] }}"
    "{% if message['role'] == 'assistant' %}" + END + "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def build(texts: Iterable[str], size: int) -> Any:
    """A PreTrainedTokenizerFast of `size` entries at most: special ones, bytes, the commonest pre-tokens.

    Every text comes back exactly when its tokens are decoded.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = _vocabulary(texts, size, sorted(pre_tokenizers.ByteLevel.alphabet()))
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], ignore_merges=True))
    tokenizer.pre_tokenizer = _pre_tokenizer()
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BEGIN,
        eos_token=END,
        pad_token=PAD,
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        model_max_length=2048,
    )


def _pre_tokenizer() -> Any:
    from tokenizers import Regex, pre_tokenizers

    split = pre_tokenizers.Split(Regex(SPLIT), "isolated")
    return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def _vocabulary(texts: Iterable[str], size: int, alphabet: list[str]) -> dict[str, int]:
    """Ids by token: special tokens, bytes, then pre-tokens by frequency (ties in alphabetical order)."""
    counts: Counter[str] = Counter()
    splitter = _pre_tokenizer()
    for text in texts:
        counts.update(piece for piece, _ in splitter.pre_tokenize_str(text))
    common = sorted((token for token in counts if len(token) > 1), key=lambda token: (-counts[token], token))
    tokens = [*SPECIAL, *alphabet, *common]
    return {token: number for number, token in enumerate(tokens[:size])}
