"""What a run will cost: tokens, GPU hours, time, cores, disk and memory, from what one of each costs.

The model is a chain of shares and a bottleneck. Every raw question is written; the unique ones get a test file, those
with tests n candidates, which all run. Generation, sandbox and driver work at the same time (`collaborators.room` sees
to that), so the slowest of the three sets the pace. Loading models, and the last questions, for which the batch is no
longer full, are left out: minutes, whatever the size.

`measured` takes what one of each costs from a run's folder, finished or not.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import zstandard

from datagen.config import EstimateConfig
from datagen.errors import DatagenError, InputError
from datagen.ledger import read_records
from datagen.progress import duration
from datagen.store import (
    DECONTAMINATE,
    DEDUP,
    QUESTIONS,
    ROUNDS,
    SOLVE,
    Report,
    read_manifest,
    read_report,
    read_reports,
)

SAMPLE = 4096
"""Items of a stage that are looked at; ledgers are sorted by hash, so the first of them are a fair sample."""

_DEDUP_BASE = 420e6
_DRIVER_BASE, _DRIVER_BYTES = 300e6, 330.0
"""The driver holds the ids of a stage's questions, in a list and three sets, and nothing else that grows."""

_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Estimate:
    """A run in numbers: items, tokens, seconds, bytes. `driver` is the CPU time of the one process that drives all."""

    unique: float
    rows: float
    read: float
    written: Mapping[str, float]
    gpu_seconds: float
    sandbox_seconds: float
    driver_seconds: float
    wall_seconds: float
    held_up_by: str
    sandbox_cores: float
    ledger_bytes: float
    table_bytes: float
    round_bytes: float
    dedup_bytes: float
    driver_bytes: float
    price: float


def estimate(config: EstimateConfig) -> Estimate:
    """The run that `config` describes."""
    raw = float(config.questions)
    unique = raw * config.unique
    candidates = unique * config.testable * config.n
    written = {
        "questions": raw * config.question_tokens,
        "tests": unique * config.tests_tokens,
        "candidates": candidates * config.solution_tokens,
    }
    tokens = sum(written.values())
    read = raw * config.question_prompt + unique * (config.tests_prompt + config.testable * config.solution_prompt)
    seconds = {
        "generation": tokens / config.token_rate / config.gpus,
        "the sandbox": candidates * config.program_cpu / config.cores,
        "the driver": unique * config.driver_cpu,
    }
    slowest = max(seconds, key=lambda name: seconds[name])
    gpu = seconds["generation"] * config.gpus
    return Estimate(
        unique=unique,
        rows=unique * config.solved * config.clean,
        read=read,
        written=written,
        gpu_seconds=gpu,
        sandbox_seconds=candidates * config.program_cpu,
        driver_seconds=seconds["the driver"],
        wall_seconds=seconds[slowest],
        held_up_by=slowest,
        sandbox_cores=candidates * config.program_cpu / max(seconds["generation"], 1e-9),
        ledger_bytes=tokens * config.ledger_bytes,
        table_bytes=tokens * config.table_bytes,
        round_bytes=raw * config.round_bytes,
        dedup_bytes=_DEDUP_BASE + raw * config.dedup_bytes,
        driver_bytes=_DRIVER_BASE + unique * _DRIVER_BYTES,
        price=gpu / _HOUR * config.gpu_price + (read * config.read_price + tokens * config.written_price) / 1e6,
    )


# -- what one of each cost in a run -----------------------------------------------------------------------------------


def measured(run: Path, questions: float | None = None) -> dict[str, float]:
    """What a run's folder tells of the settings of EstimateConfig; what its stages have not shown yet is left out.

    `questions`: how many raw ones the estimate is for, of which a smaller share is unique the more they are. Ledgers
    that are written to may be read. InputError if nothing is done yet.
    """
    reports = {report.stage: report for report in read_reports(run)}
    asked, solved = _records(run / QUESTIONS), _records(run / SOLVE)
    if not asked:
        raise InputError("holds no finished question", where=str(run), hint="Give the folder of a run with --run")
    found = _of_questions(asked) | _of_uniqueness(reports, questions) | _of_solving(solved) | _of_cleaning(reports)
    return found | _of_rounds(run, reports) | _of_disk(run, asked + solved) | _of_time(run, reports)


