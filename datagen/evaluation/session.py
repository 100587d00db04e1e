"""An evaluation from its settings to its folder: benchmarks, protocol, samples, verdicts, report.

evals/NAME/report.json   every score with protocol, hash, decoding, interval, sandbox level
evals/NAME/humaneval/    settings.json  ledger/  kept.parquet (verdicts)  samples.jsonl  results.jsonl
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from datagen.benchmarks import HubSource, Record, load_hub
from datagen.collaborators import LazySandbox, opened_engines
from datagen.config import EngineConfig, EvalConfig, RunConfig, shaping
from datagen.errors import EngineUnavailable, SettingsChanged, UsageError
from datagen.evaluation import samples
from datagen.evaluation.grade import Graded, ask_and_grade, grade
from datagen.evaluation.problems import Benchmark, Problem, load_problems
from datagen.evaluation.protocols import Protocol, choose
from datagen.evaluation.published import beside
from datagen.evaluation.scores import excluded_items, read_graded, summary
from datagen.evaluation.style import style_of
from datagen.files import read_json, write_json, write_whole
from datagen.interrupt import Interrupt
from datagen.models import Engine, Limits, Outcome, Say, content_id
from datagen.pipeline import drive, finish
from datagen.progress import Progress
from datagen.prompts import prompt_folders
from datagen.store import RunFolder

Load = Callable[[HubSource], Sequence[Record]]
STEP = "eval"


@dataclass(frozen=True, slots=True)
class Session:
    """What the benchmarks of one evaluation share."""

    folder: RunFolder
    config: EvalConfig
    run: RunConfig
    model: str
    concurrency: int
    engine: Engine | None
    sandbox: LazySandbox
    interrupt: Interrupt
    excluded: Mapping[str, frozenset[str]] | None


async def evaluate(
    path: Path, engine: EngineConfig, run: RunConfig, config: EvalConfig, say: Say, *, load: Load = load_hub,
    engines: Engine | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Scores a model (or samples that exist) on every benchmark; returns and writes the report.

    What is done stays done: the same command goes on after a kill, and with `exclude_items` scores anew without asking
    anything. Benchmarks, prompts and settings are checked before anything is spent; SettingsChanged where they, or the
    model, are not those of the folder. `engines` stands in for the engine.
    """
    if not config.benchmarks:
        raise UsageError("no benchmark to score on", hint="Add --benchmarks humaneval mbpp, or a file of yours")
    excluded = excluded_items(Path(config.exclude_items)) if config.exclude_items else None
    loaded = [load_problems(name, load=load) for name in config.benchmarks]
    model = (
        Path(config.samples).stem if config.samples else engine.model + (f"@{engine.revision}" * bool(engine.revision))
    )
    with RunFolder(path) as folder:
        _refuse_other(path, model)
        plans = [_plan(folder, one, engine, run, config) for one in loaded]
        folder.update_manifest(models={STEP: {"model": model}}, seed=run.seed)
        async with opened_engines({STEP: engine}, say) as opened, LazySandbox(run, [engine]) as sandbox:
            interrupt = Interrupt(say)
            session = Session(
                folder, config, run, model, engine.in_flight, engines or opened[STEP], sandbox, interrupt, excluded
            )
            with interrupt.installed():
                entries = {plan.benchmark.name: await _score(session, plan) for plan in plans}
    return _report(path, model, entries)


def _refuse_other(path: Path, model: str) -> None:
    """SettingsChanged where the folder's report is another model's: models of several owners may share a name."""
    stored = read_json(path / "report.json", {}).get("model", model)
    if stored != model:
        hint = "Give it a folder of its own: datagen eval --run OTHER"
        raise SettingsChanged(f"holds the evaluation of {stored}, not of {model}", where=str(path), hint=hint)


@dataclass(frozen=True, slots=True)
class Plan:
    """A benchmark, the problems to score, how, and the settings that shape every verdict."""

    benchmark: Benchmark
    problems: tuple[Problem, ...]
    protocol: Protocol | None
    given: Mapping[str, list[samples.Given]]
    settings: Mapping[str, Any]
    ks: tuple[int, ...]

    @property
    def facts(self) -> dict[str, Any]:
        """What the report says of protocol and decoding."""
        if self.protocol is None:
            return {"protocol": "samples", "protocol_hash": self.settings["samples"], "style": "", "temperature": None}
        form = self.protocol.form
        decoding = {key: getattr(form, key) for key in ("n", "temperature", "top_p", "max_tokens")}
        return {
            "protocol": self.protocol.name,
            "protocol_hash": self.protocol.hash,
            "style": self.protocol.style,
        } | decoding


def _plan(folder: RunFolder, benchmark: Benchmark, engine: EngineConfig, run: RunConfig, config: EvalConfig) -> Plan:
    """Everything that can be wrong is found here; the stage's settings are checked, nothing is written."""
    common = shaping(config) | {"benchmark": benchmark.digest}
    settings: dict[str, Any]
    if config.samples:
        path, protocol = Path(config.samples), None
        problems = _first(benchmark.problems, config.limit)
        given = samples.read(path, benchmark.problems, problems)
        settings = common | {"samples": content_id(path.read_bytes().hex())}
    else:
        stored = read_json(folder.path / _slug(benchmark.name) / "settings.json", {})
        style = (
            stored.get("style") if config.style == "auto" and stored.get("style") else style_of(engine, config.style)
        )
        protocol = choose(config, benchmark.name, benchmark.problems[0].kind, str(style), prompt_folders(run.prompts))
        problems = _first([problem for problem in benchmark.problems if protocol.counts(problem)], config.limit)
        asked = {f"engine_{key}": value for key, value in shaping(engine).items()}
        facts = {
            "style": protocol.style,
            "protocol": protocol.name,
            "protocol_hash": protocol.hash,
            "n": protocol.form.n,
        }
        given, settings = {}, common | asked | facts | {"seed": run.seed}
    folder.check(_slug(benchmark.name), settings)
    return Plan(benchmark, problems, protocol, given, settings, _ks(config, protocol, given))


