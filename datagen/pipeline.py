"""Drives a stage over its items: many at once, resumable at any moment, nothing lost, every item accounted for."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import polars as pl

from datagen.codec import schema_of, to_plain
from datagen.errors import CanaryStopped, Interrupted, RequestFailed, SandboxUnavailable
from datagen.files import read_json, write_json
from datagen.interrupt import Interrupt
from datagen.models import Drop, Outcome, Row
from datagen.progress import Progress
from datagen.sets import Selection
from datagen.spending import Meter
from datagen.store import Report, StageFolder
from datagen.tables import CANDIDATES, DROPPED, count_rows, table_writer, write_frame
from sandbox.contract import SandboxError

Item = TypeVar("Item")
Add = Callable[[Mapping[str, Any]], None]
Room = Callable[[int], int]
"""From the number of items in flight to how many more to begin."""

TICK = 0.02
"""Seconds between two looks at whether there is more room."""


class ConservationError(AssertionError):
    """Our own mistake: an item was lost, or came twice. Never a user's error; it ends the run with its trace."""


@dataclass(frozen=True, slots=True)
class Driven:
    """What one call of `drive` did: items finished, items whose engine failed (owed), items done before."""

    done: int
    failed: int
    skipped: int


@dataclass(frozen=True, slots=True)
class Canary:
    """Stops a stage after its first `after` items when too little of the model's output could be parsed.

    `well` gives the share of an outcome that parsed, 0 to 1; `file` is the prompt to look at. A floor of 0: none.
    The first `after` items of the *stage* decide, once: what they showed is kept in canary.json, so the same command
    stops again at once, and goes on with a lower floor.
    """

    floor: float
    file: str
    well: Callable[[Outcome[Any]], float]
    after: int = 100


async def drive(
    items: Iterable[Item],
    work: Callable[[Item], Awaitable[Outcome[Any]]],
    folder: StageFolder,
    *,
    item_id: Callable[[Item], str],
    concurrency: int | Room,
    progress: Progress,
    interrupt: Interrupt,
    canary: Canary | None = None,
    meter: Meter | None = None,
) -> Driven:
    """Runs `work` on every item that the stage's ledger does not hold yet, `concurrency` (or as it says) at once.

    `items` is finite and consumed as needed. Each outcome is in the ledger the moment it is there. RequestFailed makes
    the item owed (reason engine-failed) and the rest goes on; whatever else `work` raises stops the run: what is
    finished is kept, what is in flight is cancelled, and the exception comes out (SandboxError as SandboxUnavailable).
    `meter` counts what is spent; an item that does not fit its budget is not begun, those in flight are finished.

    Raises Interrupted after Ctrl-C if items are left, BudgetReached likewise, CanaryStopped, StorageError;
    ConservationError where an id comes twice or an outcome is not its item's.
    """
    run = _Drive(folder, progress, interrupt, _Watch(folder, canary) if canary and canary.floor > 0 else None, meter)
    source = run.owed(items, item_id)
    progress.resume(len(folder.ledger.done))
    try:
        await run.all(source, work, _fixed(concurrency) if isinstance(concurrency, int) else concurrency)
    finally:
        progress.close()
        folder.ledger.sync()
        if meter:
            meter.save()
    if (interrupt.draining or run.full) and (left := sum(1 for _ in source)):
        done = len(folder.ledger.done)
        if meter and not interrupt.draining:
            raise meter.reached(folder.path, done, left, run.first_done)
        raise Interrupted(f"Interrupted: {folder.path} has {done} done, {left} to go. Run the same command to go on")
    return Driven(run.done, run.failed, run.skipped)


def _fixed(count: int) -> Room:
    """Room for `count` items at once, at least one."""
    return lambda items: max(1, count) - items


