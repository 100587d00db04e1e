"""A fine-tune from its settings to its folder: rows, preflight, training, the model looked at, its card.

    models/NAME/finetune.toml  run.json  report.json
    models/NAME/training/settings.json  data/  checkpoints/  log.jsonl  job.json  result.json
    models/NAME/model/           weights, tokenizer, README.md: what `datagen push --model` publishes

The same command goes on after a kill; a folder whose report.json is there is finished.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import tomli_w

from datagen import __version__
from datagen.config import FinetuneConfig, RunConfig, shaping
from datagen.engines.weights import fetch
from datagen.errors import Interrupted, MissingDependency, StorageError, TrainingFailed, UsageError
from datagen.files import read_json, write_json, write_whole
from datagen.licenses import training_conflict
from datagen.models import Drop, Say, content_id
from datagen.resources import resolve_model
from datagen.store import RunFolder, environment
from datagen.training import launch
from datagen.training.card import TuneFacts, model_card
from datagen.training.encode import Encoded, Encoder, Example, encode_all, open_encoder, padding_token
from datagen.training.estimate import Size, gpu_seconds, memory, size_of
from datagen.training.exports import chats, export_config
from datagen.training.mix import drawn, rehearsal_tokens, schedule
from datagen.training.preflight import Preflight, check, fitting, hurried, shown
from datagen.training.rows import Load, Source, read_source, rehearsals

if TYPE_CHECKING:
    from datagen.training.plan import Plan

STAGE, MODEL, REPORT = "training", "model", "report.json"


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be trained on what, and where the results go."""

    source: str
    out: Path
    config: FinetuneConfig
    run: RunConfig
    command: str = ""


@dataclass(frozen=True, slots=True)
class Prepared:
    """The rows as token ids, what was found about them, and the base model's folder."""

    base: Path
    size: Size
    encoder: Encoder
    source: Source
    examples: tuple[Example, ...]
    found: Preflight
    plan: Plan
    how: str
    """The way of distributing that the settings come to on this machine, over `processes` processes, on `gpus` GPUs."""
    processes: int
    gpus: int


def check_installed() -> None:
    """MissingDependency where TRL or accelerate is not there."""
    if not (find_spec("trl") and find_spec("accelerate")):
        raise MissingDependency("fine-tuning needs TRL", hint="Type: pip install 'datagen[train]'")


def check_shared(config: FinetuneConfig) -> None:
    """UsageError where the processes of this machine cannot share a step; known before there are rows."""
    import torch

    _, processes = launch.resolved(config, torch.cuda.device_count())
    schedule(config, 1, processes)


_REPORTERS = {"tensorboard": ("tensorboard", "tensorboardX"), "trackio": ("trackio",), "wandb": ("wandb",)}


def _check_reporter(name: str) -> None:
    """MissingDependency where losses are to be sent somewhere without its package."""
    packages = _REPORTERS.get(name, ())
    if packages and not any(find_spec(package) for package in packages):
        raise MissingDependency(f"--report-to {name} needs {packages[0]}", hint=f"Type: pip install {packages[0]}")


def prepare(task: Task, *, load: Load = None) -> Prepared:
    """Reads, renders and plans everything, and spends nothing.

    MissingDependency without TRL, or without what --report-to needs; UsageError or InputError where rows, model or
    settings do not fit.
    """
    check_installed()
    if not task.config.model:
        raise UsageError("no model to train", hint="Add --model codellama/CodeLlama-7b-hf, or demo-model")
    config = task.config
    _check_reporter(config.report_to)
    base = Path(fetch(resolve_model(config.model), config.revision))
    size = size_of(base, trust=config.trust_remote_code)
    encoder = open_encoder(base, config.chat_template, everything=config.loss == "all", trust=config.trust_remote_code)
    source = read_source(task.source, config.form, prompts=task.run.prompts, load=load)
    encoded = encode_all(source.pairs, encoder, config.length)
    told = check(encoded.examples, encoder, config, size)
    mixed = list(_rehearsal(task, encoder, encoded.tokens, load))
    examples = encoded.examples + tuple(example for one in mixed for example in one.examples)
    told += (*fitting(examples, size, config.model), *_scarce(mixed))
    conflicts = filter(None, (training_conflict(name, config.model) for name in source.generators))
    return _planned(task, base, size, encoder, source, encoded, examples, mixed, (*told, *dict.fromkeys(conflicts)))


@dataclass(frozen=True, slots=True)
class Mixed:
    """The rows of one rehearsal table that were drawn, the tokens that were asked for, and what was left out."""

    name: str
    examples: tuple[Example, ...]
    wanted: int
    dropped: tuple[Drop, ...]

    @property
    def tokens(self) -> int:
        """Tokens of all of them."""
        return sum(len(example.tokens) for example in self.examples)