def _first(problems: Sequence[Problem], limit: int) -> tuple[Problem, ...]:
    return tuple(problems[: limit or None])


def _ks(config: EvalConfig, protocol: Protocol | None, own: Mapping[str, Sequence[object]]) -> tuple[int, ...]:
    """The k that are asked for, ascending; UsageError for more than each problem has samples (of a file: `own`)."""
    try:
        given = tuple(sorted(int(k) for k in config.k))
    except ValueError as error:
        raise UsageError(f"--k {' '.join(config.k)} are no numbers", hint="Give --k 1 10 100") from error
    if given and given[0] < 1:
        raise UsageError(f"--k {given[0]} is under 1", hint="Give --k 1 10 100")
    most = protocol.form.n if protocol else min(map(len, own.values()))
    if given and given[-1] > most:
        hint = f"Give --n {given[-1]}" if protocol else f"Give --k {most}, or a file with more samples"
        raise UsageError(f"pass@{given[-1]} needs {given[-1]} samples of each problem", hint=hint)
    return given or (protocol.form.ks if protocol else (1, 10, 100))


async def _score(session: Session, plan: Plan) -> dict[str, Any]:
    """Drives one benchmark to its end, writes its files, and gives its entry of the report."""
    name = plan.benchmark.name
    stage = session.folder.stage(_slug(name), plan.settings)
    progress = Progress(
        name, stream=sys.stderr, clock=time.monotonic, total=len(plan.problems), words=("samples", "lost")
    )
    with session.folder.timed(stage.name, time.monotonic):
        driven = await drive(
            plan.problems, _work(session, plan), stage, item_id=lambda problem: problem.id, progress=progress,
            concurrency=session.concurrency, interrupt=session.interrupt,
        )  # fmt: skip
    report = finish(stage, Graded, [problem.id for problem in plan.problems])
    if report.owed:
        why = next((drop.detail for one in stage.ledger.outcomes(Graded) if not one.final for drop in one.drops), "")
        hint = "Run the same command to ask again for those only"
        raise EngineUnavailable(f"the engine failed on {driven.failed} problems ({why})", where=name, hint=hint)
    level = session.sandbox.level or read_json(stage.path / "sandbox.json", "")
    write_json(stage.path / "sandbox.json", level)
    graded = read_graded(stage.kept)
    _write_files(stage.path, plan.problems, graded)
    return _entry(session, plan, graded, level)


def _work(session: Session, plan: Plan) -> Callable[[Problem], Awaitable[Outcome[Graded]]]:
    limits = Limits(cpu_seconds=session.config.cpu_seconds, memory_mb=session.config.memory_mb)
    if plan.protocol is None:

        async def given(problem: Problem) -> Outcome[Graded]:
            return Outcome(problem.id, await grade(problem, plan.given[problem.id], session.sandbox, limits))

        return given
    assert session.engine is not None
    return partial(
        ask_and_grade, protocol=plan.protocol, engine=session.engine, sandbox=session.sandbox, limits=limits,
        seed=session.run.seed,
    )  # fmt: skip


def _write_files(folder: Path, problems: Sequence[Problem], graded: Sequence[Graded]) -> None:
    samples.write(folder / "samples.jsonl", {problem.id: problem for problem in problems}, graded)
    lines = (json.dumps({key: value for key, value in asdict(one).items() if key != "completion"}) for one in graded)
    write_whole(folder / "results.jsonl", "".join(f"{line}\n" for line in lines).encode("utf-8", "replace"))


def _entry(session: Session, plan: Plan, graded: Sequence[Graded], level: str) -> dict[str, Any]:
    excluded = None
    if session.excluded is not None:
        hit = session.excluded.get(plan.benchmark.name, frozenset())
        excluded = frozenset(problem.id for problem in plan.problems if problem.item.item in hit)
    entry = {
        "model": session.model,
        "sandbox": level,
        "benchmark_digest": plan.benchmark.digest,
        "seed": session.run.seed,
    }
    entry |= plan.facts | summary(graded, plan.ks, excluded, session.run.seed)
    entry |= {"left_out": plan.benchmark.left_out, "cpu_seconds": session.config.cpu_seconds}
    published = {} if plan.protocol is None else beside(plan.benchmark.name, entry)
    return entry | ({"published": published} if published else {})


def _report(path: Path, model: str, entries: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """report.json: the entries of now beside those of other benchmarks that the folder holds."""
    before = read_json(path / "report.json", {}).get("benchmarks", {})
    report = {"model": model, "benchmarks": {**before, **entries}}
    write_json(path / "report.json", report)
    return report


def _slug(name: str) -> str:
    """A benchmark's folder."""
    return name.replace("/", "--")
