"""The driver and the tables: every item is accounted for, whatever fails on the way."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stage_kit import answer, ledger_set, outputs, question, quiet, run_stage, work

from datagen.errors import (
    CanaryStopped,
    EngineUnavailable,
    Interrupted,
    RequestFailed,
    SandboxUnavailable,
    StorageError,
)
from datagen.interrupt import Interrupt
from datagen.models import REASONS, Attempts, Candidate, Drop, Message, Outcome, Question, Row, Usage
from datagen.pipeline import Canary, ConservationError, Driven, drive, finish, run_whole_set
from datagen.sets import Selection
from datagen.store import RunFolder
from datagen.tables import iter_rows, read_table
from sandbox.contract import SandboxError


@pytest.fixture
def folder(tmp_path):
    """A stage's folder in a run of its own."""
    with RunFolder(tmp_path) as run:
        yield run.stage("1-questions", {})


def ids(count):
    return [question(number).id for number in range(count)]


def questions(count):
    return (question(number) for number in range(count))


def failing_at(numbers, error):
    """A stage that raises `error` for these items and answers the others a little later."""

    async def stage(item):
        if item.prompt_index in numbers:
            raise error
        await asyncio.sleep(0.001)
        return answer(item)

    return stage


# -- drive ----------------------------------------------------------------------------------------------------------


def test_every_item_is_worked_on_once(folder):
    """All items end in the ledger; a second call finds nothing owed and does no work."""
    assert run_stage(folder, questions(30)) == Driven(done=30, failed=0, skipped=0)
    assert run_stage(folder, questions(30), failing_at(range(30), AssertionError)) == Driven(0, 0, 30)


def test_raised_target_just_continues(folder):
    """More items than last time: only the new ones are worked on."""
    run_stage(folder, questions(10))
    assert run_stage(folder, questions(25), failing_at(range(10), AssertionError)) == Driven(15, 0, 10)


def test_items_are_taken_as_they_are_needed(folder):
    """No more items are read than are in flight: the source may be larger than memory."""
    taken, most = [0], [0]

    def source():
        for number in range(100):
            taken[0] += 1
            yield question(number)

    async def stage(item):
        await asyncio.sleep(0)
        most[0] = max(most[0], taken[0] - len(folder.ledger.done))
        return answer(item)

    run_stage(folder, source(), stage, concurrency=4)
    assert most[0] == 4


def test_concurrency_is_reached_and_never_exceeded(folder):
    """As many items as asked for are in flight at once, no more."""
    flying, most = [0], [0]

    async def stage(item):
        flying[0] += 1
        most[0] = max(most[0], flying[0])
        await asyncio.sleep(0.001)
        flying[0] -= 1
        return answer(item)

    run_stage(folder, questions(50), stage, concurrency=7)
    assert most[0] == 7


def test_room_decides_how_many_items_are_in_flight(folder):
    """Where a function says how much room there is, items begin as it grows and none while there is none."""
    allowed, flying, most = [2], [0], []

    async def stage(item):
        flying[0] += 1
        most.append((flying[0], allowed[0]))
        await asyncio.sleep(0.001)
        flying[0] -= 1
        allowed[0] = 2 if len(most) < 20 else 6
        return answer(item)

    assert run_stage(folder, questions(60), stage, concurrency=lambda items: allowed[0] - items).done == 60
    assert all(seen <= given for seen, given in most)
    assert max(seen for seen, _ in most) == 6


def test_failed_request_is_owed_and_the_rest_goes_on(folder):
    """RequestFailed drops one item with the reason engine-failed; the next run tries it, and only it, again."""
    first = run_stage(folder, questions(10), failing_at({3, 4}, RequestFailed("HTTP 500")))
    assert first == Driven(done=8, failed=2, skipped=0) and folder.ledger.failed == {question(3).id, question(4).id}
    report = finish(folder, Question, ids(10))
    assert report.owed == 2 and report.dropped["engine-failed"] == 2
    assert run_stage(folder, questions(10)) == Driven(done=2, failed=0, skipped=8)
    again = finish(folder, Question, ids(10))
    assert again.owed == 0 and "engine-failed" not in again.dropped


