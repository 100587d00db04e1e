"""From verdicts to a score: pass@k with errors and intervals, without the items that a data set overlaps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from datagen.benchmarks.files import read_records
from datagen.errors import InputError
from datagen.evaluation.grade import Graded
from datagen.evaluation.passk import estimate, pass_at_k
from datagen.files import read_json
from datagen.overlap import COMMON, UNRESOLVED
from datagen.store import DECONTAMINATE
from datagen.tables import iter_rows

_REPORTED_ONLY = {"openai", COMMON, UNRESOLVED}


def counts(graded: Iterable[Graded]) -> dict[str, tuple[int, int]]:
    """Samples and passes of each problem, by its id, sorted."""
    total, passed = Counter[str](), Counter[str]()
    for one in graded:
        total[one.task_id] += 1
        passed[one.task_id] += one.passed
    return {name: (total[name], passed[name]) for name in sorted(total)}


def scores(found: Mapping[str, tuple[int, int]], ks: Sequence[int], seed: int = 0) -> dict[str, dict[str, float]]:
    """pass@k, as shares, for each k up to the least n: value, stderr, low and high."""
    n, passed = zip(*found.values(), strict=True)
    possible = [k for k in ks if k <= min(n)]
    return {str(k): _rounded(asdict(estimate(pass_at_k(n, passed, k), seed))) for k in possible}


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 6) for name, value in values.items()}


def summary(graded: Sequence[Graded], ks: Sequence[int], excluded: frozenset[str] | None, seed: int) -> dict[str, Any]:
    """The figures of a benchmark as JSON data; unless `excluded` is None, `without_excluded` scores the other items."""
    found = counts(graded)
    figures: dict[str, Any] = {
        "problems": len(found),
        "samples": len(graded),
        "statuses": dict(Counter(one.status for one in graded)),
        "cut_by_max_tokens": sum(one.finish_reason == "length" for one in graded),
        "pass@k": scores(found, ks, seed),
    }
    if excluded is not None:
        clean = {name: pair for name, pair in found.items() if name not in excluded}
        again = {"problems": len(clean), "pass@k": scores(clean, ks, seed) if clean else {}}
        figures |= {"excluded": sorted(excluded & found.keys()), "without_excluded": again}
    return figures


def excluded_items(report: Path) -> dict[str, frozenset[str]]:
    """The items that a decontamination hit, by benchmark: OpenAI's procedure of scoring once more without them.

    `report` is a run's folder, its stage's folder, the stage's hits.parquet, or any file with columns `benchmark` and
    `item`. Where there is a `method`, hits of those that only report do not count. InputError for anything else.
    """
    path = next((at for at in _places(report) if at.is_file()), None)
    if path is None:
        hint = "Give a run that was decontaminated, its hits.parquet, or a file with columns benchmark and item"
        raise InputError("holds no hits of a decontamination", where=str(report), hint=hint)
    records = [record for own in read_records(path).values() for record in own]
    acts = read_json(path.parent / "report.json", {}).get("notes", {}).get("decontamination", {}).get("acts")
    if records and not {"benchmark", "item"} <= records[0].keys():
        raise InputError("has no columns benchmark and item", where=str(path), hint="Give a hits.parquet")
    kept = [r for r in records if _counts(str(r.get("method", "")), acts)]
    names = sorted({str(record["benchmark"]) for record in kept})
    return {name: frozenset(str(r["item"]) for r in kept if str(r["benchmark"]) == name) for name in names}


def _places(report: Path) -> tuple[Path, ...]:
    return (report, report / "hits.parquet", report / DECONTAMINATE / "hits.parquet")


def _counts(method: str, acts: Sequence[str] | None) -> bool:
    return not method or (method in acts if acts is not None else method not in _REPORTED_ONLY)


def read_entries(folder: Path) -> dict[str, dict[str, Any]]:
    """Each benchmark's entry of an evaluation's report; InputError, saying what to run, if none is finished."""
    entries: dict[str, dict[str, Any]] = read_json(folder / "report.json", {}).get("benchmarks", {})
    if not entries:
        hint = f"Run: datagen eval --model MODEL --benchmarks NAME --run {folder}"
        raise InputError("holds no finished evaluation", where=str(folder), hint=hint)
    return entries


def read_graded(path: Path) -> list[Graded]:
    """The verdicts that a finished evaluation stored; InputError if they are missing or no table of verdicts."""
    return list(iter_rows(path, Graded))
