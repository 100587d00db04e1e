"""The tasks that the demo model learns: every operation alone and every sensible pair of them, each with a reference.

A pair is sensible when the types meet, few inputs break it, its results differ from one another, stay small, and are
not those of a single operation. 15 % of the pairs, chosen by a hash of their name, are held out of training.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from random import Random

from datagen.demo.operations import OPERATIONS, Operation
from datagen.demo.values import Value, value

ARGUMENTS = {"L": "numbers", "W": "words", "S": "word", "N": "number", "D": "table"}
PROBES = 40
LARGEST = 150
LONGEST = 8


@dataclass(frozen=True, slots=True)
class Task:
    """One or two operations in sequence; `name` identifies the task, `reference` is the source of a function `name`."""

    steps: tuple[Operation, ...]

    @property
    def name(self) -> str:
        """The operations' names joined by underscores: a Python identifier."""
        return "_".join(step.name for step in self.steps)

    @property
    def key(self) -> str:
        """The type of the input and the name: unique, where a name alone can serve numbers and words."""
        return f"{self.takes}:{self.name}"

    @property
    def takes(self) -> str:
        """The type of the only argument."""
        return self.steps[0].takes

    @property
    def gives(self) -> str:
        """The type of the result."""
        return self.steps[-1].gives

    @property
    def reference(self) -> str:
        """The source of the reference solution."""
        return source(self, self.name)


def source(task: Task, name: str, argument: str = "", codes: tuple[int, ...] = (0, 0), inline: bool = False) -> str:
    """A solution of `task` as a function `name`; `codes` choose among each operation's equivalent expressions."""
    argument = argument or ARGUMENTS[task.takes]
    variants = [step.codes[index % len(step.codes)] for step, index in zip(task.steps, codes, strict=False)]
    last = variants[-1]
    if len(variants) == 1:
        body = f"    return {last.format(x=argument)}"
    elif inline:
        body = f"    return {last.format(x=variants[0].format(x=argument))}"
    else:
        body = f"    result = {variants[0].format(x=argument)}\n    return {last.format(x='result')}"
    return f"def {name}({argument}):\n{body}"


def trace(task: Task, argument: Value) -> tuple[Value, ...]:
    """The argument and the value after each step; raises what the reference raises (IndexError, ValueError)."""
    states = [argument]
    for step in task.steps:
        states.append(_compiled(step)(states[-1]))
    return tuple(states)


def result(task: Task, argument: Value) -> Value:
    """What the reference returns for `argument`."""
    return trace(task, argument)[-1]


@cache
def _compiled(step: Operation) -> Callable[[Value], Value]:
    code = step.codes[0].format(x="x")
    function: Callable[[Value], Value] = eval(f"lambda x: {code}")  # our own table, no outside text
    return function


def usable(task: Task, rng: Random) -> Value:
    """A random input that the reference accepts."""
    while True:
        argument = value(task.takes, rng)
        if _accepts(task, argument):
            return argument


def _accepts(task: Task, argument: Value) -> bool:
    try:
        result(task, argument)
    except (IndexError, ValueError):
        return False
    return True


@cache
def tasks() -> tuple[Task, ...]:
    """The tasks of the training set: all single operations and 85 % of the sensible pairs."""
    return singles() + tuple(task for task in pairs() if not is_heldout(task))


@cache
def heldout() -> tuple[Task, ...]:
    """The pairs that training never sees."""
    return tuple(task for task in pairs() if is_heldout(task))


def is_heldout(task: Task) -> bool:
    """Whether the task belongs to the held-out 15 % of the pairs."""
    digest = hashlib.sha256(task.key.encode()).digest()
    return len(task.steps) == 2 and digest[0] * 256 + digest[1] < 0.15 * 65536


@cache
def singles() -> tuple[Task, ...]:
    """Every operation as a task of its own."""
    return tuple(Task((step,)) for step in OPERATIONS)


@cache
def pairs() -> tuple[Task, ...]:
    """Every sensible pair of operations."""
    known = {fingerprint for task in singles() if (fingerprint := _fingerprint(task))}
    candidates = (Task((a, b)) for a in OPERATIONS for b in OPERATIONS if a.gives == b.takes)
    return tuple(task for task in candidates if _sensible(task, known))


def _sensible(task: Task, known: set[str]) -> bool:
    fingerprint = _fingerprint(task)
    return bool(fingerprint) and fingerprint not in known


def _fingerprint(task: Task) -> str:
    """The results on a fixed sample of inputs; empty when too many fail, are alike, large or the input itself."""
    rng = Random(f"probe {task.takes}")
    inputs = [value(task.takes, rng) for _ in range(PROBES)]
    states = [trace(task, argument) for argument in inputs if _accepts(task, argument)]
    outputs = [repr(state[-1]) for state in states]
    varied = len(set(outputs)) >= (2 if task.gives == "B" else 5)
    small = sum(_small(state) for state in states) >= 0.9 * PROBES
    same = all(state[0] == state[-1] for state in states)
    common = max((outputs.count(output) for output in set(outputs)), default=0) > 0.75 * PROBES
    return f"{task.takes} {outputs}" if varied and small and not same and not common else ""


def _small(state: tuple[Value, ...]) -> bool:
    return all(_small_value(part) for part in state)


def _small_value(part: Value) -> bool:
    if isinstance(part, dict):
        return _small_value(list(part.values()))
    if isinstance(part, list):
        return len(part) <= LONGEST and all(_small_value(item) for item in part)
    return abs(part) <= LARGEST if isinstance(part, int) else True


def fresh_inputs(task: Task, rng: Random, count: int = 50) -> tuple[tuple[str, str], ...]:
    """`count` pairs of an argument's repr and the reference's result's repr, for checking any solution by asserts."""
    arguments = [usable(task, rng) for _ in range(count)]
    return tuple((repr(argument), repr(result(task, argument))) for argument in arguments)


def asserts(task: Task, rng: Random, count: int = 5, name: str = "") -> tuple[str, ...]:
    """`count` assert statements on different inputs, calling `name` or the task's own name; fewer if few exist."""
    return tuple(assertion(name or task.name, states) for states in traces(task, rng, count))


def traces(task: Task, rng: Random, count: int) -> tuple[tuple[Value, ...], ...]:
    """`count` traces on inputs that differ from one another, or as many as 20 draws each could find."""
    found: dict[str, tuple[Value, ...]] = {}
    for _ in range(20 * count):
        states = trace(task, usable(task, rng))
        found.setdefault(repr(states[0]), states)
        if len(found) == count:
            break
    return tuple(found.values())


def assertion(name: str, states: tuple[Value, ...]) -> str:
    """The assert statement that a trace proves."""
    return f"assert {name}({states[0]!r}) == {states[-1]!r}"