def _records(stage: Path) -> list[dict[str, Any]]:
    """The first records of a stage's ledger; a ledger that rotates meanwhile is read again."""
    for last in (False, False, True):
        try:
            return [record for record in islice(read_records(stage / "ledger"), SAMPLE) if record["final"]]
        except (DatagenError, OSError):
            if last:
                raise
    return []


def _of_questions(asked: list[dict[str, Any]]) -> dict[str, float]:
    parsed = sum(len(record["kept"]) for record in asked)
    usage = [record["usage"] for record in asked]
    return _per(parsed, question_prompt=_sum(usage, "prompt_tokens"), question_tokens=_sum(usage, "completion_tokens"))


def _of_uniqueness(reports: Mapping[str, Report], questions: float | None) -> dict[str, float]:
    """Of the questions that parsed and are not surplus: what did not parse is in the tokens per question that did."""
    report, came = reports.get(DEDUP), _came(reports)
    if report is None or not report.kept:
        return {}
    return {"unique": unique_share(report.kept / came, (questions or came) / came)}


def _came(reports: Mapping[str, Report]) -> int:
    """Questions that dedup looked at; 0 if it has not."""
    report = reports.get(DEDUP)
    return report.inputs - report.dropped.get("surplus", 0) if report else 0


def _of_rounds(run: Path, reports: Mapping[str, Report]) -> dict[str, float]:
    """Bytes per question of what dedup keeps for later rounds: none with --count, which has one round."""
    files = [path.stat().st_size for path in (run / DEDUP / ROUNDS).glob("*")]
    return _per(_came(reports), round_bytes=sum(files))


def unique_share(share: float, times: float) -> float:
    """The share of unique questions among so many `times` as many as those of which `share` were.

    As if each was drawn at random from one pool of questions: n draws from a pool of k give k (1 - exp(-n / k)).
    """
    if share >= 1:
        return 1.0
    low, high = 0.0, 1 / share  # of n / k; (1 - exp(-x)) / x is below 1 / x
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _drawn(middle) > share else (low, middle)
    return _drawn(low * times)


def _drawn(load: float) -> float:
    """The share of unique ones among draws from a pool, `load` draws for each of its questions."""
    return -math.expm1(-load) / load if load else 1.0


def _of_solving(solved: list[dict[str, Any]]) -> dict[str, float]:
    """Tokens by step, yields, and the CPU seconds that programs used."""
    calls = [(call["step"], call["completion"]) for record in solved for call in record["attempts"]["calls"]]
    tests = [completion for step, completion in calls if step.startswith("tests")]
    asked = [completion for step, completion in calls if step.startswith("solutions")]
    tried = [record for record in solved if any(c["step"].startswith("solutions") for c in record["attempts"]["calls"])]
    candidates = sum(len(completion["samples"]) for completion in asked)
    kept = sum(bool(record["kept"]) for record in solved)
    return {
        **_per(len(solved), tests_prompt=_sum(tests, "prompt_tokens"), tests_tokens=_sum(tests, "completion_tokens")),
        **_per(len(solved), testable=len(tried), solved=kept),
        **_per(len(tried), solution_prompt=_sum(asked, "prompt_tokens"), n=candidates),
        **_per(
            candidates, solution_tokens=_sum(asked, "completion_tokens"),
            program_cpu=sum(record["usage"]["cpu_seconds"] for record in solved),
        ),
    }  # fmt: skip


def _of_cleaning(reports: Mapping[str, Report]) -> dict[str, float]:
    report = reports.get(DECONTAMINATE)
    if report is None:
        return {}
    bad = report.dropped.get("contaminated", 0) + report.dropped.get("unresolved", 0)
    return _per(report.parsed, clean=report.parsed - bad)


