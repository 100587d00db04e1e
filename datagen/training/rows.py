"""What a model reads and what it is to write, from a run's verified rows or from any table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from datagen.errors import InputError, UsageError
from datagen.models import Drop, Message
from datagen.prompts import Prompt, load_prompt, prompt_folders
from datagen.recipe import Recipe, load_recipe
from datagen.sources import HubTable, read_rows
from datagen.store import DECONTAMINATE, finished_table, read_report

Load = Callable[[HubTable], pl.DataFrame] | None
ANSWERED = ("question", "test", "entry_point")


@dataclass(frozen=True, slots=True)
class Pair:
    """Messages that a model reads and the text that it is to write; without messages, text that is learnt whole."""

    id: str
    messages: tuple[Message, ...]
    completion: str


@dataclass(frozen=True, slots=True)
class Source:
    """The pairs of a run or a table, and what is known of them: who wrote the data, what it was checked against."""

    name: str
    pairs: tuple[Pair, ...]
    dropped: tuple[Drop, ...] = ()
    generators: tuple[str, ...] = ()
    benchmarks: tuple[str, ...] = ()


def read_source(source: str, form: str = "messages", *, prompts: str = "", load: Load = None) -> Source:
    """The rows of a run's folder or of a table, as pairs.

    A run gives the rows that its last stage kept. A table needs `messages`, `prompt` and `completion`, `question` and
    `solution`, `instruction` and `output`, or `text`. `form` "solver" asks as the run's solver was asked: it needs
    `question`, `solution`, `shown_test`, `entry_point`, and the prompt `solutions.md` of the run (or of `prompts`).
    InputError where the table cannot be read or has other columns.
    """
    recipe = _recipe_of(source)
    path = str(finished_table(Path(source), DECONTAMINATE)) if recipe else source
    rows = read_rows(path, column="", load=load)
    make = _solver(rows, source, prompts or (recipe.run.prompts if recipe else "")) if form == "solver" else None
    make = make or _reader(rows.columns, source)
    made = [make(_named(row, number), row) for number, row in enumerate(rows.iter_rows(named=True))]
    kept = tuple(pair for pair in made if pair.completion.strip())
    dropped = tuple(Drop("empty", pair.id) for pair in made if not pair.completion.strip())
    return Source(_name(source), kept, dropped, _generators(rows, recipe), _benchmarks(source, recipe))


def _named(row: Mapping[str, Any], number: int) -> str:
    """The row's id, also where it is 0; its place in the table if it has none."""
    return str(number if row.get("id") in (None, "") else row["id"])


def _recipe_of(source: str) -> Recipe | None:
    written = Path(source) / "recipe.toml"
    return load_recipe(written, {}) if written.is_file() else None


def _name(source: str) -> str:
    """A name without the folders of this machine; OWNER/NAME of the Hub stays whole."""
    path = Path(source)
    return (path.resolve().name if path.exists() else source).removesuffix(".parquet").removesuffix(".jsonl")


def _generators(rows: pl.DataFrame, recipe: Recipe | None) -> tuple[str, ...]:
    steps = [recipe.engines[step].model for step in ("questions", "tests", "solutions")] if recipe else []
    column = rows["model"].unique(maintain_order=True).to_list() if rows.schema.get("model") == pl.String else []
    return tuple(dict.fromkeys(name for name in (*steps, *column) if name))


def _benchmarks(source: str, recipe: Recipe | None) -> tuple[str, ...]:
    """What the run's rows were really compared with."""
    report = read_report(Path(source) / DECONTAMINATE) if recipe else None
    missing = report.notes.get("not_checked", ()) if report else ()
    against = recipe.decontaminate.against if recipe else ()
    return tuple(name for one in against if (name := one.removesuffix("?")) not in missing)


# -- how a row reads -------------------------------------------------------------------------------------------------

Make = Callable[[str, Mapping[str, Any]], Pair]


