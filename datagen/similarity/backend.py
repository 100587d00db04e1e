"""The inner loops of dedup as a contract, and the choice between the two modules that fulfil it with the same bits."""

from __future__ import annotations

import importlib
import importlib.util
import re
from typing import Protocol, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from datagen.errors import MissingDependency
from datagen.similarity.hashing import U32, U64
from datagen.similarity.texts import Texts

COMPILED_FROM = 20_000
"""Rows from which loading compiled code (a second, once it is cached) pays for itself."""

Rows = NDArray[np.int64]


class Backend(Protocol):
    """The inner loops. All texts but those of `marked` and `scan` are normalised and not empty."""

    AWKWARD: re.Pattern[str]
    """What the backend's `scan` would read wrongly in text without markup; such rows come to it as tokens."""

    def marked(self, texts: pl.Series, content: Texts) -> NDArray[np.bool_]:
        """Which texts (no null among them) may hold markup, characters beyond ASCII or anything `AWKWARD`; too many is
        only slow. `content` are the same texts.
        """
        ...

    def scan(self, texts: Texts, whole: NDArray[np.bool_]) -> Texts:
        """The tokens of each text with one space between; where `whole`, the text is that already."""
        ...

    def values(self, texts: Texts) -> U64:
        """`hashing.value` of each text."""
        ...

    def signatures(self, texts: Texts, size: int, a: U32, b: U32) -> U32:
        """A row per text: the MinHash signature of its shingles of `size` words (`hashing`)."""
        ...

    def overlaps(self, texts: Texts, size: int, left: Rows, right: Rows) -> tuple[Rows, Rows]:
        """(shingles in both, shingles in either) of each pair of texts, compared as bytes, never by hash alone."""
        ...


def choose(name: str, rows: int) -> Backend:
    """The backend called numpy or numba; for auto, numba where it is installed and there are rows enough."""
    installed = importlib.util.find_spec("numba") is not None
    if name == "numba" and not installed:
        raise MissingDependency(
            "numba is not installed", hint='Run: pip install "datagen[fast]", or use --backend numpy'
        )
    compiled = name == "numba" or (name == "auto" and installed and rows >= COMPILED_FROM)
    module = "datagen.similarity.compiled" if compiled else "datagen.similarity.vectorised"
    return cast(Backend, importlib.import_module(module))


def require_ray() -> None:
    """MissingDependency if ray, which `on_ray` loads, is not installed."""
    if importlib.util.find_spec("ray") is None:
        raise MissingDependency(
            "ray is not installed",
            hint='Run: pip install "datagen[ray]", or leave --address out to work on this machine',
        )
