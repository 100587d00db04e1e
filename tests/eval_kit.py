"""What the tests of evaluations share: a model that is a function, and evaluations by it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from datagen.config import EngineConfig, EvalConfig, RunConfig
from datagen.engines.replay import Replay
from datagen.evaluation.problems import load_problems
from datagen.evaluation.session import evaluate
from datagen.models import Completion, Request, Sample

SUITE = "interview"
SOLUTIONS = {problem.item.entry_point: problem.item.solution for problem in load_problems(SUITE).problems}


def answer(request: Request) -> Completion:
    """Solves the interview suite; sample i of n is wrong where its seed says so."""
    asked = request.messages[-1].content if request.messages else str(request.prompt)
    name = next(entry for entry in SOLUTIONS if f"called {entry}." in asked)
    texts = (_text(name, request.sampling.seed + index) for index in range(request.sampling.n))
    return Completion(tuple(Sample(text) for text in texts), 20, 10)


def _text(name: str, seed: int) -> str:
    code = SOLUTIONS[name] if seed % 3 else f"def {name}(*args):\n    return 0\n"
    return f"[PYTHON]\n{code}[/PYTHON]"


def score(folder: Path, model: Callable[[Request], Completion] = answer, /, **settings: Any) -> dict[str, Any]:
    """The report of an evaluation, of the interview suite in a chat unless settings say otherwise."""
    chosen = {"benchmarks": (SUITE,), "style": "chat", "n": 4, "temperature": 0.8} | settings
    run = RunConfig(sandbox_workers=2, seed=chosen.pop("seed", 0), prompts=chosen.pop("prompts", ""))
    engine = EngineConfig(model=chosen.pop("model", "some/model"), concurrency=chosen.pop("concurrency", 4))
    said: list[str] = []
    return asyncio.run(
        evaluate(folder, engine, run, EvalConfig(**chosen), said.append, engines=Replay(model, engine.model))
    )


def files(folder: Path) -> dict[str, bytes]:
    """What an evaluation leaves for people and programs, as bytes."""
    names = ("report.json", "samples.jsonl", "results.jsonl", "kept.parquet")
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.name in names}
