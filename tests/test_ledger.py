"""The ledger: nothing that was appended is lost, nothing counts twice, damage is named."""

from __future__ import annotations

import json
import random
import threading
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from stage_kit import answer, question

from datagen.errors import InputError
from datagen.ledger import Ledger, ledger_state, read_outcomes, read_records
from datagen.models import Attempts, Call, Candidate, Completion, Drop, Message, Outcome, Question, Row, Sample, Usage

ROW = Row(
    (Message("user", "q"), Message("assistant", "a")), "id1", "q", "def f(): pass", ("assert f() is None",),
    "assert f() is None", "f", 10, 10, 3, 0.3, 2, "easy", "lists", "m", "p", 7,
)  # fmt: skip


def failed(number: int) -> Outcome[Question]:
    return Outcome(question(number).id, drops=(Drop("engine-failed", "HTTP 500"),), final=False)


def filled(folder, numbers, **options):
    ledger = Ledger(folder, **options)
    for number in numbers:
        ledger.append(answer(question(number)))
    ledger.close()


def test_outcome_comes_back_as_it_was(tmp_path):
    """Every part of an outcome, nested and empty ones too, survives the ledger."""
    attempts = Attempts(
        (Call("tests-0", "d1", Completion((Sample("x", "length", "hm"),), 3, 4)),), ("assert f()",), (Drop("flaky"),),
        (Candidate(0, "c", "pass", ("pass", "fail"), "d", 1),), True, None,
    )  # fmt: skip
    outcome = Outcome("id1", (ROW,), (Drop("empty", "d", "é\ud800\u2028"),), attempts, Usage(3, 4, 0.5))
    ledger = Ledger(tmp_path)
    ledger.append(outcome)
    ledger.close()
    assert list(read_outcomes(tmp_path, Row)) == [outcome]


def test_line_is_with_the_kernel_when_append_returns(tmp_path):
    """A process that is killed right after `append` has lost nothing: another reader sees the line at once."""
    ledger = Ledger(tmp_path)
    ledger.append(answer(question(1)))
    assert ledger_state(tmp_path).done == {question(1).id}
    ledger.close()


def test_torn_last_line_is_cut_and_owed_again(tmp_path):
    """A last line without its end is cut when the ledger opens; its item is owed, the others are done."""
    filled(tmp_path, range(3))
    path = tmp_path / "active.jsonl"
    whole = path.read_bytes()
    for cut in (1, 2, 40):
        path.write_bytes(whole[:-cut])
        ledger = Ledger(tmp_path)
        assert ledger.done == {question(0).id, question(1).id}
        ledger.append(answer(question(2)))
        ledger.close()
        assert path.read_bytes() == whole


def test_garbage_at_the_end_is_cut(tmp_path):
    """A last line of zero bytes, as some file systems leave after a power cut, is cut too."""
    filled(tmp_path, range(2))
    path = tmp_path / "active.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + b"\0" * 100)
    Ledger(tmp_path).close()
    assert path.read_bytes() == whole


@pytest.mark.parametrize("garbage", [b"{broken\n", b"[1, 2]\n", b'{"kept": []}\n', b"\n"])
def test_corrupt_line_in_the_middle_names_file_and_line(tmp_path, garbage):
    """Damage before the last line is not a crash of ours: it is refused, with file and line, and nothing is cut."""
    filled(tmp_path, range(3))
    path = tmp_path / "active.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], garbage, lines[2]]))
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"active\.jsonl, line 2"):
        Ledger(tmp_path)
    assert path.read_bytes() == before


def test_damaged_segment_is_named(tmp_path):
    """A flipped byte in a packed segment is found by its checksum and reported with the file's name."""
    filled(tmp_path, range(4), rotate_lines=4)
    path = tmp_path / "segment-00000.jsonl.zst"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"segment-00000\.jsonl\.zst: is damaged"):
        list(read_records(tmp_path))


def test_later_line_supersedes_a_failed_one(tmp_path):
    """An engine failure is owed; the outcome that follows takes its place, across rotations too."""
    ledger = Ledger(tmp_path, rotate_lines=2)
    for outcome in (failed(0), failed(1), failed(1), answer(question(2)), answer(question(1))):
        ledger.append(outcome)
    assert (ledger.done, ledger.failed) == ({question(1).id, question(2).id}, {question(0).id})
    ledger.close()
    assert ledger_state(tmp_path) == ledger.state
    expected = sorted([failed(0), answer(question(1)), answer(question(2))], key=lambda outcome: outcome.source_id)
    assert list(read_outcomes(tmp_path, Question)) == expected


