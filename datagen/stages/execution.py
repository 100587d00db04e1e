"""Contamination of meaning: a row whose solution passes a benchmark's own tests solves that benchmark's item, whatever
its words.

    check  (per benchmark item)  can its tests tell its reference solution from functions that compute nothing?
    plan   (whole set)           which items' tests each row's functions are run against, and why
    execute (per row)            runs them: a short look at each item's first test, then all tests of what held

A pass that counts is the sandbox's FULL verdict on all tests of the item, with tests and program apart. Tests are often
too few to tell one function from another (three asserts in MBPP), so a pass must hold beyond them as well: on inputs
near those of the tests, the row's function and the item's own solution give the same results.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from random import Random

import polars as pl

from datagen.config import DecontaminateConfig
from datagen.extract import syntax
from datagen.extract.binding import Bindable, bindables, bound, calls_in, normalised
from datagen.extract.inputs import given, variations
from datagen.models import Job, Limits, Outcome, Sandbox, Status, Usage, Verdict, content_id
from datagen.selection import PASSES
from datagen.sets import BenchmarkItem, Nearest
from sandbox.contract import Tier

METHOD = "execution"
TRIGGERS = ("overlap", "name", "near", "arity")
"""Why an item's tests were run on a row: a lexical hit, the function's name, a near question, the arity alone."""

STUBS = (
    "None", "0", "1", "''", "[]", "True", "False", "{}", "()", "args[0]", "args[-1]", "args[0][0]", "args[0][-1]",
    "args[0][::-1]", "len(args[0])", "sum(args[0])", "max(args[0])", "min(args[0])", "sorted(args[0])",
    "sorted(args[0], reverse=True)", "max(args[0], key=len)", "min(args[0], key=len)", "list(args[0])", "set(args[0])",
    "tuple(args[0])", "str(args[0])", "args[0].upper()", "args[0].lower()", "args[0].split()", "sum(args)", "max(args)",
    "min(args)", "args[0] in args[1]", "args[1] in args[0]", "args[0] == args[1]",
)  # fmt: skip
"""What trivial functions return: constants, an argument as it is or a part of it, the result of one of Python's own
functions. A row of which that is the whole solution is not contaminated by the item that asks for it."""

VARIATIONS = 40
"""Inputs beyond the tests on which a row's function and the item's own solution are compared."""

AGREEMENT = 0.95
"""The share of them, of those that the item's solution can be given, on which both have to agree: two right solutions
may differ where the item says nothing."""

LOOKS = 64
"""First tests that one job of the sandbox holds: a job of one test costs nearly as much as one of 64."""

FIRST_SECONDS = 0.25
"""CPU time of a first look: nearly every solution answers within milliseconds."""

INPUT_SECONDS = 0.05
"""CPU time of one input beyond the tests: all of them together run within `cpu_seconds` later."""

MOST_LATE = 8
"""Tests of one row that may run out of time in first looks; what is left then counts as unanswered."""

_GIVEN_UP_AFTER = 2  # tests that the sandbox ends in one job before it gives up the rest
_UNANSWERED = frozenset({Status.TIMEOUT, Status.MEMORY, Status.OUTPUT})
FEWEST = 5
"""Inputs to compare on: fewer prove nothing, and the item goes by its tests alone."""

ENOUGH = 5
"""Asserts that tell by themselves, where results hardly vary: whether brackets match is nearly always no."""

_RESULTS = """results = []
for given in {inputs}:
    try:
        results.append({entry}(*given))
    except Exception:
        pass
"""
_ANSWERS = _RESULTS + "assert len(results) >= {fewest}\n"
_VARIES = (
    _RESULTS
    + """from collections import Counter
counted = Counter(map(repr, results))
assert counted.most_common(1)[0][1] <= 0.9 * counted.total()
"""
)
_BEYOND = """import copy
{solution}
reference = {entry}
def same(left, right):
    if isinstance(left, float) or isinstance(right, float):
        return abs(left - right) <= 1e-6 * max(1.0, abs(left))
    return left == right
