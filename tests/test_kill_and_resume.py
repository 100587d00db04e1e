"""Kill it at any moment, run the same command again: nothing lost, nothing done twice, the same bytes."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
from kill_driver import STAGES
from stage_kit import answer, ledger_set, outputs, question, run_stage

from datagen.errors import StorageError
from datagen.ledger import Ledger, ledger_state
from datagen.models import Question
from datagen.pipeline import finish
from datagen.store import RunFolder, read_report
from datagen.tables import count_rows

DRIVER = Path(__file__).with_name("kill_driver.py")


def start(folder, *options):
    """The driver on folder/run, its calls in folder/calls, in a process group of its own; returns once it works."""
    command = [sys.executable, str(DRIVER), str(folder / "run"), str(folder / "calls"), *options]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout.readline() == "ready\n"
    return process


def complete(folder, *options):
    """Runs the driver to its end."""
    process = start(folder, *options)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    return folder / "run"


def everything(run):
    """The bytes of all that the stages of a run wrote."""
    written = {stage: outputs(run / stage) for stage in STAGES}
    written["3-solve"] |= outputs(run / "3-solve", ["candidates.parquet"])
    return written


def done(run):
    """What the ledgers of a run hold, as "stage id"."""
    return {f"{stage} {item}" for stage in STAGES for item in ledger_state(run / stage / "ledger").done}


def calls(folder):
    """How often each item was asked of the engine."""
    path = folder / "calls"
    return Counter(path.read_text().splitlines()) if path.exists() else Counter()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """What a run writes that nobody disturbs."""
    return everything(complete(tmp_path_factory.mktemp("uninterrupted")))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_killed_again_and_again_it_ends_the_same(tmp_path, uninterrupted, seed):
    """kill -9 at random moments, then the same command: same bytes, no item of a ledger run twice, none lost."""
    chance, kills = random.Random(seed), 0
    for _ in range(5):
        process = start(tmp_path)
        before, counts = done(tmp_path / "run"), calls(tmp_path)
        time.sleep(chance.random() * 0.45)
        process.kill()
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
        again = calls(tmp_path) - counts
        assert not before & again.keys(), "an item that was in the ledger ran again"
        assert before <= done(tmp_path / "run"), "the ledger lost an item"
    before = done(tmp_path / "run")
    counts = calls(tmp_path)
    run = complete(tmp_path)
    assert everything(run) == uninterrupted and kills
    assert not before & (calls(tmp_path) - counts).keys()
    assert done(run) == set(calls(tmp_path))


@pytest.fixture
def memory_disk(tmp_path):
    """A folder in memory where there is one: hundreds of runs wait for no disk."""
    shared = Path("/dev/shm")
    if not os.access(shared, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=shared) as folder:
        yield Path(folder)


@pytest.mark.slow
def test_killed_at_every_file_operation_it_ends_the_same(memory_disk):
    """A kill right before any change of a file - rotations and tables included - changes no byte of the result."""
    small = ("--items", "5", "--slowest", "0", "--rotate", "3")
    expected = everything(complete(memory_disk, *small))
    where = (str(memory_disk / "runs"), str(memory_disk / "calls"))
    command = [sys.executable, str(DRIVER), *where, "--every-step", *small]
    driven = subprocess.run(command, capture_output=True, text=True, timeout=250)
    steps = int(driven.stdout.split()[-1]) if driven.returncode == 0 else pytest.fail(driven.stdout + driven.stderr)
    assert steps > 50
    for step in range(1, steps + 1):
        assert everything(memory_disk / "runs" / str(step)) == expected, f"after a kill at step {step}"


def test_ctrl_c_drains_keeps_and_says_how_to_go_on(tmp_path):
    """A real SIGINT to the whole group: what was begun is in the ledger, exit code 130, the next run needs no more."""
    process = start(tmp_path, "--items", "80")
    while sum(calls(tmp_path).values()) < 30:
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "press Ctrl-C again" in said and "Run the same command to go on" in said and "Traceback" not in said
    assert done(tmp_path / "run") == set(calls(tmp_path))
    complete(tmp_path, "--items", "80")
    assert set(calls(tmp_path).values()) == {1}


def test_second_ctrl_c_stops_at_once(tmp_path):
    """Work that would take minutes more is left at the second SIGINT; what was finished stays finished."""
    process = start(tmp_path, "--slowest", "300")
    while sum(calls(tmp_path).values()) < 6:
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGINT)
    time.sleep(0.3)
    assert process.poll() is None, "the first Ctrl-C waits for what is in flight"
    started = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 130 and time.monotonic() - started < 5
    assert "Stopped at once" in said and "Traceback" not in said


# -- a full disk ----------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 1 MB; needs the right to mount."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"needs the right to mount a tmpfs: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(folder, leave):
    """Leaves `leave` bytes of the disk."""
    (folder / "ballast").unlink(missing_ok=True)
    free = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
    (folder / "ballast").write_bytes(bytes(max(0, free - leave)))


def test_full_disk_stops_with_a_way_out_and_loses_nothing(small_disk):
    """A disk that fills while items finish is a StorageError; after space is freed the same call finishes the rest."""
    items = [question(number, "word " * 100) for number in range(60)]
    finished = []

    async def stage(item):
        finished.append(item.id)
        return answer(item)

    with RunFolder(small_disk / "run") as run:
        folder = run.stage("1-questions", {})
        fill(small_disk, 20_000)
        with pytest.raises(StorageError, match=r"disk is full.*free space and run the same command again"):
            run_stage(folder, items, stage, concurrency=4)
    kept = ledger_state(folder.path / "ledger").done
    assert 0 < len(kept) < 60 and set(finished) - kept <= set(finished[-1:])
    assert (folder.path / "ledger" / "active.jsonl").read_bytes().endswith(b"}\n"), "half a line was left"
    (small_disk / "ballast").unlink()
    finished.clear()
    with RunFolder(small_disk / "run") as run:
        folder = run.stage("1-questions", {})
        assert run_stage(folder, items, stage).skipped == len(kept)
        assert finish(folder, Question, [item.id for item in items]).inputs == 60
    assert not kept & set(finished)


def test_full_disk_while_tables_are_written_keeps_the_ledger(small_disk):
    """A disk that fills under the tables leaves no half table and no report; freed, the same call writes them."""
    items = [question(number, f"{random.Random(number).random()}" * 20) for number in range(400)]
    with RunFolder(small_disk / "run") as run:
        folder = run.stage("1-questions", {})
        run_stage(folder, items)
        fill(small_disk, 8192)
        with pytest.raises(StorageError, match="disk is full"):
            finish(folder, Question, [item.id for item in items])
        assert not folder.report.exists() and not list(folder.path.glob("*.tmp"))
        (small_disk / "ballast").unlink()
        assert finish(folder, Question, [item.id for item in items]).inputs == 400


def test_report_never_stands_beside_tables_of_another_time(small_disk):
    """However little space the second round's tables find: a report that is there tells what the tables hold."""
    items = [question(number, f"{random.Random(number).random()}" * 10) for number in range(400)]
    with RunFolder(small_disk / "run") as run:
        folder = run.stage("1-questions", {})
        run_stage(folder, items)
        finish(folder, Question, [item.id for item in items[:100]])
        for leave in range(0, 60_000, 4096):
            fill(small_disk, leave)
            with contextlib.suppress(StorageError):
                finish(folder, Question, [item.id for item in items])
            report = read_report(folder.path)
            assert report is None or (report.kept, report.parsed - report.kept) == (
                count_rows(folder.kept), count_rows(folder.dropped),
            )  # fmt: skip
        assert report is not None and report.inputs == 400


def test_full_disk_while_the_ledger_rotates_loses_nothing(small_disk):
    """Space that ends while a segment is packed leaves the plain one, which the next start packs."""
    items = [question(number, f"{random.Random(number).random()}" * 40) for number in range(300)]
    make = partial(RunFolder, small_disk / "run", open_ledger=partial(Ledger, rotate_lines=300))
    with make() as run:
        folder = run.stage("1-questions", {})
        run_stage(folder, items[:299])
        fill(small_disk, 12_000)
        with pytest.raises(StorageError, match="disk is full"):
            run_stage(folder, items)
    before = ledger_set(folder.path)
    (small_disk / "ballast").unlink()
    with make() as run:
        assert len(run.stage("1-questions", {}).ledger.done) == 300
    assert len(before) == 300 and ledger_set(folder.path) == before
