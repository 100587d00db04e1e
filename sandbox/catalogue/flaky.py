"""Programs that are right by chance: they pass under the first seed and not under the second."""

from __future__ import annotations

from sandbox.catalogue.cases import NOW, Entry, Kind, text
from sandbox.contract import Limits, Status

_PATIENT = Limits(cpu_seconds=1.0, wall_seconds=10.0)


def flaky(name: str, program: str, test: str, *more: Status) -> Entry:
    """Passes once at most; `more`: what it may be as well, on a machine that is busy with something else."""
    truth = frozenset({Status.FLAKY, *more})
    return Entry(name, Kind.FLAKY, f"{text(program)}\n", (text(test),), truth, truth, _PATIENT, second_seed=1)


FLAKY = [
    flaky(
        "unseeded random numbers",
        "import random\ndef f(items): return random.choice(items)",
        "assert f(list(range(1000))) == 864",
    ),
    flaky(
        "unseeded random order",
        "import random\ndef f(items): random.shuffle(items); return items",
        "assert f(list(range(8))) == [4, 1, 5, 2, 0, 3, 7, 6]",
    ),
    flaky(
        "order of a set",
        "def f(text): return list(set(text.split()))",
        "assert f('one two three four five six') == ['one', 'five', 'three', 'two', 'six', 'four']",
    ),
    flaky("hash of a text", "def f(text): return hash(text) % 1000", "assert f('one') == 705"),
    flaky(
        "wall clock",
        f"import time\nSTART = {NOW}\ndef f():\n    early = time.time() - START < 0.8\n"
        "    time.sleep(0.9)\n    return early",
        "assert f()",
        Status.FAIL,
        Status.DISPUTED,
    ),
]
