"""Options and fixtures that every test may use."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("datagen", deadline=None)  # a busy machine is no failed claim
settings.load_profile("datagen")


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
