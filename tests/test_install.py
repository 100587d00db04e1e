"""Claims about the installed package: a wheel alone, without the checkout, is a working datagen."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SHOW = "from datagen.resources import resource; print(*(resource(name) for name in {names}), sep='\\n')"
NAMES = [
    "prompts/questions.md",
    "prompts/demo/tests.md",
    "data/topics.toml",
    "data/suites/demo-heldout.jsonl",
    "data/background.txt",
    "data/demo-model",
]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built from the checkout."""
    pytest.importorskip("hatchling", reason="building a wheel needs hatchling (in the dev extra)")
    folder = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(folder),
        str(ROOT),
    ]
    subprocess.run(command, check=True, timeout=120)
    return next(folder.glob("datagen-*.whl"))


def in_wheel(wheel: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python with the unpacked wheel in front of everything, in a folder that is no checkout."""
    zipfile.ZipFile(wheel).extractall(folder / "site")
    environment = os.environ | {"PYTHONPATH": str(folder / "site")}
    command = [sys.executable, "-P", *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.slow
def test_wheel_finds_its_resources(wheel, tmp_path):
    """Prompts, topics, the suite and the demo model are found inside the installed package."""
    shown = in_wheel(wheel, tmp_path, "-c", SHOW.format(names=NAMES))
    paths = [Path(line) for line in shown.stdout.split()]
    assert len(paths) == len(NAMES), shown.stderr
    assert all(path.is_relative_to(tmp_path / "site") and path.exists() for path in paths)


@pytest.mark.slow
def test_wheel_resolves_its_recipes(wheel, tmp_path):
    """`datagen run demo --dry-run` works from the wheel alone."""
    ended = in_wheel(wheel, tmp_path, "-m", "datagen", "run", "demo", "--dry-run")
    assert ended.returncode == 0 and 'model = "demo-model"' in ended.stdout, ended.stderr


@pytest.mark.slow
def test_wheel_takes_no_general_names(wheel):
    """The wheel's top level is datagen and sandbox: no prompts, data, tests or docs land among other packages."""
    top = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == {"datagen", "sandbox"}


@pytest.mark.slow
def test_wheel_carries_presets_and_accelerate_files(wheel):
    """Every preset and every file for accelerate of the checkout is in the wheel."""
    there = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("datagen/training/")}
    here = [*ROOT.glob("datagen/training/presets/*.toml"), *ROOT.glob("datagen/training/accelerate/*.yaml")]
    assert len(here) == 11 and {path.relative_to(ROOT).as_posix() for path in here} <= there
