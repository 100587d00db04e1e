"""pass@k without bias, and how sure one can be of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

ROUNDS = 10_000
_CHUNK = 500
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over problems, its standard error, and the bounds of its 95 % bootstrap interval."""

    value: float
    stderr: float
    low: float
    high: float


def pass_at_k(n: ArrayLike, passed: ArrayLike, k: int) -> Floats:
    """For each problem the chance that k of its n samples, drawn without repetition, hold one that passed.

    1 - C(n - c, k) / C(n, k), without bias for any n >= k (arXiv 2107.03374, section 2.1). ValueError where n < k,
    k < 1, or more samples passed than there are.
    """
    total, right = np.broadcast_arrays(np.asarray(n, dtype=np.int64), np.asarray(passed, dtype=np.int64))
    if k < 1 or (total < k).any() or (right < 0).any() or (right > total).any():
        raise ValueError(f"pass@{k} needs 1 <= k <= n and 0 <= passed <= n")
    steps = np.arange(k)
    wrong = np.maximum((total - right)[..., None] - steps, 0)
    return np.asarray(1.0 - np.prod(wrong / (total[..., None] - steps), axis=-1), dtype=np.float64)


def estimate(values: ArrayLike, seed: int = 0) -> Estimate:
    """The mean of the problems' values. Error and interval are over problems: another draw of them and of samples."""
    each = np.asarray(values, dtype=np.float64)
    spread = float(each.std(ddof=1) / np.sqrt(each.size)) if each.size > 1 else 0.0
    low, high = np.quantile(means(each, seed), (0.025, 0.975))
    return Estimate(float(each.mean()), spread, float(low), float(high))


def means(each: Floats, seed: int = 0, rounds: int = ROUNDS) -> Floats:
    """The means of `rounds` resamples of the problems, with replacement; ValueError if there is no problem."""
    if each.size == 0:
        raise ValueError("no problems to resample")
    rng: Any = np.random.default_rng(seed)
    shares = np.full(each.size, 1 / each.size)
    drawn = [
        rng.multinomial(each.size, shares, size=min(_CHUNK, rounds - done)) @ each
        for done in range(0, rounds, _CHUNK)
    ]  # fmt: skip
    return np.asarray(np.concatenate(drawn) / each.size, dtype=np.float64)