@pytest.mark.parametrize(
    ("raised", "caught"),
    [
        (EngineUnavailable("server gone"), EngineUnavailable),
        (SandboxUnavailable("no namespaces"), SandboxUnavailable),
        (SandboxError("worker died"), SandboxUnavailable),
        (StorageError("full"), StorageError),
        (ZeroDivisionError("our own mistake"), ZeroDivisionError),
    ],
)
def test_fatal_error_stops_and_keeps_what_is_finished(folder, raised, caught):
    """An error that is not one item's stops the run: finished items are in the ledger, the rest goes on later."""
    finished = []

    async def stage(item):
        outcome = await failing_at({20}, raised)(item)
        finished.append(item.id)
        return outcome

    with pytest.raises(caught):
        run_stage(folder, questions(100), stage, concurrency=5)
    assert folder.ledger.done == set(finished) and 16 <= len(finished) <= 24
    assert run_stage(folder, questions(100)).done == 100 - len(finished)


def test_nothing_new_starts_after_a_fatal_error(folder):
    """What is in flight is cancelled; work that shrugs that off is still kept, but no further item is begun."""
    begun, cancelled = [], []

    async def stage(item):
        begun.append(item.prompt_index)
        if item.prompt_index == 0:
            await asyncio.sleep(0.01)
            raise EngineUnavailable("gone")
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            cancelled.append(item.prompt_index)
        return answer(item)

    with pytest.raises(EngineUnavailable):
        run_stage(folder, questions(50), stage, concurrency=4)
    assert sorted(begun) == [0, 1, 2, 3] and sorted(cancelled) == [1, 2, 3] and len(folder.ledger.done) == 3


def test_draining_finishes_what_is_in_flight(folder):
    """After Ctrl-C nothing new starts, what was begun is kept, and the message counts what is left."""
    interrupt, begun = Interrupt(), []

    async def stage(item):
        begun.append(item.id)
        await asyncio.sleep(0.001)
        interrupt.draining = len(begun) >= 12
        return answer(item)

    with pytest.raises(Interrupted, match=r"12 done, 38 to go. Run the same command to go on"):
        run_stage(folder, questions(50), stage, concurrency=4, interrupt=interrupt)
    assert folder.ledger.done == set(begun)


def test_draining_with_nothing_left_is_no_interruption(folder):
    """Ctrl-C while the last items are in flight: the stage is done, and says so."""
    interrupt = Interrupt()

    async def stage(item):
        interrupt.draining = item.prompt_index == 3
        await asyncio.sleep(0.001)
        return answer(item)

    assert run_stage(folder, questions(4), stage, concurrency=4, interrupt=interrupt).done == 4


def test_outcome_of_another_item_is_our_mistake(folder):
    """An outcome whose source id is not its item's is never stored."""

    async def stage(item):
        return answer(question(99))

    with pytest.raises(ConservationError, match=f"item {question(0).id} was answered for {question(99).id}"):
        run_stage(folder, questions(1), stage)
    assert folder.ledger.done == set()


def test_item_that_turns_into_nothing_is_our_mistake(folder):
    """An outcome without anything kept or dropped would make its input disappear: it is refused."""

    async def stage(item):
        return Outcome(item.id)

    with pytest.raises(ConservationError, match="turned into nothing"):
        run_stage(folder, questions(1), stage)


def test_two_inputs_of_one_id_are_our_mistake(folder):
    """Inputs must be told apart by their ids, also by a run that finds them done."""
    for _ in range(2):
        with pytest.raises(ConservationError, match="two inputs have the id"):
            run_stage(folder, [question(1), question(1)])


def test_work_that_never_waits_lets_others_in(folder):
    """A stage that answers at once still leaves the loop time for signals and timers."""
    beats = []

    async def run():
        async def beat():
            while True:
                beats.append(1)
                await asyncio.sleep(0)

        task = asyncio.create_task(beat())
        await drive(
            questions(100), work, folder, item_id=lambda item: item.id, concurrency=1, progress=quiet(),
            interrupt=Interrupt(),
        )  # fmt: skip
        task.cancel()

    asyncio.run(run())
    assert len(beats) >= 100


