"""The data set card: what stands in README.md beside the data, and on its page on the Hub.

A card that someone edited by hand must never be overwritten, so every generated card ends in a hidden comment with the
digest of the text above it: equal digest, nobody touched it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from datagen.licenses import check_license, terms_of
from datagen.models import Row

CONFIGS = {
    "default": "data/train-*.parquet",
    "all_candidates": "all_candidates/train-*.parquet",
    "rejected": "rejected/train-*.parquet",
}
"""The configs of the data set and where their shards lie."""

COLUMNS = {
    "messages": "the question as the user's turn, the solution in a code fence as the assistant's",
    "id": "hash of the question's text",
    "question": "the question, as the model asked it",
    "solution": "Python code: the first candidate that passed every test",
    "tests": "the tests it passed, one assert (with what it needs) in each",
    "shown_test": "the one test that the prompt of the candidates showed; the others were hidden",
    "entry_point": "name of the function that the tests call",
    "n_candidates": "candidates that the question could have",
    "n_tried": "candidates that were tried: all, or with early stop up to the first that passed",
    "n_passed": "candidates that passed every test; null with early stop, as are the next and difficulty",
    "pass_rate": "n_passed / n_candidates",
    "chosen_index": "which candidate is the solution, counted from 0",
    "difficulty": "difficulty asked for in the prompt of the question",
    "topic": "topic asked for in the prompt of the question",
    "model": "model that wrote the solution",
    "prompt": "digest of the prompt file of the candidates",
    "seed": "seed of the candidates: candidate i was drawn with seed + i",
}
"""Every column of the default config, in order, and what it holds."""

_LIMITS = """\
## Known limits

- The tests were written by a model too. That a solution passes means that these tests pass, not that it is correct,
  fast or safe.
- A question may be vague, or ask for something that its tests do not check.
- Topics and difficulties are what the prompts asked for, not what was measured.
- Decontamination finds overlaps of text and, by execution, solutions that pass a benchmark's tests. A benchmark's
  problem in other words with another solution may get through."""

_MARKER = re.compile(r"\n<!-- card made by datagen, sha256 of the text above: ([0-9a-f]{64}) -->\n?\Z")
_FRONT_MATTER = re.compile(r"\A---\n(.*?)^---[ \t]*$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class StageFacts:
    """One line of the funnel: taken == kept + sum of dropped, which counts by reason."""

    stage: str
    taken: int
    kept: int
    dropped: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class StepFacts:
    """How one step (questions, tests, solutions) was asked: model, prompt file, sampling."""

    step: str
    model: str
    revision: str
    prompt: str
    prompt_digest: str
    n: int
    temperature: float
    top_p: float
    max_tokens: int


@dataclass(frozen=True, slots=True)
class BenchmarkFacts:
    """One benchmark that the rows were compared with, by which method, and how many rows overlap an item of it."""

    name: str
    method: str
    items: int
    rows_hit: int


@dataclass(frozen=True, slots=True)
class CardFacts:
    """Everything that the card says. `license` is a Hub identifier or empty; `recipe` is TOML that `command` runs."""

    title: str
    license: str
    rows: int
    candidates: int
    rejected: int
    funnel: Sequence[StageFacts]
    steps: Sequence[StepFacts]
    benchmarks: Sequence[BenchmarkFacts]
    sandbox_level: str
    sandbox_limits: Mapping[str, str | int | float]
    seed: int
    sample: Row
    recipe: str
    command: str
    version: str


def card(facts: CardFacts) -> str:
    """The whole README.md, with its digest. Raises UsageError for a licence that is none of LICENSES."""
    check_license(facts.license)
    sections = (
        _front_matter(facts), _about(facts), _load(facts), _columns(), _sample(facts.sample), _funnel(facts.funnel),
        _steps(facts), _decontamination(facts.benchmarks), _sandbox(facts), _regenerate(facts), _LIMITS, _terms(facts),
    )  # fmt: skip
    return stamp("\n\n".join(sections) + "\n")


def stamp(text: str) -> str:
    """The text followed by the hidden comment that `is_generated` checks."""
    return f"{text}\n<!-- card made by datagen, sha256 of the text above: {_digest(text)} -->\n"


def is_generated(text: str) -> bool:
    """Whether the card is as datagen wrote it, to the letter; line ends and outer blank lines aside."""
    found = _MARKER.search(_unix(text))
    return found is not None and _digest(_unix(text)[: found.start()]) == found.group(1)


def unstamped(text: str) -> str:
    """What `stamp` made into this card; any other text as it is."""
    return _MARKER.sub("", _unix(text)) if is_generated(text) else text


def is_blank(text: str) -> bool:
    """Whether the card says nothing below its front matter, as one that the Hub made with a new repository."""
    return not _FRONT_MATTER.sub("", _unix(text).strip() + "\n").strip()


def license_of(text: str) -> str:
    """The licence that the card's front matter names, or ""."""
    front = _FRONT_MATTER.match(_unix(text))
    found = re.search(r"^license:[ \t]*(?:\n[ \t]*-[ \t]*)?(\S+)", front.group(1), re.MULTILINE) if front else None
    return found.group(1).strip("\"'") if found else ""