def test_rotation_by_size(tmp_path):
    """Long lines rotate the file before it has many, so that sorting a segment stays cheap."""
    filled(tmp_path, range(10), rotate_bytes=1000)
    assert len(list(tmp_path.glob("segment-*.zst"))) > 1
    assert len(ledger_state(tmp_path).done) == 10


def test_resume_reads_the_index_not_the_segment(tmp_path):
    """What is done is known from the indexes alone: a packed segment is not opened for it."""
    filled(tmp_path, range(4), rotate_lines=4)
    (tmp_path / "segment-00000.jsonl.zst").write_bytes(b"")
    assert len(Ledger(tmp_path).done) == 4


@pytest.mark.parametrize("packed", ["nothing", "segment", "segment and index"])
def test_crash_inside_a_rotation_loses_and_doubles_nothing(tmp_path, packed):
    """After the rename, with or without the packed file, with or without its index: the same four outcomes."""
    filled(tmp_path, range(4))
    filled(tmp_path / "other", range(4), rotate_lines=4)
    (tmp_path / "active.jsonl").rename(tmp_path / "segment-00000.jsonl")
    names = {"nothing": [], "segment": ["jsonl.zst"], "segment and index": ["jsonl.zst", "json"]}[packed]
    for name in names:
        (tmp_path / "other" / f"segment-00000.{name}").rename(tmp_path / f"segment-00000.{name}")
    (tmp_path / "segment-00000.jsonl.zst.tmp").write_bytes(b"left by the crash")
    before = list(read_records(tmp_path))
    ledger = Ledger(tmp_path)
    assert len(before) == 4 and list(ledger.records()) == before
    assert not (tmp_path / "segment-00000.jsonl").exists()
    ledger.close()


def test_packed_segment_without_its_index_is_refused(tmp_path):
    """An index that someone deleted is missed by name, not taken for an empty ledger."""
    filled(tmp_path, range(4), rotate_lines=4)
    (tmp_path / "segment-00000.json").unlink()
    with pytest.raises(InputError, match="has no index"):
        Ledger(tmp_path)


def test_segment_is_an_ordinary_zstd_file(tmp_path):
    """Any zstd tool reads a segment: its frames, one after the other, are the sorted lines."""
    filled(tmp_path, range(2000), rotate_lines=2000)
    assert len(json.loads((tmp_path / "segment-00000.json").read_text())["frames"]) > 1
    with (tmp_path / "segment-00000.jsonl.zst").open("rb") as file:
        reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
        assert reader.read().count(b"\n") == 2000


@given(st.permutations(list(range(12))), st.integers(1, 6))
@settings(max_examples=15, deadline=None)
def test_records_are_the_same_in_any_order_of_finishing(tmp_path_factory, order, rotate_lines):
    """Whatever order items finish in and wherever the file rotates, the records come out sorted and equal."""
    folder = tmp_path_factory.mktemp("ledger")
    filled(folder, order, rotate_lines=rotate_lines)
    expected = sorted((answer(question(n)) for n in range(12)), key=lambda outcome: outcome.source_id)
    assert list(read_outcomes(folder, Question)) == expected


def test_sync_comes_with_lines_and_with_time(tmp_path):
    """The ledger is forced to disk after 64 lines or 5 seconds, whichever is first."""
    now = [0.0]
    ledger = Ledger(tmp_path, clock=lambda: now[0])
    ledger.append(answer(question(0)))
    assert ledger.unsynced == 1
    now[0] = 6.0
    ledger.append(answer(question(1)))
    assert ledger.unsynced == 0
    for number in range(2, 65):
        ledger.append(answer(question(number)))
    assert ledger.unsynced == 63
    ledger.append(answer(question(65)))
    assert ledger.unsynced == 0
    ledger.close()


def test_many_segments_need_few_open_files(tmp_path):
    """A merge over 100 segments keeps no file of theirs open."""
    numbers = list(range(200))
    random.Random(0).shuffle(numbers)
    filled(tmp_path, numbers, rotate_lines=2)
    handles = Path("/proc/self/fd")
    before = len(list(handles.iterdir()))
    records = read_records(tmp_path)
    next(records)
    assert len(list(handles.iterdir())) <= before + 1
    assert 1 + sum(1 for _ in records) == 200


def test_state_can_be_read_while_the_ledger_rotates(tmp_path):
    """Another process that counts while lines are added and packed never sees fewer than before."""
    stop, counts = threading.Event(), [0]

    def watch():
        while not stop.is_set():
            counts.append(len(ledger_state(tmp_path).done))

    watcher = threading.Thread(target=watch)
    watcher.start()
    filled(tmp_path, range(400), rotate_lines=5)
    stop.set()
    watcher.join()
    assert counts == sorted(counts) and len(counts) > 5
