"""Whether a model is asked as a base model or in a chat."""

from __future__ import annotations

from pathlib import Path

from datagen.config import EngineConfig
from datagen.engines.weights import fetch
from datagen.errors import UsageError
from datagen.files import read_json
from datagen.resources import resolve_model


def style_of(config: EngineConfig, asked: str = "auto") -> str:
    """base or chat: what is asked for, else chat where a chat template is given or comes with the tokenizer.

    A server's models, and those of a batch API, are taken for chat models. The model's files are fetched if need be, as
    its engine would; UsageError where the replay engine has none to look at.
    """
    if asked != "auto":
        return asked
    if config.chat_template:
        return "base" if config.chat_template == "none" else "chat"
    if config.engine in ("server", "batch"):
        return "chat"
    folder = Path(resolve_model(config.model))
    if config.engine == "replay" and not folder.is_dir():
        raise UsageError("a replayed model has no tokenizer to look at", hint="Give --style base or --style chat")
    return "chat" if has_template(folder if folder.is_dir() else Path(fetch(config.model, config.revision))) else "base"


def has_template(folder: Path) -> bool:
    """Whether the tokenizer in this folder brings a chat template."""
    files = ("chat_template.jinja", "chat_template.json")
    return any((folder / name).is_file() for name in files) or bool(
        read_json(folder / "tokenizer_config.json", {}).get("chat_template")
    )
