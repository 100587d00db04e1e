"""Options and fixtures that every test may use."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("datagen", deadline=None)  # a busy machine is no failed claim
settings.load_profile("datagen")


VLLM = ("tests/engines/", "tests/evaluation/test_eval_vllm.py", "tests/test_demo_run.py")
"""Where tests start vLLM, which takes longest."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """For `pytest -n`: the files that take longest come first, so that none is left over at the end."""
    files = Counter(item.location[0] for item in items)
    items.sort(key=lambda item: (not item.location[0].startswith(VLLM), -files[item.location[0]], item.location[0]))


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
