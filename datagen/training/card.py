"""The card of a fine-tuned model: what stands in README.md beside its weights, and on its page on the Hub.

It says only what is in its facts. Like a data set's card it ends in the digest of its text, so that one that was edited
by hand is never overwritten.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from datagen.card import fenced, is_generated, markdown_table, public_name, reasons, stamp, unstamped
from datagen.errors import InputError
from datagen.licenses import check_license, terms_of, training_conflict

_USE = """\
from transformers import pipeline

ask = pipeline("text-generation", "NAME/MODEL")  # or this folder's path
print(ask({asked}, max_new_tokens=512))"""
_CHAT, _TEXT = (
    '[{"role": "user", "content": "Write a Python function that ..."}]',
    '"Write a Python function that ...\\n\\n"',
)
_HIDDEN = ("model", "revision", "trust_remote_code", "report_to", "threads", "keep_checkpoints", "save_steps")
"""Settings that stand elsewhere on the card, or change nothing about the model."""
_SECTION = re.compile(r"^## Evaluation[ \t]*\r?\n.*?(?=\s*^## |\s*\Z)", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class ScoreFacts:
    """pass@k of the tuned model, or of one to compare it with, on a benchmark, with its 95 % interval.

    `n` is the samples of each problem; `temperature` is None where it is not known.
    """

    model: str
    benchmark: str
    problems: int
    protocol: str
    n: int
    temperature: float | None
    k: int
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class TuneFacts:
    """Everything that the card says.

    `license` is a Hub identifier or empty. `hub_base` and `datasets` are ids on the Hub, for the front matter: empty
    where base or data lie on this machine only. `rows` were read, `dropped` counts by reason, `rehearsal` holds name,
    rows and tokens of each table. `tokens` is what training read over all steps, `tokens_per_epoch` what one reading of
    all rows holds; `losses` are the first and the last; `generators` the models that wrote the data;
    `chat` whether the model has a chat template.
    """

    title: str
    base: str
    source: str
    rows: int
    tokens_per_epoch: int
    steps: int
    tokens: int
    parameters: int
    command: str
    version: str
    seed: int = 0
    revision: str = ""
    license: str = ""
    hub_base: str = ""
    datasets: Sequence[str] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)
    rehearsal: Sequence[tuple[str, int, int]] = ()
    losses: Sequence[float] = ()
    seconds: float = 0.0
    device: str = ""
    processes: int = 1
    distributed: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    generators: Sequence[str] = ()
    benchmarks: Sequence[str] = ()
    scores: Sequence[ScoreFacts] = ()
    chat: bool = True


def model_card(facts: TuneFacts) -> str:
    """The whole README.md, with its digest. Raises UsageError for a licence that is none of LICENSES."""
    check_license(facts.license)
    sections = (
        _front_matter(facts), _about(facts), _use(facts), _data(facts), _training(facts),
        _decontamination(facts), _evaluation(facts.scores), _terms(facts), _again(facts),
    )  # fmt: skip
    return stamp("\n\n".join(sections) + "\n")


def _use(facts: TuneFacts) -> str:
    return f"## Use\n\n{fenced(_USE.format(asked=_CHAT if facts.chat else _TEXT), 'python')}"


def _front_matter(facts: TuneFacts) -> str:
    lines = [f"license: {facts.license}"] if facts.license else []
    lines += [f"base_model: {facts.hub_base}", "base_model_relation: finetune"] if facts.hub_base else []
    lines += ["library_name: transformers", "pipeline_tag: text-generation", "language:", "- en"]
    lines += ["datasets:", *(f"- {name}" for name in facts.datasets)] if facts.datasets else []
    lines += ["tags:", "- code", "- full-fine-tune", "- datagen"]
    return "\n".join(["---", *lines, "---"])


def _about(facts: TuneFacts) -> str:
    return (
        f"# {' '.join(facts.title.split())}\n\n"
        f"`{public_name(facts.base)}`, every one of its {facts.parameters:,} weights trained further on the data "
        f"`{public_name(facts.source)}`: {facts.steps:,} steps, {facts.tokens:,} tokens. "
        f"Made with datagen {facts.version}."
    )


def _data(facts: TuneFacts) -> str:
    lines = [
        ("data", f"`{public_name(facts.source)}`"),
        ("rows", f"{facts.rows:,}"),
        ("of these dropped", reasons(facts.dropped)),
        *(
            ("rehearsal", f"`{public_name(name)}`: {rows:,} rows, {tokens:,} tokens")
            for name, rows, tokens in facts.rehearsal
        ),
        ("tokens of one epoch", f"{facts.tokens_per_epoch:,}"),
        ("written by", ", ".join(f"`{public_name(name)}`" for name in facts.generators) or "not recorded"),
    ]  # fmt: skip
    return "## Data\n\n" + markdown_table(("", ""), lines)


def _training(facts: TuneFacts) -> str:
    loss = " to ".join(f"{value:.4f}" for value in facts.losses)
    how = f", {facts.distributed}" if facts.distributed else ""
    measured = [
        ("loss, first to last", loss or "not recorded"),
        ("time", _duration(facts.seconds)),
        ("hardware", f"{facts.processes} x {facts.device or 'unknown device'}{how}"),
        ("seed", str(facts.seed)),
        ("versions", ", ".join(f"{name} {version}" for name, version in facts.versions.items()) or "not recorded"),
    ]
    settings = [(f"`{name}`", _shown(value)) for name, value in facts.config.items() if name not in _HIDDEN]
    return (
        f"## Training\n\n{markdown_table(('', ''), measured)}\n\n"
        f"Every weight is trained; there are no adapters.\n\n{markdown_table(('setting', 'value'), settings)}"
    )


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _shown(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(public_name(str(part)) for part in value) or "-"
    return f"{value:g}" if isinstance(value, float) else public_name(str(value)) or "-"


def _decontamination(facts: TuneFacts) -> str:
    if not facts.benchmarks:
        told = "Not recorded: take scores on public benchmarks with care, the data may hold their problems."
    else:
        names = ", ".join(f"`{public_name(name)}`" for name in facts.benchmarks)
        told = f"The rows were compared with {names}, and those that overlap an item were dropped before training."
    mixed = " Rehearsal tables were not compared." if facts.rehearsal else ""
    return f"## Decontamination of the data\n\n{told}{mixed}"


def with_scores(text: str, scores: Sequence[ScoreFacts]) -> str:
    """The card with these scores as its section on evaluation; all else, words written by hand too, stays as it is.

    A card that was as datagen wrote it counts as such again. InputError where there is no such section.
    """
    body = unstamped(text)
    section = _SECTION.search(body)
    if section is None:
        raise InputError("the card has no section `## Evaluation`", hint="Add that line where the scores belong")
    body = body[: section.start()] + _evaluation(scores) + body[section.end() :]
    return stamp(body) if is_generated(text) else body


def _evaluation(scores: Sequence[ScoreFacts]) -> str:
    if not scores:
        return "## Evaluation\n\nNone recorded."
    head = ("benchmark", "problems", "protocol", "model", "n", "temperature", "score", "value", "95 % interval")
    return f"## Evaluation\n\n{markdown_table(head, map(_score, scores))}"


def _score(score: ScoreFacts) -> tuple[str, ...]:
    temperature = "-" if score.temperature is None else f"{score.temperature:g}"
    return (
        public_name(score.benchmark), str(score.problems), score.protocol, f"`{public_name(score.model)}`",
        str(score.n), temperature, f"pass@{score.k}", f"{score.value:.1%}", f"{score.low:.1%} to {score.high:.1%}",
    )  # fmt: skip


def _terms(facts: TuneFacts) -> str:
    chosen = (
        f"This model's licence, chosen by who published it: `{facts.license}`."
        if facts.license
        else "No licence was chosen for this model: ask who made it before you use it."
    )
    base = f"It is a derivative of `{public_name(facts.base)}`, whose licence goes on to apply."
    names = [public_name(name) for name in facts.generators]
    written = "\n".join(f"- `{name}`: {terms_of(name)}" for name in names)
    against = filter(None, (training_conflict(name, public_name(facts.base)) for name in names))
    warned = "".join(f"\n\n**Read before you publish:** {text}" for text in against)
    models = f"\n\nThe models that wrote the data have terms of their own:\n\n{written}" if written else ""
    return f"## Licence\n\n{chosen} {base}{models}{warned}"


def _again(facts: TuneFacts) -> str:
    pinned = f" The base model's revision was `{facts.revision}`." if facts.revision else ""
    return f"## Make it again\n\n{fenced(facts.command, 'sh')}\n\nThe same data, seed and settings.{pinned}"
