"""How a benchmark is asked and read, by name: FAMILY/KIND/STYLE, as in code-llama/humaneval/base.

Structure, stops and decoding follow the papers and tools that are named; the words of prompts and few-shot examples are
this project's (prompts/eval). A protocol's hash covers prompts, stops, decoding and the way an answer is read.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from datagen.config import EvalConfig
from datagen.errors import UsageError
from datagen.evaluation.problems import VARIABLES, Problem
from datagen.models import Message, content_id
from datagen.prompts import Prompt, load_prompt

READING = 1
"""Raised whenever the same completion would be read differently, so that the hashes of old scores differ too."""


@dataclass(frozen=True, slots=True)
class Form:
    """One protocol as data.

    `prompt` is a file of prompts/eval; none: the benchmark's own stub is continued as it stands (`stripped`: without
    the space around it, and a newline). `opening` begins the answer of a base model. `reads`: continuation (of the
    stub), rewritten (what follows the declaration), marked (all up to a stop), program (tags, fences), number. `first`
    is asked before, its answer shown. `items` are the first and last id that count, 0 and 0 for all.
    """

    prompt: str = ""
    reads: str = "program"
    opening: str = ""
    stop: tuple[str, ...] = ()
    stripped: bool = False
    first: str = ""
    n: int = 1
    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 1024
    items: tuple[int, int] = (0, 0)
    ks: tuple[int, ...] = (1, 10, 100)


@dataclass(frozen=True, slots=True)
class Protocol:
    """A form under its name, with the prompts that it loads; `style` is base or chat."""

    name: str
    style: str
    form: Form
    prompt: Prompt | None
    first: Prompt | None

    @property
    def hash(self) -> str:
        """16 hexadecimal digits; the number of samples is no part of it."""
        digests = [prompt.digest if prompt else "" for prompt in (self.prompt, self.first)]
        form = {key: value for key, value in asdict(self.form).items() if key not in ("n", "ks")}
        return content_id(self.name, json.dumps(form, sort_keys=True), *digests, str(READING))

    def messages(self, problem: Problem, answer: str = "") -> tuple[Message, ...]:
        """What a chat model is asked; a last turn of the assistant's is the beginning of its answer."""
        assert self.prompt is not None
        return self.prompt.render(**problem.facts, answer=answer)

    def text(self, problem: Problem, answer: str = "") -> str:
        """What a base model is to continue."""
        if self.prompt is None:
            return f"{problem.stub.strip()}\n" if self.form.stripped else problem.stub
        return joined(self.messages(problem, answer)) + self.form.opening

    def counts(self, problem: Problem) -> bool:
        """Whether the protocol scores this item."""
        low, high = self.form.items
        return not high or not problem.item.item.isdigit() or low <= int(problem.item.item) <= high


def joined(messages: Sequence[Message]) -> str:
    """Turns as a text for a base model: an answer on the line below its question, a blank line after it."""
    return "".join(f"{m.content}\n\n" if m.role == "assistant" else f"{m.content}\n" for m in messages)


_HUMANEVAL_STOPS = ("\nclass", "\ndef", "\n#", "\n@", "\nprint", "\nif")
_EVALPLUS_STOPS = (
    "\nif __name__",
    "\ndef main(",
    "\nprint(",
    "\ndef ",
    "\nclass ",
    "\nimport ",
    "\nfrom ",
    "\nassert ",
)
_DONE = ("[DONE]",)
_CHAT_EVALPLUS = Form("eval/evalplus", stop=("\n```",), max_tokens=768)
_PACK: dict[str, Any] = {"n": 20, "temperature": 0.2, "top_p": 0.95, "ks": (1, 10)}
_APPS: dict[str, Any] = {"n": 5, "temperature": 0.6, "top_p": 0.95, "ks": (1, 5, 10, 100)}

