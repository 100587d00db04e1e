"""Claims about `datagen run demo` as a user runs it: real vLLM, the shipped model, the real sandbox."""

from __future__ import annotations

import asyncio
import os
import runpy
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from datagen.models import Row
from datagen.store import read_report
from datagen.tables import iter_rows

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1000),  # the run itself is given 900 s
    pytest.mark.skipif(find_spec("vllm") is None, reason="needs vLLM: pip install '.[cpu]'"),
]
ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    """The folder of one run of the demo."""
    folder = tmp_path_factory.mktemp("demo") / "run"
    command = [sys.executable, "-m", "datagen", "run", "demo", "--run", str(folder)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    assert ended.returncode == 0, ended.stderr
    assert "dataset" in ended.stdout and "Traceback" not in ended.stderr
    return folder


@pytest.fixture(scope="module")
def rows(demo) -> list[Row]:
    return list(iter_rows(demo / "4-decontaminate" / "kept.parquet", Row))


def test_demo_gives_sixty_rows_or_more(rows):
    """The demo ends with at least 60 verified rows."""
    assert len(rows) >= 60


def test_demo_is_honestly_imperfect(demo):
    """Between a quarter and three quarters of the questions are solved; the rest are dropped with a reason."""
    report = read_report(demo / "3-solve")
    assert 0.25 <= report.kept / report.inputs <= 0.75


def test_rows_agree_with_the_reference(rows):
    """At least 90 % of the rows that map back to a task agree with its reference on 50 fresh inputs."""
    benchmark = runpy.run_path(str(ROOT / "benchmarks" / "demo_agreement.py"), run_name="benchmark")
    found = asyncio.run(benchmark["measure"](rows))
    assert len(found) >= 50
    assert sum(one.agrees for one in found) / len(found) >= 0.9


def test_dataset_loads(demo, rows):
    """`datasets.load_dataset` on the exported folder gives the rows back."""
    script = f"import datasets; print(*datasets.load_dataset({str(demo / 'dataset')!r}, split='train')['id'])"
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(demo / "cache")}
    shown = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert shown.stdout.split() == [row.id for row in rows]
