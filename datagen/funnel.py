"""What a run holds, as text: the funnel of its stages and one row in full."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from datagen.models import Outcome, Row
from datagen.store import Report


def funnel(reports: Sequence[Report]) -> str:
    """A table - stage, what went in, what was kept, what was dropped by reason - and what else the stages report."""
    rows = [("stage", "in", "kept", "dropped"), *(_row(report) for report in reports)]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [f"{a:<{widths[0]}}  {b:>{widths[1]}}  {c:>{widths[2]}}  {d}".rstrip() for a, b, c, d in rows]
    said = [*(note for report in reports for note in notes(report)), *_tokens(reports)]
    return "\n".join([*lines, *([""] if said else []), *said])


def _row(report: Report) -> tuple[str, str, str, str]:
    reasons = sorted(report.dropped.items(), key=lambda item: (-item[1], item[0]))
    dropped = " · ".join(f"{reason} {count:,}" for reason, count in reasons) or "-"
    return report.stage, f"{report.parsed:,}", f"{report.kept:,}", dropped


def notes(report: Report) -> Iterator[str]:
    """What a stage says beside its counts: yields of both ways to choose tests, benchmark hits, items still owed."""
    yields = {way: report.notes[f"passed_{way}"] for way in ("plain", "consensus") if f"passed_{way}" in report.notes}
    if yields and report.inputs:
        shares = (f"{count:,} with {way} tests ({count / report.inputs:.0%})" for way, count in yields.items())
        yield f"{report.stage}: questions solved: {', '.join(shares)}"
    if "candidates_drawn" in report.notes:
        yield f"{report.stage}: early stop: {_spared(report.notes)}"
    for method, benchmarks in report.notes.get("decontamination", {}).get("methods", {}).items():
        found = ", ".join(f"{name} {counts['rows_hit']:,}" for name, counts in benchmarks.items())
        yield f"{report.stage}: rows that overlap by {method}: {found}"
    if missing := report.notes.get("not_checked"):
        yield f"{report.stage}: not checked against {', '.join(missing)}"
    if report.owed:
        yield f"{report.stage}: {report.owed:,} items owed (engine-failed); run the same command to try them again"


def overlaps(report: Report) -> str:
    """Both reports of decontamination side by side - rows that overlap, by method - and what each can check, as tables.

    Empty where the report is of another stage, or no benchmark was given.
    """
    found = report.notes.get("decontamination", {})
    counted: dict[str, dict[str, dict[str, Any]]] = found.get("methods", {})
    methods = {name: counted[name] for name in sorted(counted, key=_place)}
    names = list(dict.fromkeys(name for counts in methods.values() for name in counts))
    if not names:
        return ""
    hits = [("rows that overlap", *methods)]
    hits += [(name, *(_figure(counts, name, "rows_hit") for counts in methods.values())) for name in names]
    items = [("items checked", *methods)]
    items += [(name, *(_checked(counts.get(name)) for counts in methods.values())) for name in names]
    unchecked = {name: len(found.get("unchecked", {}).get(name, ())) for name in names}
    lines = [f"{name}: {count:,} items that no method can check" for name, count in unchecked.items() if count]
    return "\n".join([_table(hits), "", _table(items), *lines, *_judged(found)])


def _place(method: str) -> tuple[int, str]:
    """Where a method stands in the tables: OpenAI's first, then what looks further and further beyond words."""
    order = ("openai", "strong", "execution", "judge")
    return next((place for place, name in enumerate(order) if method.startswith(name)), len(order)), method


def _figure(counts: Mapping[str, Mapping[str, Any]], name: str, key: str) -> str:
    return f"{counts[name][key]:,}" if name in counts else "-"


def _checked(counts: Mapping[str, Any] | None) -> str:
    """How many items a method can check."""
    return "-" if counts is None else f"{counts['items'] - counts.get('too_short', 0):,}"


def _judged(found: Mapping[str, Any]) -> Iterator[str]:
    ran, asked = found.get("execution"), found.get("judge")
    if ran:
        late = f", {ran['unanswered']:,} without an answer" if ran["unanswered"] else ""
        yield f"execution: {ran['rows']:,} rows run on {ran['pairs']:,} pairs of row and item{late}"
    if asked:
        answers = ", ".join(f"{asked.get(answer, 0):,} {answer}" for answer in ("yes", "no", "unresolved"))
        yield f"judge: {asked['asked']:,} pairs asked about ({asked['neighbours']}): {answers}"
        if 2 * asked.get("unresolved", 0) > asked["asked"]:
            yield "judge: most answers are neither yes nor no: read them in hits.parquet (method unresolved, span)"


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell, the first to the left."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    cells = (
        [row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))] for row in rows
    )
    return "\n".join("  ".join(row) for row in cells)


def _spared(figures: Mapping[str, int]) -> str:
    """What early stop did not draw; its tokens are those that the drawn candidates of the same questions needed."""
    drawn, saved = figures["candidates_drawn"], figures.get("candidates_saved", 0)
    return (
        f"{saved:,} of {drawn + saved:,} candidates not drawn ({saved / (drawn + saved):.0%}), "
        f"about {figures.get('tokens_saved', 0):,} tokens saved"
    )


def _tokens(reports: Sequence[Report]) -> Iterator[str]:
    read, written = (sum(r.notes.get(f"{kind}_tokens", 0) for r in reports) for kind in ("prompt", "completion"))
    if read or written:
        yield f"tokens: {read:,} read, {written:,} written"


def record(row: Row) -> str:
    """One row of the data set, whole, for reading."""
    passed = f"{row.n_passed} of {row.n_candidates} candidates pass" if row.n_passed is not None else ""
    parts = (
        f"id {row.id}", f"topic {row.topic}", row.difficulty, f"entry point {row.entry_point}",
        passed or f"first pass at candidate {row.n_tried} of {row.n_candidates}", f"candidate {row.chosen_index} kept",
    )  # fmt: skip
    about = " · ".join(part for part in parts if part)
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