_BASE_PACK = ("\ndef ", "\nclass ", "\nif ", "\nprint", "\n#", "\nassert ")
FORMS: dict[tuple[str, str, str], Form] = {
    ("code-llama", "humaneval", "base"): Form(reads="continuation", stop=_HUMANEVAL_STOPS, max_tokens=512),
    ("code-llama", "humaneval", "chat"): Form("eval/humaneval"),
    ("code-llama", "mbpp", "base"): Form(
        "eval/mbpp-few-shot", "marked", "[BEGIN]\n", _DONE, max_tokens=512, items=(11, 510)
    ),
    ("code-llama", "mbpp", "chat"): Form("eval/mbpp", stop=("[/PYTHON]",), items=(11, 510)),
    ("code-llama", "apps", "base"): Form("eval/apps-few-shot", "marked", "[BEGIN]\n", _DONE, **_APPS),
    ("code-llama", "apps", "chat"): Form("eval/apps", **_APPS),
    ("code-llama", "gsm8k", "base"): Form("eval/gsm8k", "number", "Answer:", ("\nQuestion:",), max_tokens=512),
    ("code-llama", "gsm8k", "chat"): Form("eval/gsm8k", "number", max_tokens=512),
    ("evalplus", "humaneval", "base"): Form(
        reads="continuation", stop=_EVALPLUS_STOPS, stripped=True, max_tokens=768
    ),
    ("evalplus", "humaneval", "chat"): _CHAT_EVALPLUS,
    ("evalplus", "mbpp", "base"): Form(
        "eval/mbpp-docstring", "marked", stop=('\n"""', "\nassert", "\nif __name__", "\nprint("), max_tokens=768
    ),
    ("evalplus", "mbpp", "chat"): Form("eval/evalplus-mbpp", stop=("\n```",), max_tokens=768),
    ("synthesize", "humanevalpack", "base"): Form(reads="continuation", stop=_BASE_PACK, **_PACK),
    ("synthesize", "humanevalpack", "chat"): Form("eval/synthesize", **_PACK),
    ("fix", "humanevalpack", "base"): Form("eval/fix-base", "rewritten", stop=_BASE_PACK, **_PACK),
    ("fix", "humanevalpack", "chat"): Form("eval/fix", **_PACK),
    ("explain", "humanevalpack", "base"): Form(
        "eval/explain-base", "rewritten", stop=_BASE_PACK, first="eval/describe", **_PACK
    ),
    ("explain", "humanevalpack", "chat"): Form("eval/explain", first="eval/describe", **_PACK),
    ("plain", "*", "base"): Form("eval/plain-few-shot", "marked", "[BEGIN]\n", _DONE),
    ("plain", "*", "chat"): Form("eval/plain"),
}  # fmt: skip
"""Every protocol; kind "*" is any benchmark. code-llama: arXiv 2308.12950; evalplus: arXiv 2305.01210; synthesize, fix,
explain: HumanEvalPack, arXiv 2308.07124."""

FAMILIES = tuple(dict.fromkeys(family for family, _, _ in FORMS))


def family_for(benchmark: str, kind: str) -> str:
    """The protocol by which a benchmark is scored unless another is named."""
    if benchmark.endswith("+"):
        return "evalplus"
    return {"humanevalpack": "synthesize"}.get(kind) or (
        "code-llama" if ("code-llama", _plain(kind), "base") in FORMS and benchmark != "demo-heldout" else "plain"
    )


def choose(config: EvalConfig, benchmark: str, kind: str, style: str, folders: Sequence[Path]) -> Protocol:
    """The protocol for a benchmark and a style, with the decoding that flags override; UsageError if there is none."""
    family = config.protocol or family_for(benchmark, kind)
    key = next((key for key in ((family, _plain(kind), style), (family, "*", style)) if key in FORMS), None)
    if key is None:
        fitting = [one for one, of, _ in FORMS if of in (_plain(kind), "*")]
        hint = f"Protocols for it: {', '.join(dict.fromkeys(fitting))}"
        raise UsageError(f"no protocol {family!r} for {benchmark}", hint=hint)
    given: dict[str, Any] = {
        "n": config.n,
        "temperature": config.temperature,
        "top_p": config.top_p,
        "max_tokens": config.max_tokens,
    }
    form = replace(FORMS[key], **{name: value for name, value in given.items() if value is not None})
    prompts = [load_prompt(name, folders, VARIABLES) if name else None for name in (form.prompt, form.first)]
    return Protocol("/".join((family, _plain(kind) if key[1] != "*" else "any", style)), style, form, *prompts)


def _plain(kind: str) -> str:
    return "mbpp" if kind.startswith("mbpp") else kind
