"""Progress on stderr, by a clock and a stream that the test holds."""

from __future__ import annotations

import io

import pytest

from datagen.models import Drop, Outcome
from datagen.progress import Progress, duration

KEPT = Outcome("a", kept=("x", "y"))
DROPPED = Outcome("a", drops=(Drop("empty"),))
FAILED = Outcome("a", drops=(Drop("engine-failed"),), final=False)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_plain_line_every_ten_seconds():
    """Without a terminal a whole line comes every ten seconds, not one per item."""
    clock, stream = Clock(), io.StringIO()
    progress = Progress("solve", stream=stream, clock=clock, total=100)
    for _ in range(50):
        clock.now += 1
        progress.advance(KEPT)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "solve: 10/100, 20 kept, 0 dropped, 1.0/s, 1m 30s left" and len(lines) == 5


def test_terminal_line_is_rewritten_and_ended_once():
    """On a terminal the line is written over itself, shorter ones padded, and ends with one newline."""
    clock, stream = Clock(), Terminal()
    progress = Progress("solve", stream=stream, clock=clock, total=3)
    for _ in range(3):
        clock.now += 1
        progress.advance(DROPPED)
    progress.close()
    text = stream.getvalue()
    assert text.count("\n") == 1 and text.endswith("\n") and text.count("\r") == 4
    second, third = text.split("\r")[2], text.split("\r")[3]
    assert second.endswith("1s left") and len(third) == len(second) and third.rstrip().endswith("1.0/s")


def test_resumed_items_count_as_done_not_towards_the_rate():
    """After a resume the rate and the time left are this run's own."""
    clock = Clock()
    progress = Progress("solve", stream=io.StringIO(), clock=clock, total=100)
    progress.resume(90)
    progress.advance(KEPT)
    clock.now += 10
    progress.advance(KEPT)
    assert progress.line() == "solve: 92/100, 4 kept, 0 dropped, 6.0/min, 1m 20s left"


def test_loading_a_model_is_no_part_of_the_rate():
    """The rate counts from the first outcome: what was waited for before it says nothing about the rest."""
    clock = Clock()
    progress = Progress("solve", stream=io.StringIO(), clock=clock, total=100)
    clock.now += 500
    progress.advance(KEPT)
    clock.now += 2
    progress.advance(KEPT)
    assert progress.line() == "solve: 2/100, 4 kept, 0 dropped, 30.0/min, 3m 16s left"


def test_failed_items_are_counted_apart():
    """An engine failure is neither kept nor dropped: it is owed."""
    progress = Progress("solve", stream=io.StringIO(), clock=Clock())
    progress.advance(FAILED)
    assert progress.line() == "solve: 1, 0 kept, 0 dropped, 1 failed"


def test_nothing_done_says_nothing():
    """A stage that was done already writes no progress."""
    stream = io.StringIO()
    progress = Progress("solve", stream=stream, clock=Clock())
    progress.resume(5)
    progress.close()
    assert stream.getvalue() == ""


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0s"), (59.4, "59s"), (59.6, "1m 00s"), (3599.9, "1h 00m"), (12_000, "3h 20m")]
)
def test_duration_reads_like_a_clock(seconds, text):
    """Seconds, minutes and hours, rounded, never 60 of anything."""
    assert duration(seconds) == text
