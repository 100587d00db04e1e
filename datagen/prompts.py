"""Prompts are files: Markdown with TOML front matter, editable, checked before the first request.

    +++
    purpose = "asks for unit tests"
    variables = ["question"]
    source = "arXiv 2308.12950, section 2.5"
    [sampling]
    temperature = 0.4
    max_tokens = 1024
    +++
    ## system
    ...
    ## user
    {{ question }}

Each `## system`, `## user` or `## assistant` heading starts a message, whose text is a Jinja template.
"""

from __future__ import annotations

import hashlib
import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError, meta
from jinja2.sandbox import SandboxedEnvironment

from datagen.errors import PromptError
from datagen.models import Message
from datagen.resources import ROOTS

_ENVIRONMENT = SandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=False)
_HEADING = re.compile(r"^## (system|user|assistant)[ \t]*$", re.MULTILINE)
_KEYS: dict[str, tuple[type, ...]] = {"purpose": (str,), "variables": (list,), "source": (str,), "sampling": (dict,)}
_SAMPLING: dict[str, tuple[type, ...]] = {
    "temperature": (int, float),
    "top_p": (int, float),
    "max_tokens": (int,),
    "stop": (list,),
}
_BOUNDS = {"temperature": (0.0, sys.float_info.max), "top_p": (0.0, 1.0), "max_tokens": (1, 2**31 - 1)}


@dataclass(frozen=True, slots=True)
class Prompt:
    """A parsed prompt file. `digest` names its whole content and goes into a stage's settings."""

    name: str
    path: Path
    purpose: str
    variables: tuple[str, ...]
    source: str
    sampling: Mapping[str, Any]
    turns: tuple[tuple[str, str], ...]
    digest: str

    def render(self, **values: str | int) -> tuple[Message, ...]:
        """The messages with every `{{ variable }}` filled in. Values that the prompt does not use are ignored."""
        return tuple(Message(role, _template(text).render(**values).strip()) for role, text in self.turns)


@lru_cache(maxsize=64)
def _template(text: str) -> Template:
    return _ENVIRONMENT.from_string(text)


def prompt_folders(override: str = "") -> tuple[Path, ...]:
    """Where prompts are looked for: `override` (a folder, or a set in prompts/) first, then the shipped ones.

    A folder without a prompt is none: a run's, say, that bears the name of a set.
    """
    shipped = tuple(root / "prompts" for root in ROOTS if (root / "prompts").is_dir())
    if not override:
        return shipped
    sets = [Path(override), *(folder / override for folder in shipped)]
    chosen = next((folder for folder in sets if any(chain(folder.glob("*.md"), folder.glob("eval/*.md")))), None)
    if chosen is None:
        raise PromptError(f"no prompt in {override}", hint="Give --prompts a folder that has one, such as questions.md")
    return (chosen, *shipped)


def load_prompt(name: str, folders: Sequence[Path], offered: Sequence[str] = ()) -> Prompt:
    """Reads `NAME.md` from the first folder that has it and checks it against the variables the stage offers.

    Raises PromptError naming the file and every unknown variable, unknown key or syntax error.
    """
    path = next((folder / f"{name}.md" for folder in folders if (folder / f"{name}.md").is_file()), None)
    if path is None:
        looked = ", ".join(str(folder) for folder in folders)
        raise PromptError(f"no prompt {name}.md in {looked}", hint="Restore the file or give --prompts another folder")
    prompt = _parse(name, path)
    unknown = sorted(_used(prompt) - set(offered))
    if unknown:
        raise PromptError(
            f"unknown variable{'s' if len(unknown) > 1 else ''} {', '.join(unknown)}",
            where=str(path),
            hint=f"This prompt may use: {', '.join(offered) or 'none'}",
        )
    _try_out(prompt)
    return prompt


def _try_out(prompt: Prompt) -> None:
    """Renders once with stand-ins, so that a template that cannot work fails before the first request."""
    try:
        prompt.render(**dict.fromkeys(prompt.variables, "text"))
    except (TemplateError, TypeError, ValueError, ArithmeticError) as error:
        hint = "A template may only fill in its variables: {{ name }}"
        raise PromptError(f"cannot be rendered ({error})", where=str(prompt.path), hint=hint) from error


