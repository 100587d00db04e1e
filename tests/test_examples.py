"""The cluster examples in docs/ are what they claim to be: files of their kind, and commands that exist."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from datagen.cli import build_parser

FOLDER = Path(__file__).resolve().parent.parent / "docs/examples"
FILES = sorted(FOLDER.iterdir())


def commands(text: str) -> list[str]:
    """Each datagen command in a script or manifest: up to the end of its line, or of the quotes that it stands in."""
    flat = re.sub(r"\\\n\s*|\n\s+(?=--)", " ", text)
    found = re.findall(r"^[^'\n]*?'?\b(datagen (?:run|merge|solve|questions) [^'\n]*)", flat, re.MULTILINE)
    return [command for command in found if "--" in command]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_examples_use_commands_and_flags_that_exist(path):
    """Every datagen command in an example is one that the command line takes."""
    found = commands(path.read_text())
    assert found
    for command in found:
        build_parser().parse_args(shlex.split(command)[1:])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_examples_are_well_formed(path):
    """A manifest is YAML with a kind; a script is one that bash can read."""
    if path.suffix == ".yaml":
        assert all(document["kind"] for document in yaml.safe_load_all(path.read_text()))
    else:
        subprocess.run(["bash", "-n", str(path)], check=True)