# -- canary ---------------------------------------------------------------------------------------------------------


def canary(floor, after=20):
    return Canary(floor, "prompts/questions.md", lambda outcome: bool(outcome.kept), after=after)


def test_canary_stops_a_run_that_cannot_be_parsed(folder):
    """After the first items a share under the floor stops the run and names the prompt; 2 of 3 is under 90 %."""
    with pytest.raises(CanaryStopped, match=r"prompts/questions.md: only 6\d%.*--canary"):
        run_stage(folder, questions(100), canary=canary(0.9))
    assert len(folder.ledger.done) == 20


def test_canary_stops_the_same_command_again_before_any_work(folder):
    """Run again without a change it stops at once; with a lower floor it goes on."""
    for _ in range(2):
        with pytest.raises(CanaryStopped):
            run_stage(folder, questions(100), canary=canary(0.9))
    assert len(folder.ledger.done) == 20
    assert run_stage(folder, questions(100), canary=canary(0.5)).done == 80


def test_canary_counts_on_where_a_killed_run_stopped(folder):
    """The first items of the stage decide, however many runs they took."""
    run_stage(folder, questions(15))
    with pytest.raises(CanaryStopped):
        run_stage(folder, questions(100), canary=canary(0.9))
    assert len(folder.ledger.done) == 20


def test_canary_lets_a_good_run_pass(folder):
    """A share at or over the floor goes on to the end."""
    assert run_stage(folder, questions(100), canary=canary(0.6)).done == 100


def test_failed_requests_are_no_evidence_for_the_canary(folder):
    """Engine failures say nothing about the prompt: they are not counted."""
    stage = failing_at(range(90), RequestFailed("HTTP 500"))
    assert run_stage(folder, questions(100), stage, canary=canary(0.9)).failed == 90


# -- finish ---------------------------------------------------------------------------------------------------------


def test_tables_and_report_tell_the_same_story(folder):
    """kept.parquet, dropped.parquet and the report agree, and the report's parsed is kept plus dropped."""
    run_stage(folder, questions(30))
    report = finish(folder, Question, ids(30), figures=lambda outcome: {"long": len(outcome.kept)})
    kept, dropped = list(iter_rows(folder.kept, Question)), read_table(folder.dropped)
    assert (report.inputs, report.parsed, report.kept, report.dropped) == (30, 30, 20, {"too-short": 10})
    assert [item.id for item in kept] == sorted(item.id for item in kept) and len(kept) == 20
    assert dropped.columns == ["source_id", "reason", "detail", "text"] and dropped["source_id"].is_sorted()
    assert report.notes == {"long": 20} and json.loads(folder.report.read_text())["kept"] == 20


def test_outputs_do_not_depend_on_the_order_of_finishing(tmp_path):
    """Whatever finishes first: the same tables and report, byte for byte."""
    seen = set()
    for seed, concurrency in ((1, 1), (7, 5), (3, 30)):

        async def stage(item, seed=seed):
            await asyncio.sleep((item.prompt_index * seed % 11) / 1000)
            return answer(item)

        with RunFolder(tmp_path / str(seed)) as run:
            folder = run.stage("1-questions", {})
            run_stage(folder, questions(30), stage, concurrency=concurrency)
            finish(folder, Question, ids(30))
            seen.add(tuple(outputs(folder.path).values()))
    assert len(seen) == 1


def test_inputs_without_outcome_are_named(folder):
    """finish refuses while something is owed that was never tried, and leaves no table behind."""
    run_stage(folder, questions(5))
    with pytest.raises(ConservationError, match=question(5).id):
        finish(folder, Question, ids(6))
    assert not folder.kept.exists() and not folder.report.exists()