def _reader(columns: Sequence[str], source: str) -> Make:
    """How the pairs of a table with these columns are made; InputError if it is unknown."""
    for needed, make in _READERS.items():
        if set(needed) <= set(columns):
            return make
    forms = "; ".join(" and ".join(needed) for needed in _READERS)
    hint = f"Rename columns: needed are {forms}"
    raise InputError(f"columns {', '.join(columns)} hold no training rows", where=source, hint=hint)


def _of_messages(name: str, row: Mapping[str, Any]) -> Pair:
    turns = _turns(row["messages"], name)
    if not turns or turns[-1].role != "assistant":
        return Pair(name, turns, "")
    return Pair(name, turns[:-1], turns[-1].content)


def _of_prompt(name: str, row: Mapping[str, Any]) -> Pair:
    prompt, completion = row["prompt"], row["completion"]
    turns = (Message("user", prompt or ""),) if isinstance(prompt, str | None) else _turns(prompt, name)
    text = completion if isinstance(completion, str | None) else "".join(m.content for m in _turns(completion, name))
    return Pair(name, turns, text or "")


def _of_columns(asked: str, answered: str, extra: str = "") -> Make:
    def make(name: str, row: Mapping[str, Any]) -> Pair:
        parts = [str(row[asked] or ""), str(row.get(extra) or "")]
        return Pair(name, (Message("user", "\n\n".join(filter(None, parts))),), str(row[answered] or ""))

    return make


def _of_text(name: str, row: Mapping[str, Any]) -> Pair:
    return Pair(name, (), str(row["text"] or ""))


def _turns(value: Any, name: str) -> tuple[Message, ...]:
    try:
        return tuple(Message(str(turn["role"]), str(turn["content"] or "")) for turn in value or ())
    except (TypeError, KeyError) as error:
        hint = "Each turn needs role and content"
        raise InputError(f"row {name}: its messages are no list of turns", where="messages", hint=hint) from error


_READERS: Mapping[tuple[str, ...], Make] = {
    ("messages",): _of_messages,
    ("prompt", "completion"): _of_prompt,
    ("question", "solution"): _of_columns("question", "solution"),
    ("instruction", "output"): _of_columns("instruction", "output", "input"),
    ("text",): _of_text,
}


def _solver(rows: pl.DataFrame, source: str, prompts: str) -> Make:
    """As the solver was asked, with the test that it saw; it answered between [PYTHON] and [/PYTHON]."""
    missing = {"question", "solution", "shown_test", "entry_point"} - set(rows.columns)
    if missing:
        hint = "Use --form messages"
        raise InputError(f"--form solver needs the columns {', '.join(sorted(missing))}", where=source, hint=hint)
    prompt = load_prompt("solutions", prompt_folders(prompts), ANSWERED)
    return lambda name, row: Pair(name, _asked(prompt, row), f"[PYTHON]\n{str(row['solution']).strip()}\n[/PYTHON]")


def _asked(prompt: Prompt, row: Mapping[str, Any]) -> tuple[Message, ...]:
    return prompt.render(question=row["question"], test=row["shown_test"], entry_point=row["entry_point"])


# -- rehearsal -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """Other data mixed in, so that the model keeps what it knew: its share of all tokens, between 0 and 1."""

    source: str
    share: float


def rehearsals(given: Sequence[str]) -> tuple[Rehearsal, ...]:
    """From `TABLE=SHARE`; UsageError for anything else, or shares that leave nothing for the data itself."""
    parsed = tuple(_parsed(given))
    if sum(one.share for one in parsed) >= 1:
        raise UsageError("--rehearsal leaves nothing for the data itself", hint="Give shares that sum to less than 1")
    return parsed


def _parsed(given: Sequence[str]) -> Iterator[Rehearsal]:
    for text in given:
        source, found, share = text.rpartition("=")
        try:
            value = float(share) if found else 0.0
        except ValueError:
            value = 0.0
        if not source or not 0 < value < 1:
            raise UsageError(f"--rehearsal {text} is no TABLE=SHARE", hint="Give one such as bigcode/stack=0.06")
        yield Rehearsal(source, value)