def _rehearsal(task: Task, encoder: Encoder, own: int, load: Load) -> Iterator[Mixed]:
    wanted = rehearsals(task.config.rehearsal)
    for one, tokens in zip(wanted, rehearsal_tokens(own, [one.share for one in wanted]), strict=True):
        source = read_source(one.source, load=load)
        encoded = encode_all(source.pairs, encoder, task.config.length)
        rows = drawn(encoded.examples, tokens, Random(f"{task.run.seed} rehearsal {one.source}"))
        yield Mixed(one.source, rows, tokens, (*source.dropped, *encoded.dropped))


def _scarce(mixed: Iterable[Mixed]) -> Iterator[str]:
    """A note for each rehearsal table that gave less than nine tenths of what was asked of it."""
    for one in mixed:
        if one.tokens < 0.9 * one.wanted:
            yield f"rehearsal {one.name} gives {one.tokens:,} of the {one.wanted:,} tokens that its share asks for"


def _planned(
    task: Task, base: Path, size: Size, encoder: Encoder, source: Source, encoded: Encoded,
    examples: tuple[Example, ...], mixed: list[Mixed], told: tuple[str, ...],
) -> Prepared:  # fmt: skip
    import datasets

    from datagen.training.plan import plan
    from datagen.training.trainer import recomputes

    datasets.disable_progress_bars()
    config = task.config
    device, gpus = _devices()
    how, processes = launch.resolved(config, gpus)
    planned = plan(examples, config, task.run.seed, processes)
    again = recomputes(config)
    tokens = sum(len(example.tokens) for example in examples) * planned.schedule.steps * planned.schedule.batch
    seconds = gpu_seconds(size.parameters, tokens // planned.sequences_per_epoch, device, recomputed=again)
    found = Preflight(
        rows=len(source.pairs) + len(source.dropped),
        dropped=(*source.dropped, *encoded.dropped),
        examples=examples,
        mixed=tuple((one.name, len(one.examples), one.tokens) for one in mixed),
        mixed_dropped=tuple(drop for one in mixed for drop in one.dropped),
        schedule=planned.schedule,
        sequences_per_epoch=planned.sequences_per_epoch,
        filled=planned.filled,
        parameters=size.parameters,
        memory=memory(size.parameters, read_json(base / "config.json", {}), config, how, processes, recomputed=again),
        device=device,
        gpu_hours=None if seconds is None else seconds / 3600,
        how=f"{how}, {processes} process{'es' * (processes > 1)}",
        warnings=(*told, *hurried(planned.schedule, planned.sequences_per_epoch, config)),
    )
    return Prepared(base, size, encoder, source, examples, found, planned, how, processes, gpus)


def _devices() -> tuple[str, int]:
    """The name of the device that trains, and how many GPUs there are."""
    import torch

    gpus = torch.cuda.device_count()
    return (torch.cuda.get_device_name(0), gpus) if gpus else ("CPU", 0)


def preflight(prepared: Prepared, config: FinetuneConfig, *, colour: bool = False) -> str:
    """What was found, for people."""
    return shown(prepared.found, prepared.encoder, config, colour=colour)


def export(task: Task, kind: str, *, load: Load = None) -> Path:
    """Writes the same fine-tune for another trainer (exports.EXPORTS) into `task.out`/KIND; the config's path.

    The rows are those that would be trained, rehearsal last; a warm-up given as a share is written in steps. Errors as
    of `prepare` and `export_config`.
    """
    prepared = prepare(replace(task, config=replace(task.config, report_to="none")), load=load)  # reported elsewhere
    found, start = prepared.found, 0
    rows: list[dict[str, Any]] = []
    own = len(prepared.examples) - sum(count for _, count, _ in found.mixed)
    for name, count in ((task.source, own), *((name, count) for name, count, _ in found.mixed)):
        source = prepared.source if not start else read_source(name, load=load)
        rows += chats(source.pairs, prepared.examples[start : start + count])
        start += count
    config = replace(task.config, warm_up=float(found.schedule.warm_up))
    return export_config(kind, config, rows, task.out / kind)


def finetune(task: Task, say: Say, *, load: Load = None, colour: bool = False) -> dict[str, Any]:
    """Trains, looks at what was saved, writes report.json and the model's card; returns the report.

    The preflight is said first. Killed, the same call goes on from the last checkpoint and ends with the same weights.
    SettingsChanged where the folder was begun with other settings or rows.
    """
    finished: dict[str, Any] = read_json(task.out / REPORT, {})
    prepared = prepare(task, load=load)
    with RunFolder(task.out) as folder:
        stage = folder.stage(STAGE, _settings(task, prepared)).path
        if finished:
            say(f"{task.out} is finished")
            return finished
        say(preflight(prepared, task.config, colour=colour))
        write_whole(task.out / "finetune.toml", _toml(task).encode())
        folder.update_manifest(models={STAGE: {"model": task.config.model}}, seed=task.run.seed)
        with folder.timed(STAGE, time.monotonic):
            _train(task, prepared, stage, say)
        return _conclude(task, prepared, stage, say)


def _settings(task: Task, prepared: Prepared) -> dict[str, Any]:
    """What shapes every weight: the settings, the sequences, the base model, the number of processes."""
    rows = content_id(*(f"{example.id} {example.tokens} {example.start}" for example in prepared.examples))
    facts = {"rows": rows, "seed": task.run.seed, "processes": prepared.processes}
    return shaping(replace(task.config, distributed=prepared.how, processes=0)) | facts


def _toml(task: Task) -> str:
    given = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(task.config).items()}
    return f"# {task.command}\n" + tomli_w.dumps({"finetune": given})


