"""Options and fixtures that every test may use, and which process runs which file."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

settings.register_profile("datagen", deadline=None)  # a busy machine is no failed claim
settings.load_profile("datagen")
os.environ.setdefault("RAY_worker_niceness", "0")  # Ray's 15 starves its workers beside the other process of tests

ENGINES = "tests/engines/"
"""Its files share one vLLM engine and one vLLM server, which are long in starting: one process runs them all."""

LONG = (
    ENGINES, "tests/sandbox/test_sandbox_catalogue.py", "tests/test_demo_run.py",
    "tests/similarity/test_similarity_ray.py", "tests/training/test_trainer.py", "tests/training/test_finetune.py",
    "tests/test_loop.py", "tests/demo/", "tests/evaluation/test_harness_truth.py", "tests/test_kill_run.py",
    "tests/test_kill_and_resume.py", "tests/test_pipeline.py", "tests/test_doctor.py", "tests/test_install.py",
    "tests/sandbox/test_sandbox_benchmarks.py", "tests/overlap/test_windows.py",
)  # fmt: skip
"""What takes longest comes first, so that none of it is left over at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long files first, then those with many tests."""
    files = Counter(item.location[0] for item in items)

    def place(item: pytest.Item) -> tuple[int, int, str]:
        file = item.location[0]
        long = (at for at, name in enumerate(LONG) if file.startswith(name))
        return next(long, len(LONG)), -files[file], file

    items.sort(key=place)


@pytest.hookimpl(optionalhook=True)  # without pytest-xdist nothing calls it
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """For `pytest -n`: a process gets whole files, and all of ENGINES at once."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return ENGINES if nodeid.startswith(ENGINES) else super()._split_scope(nodeid)

    return Scheduling(config, log) if config.option.dist == "loadfile" else None


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--benchmarks", type=Path, default=None, metavar="DIR",
        help="real benchmark files (humaneval/, mbpp_original/, gsm8k/, humanevalpack/); without it those tests skip",
    )  # fmt: skip


@pytest.fixture(scope="session")
def benchmarks_dir(request: pytest.FixtureRequest) -> Path:
    """The folder given by --benchmarks; a test that needs it skips without."""
    folder: Path | None = request.config.getoption("--benchmarks")
    if folder is None:
        pytest.skip("needs real benchmark files: pytest --benchmarks=DIR")
    if not folder.is_dir():
        pytest.fail(f"--benchmarks {folder} is no folder")
    return folder
