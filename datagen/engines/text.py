"""What every engine does alike: plain prompts, reasoning set apart from the answer, greedy samples as copies."""

from __future__ import annotations

import re
from collections.abc import Sequence

from datagen.models import Message, Sample, Sampling

_THOUGHT = re.compile(r"<think>(.*?)(?:</think>|\Z)", re.DOTALL)


def plain_text(messages: Sequence[Message]) -> str:
    """The prompt for a model without a chat template: the contents, joined by blank lines."""
    return "\n\n".join(message.content for message in messages)


def split_reasoning(text: str, *, opened: bool = False) -> tuple[str, str]:
    """(answer, reasoning): what stands between <think> and </think> is taken out of the text.

    A thought that is never closed reaches to the end. `opened` says that the prompt ended in <think>; a </think> with
    no <think> before it says the same. A text without tags comes back as it is.
    """
    head, closed, _ = text.partition("</think>")
    if opened or (closed and "<think>" not in head):
        text = f"<think>{text}"
    thoughts = [thought.strip() for thought in _THOUGHT.findall(text)]
    if not thoughts:
        return text, ""
    return _THOUGHT.sub("", text).lstrip(), "\n\n".join(thought for thought in thoughts if thought)


def make_sample(text: str, finish_reason: str | None, *, reasoning: str = "", opened: bool = False) -> Sample:
    """A Sample with the reasoning set apart; any finish reason but "length" counts as "stop"."""
    answer, thoughts = split_reasoning(text, opened=opened)
    return Sample(answer, "length" if finish_reason == "length" else "stop", reasoning or thoughts)


def distinct(sampling: Sampling) -> int:
    """How many samples can differ: one where decoding is greedy, since its n samples are copies; else n."""
    return 1 if sampling.temperature == 0 else sampling.n