compared = agreed = 0
for given in {inputs}:
    try:
        expected = reference(*copy.deepcopy(given))
    except Exception:
        continue
    compared += 1
    try:
        agreed += bool(same({alias}(*given), expected))
    except Exception:
        pass
assert agreed >= {share} * compared and compared >= {fewest}
"""
_STUB = "def stub_{number}(*args, **kwargs):\n    return {result}\n"


@dataclass(frozen=True, slots=True)
class Target:
    """A benchmark item whose tests can be bound to other functions. `calls` are the ways in which they call it;
    `inputs` (tuples of arguments, written out) lie near the tests' own: none without a solution to compare with.
    """

    benchmark: str
    item: str
    entry: str
    tests: tuple[str, ...]
    solution: str
    question: str
    calls: tuple[ast.Call, ...] = field(default=(), compare=False)
    inputs: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """Names the item and the text of its tests."""
        return content_id(self.benchmark, self.item, self.entry, self.solution, *self.tests)


@dataclass(frozen=True, slots=True)
class Checked:
    """Whether an item can be checked by execution: `problem` says why not, "" if it can. `inputs`: those near its tests
    that its own solution ends soon on, with a result for FEWEST of them at least.
    """

    benchmark: str
    item: str
    problem: str = ""
    inputs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pair:
    """An item and the function of a row that its tests are run against; `trigger` is one of TRIGGERS."""

    target: Target
    function: Bindable
    trigger: str


@dataclass(frozen=True, slots=True)
class Trial:
    """What one row is run against. `id` names the row's program, the items' tests and what is bound to what."""

    id: str
    source_id: str
    program: str
    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True)
class Pass:
    """A row passes all tests of an item, by the function that stands at `start` in its solution."""

    benchmark: str
    item: str
    function: str
    start: int
    trigger: str
    tests: int


@dataclass(frozen=True, slots=True)
class Tried:
    """How a row did: what it passed, how many pairs were run, which items gave no answer within the limits."""

    source_id: str
    tried: int
    passed: tuple[Pass, ...] = ()
    unanswered: tuple[str, ...] = ()


# -- which items can be checked --------------------------------------------------------------------------------------


def targets(items: Iterable[BenchmarkItem]) -> tuple[Target, ...]:
    """The items that have tests and an entry point; items of equal tests and entry point (HumanEval and a data set made
    from it) are all there, each under its own name.
    """
    return tuple(_target(item) for item in items if item.tests and item.entry_point)


def _target(item: BenchmarkItem) -> Target:
    entry = item.entry_point
    calls = calls_in(item.tests, entry)
    known = given(item.tests, entry) if item.solution else []
    inputs = variations(known, VARIATIONS, Random(content_id(item.benchmark, item.item)))
    return Target(
        item.benchmark, item.item, entry, item.tests, item.solution, item.question, calls, tuple(map(repr, inputs))
    )


async def check(target: Target, *, sandbox: Sandbox, config: DecontaminateConfig) -> Outcome[Checked]:
    """Whether the item's tests can tell: its own solution (if it has one) passes them, no stub does, and, where they
    are few, its results vary near them. Besides STUBS, the value that all asserts expect, if it is one, is a stub.
    """
    bench = _Bench(target.solution, sandbox, _limits(config))
    inputs: tuple[str, ...] = ()
    problem = await _own_problem(target, bench) if target.solution else ""
    if not problem and (weak := await _passing_stub(target, bench)):
        problem = f"return {weak} passes every test"
    if not problem and target.inputs:
        inputs = await bench.answered(target.entry, target.inputs)
        few = _asserts(target.tests) < ENOUGH and len(inputs) >= FEWEST
        if few and not await bench.varies(target.entry, inputs):
            problem = "its own solution gives nearly always the same result"
    usable = inputs if len(inputs) >= FEWEST else ()
    return Outcome(target.id, kept=(Checked(target.benchmark, target.item, problem, usable),), usage=bench.usage)


async def _own_problem(target: Target, bench: _Bench) -> str:
    statuses = await bench.statuses(target.tests)
    return next((f"its own solution does not pass: {status.value}" for status in statuses if status not in PASSES), "")


async def _passing_stub(target: Target, bench: _Bench) -> str:
    """What a stub returns that passes all tests, "" if none does."""
    stubs = (*STUBS, *_only_expected(target.tests))
    program = "".join(_STUB.format(number=number, result=result) for number, result in enumerate(stubs))
    left = list(range(len(stubs)))
    for test in target.tests:  # a stub that fails one test is out
        tests = [bound(test, target.entry, f"stub_{number}") for number in left]
        statuses = await bench.statuses(tests, program)
        left = [number for number, status in zip(left, statuses, strict=True) if status is Status.PASS]
        if not left:
            return ""
    return stubs[left[0]]


def _asserts(tests: Sequence[str]) -> int:
    trees = [tree for test in tests if (tree := syntax.parse(test)) is not None]
    return sum(isinstance(node, ast.Assert) for tree in trees for node in ast.walk(tree))


def _only_expected(tests: Sequence[str]) -> tuple[str, ...]:
    """The literal that every assert compares with, if it is one and the same."""
    trees = [tree for test in tests if (tree := syntax.parse(test)) is not None]
    asserts = [node.test for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Assert)]
    values = [a.comparators[0] for a in asserts if isinstance(a, ast.Compare) and len(a.ops) == 1]
    texts = {syntax.written(value) for value in values}
    return tuple(texts) if len(texts) == 1 and _is_literal(values[0]) else ()


def _is_literal(node: ast.expr) -> bool:
    try:
        ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return False
    return True


# -- which items each row is run against -----------------------------------------------------------------------------


def plan(
    rows: pl.DataFrame,
    known: Sequence[Target],
    near: Nearest | None,
    overlaps: Iterable[tuple[str, str, str]],
    *,
    exhaustive: bool = False,
) -> Iterator[Trial]:
    """A trial for each row with something to run, in the order of the rows.

    `near` holds, row by row, the places in `known` of the items with the nearest questions, `overlaps` (id, benchmark,
    item) of lexical hits; both trigger, and so does a function of the item's name; all need a function that takes the
    calls of the tests. With `exhaustive` every item whose calls a function takes is run.
    """
    finder = _Finder(known, exhaustive)
    hit: dict[str, set[tuple[str, str]]] = {}
    for source_id, benchmark, item in overlaps:
        hit.setdefault(source_id, set()).add((benchmark, item))
    has_entry = "entry_point" in rows.columns
    for place, row in enumerate(rows.iter_rows(named=True)):
        source_id, program = str(row["id"]), row["solution"] or ""
        functions = bindables(program, (row["entry_point"] or "") if has_entry else "")
        nearby = {number for number, _ in near.of(place)} if near is not None else set()
        if pairs := finder.pairs(functions, hit.get(source_id, set()), nearby):
            yield _trial(source_id, program, pairs)


def _trial(source_id: str, program: str, pairs: tuple[Pair, ...]) -> Trial:
    bindings = (part for pair in pairs for part in (pair.target.id, pair.function.below, pair.trigger))
    below = dict.fromkeys(pair.function.below for pair in pairs)
    return Trial(content_id(source_id, program, *bindings), source_id, program + "".join(below), pairs)


class _Finder:
    """Finds the items that a function may be run against; items that are called alike are looked at once."""

    def __init__(self, known: Sequence[Target], exhaustive: bool) -> None:
        self._known, self._exhaustive = known, exhaustive
        self._ways: list[tuple[ast.Call, ...]] = []
        numbers: dict[str, int] = {}
        self._way_of = []
        for target in known:
            key = ";".join(f"{len(call.args)},{sorted(k.arg or '' for k in call.keywords)}" for call in target.calls)
            if key not in numbers:
                numbers[key] = len(self._ways)
                self._ways.append(target.calls)
            self._way_of.append(numbers[key])
        self._of_key: dict[tuple[str, str], list[int]] = {}
        self._of_name: dict[str, list[int]] = {}
        for number, target in enumerate(known):
            self._of_key.setdefault((target.benchmark, target.item), []).append(number)
            self._of_name.setdefault(normalised(target.entry), []).append(number)

    def pairs(self, functions: Sequence[Bindable], hit: set[tuple[str, str]], nearby: set[int]) -> tuple[Pair, ...]:
        """The pairs of one row, by the item's number; each function meets an item once, for its first trigger."""
        overlapping = {number for key in hit for number in self._of_key.get(key, ())}
        found: list[tuple[int, Pair]] = []
        for function in functions:
            fitting = {way for way, calls in enumerate(self._ways) if function.accepts(calls)}
            named = set(self._of_name.get(normalised(function.name), ()))
            wanted = range(len(self._known)) if self._exhaustive else overlapping | nearby | named
            for number in wanted:
                if self._way_of[number] in fitting:
                    chosen = (number in overlapping, number in named, number in nearby, True).index(True)
                    found.append((number, Pair(self._known[number], function, TRIGGERS[chosen])))
        return tuple(pair for _, pair in sorted(found, key=lambda one: one[0]))