def test_outcomes_beyond_the_inputs_stay_out_of_the_tables(folder):
    """A lowered limit shows in the tables; the ledger keeps what it has."""
    run_stage(folder, questions(10))
    assert finish(folder, Question, ids(4)).inputs == 4
    assert finish(folder, Question, ids(10)).inputs == 10


def test_candidates_are_tabled_with_the_chosen_one(folder):
    """Every candidate of every item is kept with its row of the matrix; `chosen` marks the one that became the row."""
    row = Row(
        (Message("user", "q"),),
        question(1).id,
        "q",
        "c1",
        ("t",),
        "t",
        "f",
        2,
        2,
        1,
        0.5,
        1,
        "easy",
        "lists",
        "m",
        "p",
        0,
    )
    tried = Attempts(
        tests=("t",), candidates=(Candidate(0, "c0", "fail", ("fail",)), Candidate(1, "c1", "pass", ("pass",), "", 1))
    )

    async def stage(item):
        if item.prompt_index == 1:
            return Outcome(item.id, (row,), attempts=tried, usage=Usage(5, 6, 7.0))
        return Outcome(item.id, drops=(Drop("none-passed"),), attempts=tried)

    run_stage(folder, questions(2), stage)
    report = finish(folder, Row, ids(2), candidates=True)
    table = read_table(folder.candidates)
    assert table.filter("chosen").rows() == [(question(1).id, ["t"], 1, "c1", "pass", ["pass"], "", 1, True)]
    assert table.height == 4 and report.notes == {"prompt_tokens": 5, "completion_tokens": 6}


def test_cpu_seconds_do_not_reach_the_tables(tmp_path):
    """Two runs that differ in CPU time alone write the same bytes."""
    seen = set()
    for seconds in (0.1, 0.2):

        async def stage(item, seconds=seconds):
            return Outcome(item.id, (item,), usage=Usage(1, 1, seconds))

        with RunFolder(tmp_path / str(seconds)) as run:
            folder = run.stage("1-questions", {})
            run_stage(folder, questions(3), stage)
            finish(folder, Question, ids(3))
            seen.add(tuple(outputs(folder.path).values()))
    assert len(seen) == 1


DROP = st.builds(Drop, st.sampled_from(sorted(REASONS)), st.text(max_size=5), st.text(max_size=20))


@given(
    st.lists(st.tuples(st.integers(0, 4), st.lists(DROP, max_size=4), st.booleans()), max_size=15), st.integers(1, 6)
)
@settings(max_examples=40, deadline=None)
def test_in_is_kept_plus_dropped_for_any_outcomes(tmp_path_factory, plan, concurrency):
    """For any outcomes, failures included: inputs == outcomes, and parsed == kept + dropped, in report and tables."""
    plan = [(kept or not drops, drops, failed) for kept, drops, failed in plan]

    async def stage(item):
        kept, drops, failed = plan[item.prompt_index]
        if failed:
            raise RequestFailed("HTTP 503")
        return Outcome(item.id, (item,) * kept, tuple(drops))

    with RunFolder(tmp_path_factory.mktemp("run")) as run:
        folder = run.stage("1-questions", {})
        run_stage(folder, questions(len(plan)), stage, concurrency=concurrency)
        report = finish(folder, Question, ids(len(plan)))
        kept, dropped = read_table(folder.kept), read_table(folder.dropped)
    assert (report.inputs, report.owed) == (len(plan), sum(failed for *_, failed in plan))
    assert report.parsed == report.kept + sum(report.dropped.values()) == kept.height + dropped.height
    assert report.kept == kept.height == sum(kept for kept, _, failed in plan if not failed)


# -- whole sets -----------------------------------------------------------------------------------------------------


def frame(count):
    return pl.DataFrame([question(number) for number in range(count)], schema=list(Question.__dataclass_fields__))


def halves(rows):
    """Keeps the even ones, in reverse; drops the odd ones with a column of its own."""
    odd = rows.filter(pl.col("prompt_index") % 2 == 1)
    dropped = odd.select(
        similarity=pl.lit(0.9), source_id="id", reason=pl.lit("near-duplicate"), detail=pl.lit("x"), text="question"
    )
    return Selection(rows.filter(pl.col("prompt_index") % 2 == 0).reverse(), dropped)


