"""What a run holds, as text: the funnel of its stages and one row in full."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from datagen.models import Outcome, Row
from datagen.store import Report


def funnel(reports: Sequence[Report]) -> str:
    """A table: stage, how much went in, how much was kept, what was dropped by reason."""
    rows = [("stage", "in", "kept", "dropped"), *(_row(report) for report in reports)]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [f"{a:<{widths[0]}}  {b:>{widths[1]}}  {c:>{widths[2]}}  {d}".rstrip() for a, b, c, d in rows]
    return "\n".join(lines + [f"  {note}" for report in reports for note in notes(report)])


def _row(report: Report) -> tuple[str, str, str, str]:
    reasons = sorted(report.dropped.items(), key=lambda item: (-item[1], item[0]))
    dropped = " · ".join(f"{reason} {count:,}" for reason, count in reasons) or "-"
    return report.stage, f"{report.parsed:,}", f"{report.kept:,}", dropped


def notes(report: Report) -> list[str]:
    """What a stage says beside its counts: yields, tokens, benchmark hits, items still owed."""
    plain = ((key, value) for key, value in sorted(report.notes.items()) if not isinstance(value, dict))
    said = [f"{report.stage}: {key.replace('_', ' ')} {_figure(value)}" for key, value in plain]
    if report.owed:
        said.append(
            f"{report.stage}: {report.owed:,} items owed (engine-failed); run the same command to try them again"
        )
    return said


def _figure(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}" if isinstance(value, float) else str(value)


def record(row: Row) -> str:
    """One row of the data set, whole, for reading."""
    about = (
        f"id {row.id} · topic {row.topic} · {row.difficulty} · entry point {row.entry_point} · "
        f"{row.n_passed} of {row.n_candidates} candidates pass · candidate {row.chosen_index} kept"
    )
    tests = "\n".join(row.tests)
    return "\n\n".join((about, row.question, row.solution.rstrip(), f"{tests}\n# the solver saw: {row.shown_test}"))


def attempts(outcome: Outcome[Row]) -> str:
    """All that was tried for one question: tests, candidates, the matrix of their results, the verdict."""
    tried = outcome.attempts
    lines = [f"question {outcome.source_id}"]
    lines += [f"  test {number}: {test}" for number, test in enumerate(tried.tests)]
    lines += [f"  dropped test ({drop.reason}): {drop.text}" for drop in tried.dropped_tests]
    for candidate in tried.candidates:
        lines.append(f"  candidate {candidate.index}: {candidate.status} {candidate.detail}".rstrip())
        lines.append(f"    tests: {' '.join(candidate.results) or '-'}")
    if outcome.kept:
        return "\n".join([*lines, "kept:", record(outcome.kept[0])])
    return "\n".join([*lines, *(f"dropped: {drop.reason} {drop.detail}\n{drop.text}" for drop in outcome.drops)])
