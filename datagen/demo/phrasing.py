"""How the demo problems are asked, and the way back: from a question's text to the task that it describes."""

from __future__ import annotations

import re
from functools import cache
from random import Random

from datagen.demo.operations import OPERATIONS, Operation
from datagen.demo.problems import Task

INPUTS = {
    "L": ("a list of numbers", "a list of integers", "some numbers"),
    "W": ("a list of words", "a list of strings", "some words"),
    "S": ("a word", "a short string", "one word"),
    "N": ("a number", "an integer", "a whole number"),
    "D": ("a dictionary", "a dict from words to numbers", "a mapping"),
}
ARGUMENTS = {
    "L": ("numbers", "values", "nums"),
    "W": ("words", "strings", "items"),
    "S": ("word", "text", "string"),
    "N": ("number", "value", "num"),
    "D": ("table", "mapping", "data"),
}
PATTERNS = (
    "Write a function {signature} that takes {input} and {does}.",
    "Given {input}, {do}. Call the function {signature}.",
    "Implement {signature}. It gets {input} and {does}.",
    "Write {signature}: for {input}, {do} and return the result.",
    "You are given {input}. Your function {signature} should {do}.",
    "Define {signature}, which {does}. Its argument is {input}.",
    "How do you {do}, given {input}? Write {signature}.",
    "Create a Python function {signature} which {does}, when called with {input}.",
)
PATTERN_WEIGHTS = (8, 5, 4, 3, 3, 2, 1, 1)
CHOICE_WEIGHTS = (6, 3, 1)
JOINS = (", then ", " and then ", " and after that ")
TOPICS = {
    "L": "lists of numbers",
    "W": "lists of words",
    "S": "words",
    "N": "numbers",
    "D": "dictionaries",
}


def question(task: Task, rng: Random) -> str:
    """The task asked in one of many ways; the text names the function and its argument."""
    return phrased(
        task,
        pattern=rng.choices(PATTERNS, PATTERN_WEIGHTS)[0],
        phrases=tuple(_pick(step.phrases, rng) for step in task.steps),
        join=_pick(JOINS, rng),
        given=_pick(INPUTS[task.takes], rng),
        argument=_pick(ARGUMENTS[task.takes], rng),
    )


def phrased(task: Task, *, pattern: str, phrases: tuple[str, ...], join: str, given: str, argument: str) -> str:
    """The question with every choice made."""
    return pattern.format(
        signature=f"`{task.name}({argument})`",
        input=given,
        do=join.join(phrases),
        does=join.join(third_person(phrase) for phrase in phrases),
    )


def named_argument(task: Task, text: str) -> str:
    """The argument that a question of `task` gives its function."""
    return next(name for name in ARGUMENTS[task.takes] if f"({name})" in text)


def _pick(choices: tuple[str, ...], rng: Random) -> str:
    return rng.choices(choices, CHOICE_WEIGHTS)[0]


def third_person(phrase: str) -> str:
    """`add 1 to each number` -> `adds 1 to each number`."""
    verb, _, rest = phrase.partition(" ")
    return f"{_third(verb)} {rest}"


def _third(verb: str) -> str:
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return verb[:-1] + "ies"
    return verb + ("es" if verb.endswith(("s", "x", "ch", "sh", "o")) else "s")


def match(text: str) -> Task | None:
    """The task that a question describes, or None; case, white space and the function's name do not matter."""
    normal = " ".join(text.lower().split())
    for pattern, spoken in _patterns():
        found = pattern.fullmatch(normal)
        kind = _inputs().get(found["input"]) if found else None
        if found and kind:
            return _task(kind, found["steps"], spoken)
    return None


def _task(kind: str, steps: str, spoken: str) -> Task | None:
    found = _lookup().get((kind, spoken, steps))
    if found:
        return Task((found,))
    halves = (steps.split(join) for join in sorted(JOINS, key=len, reverse=True) if steps.count(join) == 1)
    first, second = next(halves, ("", ""))
    one = _lookup().get((kind, spoken, first))
    two = _lookup().get((one.gives, spoken, second)) if one else None
    return Task((one, two)) if one and two else None


@cache
def _patterns() -> tuple[tuple[re.Pattern[str], str], ...]:
    """Each pattern as a regular expression, and whether its verbs are imperatives (`do`) or third persons (`does`)."""
    fields = {"signature": r"`?\w+\(\w*\)`?", "input": "(?P<input>.+?)", "do": "(?P<steps>.+)", "does": "(?P<steps>.+)"}
    return tuple((_expression(pattern, fields), "does" if "{does}" in pattern else "do") for pattern in PATTERNS)


def _expression(pattern: str, fields: dict[str, str]) -> re.Pattern[str]:
    pieces = re.split(r"\{(\w+)\}", pattern.lower())
    return re.compile("".join(fields[piece] if index % 2 else re.escape(piece) for index, piece in enumerate(pieces)))


@cache
def _inputs() -> dict[str, str]:
    return {phrase: kind for kind, phrases in INPUTS.items() for phrase in phrases}


@cache
def _lookup() -> dict[tuple[str, str, str], Operation]:
    """Operations by (type taken, do or does, phrase)."""
    imperative = {(step.takes, "do", phrase.lower()): step for step in OPERATIONS for phrase in step.phrases}
    third = {(kind, "does", third_person(phrase)): step for (kind, _, phrase), step in imperative.items()}
    return imperative | third
