"""The demo model's problems: typed, solvable, told apart, and split into seen and held out."""

from __future__ import annotations

import builtins
import keyword
from random import Random

import pytest

from datagen.demo.operations import OPERATIONS, Operation
from datagen.demo.problems import Task, asserts, fresh_inputs, heldout, is_heldout, pairs, singles, source, tasks, trace

EVERY = tasks() + heldout()


def outcome(code: str, assertions: tuple[str, ...]) -> bool:
    """Runs our own reference against our own asserts."""
    scope: dict[str, object] = {}
    exec(code, scope)
    for assertion in assertions:
        exec(assertion, scope)
    return True


def test_every_reference_passes_its_own_tests():
    """The reference solution of each task, held out or not, satisfies the asserts that the generator writes for it."""
    rng = Random(0)
    assert all(outcome(task.reference, asserts(task, rng)) for task in EVERY)


@pytest.mark.parametrize("codes", [(0, 0), (1, 1)])
def test_every_way_to_write_an_operation_computes_the_same(codes):
    """Whichever of an operation's equivalent expressions a solution uses, it passes the tests of the task."""
    rng = Random(1)
    assert all(outcome(source(task, "f", codes=codes), asserts(task, rng, name="f")) for task in singles())


def test_the_same_seed_draws_the_same_tests():
    """Tests and fresh inputs are functions of the task and the seed."""
    task = tasks()[-1]
    assert asserts(task, Random(5)) == asserts(task, Random(5))
    assert fresh_inputs(task, Random(5)) == fresh_inputs(task, Random(5))


def test_tests_of_a_task_use_different_inputs():
    """Five tests are five different calls."""
    rng = Random(2)
    assert all(len({line.split(" == ")[0] for line in asserts(task, rng)}) == 5 for task in EVERY)


def test_asking_for_more_inputs_than_exist_ends():
    """A type with few values gives fewer tests than asked for, each once."""
    words = next(task for task in tasks() if task.takes == "S")
    assert 20 < len(set(asserts(words, Random(0), 500))) == len(asserts(words, Random(0), 500)) < 50


def test_fresh_inputs_agree_with_the_reference():
    """Each pair of argument and expected result is what the reference computes."""
    task = tasks()[200]
    checks = tuple(f"assert {task.name}({given}) == {expected}" for given, expected in fresh_inputs(task, Random(3)))
    assert len(checks) == 50 and outcome(task.reference, checks)


def test_training_never_sees_a_heldout_task():
    """No held-out pair is among the tasks, and both together are all there is."""
    assert not set(tasks()) & set(heldout())
    assert set(tasks()) | set(heldout()) == set(singles()) | set(pairs())


def test_about_15_percent_of_pairs_are_held_out():
    """The split by hash comes out near its target."""
    assert 0.12 < len(heldout()) / len(pairs()) < 0.18


def test_single_operations_are_never_held_out():
    """Only compositions are held out, so every operation is learnt."""
    assert not any(map(is_heldout, singles()))


def test_there_are_about_two_thousand_tasks():
    """The generator keeps the size that the model's scores were measured with."""
    assert len(tasks()) == 1922 and len(heldout()) == 296


def test_keys_identify_tasks():
    """No two tasks share a key."""
    assert len({task.key for task in EVERY}) == len(EVERY)


def test_names_can_be_functions():
    """A task's name is an identifier that hides no keyword and no builtin."""
    assert all(task.name.isidentifier() and not keyword.iskeyword(task.name) for task in EVERY)
    assert not any(hasattr(builtins, task.name) for task in EVERY)


def test_types_meet_inside_every_pair():
    """The second operation takes what the first gives."""
    assert all(first.gives == second.takes for first, second in (task.steps for task in pairs()))


def test_a_trace_lists_the_argument_and_each_result():
    """A trace shows the value before, between and after the operations."""
    keep, add = named("keep_even"), named("total")
    assert trace(Task((keep, add)), [3, 4, 6]) == ([3, 4, 6], [4, 6], 10)


def named(name: str) -> Operation:
    return next(step for step in OPERATIONS if step.name == name)
