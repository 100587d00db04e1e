"""Published figures, shown beside a score only where model, protocol and decoding are the same."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from datagen.resources import resource


@dataclass(frozen=True, slots=True)
class Published:
    """One figure, in percent, with where it stands. `temperature` is that of the decoding, 0 for greedy."""

    model: str
    benchmark: str
    protocol: str
    problems: int
    k: int
    temperature: float
    value: float
    source: str


@cache
def table() -> tuple[Published, ...]:
    """Every figure of data/published-scores.toml."""
    data = tomllib.loads(resource("data/published-scores.toml").read_text(encoding="utf-8"))
    return tuple(
        Published(
            model, group["benchmark"], group["protocol"], group["problems"], k, group["temperature"], value,
            group["source"],
        )
        for group in data["figures"]
        for model, values in group["models"].items()
        for k, value in zip(group["k"], values, strict=True)
    )  # fmt: skip


def beside(benchmark: str, entry: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What was published for this very model, benchmark, protocol and decoding: k -> percent and source."""
    model = entry["model"].partition("@")[0].lower()
    same = (model, benchmark, entry["protocol"], entry["problems"], entry["temperature"])
    return {
        str(one.k): {"percent": one.value, "source": one.source}
        for one in table()
        if (one.model.lower(), one.benchmark, one.protocol, one.problems, one.temperature) == same
        and str(one.k) in entry["pass@k"]
    }


@cache
def scoreboard(benchmark: str) -> tuple[tuple[str, int, int, str], ...]:
    """Published counts of solved problems on a suite: (model, solved, problems, source)."""
    data = tomllib.loads(resource("data/published-scores.toml").read_text(encoding="utf-8"))
    return tuple(
        (model, solved, board["problems"], board["source"])
        for board in data["scoreboards"]
        if board["benchmark"] == benchmark
        for model, solved in board["models"].items()
    )