def test_whole_set_writes_sorted_tables_and_report(folder):
    """Kept rows read back as records, sorted; dropped has its four columns first; notes and tables are written."""
    report = run_whole_set(folder, frame(10), halves, Question, notes={"pairs": 3}, tables={"hits": frame(1)})
    kept, dropped = list(iter_rows(folder.kept, Question)), read_table(folder.dropped)
    assert kept == sorted((question(n) for n in range(0, 10, 2)), key=lambda item: item.id)
    assert dropped.columns == ["source_id", "reason", "detail", "text", "similarity"] and dropped.height == 5
    assert (report.parsed, report.kept, report.dropped, report.notes) == (10, 5, {"near-duplicate": 5}, {"pairs": 3})
    assert read_table(folder.path / "hits.parquet").height == 1


def test_whole_set_starts_over(folder):
    """A second run replaces the first one's tables."""
    run_whole_set(folder, frame(10), halves, Question)
    assert run_whole_set(folder, frame(4), halves, Question).kept == 2
    assert read_table(folder.kept).height == 2


def test_whole_set_of_nothing(folder):
    """No input is no error: empty tables with their columns."""
    run_whole_set(folder, frame(10).clear(), halves, Question)
    assert list(iter_rows(folder.kept, Question)) == [] and read_table(folder.dropped).height == 0


@pytest.mark.parametrize(
    ("select", "message"),
    [
        (lambda rows: Selection(rows.head(1), halves(rows).dropped), "lost"),
        (lambda rows: Selection(rows, halves(rows).dropped), "too many"),
    ],
)
def test_whole_set_that_loses_or_doubles_rows_is_our_mistake(folder, select, message):
    """A row that is neither kept nor dropped, or both, is named, and nothing is written."""
    with pytest.raises(ConservationError, match=message):
        run_whole_set(folder, frame(6), select, Question)
    assert not folder.kept.exists() and not folder.report.exists()


def test_equal_ids_are_counted_one_by_one(folder):
    """Word-for-word repeated questions share an id: each is kept or dropped for itself."""
    rows = pl.concat([frame(4), frame(4)])
    report = run_whole_set(folder, rows, halves, Question)
    assert (report.parsed, report.kept) == (8, 4)


# -- size -----------------------------------------------------------------------------------------------------------

MANY = """
import resource, sys
from pathlib import Path
from stage_kit import answer, question, run_stage
from datagen.models import Question
from datagen.pipeline import finish
from datagen.store import RunFolder
count = int(sys.argv[2])
with RunFolder(Path(sys.argv[1])) as run:
    folder = run.stage("1-questions", {})
    run_stage(folder, (question(n, "word " * 200) for n in range(count)), concurrency=64)
    print(finish(folder, Question, (question(n).id for n in range(count))).parsed)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def peak_mb(path, count):
    """The peak memory of a process of its own that drives and finishes a stage of `count` items of 1 KB."""
    command = [sys.executable, "-c", MANY, str(path), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=__file__.rsplit("/", 1)[0])
    parsed, peak = map(int, done.stdout.split())
    assert parsed == count
    return peak


@pytest.mark.slow
def test_memory_stays_flat_for_100_000_items(tmp_path):
    """Ten times the items (100 MB of text instead of 10) cost less than 60 MB more: ids are held, texts are not."""
    assert peak_mb(tmp_path / "large", 100_000) < peak_mb(tmp_path / "small", 10_000) + 60


def test_ledger_is_the_same_set_in_any_order(tmp_path):
    """Two runs of different concurrency leave the same outcomes in their ledgers."""
    seen = []
    for concurrency in (1, 16):
        with RunFolder(tmp_path / str(concurrency)) as run:
            folder = run.stage("1-questions", {})
            run_stage(folder, questions(40), concurrency=concurrency)
            seen.append(ledger_set(folder.path))
    assert seen[0] == seen[1] and len(seen[0]) == 40
