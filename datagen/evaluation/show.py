"""A report as a person reads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from datagen.evaluation.compare import table


def shown(report: Mapping[str, Any]) -> str:
    """A line for each k of each benchmark; below, protocol and hash, and what was published under the same ones."""
    rows = [["benchmark", "problems", "metric", "score", "95 % interval", "stderr"]]
    notes: list[str] = []
    for name, entry in report["benchmarks"].items():
        rows += _rows(name, entry["problems"], entry["pass@k"])
        if "without_excluded" in entry:
            again = entry["without_excluded"]
            rows += _rows(f"{name} without {len(entry['excluded'])}", again["problems"], again["pass@k"])
        notes += _notes(name, entry)
    return "\n".join([f"model: {report['model']}", *table(rows), "", *notes])


def _rows(name: str, problems: int, scores: Mapping[str, Mapping[str, float]]) -> list[list[str]]:
    return [
        [name, str(problems), f"pass@{k}", f"{100 * one['value']:.1f}",
         f"{100 * one['low']:.1f} to {100 * one['high']:.1f}", f"{100 * one['stderr']:.1f}"]
        for k, one in scores.items()
    ]  # fmt: skip


def _notes(name: str, entry: Mapping[str, Any]) -> list[str]:
    decoding = "" if entry["temperature"] is None else f", n {entry['n']}, temperature {entry['temperature']:g}"
    others = {status: count for status, count in entry["statuses"].items() if status != "pass"}
    notes = [
        f"{name}: {entry['protocol']} ({entry['protocol_hash']}){decoding}, sandbox {entry['sandbox'] or 'unused'}"
    ]
    if others:
        notes.append(f"{name}: " + ", ".join(f"{count:,} {status}" for status, count in sorted(others.items())))
    if entry["left_out"]:
        notes.append(f"{name}: {entry['left_out']:,} items left out, which have nothing to be judged by here")
    if entry["cut_by_max_tokens"]:
        notes.append(f"{name}: {entry['cut_by_max_tokens']:,} samples were cut by max_tokens")
    notes += [
        f"{name}: pass@{k} published for this model and protocol: {one['percent']} ({one['source']})"
        for k, one in entry.get("published", {}).items()
    ]
    return notes