def size_category(rows: int) -> str:
    """The Hub's name for the number of rows: n<1K, 1K<n<10K ... n>1T."""
    bounds = ["1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T"]
    reached = sum(rows >= 10**power for power in range(3, 13))
    if reached == 0:
        return "n<1K"
    return f"{bounds[reached - 1]}<n<{bounds[reached]}" if reached < len(bounds) else "n>1T"


def _digest(text: str) -> str:
    return hashlib.sha256(_unix(text).strip("\n").encode("utf-8", "backslashreplace")).hexdigest()


def _unix(text: str) -> str:
    return text.replace("\r\n", "\n")


def _front_matter(facts: CardFacts) -> str:
    lines = [f"license: {facts.license}"] if facts.license else []
    lines += ["language:", "- en", "task_categories:", "- text-generation"]
    lines += [f"pretty_name: {json.dumps(_line(facts.title), ensure_ascii=False)}"]
    lines += ["size_categories:", f"- {size_category(facts.rows)}"]
    lines += ["tags:", "- synthetic", "- code", "- self-instruct", "- datagen", "configs:"]
    for name in _sizes(facts):
        lines += [f"- config_name: {name}", "  data_files:", "  - split: train", f"    path: {CONFIGS[name]}"]
    return "\n".join(["---", *lines, "---"])


def _about(facts: CardFacts) -> str:
    overlap = ", and so are rows that overlap a benchmark" if facts.benchmarks else ""
    tried = max((step.n for step in facts.steps if step.step == "solutions"), default=facts.sample.n_candidates)
    up_to = "up to " if facts.sample.n_passed is None else ""
    return (
        f"# {_line(facts.title)}\n\n"
        f"{facts.rows:,} programming questions, each with a Python solution and the unit tests that it passed. "
        f"A model asked the questions, wrote tests for each in a call of their own, then {up_to}{tried} candidate "
        f"solutions, having seen one of the tests. Every candidate ran against every test in a sandbox; the first that "
        f"passed all of them is the solution. Near-duplicate questions are left out{overlap}. Made with datagen "
        f"{facts.version}."
    )


def _load(facts: CardFacts) -> str:
    told = {
        "default": "a question with its tested solution",
        "all_candidates": "a candidate and how it did on each test",
        "rejected": "something that was dropped, and why",
    }
    lines = [(name, f"{rows:,}", told[name]) for name, rows in _sizes(facts).items()]
    code = (
        "from datasets import load_dataset\n\n"
        'rows = load_dataset("NAME/DATASET", split="train")  # or this folder\'s path'
    )
    table = markdown_table(("config", "rows", "one row is"), lines)
    return f"## Load\n\n{fenced(code, 'python')}\n\nA config's name is the second argument.\n\n{table}"


def _sizes(facts: CardFacts) -> dict[str, int]:
    """The rows of each config that has any; the others are not written."""
    sizes = zip(CONFIGS, (facts.rows, facts.candidates, facts.rejected), strict=True)
    return {name: rows for name, rows in sizes if rows}


def _columns() -> str:
    return "## Columns\n\n" + markdown_table(
        ("column", "holds"), [(f"`{name}`", text) for name, text in COLUMNS.items()]
    )


def _sample(row: Row) -> str:
    parts = {
        "question": fenced(row.question, "text"),
        "solution": fenced(row.solution, "python"),
        "tests": fenced("\n".join(row.tests), "python"),
        "shown_test": fenced(row.shown_test, "python"),
    }
    flat = [(f"`{name}`", _shown(getattr(row, name))) for name in COLUMNS if name not in parts and name != "messages"]
    shown = "\n\n".join(f"`{name}`\n\n{text}" for name, text in parts.items())
    return (
        f"## A row\n\n`messages` holds `question` as the user's turn and `solution`, fenced, as the assistant's.\n\n"
        f"{shown}\n\n{markdown_table(('column', 'value'), flat)}"
    )