def _parse(name: str, path: Path) -> Prompt:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise PromptError(f"cannot be read ({error})", where=str(path)) from error
    front, body = _split(text, path)
    _check_front(front, path)
    return Prompt(
        name=name,
        path=path,
        purpose=str(front.get("purpose", "")),
        variables=tuple(front.get("variables", ())),
        source=str(front.get("source", "")),
        sampling={k: tuple(v) if isinstance(v, list) else v for k, v in front.get("sampling", {}).items()},
        turns=_turns(body, path),
        digest=hashlib.sha256(text.encode("utf-8")).hexdigest()[:16],
    )


def _split(text: str, path: Path) -> tuple[dict[str, Any], str]:
    parts = re.split(r"^\+\+\+[ \t]*$", text.replace("\r\n", "\n"), maxsplit=2, flags=re.MULTILINE)
    if len(parts) != 3 or parts[0].strip():
        raise PromptError("has no TOML front matter between two lines +++", where=str(path), hint="See docs/prompts.md")
    try:
        return tomllib.loads(parts[1]), parts[2]
    except tomllib.TOMLDecodeError as error:
        raise PromptError(f"front matter is not TOML ({error})", where=str(path)) from error


def _check_front(front: Mapping[str, Any], path: Path) -> None:
    _check_table(front, _KEYS, "", path)
    _check_table(front.get("sampling", {}), _SAMPLING, "sampling.", path)
    texts = [*front.get("variables", []), *front.get("sampling", {}).get("stop", [])]
    if not all(isinstance(text, str) for text in texts):
        raise PromptError("variables and sampling.stop are lists of strings", where=str(path), hint="Correct them")
    _check_bounds(front.get("sampling", {}), path)


def _check_bounds(sampling: Mapping[str, Any], path: Path) -> None:
    """PromptError for a value that no engine takes."""
    for key, (low, high) in _BOUNDS.items():
        value = sampling.get(key, low)
        if not low <= value <= high:  # not a number is in no range either
            least = f"{low:g} or more" + (", at most 1" if high == 1 else "")
            raise PromptError(f"sampling.{key} = {value} is out of range", where=str(path), hint=f"Use {least}")


def _check_table(table: Mapping[str, Any], known: Mapping[str, tuple[type, ...]], prefix: str, path: Path) -> None:
    """Every key is known and its value of the right type, or a PromptError names what is not."""
    if unknown := [prefix + key for key in sorted(set(table) - set(known))]:
        allowed = ", ".join(prefix + name for name in known)
        raise PromptError(f"unknown key {', '.join(unknown)}", where=str(path), hint=f"Known keys: {allowed}")
    for key, value in table.items():
        if not isinstance(value, known[key]) or isinstance(value, bool):
            wanted = " or ".join(kind.__name__ for kind in known[key])
            raise PromptError(f"{prefix}{key} = {value!r} is not of type {wanted}", where=str(path), hint="Correct it")


def _turns(body: str, path: Path) -> tuple[tuple[str, str], ...]:
    pieces = _HEADING.split(body)
    turns = tuple((role, text.strip()) for role, text in zip(pieces[1::2], pieces[2::2], strict=True))
    if not turns or pieces[0].strip():
        raise PromptError("needs `## user` before its text", where=str(path), hint="See docs/prompts.md")
    if empty := [role for role, text in turns if role == "user" and not text]:
        raise PromptError(f"has an empty `## {empty[0]}`", where=str(path), hint="Write what is asked under it")
    return turns


def _used(prompt: Prompt) -> set[str]:
    """Every variable that the templates name; the front matter must list them all."""
    used: set[str] = set()
    for _, template in prompt.turns:
        try:
            used |= meta.find_undeclared_variables(_ENVIRONMENT.parse(template))
        except TemplateSyntaxError as error:
            raise PromptError(f"template error: {error.message}", where=str(prompt.path)) from error
    undeclared = sorted(used - set(prompt.variables))
    if undeclared:
        raise PromptError(
            f"uses {', '.join(undeclared)} without declaring it",
            where=str(prompt.path),
            hint="Add it to variables = [...] in the front matter, or correct the name",
        )
    return used | set(prompt.variables)
