"""A whole run in seconds: a function as the model, short prompts, the real sandbox."""

from __future__ import annotations

import re
from pathlib import Path
from random import Random

from datagen import workflow
from datagen.collaborators import LazySandbox
from datagen.engines.replay import Replay
from datagen.interrupt import Interrupt
from datagen.models import Completion, Request, Sample
from datagen.recipe import STEPS, Recipe, load_recipe
from datagen.store import RunFolder

VERBS = {"add": "+", "subtract": "-", "multiply": "*"}


def answer(request: Request) -> Completion:
    """A small model of arithmetic: asks, tests and solves, all drawn from the seed of each sample; often wrong."""
    text = request.messages[-1].content
    return Completion(tuple(Sample(_text(text, request.sampling.seed + i)) for i in range(request.sampling.n)), 10, 20)


def _text(prompt: str, seed: int) -> str:
    rng = Random(seed)
    found = re.search(r"function (\w+)_(\d+)\(n\)", prompt)
    if found is None:
        asked = ((rng.choice(list(VERBS)), rng.randrange(1, 40)) for _ in range(5))
        return "\n".join(
            f"{number}. Write a function {verb}_{by}(n) that takes a number n and will {verb} {by} with it."
            for number, (verb, by) in enumerate(asked, 1)
        )
    verb, by = found.groups()
    name, right = f"{verb}_{by}", VERBS[verb]
    if "candidate" in prompt:
        operator = right if rng.random() < 0.5 else rng.choice("+-*")
        return f"[PYTHON]\ndef {name}(n):\n    return n {operator} {by}\n[/PYTHON]"
    wrong = rng.random() < 0.3
    values = rng.sample(range(2, 90), 5)
    results = [eval(f"{n} {right} {by}") + (wrong and n == values[0]) for n in values]
    lines = (f"assert {name}({n}) == {value}" for n, value in zip(values, results, strict=True))
    return "[TESTS]\n" + "\n".join(lines) + "\n[/TESTS]"


def small_recipe(folder: Path) -> Recipe:
    """Short prompts (written to `folder`) and few questions; everything else as shipped."""
    prompts = folder / "prompts"
    prompts.mkdir()
    for name, body in {
        "questions": "Ask {{ count }} questions.",
        "tests": "{{ question }}",
        "solutions": "candidate: {{ question }} {{ test }}",
    }.items():
        variables = re.findall(r"{{ (\w+) }}", body)
        (prompts / f"{name}.md").write_text(f"+++\nvariables = {variables}\n+++\n## user\n{body}\n")
    flags = {
        "run": {"prompts": str(prompts), "sandbox_workers": 2},
        "questions": {"target": 12, "per_prompt": 5},
        "solve": {"n": 4},
        "export": {"license": "apache-2.0"},
    }
    return load_recipe(None, flags, name="small")


async def work(folder: Path, recipe: Recipe, step, engine=answer, said: list[str] | None = None) -> None:
    """Does `step` on an opened run whose three steps are answered by `engine`."""
    say = (said if said is not None else []).append
    with RunFolder(folder) as opened:
        async with LazySandbox(recipe.run) as sandbox:
            engines = dict.fromkeys(STEPS, Replay(engine))
            await step(workflow.Run(opened, recipe, engines, sandbox, Interrupt(say), say))


def tables(folder: Path) -> dict[str, bytes]:
    """Every table and report of a run, as bytes."""
    found = [path for path in folder.rglob("*") if path.suffix == ".parquet" or path.name == "report.json"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}
