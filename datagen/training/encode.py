"""Pairs as token ids: rendered as at inference, with the end inside what is learnt, and nothing cut."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datagen.engines.chat import open_chat
from datagen.engines.text import plain_text
from datagen.errors import UsageError
from datagen.files import read_json
from datagen.models import Drop, Message
from datagen.training.rows import Pair


@dataclass(frozen=True, slots=True)
class Example:
    """Token ids of one row; those from `start` on are learnt. `inside`: the prompt ended within a token.

    The first `prompt` tokens stand before the answer, also where they are learnt.
    """

    id: str
    tokens: tuple[int, ...]
    start: int
    inside: bool = False
    prompt: int = 0

    @property
    def learnt(self) -> int:
        """How many tokens count in the loss: a token that nothing stands before cannot be predicted."""
        return len(self.tokens) - max(self.start, 1)


@dataclass(frozen=True, slots=True)
class Encoded:
    """The examples of a source, and what was left out: over-length, or with nothing to learn."""

    examples: tuple[Example, ...]
    dropped: tuple[Drop, ...]

    @property
    def tokens(self) -> int:
        """Tokens of all examples."""
        return sum(len(example.tokens) for example in self.examples)


class Encoder:
    """A tokenizer with its template, the tokens that end an answer, and the token that fills up a batch."""

    def __init__(self, tokenizer: Any, template: str, ends: Iterable[int], *, everything: bool = False) -> None:
        self.tokenizer, self._everything = tokenizer, everything
        self._chat = open_chat(tokenizer, template, str(tokenizer.name_or_path))
        self.ends = frozenset(ends) | ({tokenizer.eos_token_id} - {None})
        if not self.ends:
            hint = "Choose a model whose tokenizer has an eos_token"
            raise UsageError("no token ends an answer", where=str(tokenizer.name_or_path), hint=hint)
        self.end = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else min(self.ends)

    @property
    def template(self) -> str:
        """The chat template in use; "" for plain text."""
        return self._chat.template or ""

    def encode(self, pair: Pair) -> Example:
        """The tokens of prompt and completion together, as the tokenizer cuts the whole text.

        Where a template's prompt ends within a token, that token is read, not learnt; plain text is cut in two there.
        The last token is one that ends an answer.
        """
        prompt, whole = self._texts(pair)
        plain = self._chat.template is None or not pair.messages
        encoded = self.tokenizer(whole, add_special_tokens=plain, return_offsets_mapping=True)
        tokens, offsets = encoded["input_ids"], encoded["offset_mapping"]
        start = next((i for i, (begin, end) in enumerate(offsets) if begin >= len(prompt) and end > begin), len(tokens))
        inside = any(begin < len(prompt) < end for begin, end in offsets[:start])
        if plain and pair.messages:
            tokens, start, inside = self._as_sent(prompt, whole, tokens, start)
        tokens = self._ended(tokens, start)
        learnt = 0 if self._everything or not pair.messages else start
        return Example(pair.id, tuple(tokens), learnt, inside, start)

    def _as_sent(self, prompt: str, whole: str, tokens: list[int], start: int) -> tuple[list[int], int, bool]:
        """Plain text whose prompt has the tokens that engines send, also where a blank line would change its last."""
        sent: list[int] = self.tokenizer.encode(prompt)
        if tokens[:start] != sent:
            tokens = sent + self.tokenizer.encode(whole[len(prompt) :], add_special_tokens=False)
        return tokens, len(sent), False

    def _texts(self, pair: Pair) -> tuple[str, str]:
        """The prompt as it stands at inference, and prompt and completion: in plain text, after a blank line."""
        if not pair.messages:
            return "", pair.completion
        if self._chat.template is None:
            prompt = plain_text(pair.messages)
            return prompt, f"{prompt}\n\n{pair.completion}"
        prompt = self._chat.render(pair.messages, open_end=True)
        whole = self._chat.render([*pair.messages, Message("assistant", pair.completion)], open_end=False)
        return prompt, whole if whole.startswith(prompt) else prompt + pair.completion

    def _ended(self, tokens: list[int], start: int) -> list[int]:
        """Ends with the last token of the answer that ends one; given one if the template writes none."""
        last = next((i for i in range(len(tokens) - 1, start - 1, -1) if tokens[i] in self.ends), None)
        if last is not None and not self.tokenizer.decode(tokens[last + 1 :], skip_special_tokens=True).strip():
            return tokens[: last + 1]
        return [*tokens, self.end]


def open_encoder(folder: Path, template: str, *, everything: bool, trust: bool = False) -> Encoder:
    """The encoder of the model in a folder; UsageError if its tokenizer cannot tell where tokens begin."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust)
    except (OSError, ValueError, KeyError) as error:
        why = str(error).splitlines()[0]
        raise UsageError(
            f"its tokenizer cannot be loaded ({why})", where=str(folder), hint="Correct --model"
        ) from error
    if not tokenizer.is_fast:
        hint = "Choose a model that has a tokenizer.json"
        raise UsageError("its tokenizer does not tell where tokens begin", where=str(folder), hint=hint)
    named = (read_json(folder / name, {}).get("eos_token_id") for name in ("generation_config.json", "config.json"))
    ends = [end for one in named for end in (one if isinstance(one, list) else [one]) if isinstance(end, int)]
    return Encoder(tokenizer, template, ends, everything=everything)


def encode_all(pairs: Sequence[Pair], encoder: Encoder, length: int) -> Encoded:
    """Every pair as an example, or dropped: over `length` tokens, or with nothing to learn. None is cut."""
    examples, dropped = [], []
    for pair in pairs:
        example = encoder.encode(pair)
        if len(example.tokens) > length:
            dropped.append(Drop("over-length", f"{pair.id}: {len(example.tokens):,} tokens"))
        elif example.learnt < 1:
            dropped.append(Drop("nothing-learnt", pair.id))
        else:
            examples.append(example)
    return Encoded(tuple(examples), tuple(dropped))


def padding_token(tokenizer: Any, ends: frozenset[int], vocabulary: int) -> int:
    """A token to fill up batches with that ends no answer; one that does only where the tokenizer has no other.

    Only a token below `vocabulary` has an embedding, without which a saved model cannot be loaded.

    Filled-up places are masked by position, so that a shared token costs nothing here; other trainers mask by id.
    """
    named = [tokenizer.pad_token_id, tokenizer.unk_token_id]
    known = tokenizer.get_vocab()
    named += [known.get(name) for name in ("<pad>", "<|pad|>", "<PAD>", "<|finetune_right_pad_id|>", "<|endoftext|>")]
    good = (int(token) for token in named if token is not None and token not in ends and token < vocabulary)
    return next(good, int(min(ends)))
