"""The held-out suite data/suites/demo-heldout.jsonl: problems that the demo model never saw, in HumanEval's columns.

`python -m datagen.demo.suite data/suites/demo-heldout.jsonl` writes it again, byte for byte.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from random import Random

from datagen.demo.phrasing import named_argument, question
from datagen.demo.problems import ARGUMENTS, Task, asserts, heldout, source


def row(task: Task) -> dict[str, str]:
    """HumanEval's columns: the prompt is a signature and a docstring, the canonical solution the body."""
    rng = Random(f"suite {task.key}")
    asked = question(task, rng)
    signature, _, body = source(task, task.name, named_argument(task, asked)).partition("\n")
    checks = "\n".join(f"    {line}" for line in asserts(task, rng, 5, name="candidate"))
    return {
        "task_id": f"demo-heldout/{ARGUMENTS[task.takes]}/{task.name}",
        "prompt": f'{signature}\n    """{asked}"""\n',
        "entry_point": task.name,
        "canonical_solution": f"{body}\n",
        "test": f"def check(candidate):\n{checks}\n",
    }


def text() -> str:
    """The suite as JSON lines."""
    return "".join(json.dumps(row(task)) + "\n" for task in heldout())


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(text(), encoding="utf-8")