def _shown(value: object) -> str:
    return "null" if value is None else str(value)


def _funnel(stages: Sequence[StageFacts]) -> str:
    lines = [(s.stage, f"{s.taken:,}", f"{s.kept:,}", f"{s.taken - s.kept:,}", reasons(s.dropped)) for s in stages]
    return "## From questions to rows\n\n" + markdown_table(("stage", "in", "kept", "dropped", "why"), lines)


def reasons(dropped: Mapping[str, int]) -> str:
    """Reasons with their counts, the most frequent first; "-" for none."""
    counted = sorted(
        ((reason, count) for reason, count in dropped.items() if count), key=lambda pair: (-pair[1], pair[0])
    )
    return ", ".join(f"{reason} {count:,}" for reason, count in counted) or "-"


def _steps(facts: CardFacts) -> str:
    lines = [
        (
            s.step, f"`{public_name(s.model)}`", f"`{s.revision}`" if s.revision else "not pinned",
            f"{s.prompt} (`{s.prompt_digest}`)", str(s.n), f"{s.temperature:g}", f"{s.top_p:g}", str(s.max_tokens),
        )
        for s in facts.steps
    ]  # fmt: skip
    head = ("step", "model", "revision", "prompt (digest)", "n", "temperature", "top_p", "max_tokens")
    return f"## Models, prompts, sampling\n\n{markdown_table(head, lines)}\n\nSeed of the run: {facts.seed}."


def _decontamination(benchmarks: Sequence[BenchmarkFacts]) -> str:
    if not benchmarks:
        return "## Decontamination\n\nNone: the rows were compared with no benchmark. Do so before you report scores."
    lines = [(b.name, b.method, f"{b.items:,}", f"{b.rows_hit:,}") for b in benchmarks]
    table = markdown_table(("benchmark", "method", "items", "rows that overlap"), lines)
    acts = (
        "Rows that any method but `openai` found were dropped as `contaminated`, those that a judge left open as "
        "`unresolved`; with `mark = true` in the recipe below all were kept. `openai` is reported only."
    )
    return f"## Decontamination\n\n{table}\n\n{acts}"


def _sandbox(facts: CardFacts) -> str:
    limits = markdown_table(
        ("limit of a program", "value"), [(name, str(value)) for name, value in facts.sandbox_limits.items()]
    )
    return f"## Sandbox\n\nIsolation while the tests ran: {facts.sandbox_level or 'not recorded'}.\n\n{limits}"


def _regenerate(facts: CardFacts) -> str:
    return (
        f"## Make it again\n\nSave this as `recipe.toml`:\n\n{fenced(_without_logins(facts.recipe), 'toml')}\n\n"
        f"{fenced(facts.command, 'sh')}\n\n"
        "The same seed, model and prompts ask for the same samples; a GPU may round differently from batch to batch."
    )


def _without_logins(recipe: str) -> str:
    """The recipe without the user and password that an address in it may hold."""
    return re.sub(r"(\w+://)[^/\s\"'@]+@", r"\1", recipe)


def _terms(facts: CardFacts) -> str:
    chosen = (
        f"The data set's licence, chosen by who published it: `{facts.license}`."
        if facts.license
        else "No licence was chosen for this data set: ask who made it before you use it."
    )
    names = list(dict.fromkeys(public_name(step.model) for step in facts.steps))
    terms = "\n".join(f"- `{name}`: {terms_of(name)}" for name in names)
    return f"## Licence\n\n{chosen}\n\nThe models that wrote the text have terms of their own:\n\n{terms}"


def public_name(model: str) -> str:
    """The model's name without the folders of the machine that it was loaded from."""
    local = model.startswith(("/", "./", "../", "~")) or model.count("/") > 1
    return model.rstrip("/").rsplit("/", 1)[-1] if local else model


def _line(text: str) -> str:
    return " ".join(text.split()) or "Questions, tests and solutions"


def markdown_table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table; a bar or a line break inside a cell does not end it."""
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join(
        f"| {' | '.join(' '.join(cell.replace('|', chr(92) + '|').split()) for cell in row)} |" for row in rows
    )


def fenced(text: str, language: str) -> str:
    """A code block whose fence is longer than any run of backticks inside it."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"