class _Drive:
    """The state that the workers of one call share: the ledger, the counts, whether to stop."""

    def __init__(
        self, folder: StageFolder, progress: Progress, interrupt: Interrupt, watch: _Watch | None, meter: Meter | None
    ) -> None:  # fmt: skip
        self._folder, self._progress, self._interrupt, self._watch = folder, progress, interrupt, watch
        self._meter, self._in_flight, self._ended = meter, 0, asyncio.Event()
        self._broken = self._drained = self.full = False
        self._items = 0
        self._came: dict[str, None] = {}
        self.done = self.failed = self.skipped = 0

    @property
    def first_done(self) -> int:
        """How many items are done before the first that is not, in the order in which they came."""
        return sum(1 for _ in itertools.takewhile(self._folder.ledger.done.__contains__, self._came))

    def owed(self, items: Iterable[Item], item_id: Callable[[Item], str]) -> Iterator[tuple[str, Item]]:
        """The items that the ledger does not hold, each with its id."""
        done = self._folder.ledger.done
        for item in items:
            source_id = item_id(item)
            if source_id in self._came:
                raise ConservationError(f"{self._folder.path}: two inputs have the id {source_id}")
            self._came[source_id] = None
            if source_id in done:
                self.skipped += 1
            else:
                yield source_id, item

    async def all(
        self, source: Iterator[tuple[str, Item]], work: Callable[[Item], Awaitable[Outcome[Any]]], room: Room
    ) -> None:
        """Works on all items, in as many tasks as there is room for.

        The first exception, or a cancellation, cancels the tasks and comes out once all ended.
        """
        try:
            async with asyncio.TaskGroup() as group:
                while not self._over:
                    for _ in range(room(self._items)):
                        self._items += 1
                        group.create_task(self._worker(source, work, room))
                    await asyncio.sleep(TICK)
        except BaseExceptionGroup as several:
            first = several.exceptions[0]
        else:
            return
        raise first

    @property
    def _over(self) -> bool:
        """Whether nothing more is to be begun."""
        return self._broken or self._drained or self.full or self._interrupt.draining

    async def _worker(
        self, source: Iterator[tuple[str, Item]], work: Callable[[Item], Awaitable[Outcome[Any]]], room: Room
    ) -> None:
        """Takes one item after the other until none is left, there is no more room, or the run is to stop."""
        try:
            while await self._affordable() and (taken := self._next(source)) is not None:
                number = self._begins()
                self._record(taken[0], await _attempt(taken[0], taken[1], work), number)
                self._ends()
                await asyncio.sleep(0)  # work that never waits would keep signals and the other workers out
                if room(self._items - 1) < 1:
                    return
        except BaseException:
            self._broken = True
            raise
        finally:
            self._items -= 1

    def _begins(self) -> int:
        """One item more is in flight; its number in the order in which they begin."""
        self._in_flight += 1
        return self._meter.begin() if self._meter is not None else 0

    def _ends(self) -> None:
        """One item fewer is in flight: those that wait for the budget look again."""
        self._in_flight -= 1
        self._ended.set()
        self._ended = asyncio.Event()

    def _next(self, source: Iterator[tuple[str, Item]]) -> tuple[str, Item] | None:
        """The next item that is owed, None if none is left."""
        taken = next(source, None)
        self._drained = taken is None
        return taken

    async def _affordable(self) -> bool:
        """Whether to take another item; where it does not fit the budget, known once those in flight have ended."""
        while not (self._broken or self._interrupt.draining):
            if self._meter is None or self._meter.fits():
                return True
            if self._in_flight == 0:
                self.full = True
                return False
            await self._ended.wait()
        return False

    def _record(self, source_id: str, outcome: Outcome[Any], number: int) -> None:
        if outcome.source_id != source_id:
            raise ConservationError(f"{self._folder.path}: item {source_id} was answered for {outcome.source_id}")
        if not outcome.kept and not outcome.drops:
            raise ConservationError(f"{self._folder.path}: item {source_id} turned into nothing, kept or dropped")
        self._folder.ledger.append(outcome)
        self.done += outcome.final
        self.failed += not outcome.final
        self._progress.advance(outcome)
        if self._meter is not None:
            self._meter.end(number, outcome)
        if self._watch is not None:
            self._watch.see(outcome)


