"""Finished evaluations side by side, problem by problem: that shows a difference far more surely than two scores do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from datagen.errors import InputError
from datagen.evaluation.passk import Estimate, estimate, means
from datagen.evaluation.published import scoreboard
from datagen.evaluation.scores import counts, read_entries, read_graded

SHOWN_WHOLE = 20
"""Problems up to which a table shows each of them; longer tables show those on which the evaluations differ."""


@dataclass(frozen=True, slots=True)
class Finished:
    """An evaluation on one benchmark: its entry of report.json, and samples and passes of each problem."""

    name: str
    entry: Mapping[str, Any]
    counts: Mapping[str, tuple[int, int]]

    @property
    def rates(self) -> dict[str, float]:
        """The share of each problem's samples that passed: its pass@1."""
        return {problem: passed / n for problem, (n, passed) in self.counts.items()}

    @property
    def solved(self) -> int:
        """Problems that any sample solved."""
        return sum(passed > 0 for _, passed in self.counts.values())


@dataclass(frozen=True, slots=True)
class Paired:
    """The second evaluation against the first, over the problems that both have.

    `difference` is that of pass@1 with its standard error and the 95 % interval of a paired bootstrap over problems;
    `ahead` the share of resamples in which the second is ahead, a tie counting half.
    """

    first: str
    second: str
    problems: int
    wins: int
    losses: int
    ties: int
    difference: Estimate
    ahead: float


def read_finished(folder: Path) -> dict[str, Finished]:
    """The finished benchmarks of an evaluation's folder; InputError, saying what to run, if there is none."""
    return {
        name: Finished(folder.name, entry, counts(read_graded(_verdicts(folder, name))))
        for name, entry in read_entries(folder).items()
    }


def _verdicts(folder: Path, benchmark: str) -> Path:
    path = folder / benchmark.replace("/", "--") / "kept.parquet"
    if not path.is_file():
        hint = "Copy the whole folder of the evaluation, not report.json alone"
        raise InputError(f"has a score on {benchmark}, but no verdicts (no {path})", where=str(folder), hint=hint)
    return path


def paired(first: Finished, second: Finished, seed: int = 0) -> Paired:
    """Wins, losses and the paired bootstrap; InputError if no problem is in both."""
    one, two = first.rates, second.rates
    both = sorted(one.keys() & two.keys())
    if not both:
        raise InputError(f"{first.name} and {second.name} share no problem", hint="Score both on the same benchmark")
    differences = np.array([two[problem] - one[problem] for problem in both])
    drawn = np.round(means(differences, seed), 12)  # 0.3 - 0.2 and 0.1 - 0.2 cancel, but not as floats
    ahead = float((drawn > 0).mean() + (drawn == 0).mean() / 2)
    wins, losses = int((differences > 0).sum()), int((differences < 0).sum())
    ties = len(both) - wins - losses
    return Paired(first.name, second.name, len(both), wins, losses, ties, estimate(differences, seed), ahead)


def comparison(folders: Sequence[Path], seed: int = 0) -> str:
    """For each benchmark that all have: problems, score of each, and each of the later against the first."""
    finished = [read_finished(folder) for folder in folders]
    shared = [name for name in finished[0] if all(name in other for other in finished)]
    if not shared:
        raise InputError("no benchmark is in all of them", where=" ".join(map(str, folders)), hint="Score them alike")
    return "\n\n".join(_benchmark(name, [one[name] for one in finished], seed) for name in shared)


def _benchmark(name: str, all_of_it: Sequence[Finished], seed: int) -> str:
    parts = [f"{name}: {len(all_of_it[0].counts)} problems", _problems(all_of_it), scores_of(name, all_of_it)]
    if len({one.entry["protocol_hash"] for one in all_of_it}) > 1:
        parts.insert(1, "! protocols differ: " + " · ".join(_protocol(one) for one in all_of_it))
    parts += [sentence(paired(all_of_it[0], other, seed)) for other in all_of_it[1:]]
    return "\n".join(parts)


def _protocol(one: Finished) -> str:
    return f"{one.name} {one.entry['protocol']} {one.entry['protocol_hash']}"


def _problems(all_of_it: Sequence[Finished]) -> str:
    """A line a problem, passes of samples in a column each."""
    ids = sorted(set().union(*(one.counts for one in all_of_it)))
    differing = [problem for problem in ids if len({one.rates.get(problem) for one in all_of_it}) > 1]
    shown = ids if len(ids) <= SHOWN_WHOLE else differing
    rows = [["problem", *(one.name for one in all_of_it)]]
    rows += [[problem, *(_passes(one.counts.get(problem)) for one in all_of_it)] for problem in shown]
    hidden = [f"({len(ids) - len(shown)} problems with equal results)"] if len(shown) < len(ids) else []
    return "\n".join([*table(rows), *hidden])


def _passes(pair: tuple[int, int] | None) -> str:
    return "-" if pair is None else f"{pair[1]}/{pair[0]}"


def scores_of(benchmark: str, all_of_it: Sequence[Finished]) -> str:
    """A scoreboard: problems solved by any sample, pass@1 with its interval, and what was published, marked so."""
    rows = [["model", "solved", "pass@1"]]
    for one in all_of_it:
        figures = one.entry["pass@k"].get("1")
        shown = (
            f"{percent(figures['value'])} ({percent(figures['low'])} to {percent(figures['high'])})" if figures else "-"
        )
        rows.append([one.name, f"{one.solved}/{len(one.counts)}", shown])
    rows += [[model, f"{solved}/{total}", f"({source})"] for model, solved, total, source in scoreboard(benchmark)]
    return "\n".join(table(rows))


def sentence(pair: Paired) -> str:
    """The comparison of two, in a line."""
    d = pair.difference
    return (
        f"{pair.second} against {pair.first}: {pair.wins} wins, {pair.losses} losses, {pair.ties} ties; pass@1 "
        f"{percent(d.value, '+')} (95 %: {percent(d.low, '+')} to {percent(d.high, '+')}), "
        f"ahead in {pair.ahead:.0%} of resamples"
    )


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns aligned to the left, two blanks between them."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def percent(share: float, sign: str = "") -> str:
    """A share in per cent, with one digit; what rounds to zero has no minus."""
    return f"{100 * share:{sign}z.1f}"