def _train(task: Task, prepared: Prepared, stage: Path, say: Say) -> None:
    """In this process, or in several by accelerate; nothing if a result is there already."""
    from datagen.training.plan import write
    from datagen.training.trainer import RESULT, Work, train

    if (stage / RESULT).is_file():
        return
    write(prepared.plan, stage / "data")
    work = Work(
        model=str(prepared.base.resolve()), data=str(stage / "data"), folder=str(stage), out=str(task.out / MODEL),
        config=replace(task.config, distributed=prepared.how), schedule=prepared.plan.schedule, seed=task.run.seed,
        padding=padding_token(prepared.encoder.tokenizer, prepared.encoder.ends, prepared.size.vocabulary),
        template=prepared.encoder.template,
    )  # fmt: skip
    if prepared.how == "single":
        train(work, say)
        return
    write_json(stage / "job.json", asdict(work))
    _run(launch.command(task.config, stage / "job.json", prepared.gpus), say)


def _run(command: list[str], say: Say) -> None:
    """Runs the processes to their end; their own words go to stderr. Our error where they failed."""
    say(f"starting: {' '.join(command[:3])} ...")
    process = subprocess.Popen(command)
    try:
        code = process.wait()
    except KeyboardInterrupt:  # the terminal sent it to every process of the group
        with contextlib.suppress(KeyboardInterrupt, subprocess.TimeoutExpired):
            process.wait(30)
        process.kill()
        raise Interrupted("Stopped. Run the same command to go on from the last checkpoint") from None
    if code:
        hint = "Its own words stand above; the same command goes on from the last checkpoint"
        raise TrainingFailed(f"the training processes ended with exit code {code}", hint=hint)


def _conclude(task: Task, prepared: Prepared, stage: Path, say: Say) -> dict[str, Any]:
    from datagen.training.check import check_saved
    from datagen.training.trainer import RESULT

    result = read_json(stage / RESULT, {})
    first = prepared.examples[0]
    prompt = first.tokens[: first.prompt] or (prepared.encoder.end,)
    try:
        saved = check_saved(task.out / MODEL, prepared.size.parameters, prompt, trust=task.config.trust_remote_code)
    except StorageError:
        (stage / RESULT).unlink(missing_ok=True)  # else the next call would not save the model anew
        raise
    say(f"saved and loaded again: {saved.parameters:,} weights; its answer to the first row: {saved.answer!r}")
    report = _report(task, prepared, result) | {"answer": saved.answer}
    write_whole(
        task.out / MODEL / "README.md", model_card(_facts(report, task.out, task.config.model, task.source)).encode()
    )
    write_json(task.out / REPORT, report)
    return report


def _report(task: Task, prepared: Prepared, result: Mapping[str, Any]) -> dict[str, Any]:
    found, source = prepared.found, prepared.source
    seconds = read_json(task.out / "run.json", {}).get("timings", {}).get(STAGE, 0.0)
    return {
        "base": task.config.model,
        "revision": task.config.revision,
        "source": source.name,
        "generators": list(source.generators),
        "benchmarks": list(source.benchmarks),
        "rows": found.rows,
        "dropped": _counted(found.dropped),
        "rehearsal": [list(one) for one in found.mixed],
        "rehearsal_dropped": _counted(found.mixed_dropped),
        "tokens_per_epoch": sum(len(example.tokens) for example in found.examples),
        "filled": found.filled,
        "seconds": seconds,
        "config": asdict(task.config),
        "distributed": prepared.how,
        "schedule": asdict(found.schedule),
        "seed": task.run.seed,
        "command": task.command,
        "versions": environment()["versions"] | {"datagen": __version__},
        "notes": list(found.warnings),
        "chat": bool(prepared.encoder.template),
    } | dict(result)


def _counted(dropped: tuple[Drop, ...]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for drop in dropped:
        counts[drop.reason] = counts.get(drop.reason, 0) + 1
    return counts


def _facts(report: Mapping[str, Any], out: Path, base: str, source: str) -> TuneFacts:
    """The report as the card's facts; only what lies on the Hub is linked there."""
    names = {one.name for one in fields(TuneFacts)}
    return TuneFacts(
        title=out.resolve().name,
        version=__version__,
        license=report["config"]["license"],
        hub_base="" if Path(resolve_model(base)).exists() else base,
        datasets=() if Path(source).exists() else (source,),
        rehearsal=[(name, rows, tokens) for name, rows, tokens in report["rehearsal"]],
        **{key: value for key, value in report.items() if key in names - {"rehearsal"}},
    )