async def _attempt(source_id: str, item: Item, work: Callable[[Item], Awaitable[Outcome[Any]]]) -> Outcome[Any]:
    try:
        return await work(item)
    except RequestFailed as error:
        return Outcome(source_id, drops=(Drop("engine-failed", str(error)),), final=False)
    except SandboxError as error:
        raise SandboxUnavailable(str(error), hint="`datagen doctor` shows what is missing") from error


class _Watch:
    """Counts for a canary until it has seen enough; remembers what it saw in the stage's folder."""

    def __init__(self, folder: StageFolder, canary: Canary) -> None:
        self._folder, self._canary = folder, canary
        self._path = folder.path / "canary.json"
        self._items, self._well = 0, 0.0
        verdict = read_json(self._path)
        if verdict is not None:
            self._items = canary.after
            self._judge(verdict["items"], verdict["well"])
            return
        for outcome in itertools.islice(folder.ledger.outcomes(dict), canary.after):
            self.see(outcome)

    def see(self, outcome: Outcome[Any]) -> None:
        """Counts an outcome; CanaryStopped if it was the last of the first items, and they fell short."""
        if self._items >= self._canary.after or not outcome.final:
            return
        self._items += 1
        self._well += self._canary.well(outcome)
        if self._items == self._canary.after:
            write_json(self._path, {"items": self._items, "well": round(self._well, 6)})
            self._judge(self._items, self._well)

    def _judge(self, items: int, well: float) -> None:
        if well >= self._canary.floor * items:
            return
        share, floor = f"{well / items:.0%}", f"{self._canary.floor:.0%}"
        what = f"only {share} of what the first {items} items gave could be parsed, less than {floor}"
        hint = f"Correct the prompt and delete {self._folder.path}, or go on with a lower --canary (0: never stop)"
        raise CanaryStopped(what, where=self._canary.file, hint=hint)


@dataclass(slots=True)
class _Totals:
    """The sums over the outcomes that went into the tables."""

    parsed: int = 0
    kept: int = 0
    owed: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)

    def add(self, outcome: Outcome[Any], figures: Mapping[str, int]) -> None:
        self.parsed += len(outcome.kept) + len(outcome.drops)
        self.kept += len(outcome.kept)
        self.owed += not outcome.final
        self.dropped.update(drop.reason for drop in outcome.drops)
        self.notes.update(figures)
        self.notes["prompt_tokens"] += outcome.usage.prompt_tokens
        self.notes["completion_tokens"] += outcome.usage.completion_tokens


def finish(
    folder: StageFolder,
    kept_type: type[Any],
    inputs: Iterable[str],
    *,
    candidates: bool = False,
    figures: Callable[[Outcome[Any]], Mapping[str, int]] = lambda outcome: {},
) -> Report:
    """Writes a per-item stage's tables and report from its ledger, sorted by source id, in flat memory.

    `inputs` are the ids asked for; what the ledger holds beyond them stays there and out of the tables. Items whose
    engine failed count as dropped and as owed. `figures` of each outcome are summed into the report's notes.
    ConservationError if an input has no outcome, or if what the tables hold is not what was parsed.
    """
    missing, totals = _unique(folder, inputs), _Totals()
    count = len(missing)
    with contextlib.ExitStack() as stack:
        kept = stack.enter_context(table_writer(folder.kept, schema_of(kept_type)))
        dropped = stack.enter_context(table_writer(folder.dropped, DROPPED))
        tried = stack.enter_context(table_writer(folder.candidates, CANDIDATES)) if candidates else None
        for outcome in folder.ledger.outcomes(kept_type):
            if outcome.source_id in missing:
                missing.remove(outcome.source_id)
                _write_outcome(outcome, kept, dropped, tried)
                totals.add(outcome, figures(outcome))
        if missing:
            raise ConservationError(f"{folder.path}: {len(missing)} inputs without outcome: {_some(sorted(missing))}")
        folder.unpublish()
    notes = {key: value for key, value in totals.notes.items() if value}
    report = Report(folder.name, count, totals.parsed, totals.kept, dict(totals.dropped), totals.owed, notes)
    return _published(folder, report)


