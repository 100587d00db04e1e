"""A pool for the tests of this folder, at each level, behind a plain call; started once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from sandbox import Job, Limits, Pool, Verdict

QUICK = Limits(cpu_seconds=1.0, wall_seconds=10.0)


class Host:
    """An event loop of its own with an open pool."""

    def __init__(self, level: str) -> None:
        self.level = level
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._pool = self._do(Pool(workers=1, levels=(level,)).__aenter__())

    def run(self, program: str, *tests: str, limits: Limits = QUICK, seed: int = 0) -> Verdict:
        return self._do(self._pool.run(Job(program, tests, limits, seed)))

    def close(self) -> None:
        self._do(self._pool.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(120)


@pytest.fixture(scope="session", params=["L0", "L1"])
def host(request) -> Iterator[Host]:
    """A sandbox at every level of the ladder."""
    opened = Host(request.param)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def best() -> Iterator[Host]:
    """A sandbox at the highest level only, for what takes long or does not depend on the level."""
    opened = Host("L0")
    yield opened
    opened.close()