def _of_disk(run: Path, records: list[dict[str, Any]]) -> dict[str, float]:
    """Bytes per token: ledgers as they are packed, the tables and the data set as they lie there."""
    tokens = sum(record["usage"]["completion_tokens"] for record in records)
    packed = sum(len(frame) for frame in _packed(records))
    found = _per(tokens, ledger_bytes=packed)
    written = sum(report.notes.get("completion_tokens", 0) for report in read_reports(run))
    tables = [path.stat().st_size for path in run.rglob("*.parquet")]
    done = read_report(run / SOLVE) is not None
    return found | (_per(written, table_bytes=sum(tables)) if done else {})


def _packed(records: list[dict[str, Any]]) -> Iterator[bytes]:
    """About as the ledger packs them."""
    compressor = zstandard.ZstdCompressor()
    for start in range(0, len(records), 16):
        lines = [json.dumps(record, separators=(",", ":")) for record in records[start : start + 16]]
        yield compressor.compress("\n".join(lines).encode())


def _of_time(run: Path, reports: Mapping[str, Report]) -> dict[str, float]:
    """Tokens per second of the finished stages that ask a model, loading included."""
    timings = read_manifest(run).get("timings", {})
    written = {name: report.notes.get("completion_tokens", 0) for name, report in reports.items() if name in timings}
    asking = [name for name, tokens in written.items() if tokens]
    return _per(sum(timings[name] for name in asking), token_rate=sum(written.values()))


def _per(count: float, **sums: float) -> dict[str, float]:
    """Each sum by the count; nothing where nothing was counted."""
    return {name: value / count for name, value in sums.items()} if count else {}


def _sum(tables: list[dict[str, Any]], key: str) -> float:
    return float(sum(table[key] for table in tables))


# -- as text ----------------------------------------------------------------------------------------------------------


def shown(config: EstimateConfig, found: Estimate) -> str:
    """The estimate as a table."""
    tokens = sum(found.written.values())
    rounds = f"dedup's rounds {_bytes(found.round_bytes)}"
    parts = ", ".join(f"{name} {_short(count)}" for name, count in found.written.items())
    lines = [
        ("questions", f"{config.questions:,} raw, {found.unique:,.0f} unique, {found.rows:,.0f} rows"),
        ("tokens", f"{_short(tokens)} written ({parts}), {_short(found.read)} read"),
        ("GPU", f"{_hours(found.gpu_seconds)} at {config.token_rate:,.0f} tokens/s and GPU"),
        ("wall", f"{duration(found.wall_seconds)} on {config.gpus:,} GPUs, held up by {found.held_up_by}"),
        ("sandbox", f"{_hours(found.sandbox_seconds)} of CPU; {_cores(found)}, of {config.cores:,} given"),
        ("driver", f"{_hours(found.driver_seconds)} of CPU; {_shards(found, config)}"),
        ("disk", f"ledgers {_bytes(found.ledger_bytes)}, tables and data set {_bytes(found.table_bytes)}, {rounds}"),
        ("memory", f"dedup {_bytes(found.dedup_bytes)}, driver {_bytes(found.driver_bytes)}, each on one machine"),
    ]
    lines += [("price", f"{found.price:,.2f}")] if found.price else []
    return "\n".join(f"{name:<10} {text}" for name, text in lines)


def _cores(found: Estimate) -> str:
    return f"{found.sandbox_cores:,.1f} cores never hold the GPUs up"


def _shards(found: Estimate, config: EstimateConfig) -> str:
    """How many drivers it takes to keep up with the GPUs, each at most half busy."""
    generation = found.gpu_seconds / config.gpus
    drivers = max(1, -(-2 * found.driver_seconds // max(generation, 1e-9)))
    return f"{drivers:,.0f} drivers (--shard) keep up" if drivers > 1 else "one driver keeps up"


def _short(count: float) -> str:
    """1,234 as 1.2k, and so on."""
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.1f}{unit}"
    return f"{count:.0f}"


def _bytes(count: float) -> str:
    return f"{_short(count)}B".replace("kB", " kB").replace("MB", " MB").replace("GB", " GB").replace("TB", " TB")


def _hours(seconds: float) -> str:
    return f"{seconds / _HOUR:,.1f} hours"
