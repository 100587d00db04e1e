"""Presets: TOML files with one table, [finetune], that fix how a fine-tune is done.

A value comes from the default, else the preset, else the flag. In the shipped ones a line that ends in "# ours" holds a
value that the fine-tune they follow did not publish.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datagen.config import FinetuneConfig, as_table, build, load_toml, unknown_key
from datagen.errors import UsageError

SHIPPED = Path(__file__).resolve().parent / "presets"
TABLE = "finetune"


def shipped_presets() -> tuple[str, ...]:
    """The names of the presets that ship with datagen."""
    return tuple(sorted(path.stem for path in SHIPPED.glob("*.toml")))


def load_preset(name_or_path: str, flags: Mapping[str, Any]) -> FinetuneConfig:
    """The defaults, overridden by the preset ("": none), overridden by `flags` (key -> value, None: not given).

    UsageError for an unknown name, a file that is no TOML, an unknown table or key, a value that does not fit.
    """
    tables = load_toml(_path(name_or_path)) if name_or_path else {}
    for table in tables:
        if table != TABLE:
            raise unknown_key(table, {TABLE: None}, name_or_path)
    settings = as_table(tables.get(TABLE, {}), TABLE, name_or_path)
    return build(FinetuneConfig, settings, flags, where=f"{name_or_path or 'command line'} [{TABLE}]")


def _path(name: str) -> Path:
    path = Path(name) if name.endswith(".toml") else SHIPPED / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(shipped_presets())
        raise UsageError(f"no preset {name}", hint=f"Known: {known}; or give the path of a TOML file")
    return path
