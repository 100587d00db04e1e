"""A run shared among the jobs of an array: each does a part of a stage in its own folder, `merge` puts them together.

    runs/NAME/shards/3-of-16/          a run's folder like any other, with the third of sixteen parts
    runs/NAME/shards/3-of-16/3-solve/shard.json   which part of what it holds

Part i of N has the inputs at positions i - 1, i - 1 + N, ... of the stage's own order. An item's result depends on the
item, the settings and the seed alone, so the parts together are what one process makes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from datagen.errors import InputError, SettingsChanged, UsageError
from datagen.files import read_json, write_json
from datagen.ledger import read_outcomes
from datagen.models import content_id
from datagen.store import StageFolder

FILE = "shard.json"
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Shard:
    """Part `index`, counted from 1, of `of` parts of the run in `base`."""

    index: int
    of: int
    base: Path

    @property
    def folder(self) -> Path:
        """Where the part is made."""
        return self.base / "shards" / f"{self.index}-of-{self.of}"

    def part(self, items: Iterable[Item]) -> list[Item]:
        """The items that are this part's."""
        return [item for position, item in enumerate(items) if position % self.of == self.index - 1]

    def note(self, stage: StageFolder, inputs: Iterable[str]) -> None:
        """Writes down, beside the stage, which part of which inputs (their ids) it holds."""
        named = {"index": self.index, "of": self.of, "inputs": content_id(*inputs)}
        path = stage.path / FILE
        if read_json(path, named) != named:
            hint = "Merge what is there, or delete that folder"
            raise InputError("was made from other inputs", where=str(stage.path), hint=hint)
        write_json(path, named)


def read_shard(text: str, base: Path) -> Shard:
    """The part that "3/16" names; UsageError if it names none."""
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise UsageError(f"--shard {text} is no part", hint="Give --shard i/N with i from 1 to N, like 3/16")
    return Shard(int(found[1]), int(found[2]), base)


def parts(base: Path, stage: str, folders: Sequence[Path] = ()) -> list[Path]:
    """The stage's folders in all shards of a run (or in `folders`) that fit together, by index; [] if none has it.

    Raises InputError naming the shards that are missing, unfinished or made from other inputs, SettingsChanged naming
    the settings in which two differ.
    """
    found = [folder / stage for folder in folders or sorted((base / "shards").glob("*-of-*"))]
    notes = {path: read_json(path / FILE) for path in found if (path / FILE).is_file()}
    if not notes:
        return []
    ordered = sorted(notes, key=lambda path: notes[path]["index"])
    first = ordered[0]
    for path in ordered:
        _same(first, path, notes)
    _complete(base, stage, [notes[path]["index"] for path in ordered], notes[first]["of"])
    unfinished = [path for path in ordered if not (path / "report.json").exists()]
    if unfinished:
        named = ", ".join(f"{notes[path]['index']}/{notes[path]['of']}" for path in unfinished)
        raise InputError(f"shards not finished: {named}", where=str(base), hint="Run them again: they go on")
    return ordered


def _same(one: Path, other: Path, notes: dict[Path, Any]) -> None:
    """Raises what keeps two parts of one stage from going together."""
    settings, others = read_json(one / "settings.json"), read_json(other / "settings.json")
    changed = sorted(key for key in settings.keys() | others.keys() if settings.get(key) != others.get(key))
    if changed:
        told = ", ".join(f"{key} {settings.get(key)!r} and {others.get(key)!r}" for key in changed)
        raise SettingsChanged(f"differs from {one}: {told}", where=str(other), hint="Make one of them anew")
    for key, what in (("of", "into other parts"), ("inputs", "of other inputs")):
        if notes[one][key] != notes[other][key]:
            hint = "Give merge the shards of one array"
            raise InputError(f"is a split {what} than {one}", where=str(other), hint=hint)


def _complete(base: Path, stage: str, indexes: Sequence[int], of: int) -> None:
    missing = sorted(set(range(1, of + 1)) - set(indexes))
    if missing:
        named = ", ".join(f"{index}/{of}" for index in missing)
        raise InputError(f"shards missing: {named}", where=f"{base}, {stage}", hint="Run them with --shard")
    if len(indexes) > of:
        raise InputError("a shard was given twice", where=f"{base}, {stage}", hint="Give each once")


def gather(paths: Iterable[Path], stage: StageFolder, kept_type: type[Any]) -> int:
    """Adds what the parts hold to the stage's ledger, and says how many items that were. Killed, it goes on."""
    added = 0
    for path in paths:
        for outcome in read_outcomes(path / "ledger", kept_type):
            known = stage.ledger.done if outcome.final else stage.ledger.done | stage.ledger.failed
            if outcome.source_id not in known:
                stage.ledger.append(outcome)
                added += 1
    return added
