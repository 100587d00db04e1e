"""The order of reading: rehearsal by tokens, every row once an epoch, whole, in steps that are alike."""

import json
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from training_kit import TINY

from datagen.errors import UsageError
from datagen.training.encode import Example
from datagen.training.mix import drawn, rehearsal_tokens, schedule
from datagen.training.plan import plan, write

LENGTHS = st.lists(st.integers(2, 12), min_size=1, max_size=30)


def examples(lengths):
    """Rows that can be told apart by any of their tokens."""
    return [Example(str(n), tuple(range(1000 * n, 1000 * n + size)), 1) for n, size in enumerate(lengths, 1)]


def pieces(sequences):
    """The rows that sequences are made of."""
    for sequence in sequences:
        place = 0
        for size in sequence.get("seq_lengths") or [len(sequence["input_ids"])]:
            yield tuple(sequence["input_ids"][place : place + size])
            place += size


@settings(deadline=None, max_examples=15)
@given(LENGTHS, st.integers(0, 3), st.sampled_from(["on", "off"]))
def test_an_epoch_holds_every_row_once_and_whole(lengths, seed, packing):
    """For any rows, packed or not, an epoch's sequences are exactly the rows, none cut, none over the length."""
    rows = examples(lengths)
    planned = plan(rows, replace(TINY, length=12, packing=packing, batch=2), seed, 1)
    epoch = planned.data.select(range(planned.sequences_per_epoch))
    assert sorted(pieces(epoch)) == sorted(row.tokens for row in rows)
    assert all(len(sequence["input_ids"]) <= 12 for sequence in epoch)


def test_every_epoch_has_an_order_of_its_own_that_the_seed_fixes():
    """Two epochs differ; the same seed gives the same sequences again, another seed others."""
    rows, config = examples([5] * 12), replace(TINY, length=12, batch=4)
    first = plan(rows, config, 0, 1).data["input_ids"]
    assert list(first)[:12] != list(first)[12:24]
    assert list(first) == list(plan(rows, config, 0, 1).data["input_ids"])
    assert list(first) != list(plan(rows, config, 1, 1).data["input_ids"])


def test_the_last_step_is_filled_up_from_the_next_epoch():
    """Five rows in steps of four, once: two whole steps, whose last three rows are read a second time."""
    planned = plan(examples([5] * 5), replace(TINY, epochs=1, batch=4), 0, 1)
    assert (planned.schedule.steps, len(planned.data)) == (2, 8)


def test_prompts_are_not_learnt_in_packed_sequences():
    """Labels are ignored where a row's prompt stands, wherever in a sequence the row came to lie."""
    rows = [Example("a", (1, 2, 3), 2), Example("b", (4, 5, 6), 1)]
    labels = plan(rows, replace(TINY, length=6, packing="on", batch=1, epochs=1, micro_batch=1), 0, 1).data["labels"][0]
    assert sorted(labels) == [-100, -100, -100, 3, 5, 6]


def test_a_step_that_cannot_be_shared_out_is_refused_with_one_that_can():
    """Six sequences over two processes of two each do not go; four do, and the message says so."""
    with pytest.raises(UsageError, match="--batch 4"):
        schedule(replace(TINY, batch=6, micro_batch=2), 100, 2)
    assert schedule(replace(TINY, batch=8, micro_batch=2), 100, 2).accumulation == 2


def test_a_batch_in_tokens_is_so_many_sequences():
    """524,288 tokens of 4,096 are 128 sequences; warm-up under 1 is a share of the steps."""
    made = schedule(replace(TINY, batch_tokens=524_288, length=4096, warm_up=0.1), 1280, 8)
    assert (made.batch, made.steps, made.warm_up) == (128, 10, 1)


@pytest.mark.parametrize("sequences", [1, 512, 513, 100_000])
def test_a_step_comes_after_any_warm_up(sequences):
    """A warm-up begins at learning rate 0: over all steps of a small set, it would train nothing."""
    made = schedule(replace(TINY, batch=512, warm_up=15, epochs=1), sequences, 1)
    assert made.warm_up == min(15, made.steps - 1)


@given(LENGTHS, st.integers(0, 200), st.integers(0, 5))
def test_drawn_rows_come_as_near_to_the_tokens_as_whole_rows_can(lengths, tokens, seed):
    """One row fewer or one more would not come nearer, unless the table is used up."""
    rows = examples(lengths)
    taken = drawn(rows, tokens, Random(seed))
    total = sum(len(row.tokens) for row in taken)
    assert len(set(taken)) == len(taken)
    assert len(taken) == len(rows) or abs(total - tokens) <= max(lengths) / 2 + max(lengths)
    if taken:
        assert abs(total - len(taken[-1].tokens) - tokens) >= abs(total - tokens)


def test_rehearsal_shares_are_shares_of_all_tokens():
    """6 % and 2 % beside 92,000 tokens of the data are 6,000 and 2,000 of 100,000."""
    assert rehearsal_tokens(92_000, [0.06, 0.02]) == [6000, 2000]


def test_the_written_sequences_read_back(tmp_path):
    """What is written is what was planned, and a second writing replaces the first."""
    from datasets import load_from_disk

    planned = plan(examples([5] * 4), replace(TINY, length=12), 0, 1)
    for _ in range(2):
        write(planned, tmp_path / "data")
    again = load_from_disk(tmp_path / "data")
    assert json.dumps(again.to_dict()) == json.dumps(planned.data.to_dict())
