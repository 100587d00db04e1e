"""Finds the files that ship with datagen: prompts, topics, suites, the demo model.

The checkout comes first, then the copies inside the wheel (`datagen/_resources`); an editable install has only the
former, a wheel only the latter.
"""

from __future__ import annotations

from pathlib import Path

from datagen.errors import InputError

PACKAGE = Path(__file__).resolve().parent
ROOTS = (PACKAGE.parent, PACKAGE / "_resources")


def resource(name: str) -> Path:
    """The path of a shipped file or folder such as `data/topics.toml`; InputError if this install lacks it."""
    for root in ROOTS:
        if (path := root / name).exists():
            return path
    raise InputError(
        f"{name} is missing from this installation", hint="Install datagen again: pip install --force-reinstall datagen"
    )


def find(name: str, shipped_under: str) -> Path:
    """A user's file by path, else the shipped one of that name in `shipped_under`; InputError if neither is there."""
    given = Path(name)
    if given.exists():
        return given
    for root in ROOTS:
        if (path := root / shipped_under / name).exists():
            return path
    raise InputError(f"no file {name}, and none of that name ships with datagen", hint="Check the path")


def resolve_model(model: str) -> str:
    """`demo-model` becomes the path of the shipped demo model; every other name or path stays as it is."""
    if model == "demo-model" and not Path(model).exists():
        return str(resource("data/demo-model"))
    return model
