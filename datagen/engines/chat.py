"""From messages to token ids: the model's chat template, a template of the user's, or plain text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from datagen.engines.text import plain_text
from datagen.errors import InputError, UsageError
from datagen.models import Message, Request


@dataclass(frozen=True, slots=True)
class Chat:
    """A tokenizer and how it is told who speaks; template None: nobody, the contents are joined by blank lines.

    A last turn of the assistant's is an answer that the model goes on with.
    """

    tokenizer: Any
    template: str | None
    model: str

    def encode(self, request: Request) -> tuple[list[int], bool]:
        """(token ids, whether the prompt ends inside an opened <think>)."""
        templated = request.prompt is None and self.template is not None
        if templated:
            begun = request.messages[-1].role == "assistant"
            text = self.render(request.messages, open_end=not begun, go_on=begun)
        else:
            text = plain_text(request.messages) if request.prompt is None else request.prompt
        # A template writes the tokens that begin a text itself.
        tokens: list[int] = self.tokenizer.encode(text, add_special_tokens=not templated)
        return tokens, text.rstrip().endswith("<think>")

    def render(self, messages: Sequence[Message], *, open_end: bool, go_on: bool = False) -> str:
        """The text that the template makes of messages; UsageError if it refuses them.

        `open_end`: an answer is to follow; `go_on`: the last message is an answer, and not over.
        """
        from jinja2 import TemplateError

        try:
            text: str = self.tokenizer.apply_chat_template(
                [asdict(message) for message in messages],
                chat_template=self.template,
                tokenize=False,
                add_generation_prompt=open_end,
                continue_final_message=go_on,
            )
        except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError) as error:
            hint = "Give --chat-template a Jinja file, or none for plain text"
            raise UsageError(
                f"its chat template refuses the messages ({error})", where=self.model, hint=hint
            ) from error
        return text


def open_chat(tokenizer: Any, chosen: str, model: str) -> Chat:
    """`chosen` is EngineConfig.chat_template: "" the tokenizer's own (plain text if it has none), "none", or a file."""
    if chosen == "none":
        return Chat(tokenizer, None, model)
    if not chosen:
        return Chat(tokenizer, _own_template(tokenizer), model)
    try:
        return Chat(tokenizer, Path(chosen).read_text(encoding="utf-8"), model)
    except (OSError, UnicodeDecodeError) as error:
        hint = "Give --chat-template a Jinja file, or none for plain text"
        raise InputError(f"cannot be read ({error})", where=chosen, hint=hint) from error


def _own_template(tokenizer: Any) -> str | None:
    """The template that the tokenizer brings; of several named ones, the default."""
    template = getattr(tokenizer, "chat_template", None)
    return template.get("default") if isinstance(template, dict) else template
