"""vLLM at a lower price, for tests that ask what it says and not how it runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

LEAN = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "OMP_NUM_THREADS": "1"}
"""One process instead of two, which is a third of the start, and one thread: other tests run beside it."""


@contextmanager
def lean() -> Iterator[None]:
    """LEAN is the environment of what is started meanwhile."""
    before = {name: os.environ.get(name) for name in LEAN}
    os.environ.update(LEAN)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
