"""The loop closed: a run's rows train its own model, and arms at equal compute say what verification was worth.

    runs/NAME/loop/round-1/rows/verified.parquet  unverified.parquet  seed.parquet      what each arm reads
    runs/NAME/loop/round-1/verified/         a fine-tune on it (docs/finetune.md); the other arms beside it
    runs/NAME/loop/round-1/eval/verified/    its evaluation (docs/evaluate.md); base/ beside it in the first round
    runs/NAME/loop/round-2/run-verified/     from the second round on: a run with the arm's own model
    runs/NAME/loop/report.json

Every arm takes the same number of optimizer steps of the same number of sequences, with the same settings. A gain over
`base` alone proves little, for more training of any kind may help: the arms beside it are the controls.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import polars as pl

from datagen import decontamination, workflow
from datagen.config import EvalConfig
from datagen.demo.seeds import seed_rows
from datagen.errors import InputError, UsageError
from datagen.evaluation.compare import Finished, Paired, paired, percent, read_finished, table
from datagen.evaluation.problems import load_problems
from datagen.evaluation.session import evaluate
from datagen.extract.tests import entry_point
from datagen.files import make_folder, write_json
from datagen.models import Say
from datagen.recipe import STEPS, Recipe
from datagen.sources import read_rows
from datagen.standalone import Table
from datagen.store import DECONTAMINATE, DEDUP, SOLVE, finished_table
from datagen.tables import read_table, write_frame
from datagen.training.session import MODEL, Task, check_installed, check_shared, finetune
from datagen.verification import used_engines

Score = Callable[[Path, str, Recipe, Say], dict[str, Finished]]
LOADING = ("vllm", "ray")
"""Engines that load a model from a folder."""
BASE, VERIFIED, UNVERIFIED, SEED = "base", "verified", "unverified", "seed"
COLUMNS = ("id", "question", "solution", "shown_test", "entry_point")


@dataclass(frozen=True, slots=True)
class Arm:
    """What became of one arm in one round: the rows and tokens that it read, and its model."""

    name: str
    round: int
    rows: int
    tokens: int
    steps: int
    model: str


@dataclass(frozen=True, slots=True)
class Closed:
    """All arms, their scores on each benchmark by "arm/round", and the verified arm against each of the others."""

    arms: tuple[Arm, ...]
    scores: Mapping[str, Mapping[str, Finished]]
    against: tuple[tuple[str, int, Paired], ...]


def check(recipe: Recipe) -> None:
    """What would end the loop after hours, said before them.

    MissingDependency without TRL; UsageError where the recipe's settings do not make the arms comparable, the engine
    can load no model of a folder, or this machine cannot train so; InputError for a benchmark or seed rows that cannot
    be read.
    """
    check_installed()
    if not recipe.finetune.max_steps:
        raise UsageError("arms are compared at equal compute", where="[finetune]", hint="Set max_steps in the recipe")
    if recipe.engines["solutions"].model != recipe.finetune.model:
        hint = "Set model in [finetune] to that of [engine]"
        raise UsageError("the loop trains the model that made the rows", where="[finetune]", hint=hint)
    _check_engines(recipe)
    check_shared(recipe.finetune)
    for name in recipe.loop.benchmarks:
        load_problems(name)
    if recipe.loop.seed_rows:
        _seeds(recipe.loop.seed_rows, recipe.run.seed)


def _check_engines(recipe: Recipe) -> None:
    """UsageError where a model that was just trained, a folder on this machine, would be asked of somebody else."""
    asked = used_engines(recipe) if recipe.loop.rounds > 1 else {"solutions": recipe.engines["solutions"]}
    for step, config in asked.items():
        if config.engine not in LOADING:
            what = f"{config.engine} cannot load what the loop trains"
            hint = "Set engine to vllm or ray, or leave out [loop] and train with: datagen finetune"
            raise UsageError(what, where=f"[engine] of {step}", hint=hint)


def close(run: Path, recipe: Recipe, say: Say, *, score: Score | None = None) -> Closed:
    """Trains and scores every arm of every round from a finished run; goes on where it was killed.

    `score` evaluates a model into a folder (default: `scored`, by the recipe's engine). Errors as `check`; InputError
    where an arm has no rows.
    """
    score = score or scored
    check(recipe)
    config = recipe.loop
    home = run / "loop"
    arms: list[Arm] = []
    scores = {BASE: score(home / "round-1" / "eval" / BASE, recipe.finetune.model, recipe, say)}
    models = dict.fromkeys(_arms(recipe), recipe.finetune.model)
    for number in range(1, config.rounds + 1):
        folder = home / f"round-{number}"
        for arm, rows in _rows(run, folder, recipe, models, number, say).items():
            made = _trained(folder / arm, rows, models[arm], recipe, say)
            arms.append(Arm(arm, number, made["rows"], made["tokens"], made["steps"], str(folder / arm / MODEL)))
            models[arm] = arms[-1].model
            scores[f"{arm}/{number}"] = score(folder / "eval" / arm, models[arm], recipe, say)
    done = Closed(tuple(arms), scores, tuple(_pairs(scores, config.rounds, recipe.run.seed)))
    write_json(home / "report.json", report(done))
    return done


def _arms(recipe: Recipe) -> tuple[str, ...]:
    return (VERIFIED, UNVERIFIED, *((SEED,) if recipe.loop.seed_rows else ()))


# -- what the arms read ----------------------------------------------------------------------------------------------


def _rows(run: Path, folder: Path, recipe: Recipe, models: Mapping[str, str], number: int, say: Say) -> dict[str, Path]:
    """The table of each arm; from the second round on, of runs that the arms' own models made."""
    runs = dict.fromkeys((VERIFIED, UNVERIFIED), run)
    if number > 1:
        runs = {arm: _run_again(folder / f"run-{arm}", recipe, models[arm], number, say) for arm in runs}
    tables = {
        VERIFIED: read_table(finished_table(runs[VERIFIED], DECONTAMINATE)).select(COLUMNS),
        UNVERIFIED: unverified(runs[UNVERIFIED], recipe.run.seed),
    }
    if recipe.loop.seed_rows:
        tables[SEED] = _seeds(recipe.loop.seed_rows, recipe.run.seed)
    paths = {}
    for arm, rows in tables.items():
        if rows.is_empty():
            hint = "Raise --target, so that some questions are solved"
            raise InputError(f"no row is left for the arm {arm}", where=str(runs.get(arm, run)), hint=hint)
        paths[arm] = folder / "rows" / f"{arm}.parquet"
        make_folder(paths[arm].parent)
        write_frame(paths[arm], rows)
        if arm != VERIFIED:  # whose run did it
            paths[arm] = _decontaminated(paths[arm], recipe, say)
    return paths


def _run_again(folder: Path, recipe: Recipe, model: str, number: int, say: Say) -> Path:
    """The same recipe with an arm's model and another seed."""
    engines = {step: replace(recipe.engines[step], model=model, revision="") for step in STEPS}
    again = replace(recipe, engines=engines, run=replace(recipe.run, seed=recipe.run.seed + number))
    asyncio.run(workflow.run(folder, again, lambda opened: opened.everything(), say))
    return folder


def unverified(run: Path, seed: int) -> pl.DataFrame:
    """The first candidate of every question that had tests and a candidate, whatever the tests said of it.

    The test shown with it is drawn from the question's tests, as the solver's was.
    """
    firsts = read_table(run / SOLVE / "candidates.parquet").filter(index=0).filter(pl.col("code") != "")
    asked = read_table(finished_table(run, DEDUP)).select(source_id="id", question="question")
    rows = firsts.join(asked, on="source_id", how="inner").sort("source_id")
    tests = rows["tests"].to_list()
    shown = [Random(f"{seed} shown {name}").choice(of) for name, of in zip(rows["source_id"], tests, strict=True)]
    return rows.select("question", id="source_id", solution="code").with_columns(
        shown_test=pl.Series(shown, dtype=pl.String),
        entry_point=pl.Series([entry_point(of) or "" for of in tests], dtype=pl.String),
    )


def _seeds(given: str, seed: int) -> pl.DataFrame:
    name, colon, count = given.partition(":")
    if name != "demo" or not colon:
        return read_rows(given, column="")
    if not (count.isdecimal() and int(count)):
        raise UsageError(f"seed_rows {given} names no number of rows", where="[loop]", hint="Give demo:400, or a table")
    return pl.DataFrame(seed_rows(int(count), seed))


def _decontaminated(path: Path, recipe: Recipe, say: Say) -> Path:
    """What the recipe's decontamination keeps of a table, so that no arm reads what it is scored on."""
    where = Table(str(path), out=str(path.with_suffix("")))
    if not (where.folder("") / "report.json").is_file():
        asyncio.run(decontamination.decontaminate(where, (), recipe, say=say))
    return path.with_suffix("") / "kept.parquet"


# -- training and scoring --------------------------------------------------------------------------------------------


def _trained(out: Path, rows: Path, model: str, recipe: Recipe, say: Say) -> dict[str, Any]:
    say(f"training {out}")
    config = replace(recipe.finetune, model=model)
    return finetune(Task(str(rows), out, config, recipe.run, f"datagen run {recipe.name}"), lambda _: None)


def scored(folder: Path, model: str, recipe: Recipe, say: Say) -> dict[str, Finished]:
    """The finished evaluation of a model; asked only where it is not there."""
    config, loop = recipe.engines["solutions"], recipe.loop
    wanted = EvalConfig(benchmarks=loop.benchmarks, n=loop.n, temperature=loop.temperature)
    engine = replace(config, model=model, revision=config.revision if model == config.model else "")
    if not (folder / "report.json").is_file():
        asyncio.run(evaluate(folder, engine, recipe.run, wanted, say))
    return read_finished(folder)


def _pairs(scores: Mapping[str, Mapping[str, Finished]], rounds: int, seed: int) -> Sequence[tuple[str, int, Paired]]:
    """Verified against base and against each other arm of its round, on each benchmark."""
    found = []
    for number in range(1, rounds + 1):
        best = scores[f"{VERIFIED}/{number}"]
        others = [BASE, *(key for key in scores if key.endswith(f"/{number}") and key != f"{VERIFIED}/{number}")]
        found += [
            (name, number, paired(_named(scores[key][name], key), _named(best[name], f"{VERIFIED}/{number}"), seed))
            for name in best
            for key in others
        ]
    return found


def _named(finished: Finished, name: str) -> Finished:
    return replace(finished, name=name)


# -- what it says ----------------------------------------------------------------------------------------------------


def report(done: Closed) -> dict[str, Any]:
    """Plain data: arms, pass@1 with interval, and the paired differences."""
    scores = {
        key: {name: one.entry["pass@k"]["1"] for name, one in found.items()} for key, found in done.scores.items()
    }
    against = [{"benchmark": name, "round": number} | asdict(pair) for name, number, pair in done.against]
    return {"arms": [asdict(arm) for arm in done.arms], "pass@1": scores, "verified against": against}


def shown(done: Closed) -> str:
    """Each benchmark's scores by arm, and by how much the verified arm is ahead of each other, paired by problem."""
    known = {f"{arm.name}/{arm.round}": arm for arm in done.arms}
    return "\n\n".join(_benchmark(name, done, known) for name in done.scores[BASE])


def _benchmark(name: str, done: Closed, known: Mapping[str, Arm]) -> str:
    rows = [["arm", "rows", "tokens", "pass@1 (95 %)", "verified is ahead by (95 %, paired)"]]
    for key, found in done.scores.items():
        arm, figures = known.get(key), found[name].entry["pass@k"]["1"]
        pairs = [pair for benchmark, _, pair in done.against if benchmark == name and pair.first == key]
        rows.append(
            [
                key,
                f"{arm.rows:,}" if arm else "-",
                f"{arm.tokens:,}" if arm else "-",
                f"{percent(figures['value'])} ({percent(figures['low'])} to {percent(figures['high'])})",
                "; ".join(_difference(pair) for pair in pairs) or "-",
            ]
        )
    return "\n".join([f"{name}: {len(done.scores[BASE][name].counts)} problems", *table(rows)])


def _difference(pair: Paired) -> str:
    d = pair.difference
    return f"{percent(d.value, '+')} ({percent(d.low, '+')} to {percent(d.high, '+')})"