def _unique(folder: StageFolder, inputs: Iterable[str]) -> set[str]:
    unique: set[str] = set()
    for source_id in inputs:
        if source_id in unique:
            raise ConservationError(f"{folder.path}: two inputs have the id {source_id}")
        unique.add(source_id)
    return unique


def _write_outcome(outcome: Outcome[Any], kept: Add, dropped: Add, tried: Add | None) -> None:
    for item in outcome.kept:
        kept(to_plain(item))
    for drop in outcome.drops:
        dropped({"source_id": outcome.source_id, **to_plain(drop)})
    if tried is not None:
        chosen = {row.chosen_index for row in outcome.kept if isinstance(row, Row)}
        for candidate in outcome.attempts.candidates:
            named = {"source_id": outcome.source_id, "tests": outcome.attempts.tests}
            tried(named | to_plain(candidate) | {"chosen": candidate.index in chosen})


def _published(folder: StageFolder, report: Report) -> Report:
    """The second check, on the tables themselves: parsed == kept + dropped; then the report, which makes them count."""
    kept, dropped = count_rows(folder.kept), count_rows(folder.dropped)
    if report.parsed != kept + dropped or kept != report.kept or dropped != sum(report.dropped.values()):
        raise ConservationError(f"{folder.path}: {report.parsed} parsed, but {kept} kept and {dropped} dropped")
    folder.publish(report)
    return report


def run_whole_set(
    folder: StageFolder,
    inputs: pl.DataFrame,
    select: Callable[[pl.DataFrame], Selection],
    kept_type: type[Any],
    *,
    notes: Mapping[str, Any] | None = None,
    tables: Mapping[str, pl.DataFrame] | None = None,
    owed: int = 0,
) -> Report:
    """Runs a whole-set stage and writes its tables, sorted by id, and its report; each run starts over.

    Rows are named by their column `id`. `notes` go into the report, `tables` beside it as NAME.parquet; `owed` is how
    much of what was asked for the stage has no answer yet.
    ConservationError unless every input id is kept or dropped exactly as often as it came in.
    """
    selection = select(inputs)
    kept, dropped = selection.kept, selection.dropped
    _same_rows(folder, inputs["id"], kept["id"], dropped["source_id"])
    folder.unpublish()
    write_frame(folder.kept, kept.sort("id", maintain_order=True), schema_of(kept_type))
    write_frame(
        folder.dropped, dropped.sort("source_id", maintain_order=True).select(*DROPPED.names, pl.exclude(DROPPED.names))
    )
    for name, frame in (tables or {}).items():
        write_frame(folder.path / f"{name}.parquet", frame)
    reasons = dict(Counter(dropped["reason"].to_list()))
    return _published(
        folder, Report(folder.name, inputs.height, inputs.height, kept.height, reasons, owed, dict(notes or {}))
    )


def _same_rows(folder: StageFolder, inputs: pl.Series, kept: pl.Series, dropped: pl.Series) -> None:
    came, went = Counter(inputs.to_list()), Counter(kept.to_list()) + Counter(dropped.to_list())
    if came != went:
        lost, extra = list((came - went).elements()), list((went - came).elements())
        raise ConservationError(f"{folder.path}: lost {_some(lost)}; too many {_some(extra)}")


def _some(ids: list[str]) -> str:
    """At most five ids, for a message."""
    return ", ".join(ids[:5]) + (" ..." if len(ids) > 5 else "") if ids else "none"