# -- running them ----------------------------------------------------------------------------------------------------


async def execute(trial: Trial, *, sandbox: Sandbox, config: DecontaminateConfig) -> Outcome[Tried]:
    """Runs a row's functions against the items' tests. Raises SandboxError if the sandbox fails."""
    bench = _Bench(trial.program, sandbox, _limits(config))
    held, unanswered = await bench.look(trial.pairs)
    passed: dict[tuple[str, str], Pass] = {}
    for pair in held:
        key = (pair.target.benchmark, pair.target.item)
        if key in passed:
            continue
        status = await bench.verdict(pair)
        if status is Status.PASS:
            passed[key] = Pass(*key, pair.function.name, pair.function.start, pair.trigger, len(pair.target.tests))
        elif status in _UNANSWERED:
            unanswered.append(pair)
    open_ = {(pair.target.benchmark, pair.target.item) for pair in unanswered} - passed.keys()
    tried = Tried(trial.source_id, len(trial.pairs), tuple(passed.values()), tuple(map(" ".join, sorted(open_))))
    return Outcome(trial.id, kept=(tried,), usage=bench.usage)


def _limits(config: DecontaminateConfig) -> Limits:
    return Limits(cpu_seconds=config.cpu_seconds)


class _Bench:
    """The sandbox at work on one row's program; remembers what it cost."""

    def __init__(self, program: str, sandbox: Sandbox, limits: Limits) -> None:
        self._program, self._sandbox, self._limits = program, sandbox, limits
        self._short = replace(limits, cpu_seconds=min(FIRST_SECONDS, limits.cpu_seconds))
        self._brief = replace(limits, cpu_seconds=min(INPUT_SECONDS, limits.cpu_seconds))
        self.usage = Usage()

    async def statuses(self, tests: Sequence[str], program: str = "") -> list[Status]:
        """How the program (default: its own) does on each test, screened: for programs that forge nothing."""
        verdict = await self._run(Job(program or self._program, tuple(tests), self._limits, tier=Tier.SCREEN))
        return [result.status for result in verdict.tests]

    async def answered(self, entry: str, inputs: Sequence[str]) -> tuple[str, ...]:
        """The inputs that a function of the program ends on within the short limit, if it answers FEWEST of them; else
        those that it answers within INPUT_SECONDS each, as far as few exceed that.
        """
        together = _ANSWERS.format(entry=entry, inputs=_listed(inputs), fewest=FEWEST)
        verdict = await self._run(Job(self._program, (together,), self._short, tier=Tier.SCREEN))
        if verdict.tests[0].status is Status.PASS:
            return tuple(inputs)
        found: list[str] = []
        late, pending = 0, list(inputs)
        while pending and late < MOST_LATE:
            tests = tuple(f"{entry}(*{given})" for given in pending)
            verdict = await self._run(Job(self._program, tests, self._brief, tier=Tier.SCREEN))
            results = list(zip(pending, verdict.tests, strict=True))
            found += [given for given, result in results if result.status is Status.PASS]
            cut = [given for given, result in results if result.status in _UNANSWERED]
            late, pending = late + len(cut[:_GIVEN_UP_AFTER]), cut[_GIVEN_UP_AFTER:]
        return tuple(found)

    async def varies(self, entry: str, inputs: Sequence[str]) -> bool:
        """Whether the function's results on these inputs are not nearly all the same."""
        (status,) = await self.statuses([_VARIES.format(entry=entry, inputs=_listed(inputs))])
        return status in PASSES

    async def look(self, pairs: Sequence[Pair]) -> tuple[list[Pair], list[Pair]]:
        """The pairs whose first test held, and those without an answer. Many share a job under a short limit; what that
        cut short and more than its arity speaks for, runs again alone, under the full one.
        """
        held, late = await self._look_shortly(pairs)
        unanswered = [pair for pair in late if pair.trigger == "arity"]
        for pair in (pair for pair in late if pair.trigger != "arity"):
            (status,) = await self._first([pair], self._limits)
            held += [pair] if status is Status.PASS else []
            unanswered += [pair] if status in _UNANSWERED else []
        return held, unanswered

    async def _look_shortly(self, pairs: Sequence[Pair]) -> tuple[list[Pair], list[Pair]]:
        """As `look`, first round. The sandbox gives the rest of a job up after two tests that it had to end: those are
        tried again, until MOST_LATE were ended.
        """
        held: list[Pair] = []
        late: list[Pair] = []
        pending = list(pairs)
        while pending and len(late) < MOST_LATE:
            some, pending = pending[:LOOKS], pending[LOOKS:]
            statuses = list(zip(some, await self._first(some, self._short), strict=True))
            held += [pair for pair, status in statuses if status is Status.PASS]
            cut = [pair for pair, status in statuses if status in _UNANSWERED]
            late, pending = late + cut[:_GIVEN_UP_AFTER], cut[_GIVEN_UP_AFTER:] + pending
        return held, late + pending

    async def _first(self, pairs: Sequence[Pair], limits: Limits) -> list[Status]:
        """How the first test of each pair ended, in one job."""
        tests = tuple(_bound(pair)[0] for pair in pairs)
        verdict = await self._run(Job(self._program, tests, limits, tier=Tier.SCREEN))
        return [result.status for result in verdict.tests]

    async def verdict(self, pair: Pair) -> Status:
        """How the program does on all tests of the item and, if it passes them, beyond them."""
        status = (await self._run(Job(self._program, _bound(pair), self._limits))).status
        if status is not Status.PASS or not pair.target.inputs:
            return status
        return (await self._run(Job(self._program, (_beyond(pair),), self._limits, tier=Tier.SPLIT))).status

    async def _run(self, job: Job) -> Verdict:
        verdict = await self._sandbox.run(job)
        self.usage += Usage(cpu_seconds=verdict.cpu_seconds)
        return verdict


def _listed(inputs: Sequence[str]) -> str:
    return f"[{', '.join(inputs)}]"


def _bound(pair: Pair) -> tuple[str, ...]:
    target = pair.target
    return tuple(bound(test, target.entry, pair.function.alias) for test in target.tests)


def _beyond(pair: Pair) -> str:
    """The test that compares the function with the item's own solution, which runs with the test."""
    target = pair.target
    return _BEYOND.format(
        solution=target.solution, entry=target.entry, inputs=_listed(target.inputs), alias=pair.function.alias,
        share=AGREEMENT, fewest=min(FEWEST, len(target.inputs)),
    )  # fmt: skip
