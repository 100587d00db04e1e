"""Dedup in rounds, killed before each operation on a file in turn, for test_similarity_rounds.

    python rounds_driver.py FOLDER      prints how many operations there were

Each run is a forked child of its own, in FOLDER/k; Polars is not used before a fork, as it does not survive one.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from test_similarity_rounds import CONFIG, assert_same, done, frame, mixed

OTHER = replace(CONFIG, threshold=0.6)


def prepare(folder: Path) -> None:
    """Three rounds under other settings, whose files are to be replaced."""
    for count in (60, 120, 180):
        done(frame(mixed(9)).head(count), OTHER, folder)


def first_round(folder: Path, step: int) -> None:
    """The round that is killed right before its `step`-th operation."""
    left = [step]

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        changes = event in {"os.rename", "os.remove", "os.mkdir"} or (event == "open" and arguments[1] == "wb")
        if changes and str(folder) in str(arguments[0]):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    done(frame(mixed(9)).head(150), CONFIG, folder)


def check(folder: Path) -> None:
    """What the next round finds is what the whole is."""
    rows = frame(mixed(9))
    assert_same(done(rows, CONFIG, folder), done(rows))
    assert len(list(folder.iterdir())) <= 3


def killed(work: Callable[..., None], *arguments: object) -> bool:
    """Whether the work, in a child, was killed."""
    child = os.fork()
    if child == 0:
        work(*arguments)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code not in (0, -signal.SIGKILL):
        sys.exit(f"{work.__name__} {arguments}: exit code {code}")
    return code != 0


def main() -> None:
    """Kills before operation 1, 2, ... until a run has no more of them."""
    for step in range(1, 100):
        folder = Path(sys.argv[1]) / str(step)
        killed(prepare, folder)
        ended = not killed(first_round, folder, step)
        killed(check, folder)
        if ended:
            print(step - 1)
            return


if __name__ == "__main__":
    main()
