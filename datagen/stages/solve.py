"""Question -> tests -> candidates -> the first candidate that passes every test, under two seeds.

Tests are written in calls of their own before any solution is asked for, and the solver sees one of them; the others
stay hidden, so that a solution fitted to the test shown is found out. Follows Code Llama's self-instruct set (arXiv
2308.12950, section 2.5). `tests = "consensus"` adds CodeT's idea (arXiv 2207.10397): only asserts that the candidates
agree with count, and the plain result is reported beside it.

Candidates run as siblings under staged CPU limits, since endless loops are most of what a run costs. A pass that counts
is the sandbox's FULL verdict on exactly the tests that are kept with the row: proven with tests and program apart, and
again under a second seed.

With `early_stop` candidates are drawn in waves until it is certain which one the full run would keep (`_in_waves`): the
same rows for fewer tokens, but nothing is known of the candidates that were not drawn.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, TypeVar

from datagen.config import SolveConfig
from datagen.extract.code import Extracted, extract_code
from datagen.extract.tests import ParsedTests, entry_point, identity, split_tests, usable_tests
from datagen.models import (
    Attempts,
    Call,
    Candidate,
    Completion,
    Drop,
    Engine,
    Job,
    Limits,
    Message,
    Outcome,
    Question,
    Request,
    Row,
    Sampling,
    Sandbox,
    Status,
    TestResult,
    Usage,
    Verdict,
    seed_for,
)
from datagen.prompts import Prompt
from datagen.selection import PASSES, Matrix, agreed, contradiction, flaky_tests, passing
from datagen.waves import Waves, patience
from sandbox.contract import Tier
from sandbox.staging import capped, is_late, run_siblings

TESTS_VARIABLES = ("question",)
SOLUTIONS_VARIABLES = ("question", "test", "entry_point")

STUB_RESULTS = ("None", "0", "''", "[]", "True", "False", "{}", "next(iter((*args, *kwargs.values())), None)")
"""What the trivial stubs return; the last is the identity, the first argument."""

SECOND_SEED = 1
"""Under which a program that passed under seed 0 has to pass again."""

_FUNCTION_STUB = "def {entry}(*args, **kwargs):\n    return {result}\n"
_CLASS_STUB = """class {entry}:
    def __init__(self, *args, **kwargs):
        pass

    def __getattr__(self, name):
        return lambda *args, **kwargs: {result}
"""
_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,}\b")
Result = TypeVar("Result")
_Judge = Callable[[Sequence[str], tuple[str, ...]], Awaitable[list[Verdict]]]


@dataclass(frozen=True, slots=True)
class SolveEngines:
    """Who writes the tests and who the solutions."""

    tests: Engine
    solutions: Engine


@dataclass(frozen=True, slots=True)
class SolvePrompts:
    """How tests and solutions are asked for."""

    tests: Prompt
    solutions: Prompt


@dataclass(frozen=True, slots=True)
class Suite:
    """The usable tests of a question, of which the first `plain` come from the first test file, and the one to show.

    `problem` is set where they are too few to go on.
    """

    tests: tuple[str, ...] = ()
    drops: tuple[Drop, ...] = ()
    entry: str = ""
    plain: int = 0
    shown: str = ""
    problem: Drop | None = None


@dataclass(frozen=True, slots=True)
class Trial:
    """What each candidate is (a program, or why it is none) and how it did; a row per candidate, a column per test."""

    suite: Suite
    programs: tuple[Extracted | Drop, ...]
    verdicts: tuple[Verdict | None, ...]

    @property
    def matrix(self) -> Matrix:
        """Who passes what; a candidate without a program passes nothing."""
        return self._who(PASSES)

    @property
    def once(self) -> Matrix:
        """Who passed what under the first seed, whether or not it held under the second."""
        return self._who(PASSES | {Status.FLAKY})

    def code(self, index: int) -> str:
        """A candidate's program, or ""."""
        program = self.programs[index]
        return program.code if isinstance(program, Extracted) else ""

    def _who(self, statuses: frozenset[Status]) -> Matrix:
        nothing = [False] * len(self.suite.tests)
        return [[r.status in statuses for r in v.tests] if v is not None else nothing for v in self.verdicts]


@dataclass(frozen=True, slots=True)
class Choice:
    """The candidate that was chosen by some of the tests, or the reason and details why none was.

    `verdicts` holds how the candidates that passed these tests once did on exactly these, under both seeds; `dropped`
    the tests that turned out flaky.
    """

    tests: tuple[int, ...]
    index: int | None = None
    reason: str = ""
    detail: str = ""
    verdicts: Mapping[int, Verdict] = field(default_factory=dict)
    dropped: tuple[Drop, ...] = ()


class _Bench:
    """The engines and the sandbox at work on one question; remembers what was asked and what it cost."""

    def __init__(self, sandbox: Sandbox, config: SolveConfig, waves: Waves) -> None:
        self.calls: list[Call] = []
        self.usage = Usage()
        self.waves = waves
        self._sandbox = sandbox
        self._limits = Limits(cpu_seconds=config.cpu_seconds, memory_mb=config.memory_mb)
        self._first_seconds = config.first_cpu_seconds
        self._known: dict[Job, Verdict] = {}
        self._ran: dict[Job, Verdict] = {}

    async def ask(self, engine: Engine, step: str, request: Request) -> Completion:
        """One recorded call."""
        completion = await engine.complete(request)
        self.calls.append(Call(step, request.digest(), completion))
        self.usage += Usage(completion.prompt_tokens, completion.completion_tokens)
        return completion

    async def judge(self, programs: Sequence[str], tests: tuple[str, ...]) -> list[Verdict]:
        """Each program's FULL verdict under both seeds, by staged CPU limits."""
        return await self._runs([self._job(program, tests) for program in programs], self._first_seconds)

    async def confirm(self, programs: Sequence[str], tests: tuple[str, ...]) -> list[Verdict]:
        """As `judge`, of programs that have answered these tests before: they do not loop, and get their full limit."""
        return await self._runs([self._job(program, tests) for program in programs], self._limits.cpu_seconds)

    async def screen(self, programs: Sequence[str], tests: tuple[str, ...]) -> list[Verdict]:
        """Each program's SCREEN verdict, by staged CPU limits: for programs of our own, which forge nothing."""
        jobs = [Job(program, tests, self._limits, tier=Tier.SCREEN) for program in programs]
        return await self._runs(jobs, self._first_seconds)

    async def look(self, programs: Sequence[str], tests: tuple[str, ...]) -> list[Verdict]:
        """Each program's verdict under the first limit, which no sibling plays a part in: what `judge` begins with."""
        jobs = [capped(self._job(program, tests), self._first_seconds) for program in programs]
        await _together([self._run(job) for job in dict.fromkeys(jobs)])
        return [self._ran[job] for job in jobs]

    async def at_length(self, programs: Sequence[str], tests: tuple[str, ...]) -> list[Verdict]:
        """Each program's verdict under its full limit: what `judge` may give it, if its siblings are slow, too."""
        jobs = [self._job(program, tests) for program in programs]
        await _together([self._run(job) for job in dict.fromkeys(jobs)])
        return [self._ran[job] for job in jobs]

    def undecided(self, program: str, tests: tuple[str, ...], verdict: Verdict) -> bool:
        """Whether what `look` said of a program is not yet what `judge` will say: that depends on its siblings."""
        return is_late(self._job(program, tests), verdict, self._first_seconds)

    def _job(self, program: str, tests: tuple[str, ...]) -> Job:
        return Job(program, tests, self._limits, second_seed=SECOND_SEED)

    async def _runs(self, jobs: Sequence[Job], first_seconds: float) -> list[Verdict]:
        """The verdicts, in order; equal jobs and those that ran before do not run again."""
        new = [job for job in dict.fromkeys(jobs) if job not in self._known]
        self._known.update(zip(new, await run_siblings(self._run, new, first_seconds), strict=True))
        return [self._known[job] for job in jobs]

    async def _run(self, job: Job) -> Verdict:
        """The sandbox's verdict; of a job that ran before, the one of then."""
        if job not in self._ran:
            verdict = await self._sandbox.run(job)
            self.usage += Usage(cpu_seconds=verdict.cpu_seconds)
            self._ran[job] = verdict
        return self._ran[job]


async def solve(
    question: Question,
    *,
    engines: SolveEngines,
    sandbox: Sandbox,
    prompts: SolvePrompts,
    config: SolveConfig,
    seed: int,
    waves: Waves | None = None,
) -> Outcome[Row]:
    """One question's verified row, or the reason why there is none; always exactly one of the two.

    Everything random is drawn from `seed` and the question's id. With `early_stop`, `waves` (shared by all questions)
    sizes what is drawn together; it has no part in what is kept. An engine that fails raises RequestFailed, a sandbox
    that fails SandboxError; both pass through.
    """
    bench = _Bench(sandbox, config, waves or Waves())
    files = await _write_tests(question, engines.tests, prompts.tests, config, seed, bench)
    suite = _suite(question, files, config, seed)
    if suite.problem is not None:
        return _dropped(question, suite.problem, _attempts(bench, suite, config), bench)
    request = _solutions_request(question, suite, prompts.solutions, config, seed)
    trial, found = await _candidates(request, suite, engines.solutions, config, bench)
    plain, final, outvoted = (found, found, ()) if found else await _select(trial, config, bench)
    attempts = _with_trial(_attempts(bench, suite, config), trial, plain, final, outvoted)
    if final.index is None:
        return _dropped(question, Drop(final.reason, final.detail), attempts, bench)
    call = Origin(engines.solutions.model, prompts.solutions.digest, _seed(seed, question, "solutions"))
    row = _row(question, trial, final, call, config.n)
    if config.early_stop:
        row = _unmeasured(row, final.index + 1 if found else config.n)
    return Outcome(question.id, kept=(row,), attempts=attempts, usage=bench.usage)


def most(prompts: SolvePrompts, config: SolveConfig) -> dict[str, int]:
    """How many tokens one question's tests and candidates can have, by step."""
    tests, solutions = _tests_sampling(prompts.tests, config), _solutions_sampling(prompts.solutions, config)
    return {"tests": len(_test_steps(config)) * tests.max_tokens, "solutions": solutions.n * solutions.max_tokens}


def _seed(seed: int, question: Question, step: str) -> int:
    return seed_for(seed, "solve", question.id, step)


async def _write_tests(
    question: Question, engine: Engine, prompt: Prompt, config: SolveConfig, seed: int, bench: _Bench
) -> list[ParsedTests]:
    """The test files, written at the same time and without knowledge of each other."""
    steps, sampling = _test_steps(config), _tests_sampling(prompt, config)
    messages = prompt.render(question=question.question)
    requests = [Request(messages, replace(sampling, seed=_seed(seed, question, step))) for step in steps]
    asked = [bench.ask(engine, step, request) for step, request in zip(steps, requests, strict=True)]
    samples = [completion.samples[0] for completion in await _together(asked)]
    return [split_tests(sample.text, cut=sample.finish_reason == "length") for sample in samples]


def _test_steps(config: SolveConfig) -> list[str]:
    """The calls for test files."""
    return [f"tests-{index}" for index in range(config.test_files if config.tests == "consensus" else 1)]


def _tests_sampling(prompt: Prompt, config: SolveConfig) -> Sampling:
    return Sampling(**_given(prompt, temperature=config.tests_temperature))


def _solutions_sampling(prompt: Prompt, config: SolveConfig) -> Sampling:
    given = _given(prompt, temperature=config.temperature, top_p=config.top_p, max_tokens=config.max_tokens)
    return Sampling(**{**given, "n": config.n})


def _given(prompt: Prompt, **settings: float | int | None) -> dict[str, Any]:
    """The prompt's sampling, where no setting overrides it."""
    return {**prompt.sampling, **{name: value for name, value in settings.items() if value is not None}}


def _suite(question: Question, files: Sequence[ParsedTests], config: SolveConfig, seed: int) -> Suite:
    """The usable tests of all files, each once, and the one that is shown."""
    found = [test for file in files for test in file.tests]
    entry = entry_point(found)
    if entry is None:
        drops = _all_drops(files)
        reason = "tests-too-few" if found else "tests-unparsable"
        return Suite(drops=drops, problem=Drop(reason, _counted(drops) or "no test calls a function"))
    checked = [usable_tests(file.tests, entry) for file in files]
    tests, repeated = _pooled(checked)
    drops = (*_all_drops(files), *_all_drops(checked), *repeated)
    if len(tests) < max(config.min_tests, 1):
        return Suite(tests, drops, entry, problem=Drop("tests-too-few", f"{len(tests)} usable; {_counted(drops)}"))
    plain = len(checked[0].tests)
    shown = Random(_seed(seed, question, "shown-test")).choice(tests[:plain] or tests)
    return Suite(tests, drops, entry, plain, shown)


def _all_drops(files: Iterable[ParsedTests]) -> tuple[Drop, ...]:
    return tuple(drop for file in files for drop in file.drops)


def _pooled(files: Sequence[ParsedTests]) -> tuple[tuple[str, ...], list[Drop]]:
    """The tests of all files in order, each once, and drops for the repeated ones."""
    first: dict[str, str] = {}
    drops: list[Drop] = []
    for test in (test for file in files for test in file.tests):
        if (key := identity(test)) in first:
            drops.append(Drop("duplicate", "in an earlier file", test))
        first.setdefault(key, test)
    return tuple(first.values()), drops


def _counted(drops: Iterable[Drop]) -> str:
    """Such as "3 no-entry-point, 1 truncated"."""
    return ", ".join(f"{count} {reason}" for reason, count in sorted(Counter(d.reason for d in drops).items()))


def _solutions_request(question: Question, suite: Suite, prompt: Prompt, config: SolveConfig, seed: int) -> Request:
    """The request for all candidates, which shows one test and no other."""
    messages = prompt.render(question=question.question, test=suite.shown, entry_point=suite.entry)
    return Request(messages, replace(_solutions_sampling(prompt, config), seed=_seed(seed, question, "solutions")))


async def _candidates(
    request: Request, suite: Suite, engine: Engine, config: SolveConfig, bench: _Bench
) -> tuple[Trial, Choice | None]:
    """The candidates that were drawn, tried; with `early_stop` also what was found before all of them were."""
    if config.early_stop:
        return await _in_waves(request, suite, engine, config, bench)
    completion = await bench.ask(engine, "solutions", request)
    return await _trial(_programs(completion, suite), suite, bench.judge), None


def _programs(completion: Completion, suite: Suite) -> list[Extracted | Drop]:
    return [
        extract_code(sample.text, suite.entry, suite.tests, cut=sample.finish_reason == "length")
        for sample in completion.samples
    ]


async def _trial(programs: Sequence[Extracted | Drop], suite: Suite, judge: _Judge) -> Trial:
    """Every candidate that is a program against every test."""
    codes = [program.code for program in programs if isinstance(program, Extracted)]
    verdicts = iter(await judge(codes, suite.tests))
    return Trial(suite, tuple(programs), tuple(next(verdicts) if isinstance(p, Extracted) else None for p in programs))


# -- early stop ------------------------------------------------------------------------------------------------------


async def _in_waves(
    request: Request, suite: Suite, engine: Engine, config: SolveConfig, bench: _Bench
) -> tuple[Trial, Choice | None]:
    """Draws candidates until it is certain what the full run would choose; None as the choice once all are drawn.

    Candidates keep their index, hence their seed, and are looked at in its order. What a full run says of most of them
    does not depend on the others: it is certain after their first run (`_settled` has the exception). So no wave's size
    plays a part in what is found. `give_up` looks at the first half of the candidates, and a wave ends there.
    """
    tests, programs, solved = tuple(range(suite.plain)), list[Extracted | Drop](), False
    if config.give_up and (pair := contradiction(suite.tests, suite.entry)):
        return Trial(suite, (), ()), Choice(tests, reason="given-up", detail=f"contradictory: {' / '.join(pair)}")
    half = patience(config.n) if config.give_up else 0
    while (start := len(programs)) < config.n:
        size = config.n - start if solved else bench.waves.size(start, half if start < half else config.n)
        completion = await bench.ask(engine, f"solutions-{start}", _part(request, start, size))
        programs += _programs(completion, suite)
        trial = await _trial(programs, suite, bench.look)
        first = _first_pass(trial, tests)
        if not solved:
            bench.waves.saw(start, start + size, first)
        solved = first is not None
        if choice := await _settled(trial, tests, first, bench):
            return trial, choice
        if len(programs) == half < config.n and await _hopeless(trial, bench):
            detail = f"the first {half} candidates pass none of {len(tests)} tests"
            return trial, Choice(tests, reason="given-up", detail=detail)
    return await _trial(programs, suite, bench.judge), None


def _part(request: Request, start: int, size: int) -> Request:
    """The request for some of the candidates, with the seeds that they have in the request for all."""
    return replace(request, sampling=replace(request.sampling, n=size, seed=request.sampling.seed + start))


def _first_pass(trial: Trial, tests: tuple[int, ...]) -> int | None:
    """The first candidate that passed under both seeds within the first limit."""
    found = passing(trial.matrix, tests)
    return next((index for index in found if (v := trial.verdicts[index]) and v.passed), None)


async def _settled(trial: Trial, tests: tuple[int, ...], first: int | None, bench: _Bench) -> Choice | None:
    """What the full run chooses, if that is certain already: its first pass, or none because the tests are vacuous.

    A candidate that ran out of the first limit may get its full one in the full run, if its siblings say so, and these
    are not all there. So those before the first pass get it now: where none of them passes, it does not matter what
    their siblings would say. Where one does, only the full run knows, and all candidates are drawn.
    """
    if not passing(trial.once, tests):
        return None
    if vacuous := await _vacuous(trial.suite, tests, bench):
        return vacuous
    verdict = None if first is None else trial.verdicts[first]
    if first is None or verdict is None:
        return None
    late = _undecided(trial, range(first), bench)
    if any(verdict.passed for verdict in await bench.at_length(late, trial.suite.tests)):
        return None
    return Choice(tests, first, verdicts={first: verdict})


def _undecided(trial: Trial, which: Iterable[int], bench: _Bench) -> list[str]:
    """The programs among these candidates that may pass once they have more time."""
    looked = [(trial.code(index), trial.verdicts[index]) for index in which]
    return [code for code, verdict in looked if verdict and bench.undecided(code, trial.suite.tests, verdict)]


async def _hopeless(trial: Trial, bench: _Bench) -> bool:
    """Whether there are programs and none passes a single test, those that need more time included."""
    if any(map(any, trial.once)) or not any(isinstance(program, Extracted) for program in trial.programs):
        return False
    late = _undecided(trial, range(len(trial.programs)), bench)
    verdicts = await bench.at_length(late, trial.suite.tests)
    return not any(result.status in PASSES for verdict in verdicts for result in verdict.tests)


def _unmeasured(row: Row, n_tried: int) -> Row:
    """The row without what only all candidates could tell."""
    return replace(row, n_tried=n_tried, n_passed=None, pass_rate=None, difficulty=None)


# -- selection -------------------------------------------------------------------------------------------------------


async def _together(coroutines: Sequence[Coroutine[Any, Any, Result]]) -> list[Result]:
    """All results in order; the first failure cancels the rest and is raised as it is."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()


async def _select(trial: Trial, config: SolveConfig, bench: _Bench) -> tuple[Choice, Choice, tuple[Drop, ...]]:
    """The plain choice, the final one (the same in plain mode), and the tests that consensus dropped."""
    suite = trial.suite
    plain = await _choose(trial, tuple(range(suite.plain)), "tests-too-few", config, bench)
    if config.tests != "consensus":
        return plain, plain, ()
    kept, outvoted = agreed(suite.tests, trial.matrix, suite.entry, config.consensus)
    return plain, await _choose(trial, kept, "tests-no-consensus", config, bench), outvoted


async def _choose(trial: Trial, tests: tuple[int, ...], too_few: str, config: SolveConfig, bench: _Bench) -> Choice:
    """The first candidate that passes these tests, also under another seed, if no trivial stub passes them; tests that
    turn out flaky are left out.
    """
    unparsed = [program for program in trial.programs if isinstance(program, Drop)]
    if len(unparsed) == len(trial.programs):
        return Choice(tests, reason="solutions-unparsable", detail=_counted(unparsed))
    if len(tests) < max(config.min_tests, 1):
        return Choice(tests, reason=too_few, detail=f"{len(tests)} of {len(trial.suite.tests)} usable tests left")
    found = passing(trial.once, tests)
    if not found:
        return Choice(tests, reason="none-passed", detail=_best(trial, tests))
    if vacuous := await _vacuous(trial.suite, tests, bench):
        return vacuous
    choice = await _first_stable(trial, tests, found, bench)
    left = tuple(test for test in tests if trial.suite.tests[test] not in {drop.text for drop in choice.dropped})
    if left == tests or len(left) < max(config.min_tests, 1):
        return choice
    again = await _choose(trial, left, too_few, config, bench)
    return replace(again, dropped=(*choice.dropped, *again.dropped))


def _best(trial: Trial, tests: Sequence[int]) -> str:
    """How near the candidates came, such as "the best passes 3 of 5 tests; 2 disputed"."""
    most = max(sum(row[test] for test in tests) for row in trial.matrix)
    disputed = sum(verdict is not None and verdict.status is Status.DISPUTED for verdict in trial.verdicts)
    return f"the best passes {most} of {len(tests)} tests" + (f"; {disputed} disputed" if disputed else "")


async def _vacuous(suite: Suite, tests: tuple[int, ...], bench: _Bench) -> Choice | None:
    """The reason to choose nothing, if a trivial stub passes all of these tests."""
    stub = await _passing_stub(suite, tests, bench)
    detail = f"return {stub} passes all {len(tests)} tests"
    return Choice(tests, reason="tests-vacuous", detail=detail) if stub else None


async def _passing_stub(suite: Suite, tests: Sequence[int], bench: _Bench) -> str:
    """What a trivial stub returns that passes all of these tests, or ""."""
    form = _CLASS_STUB if suite.entry[:1].isupper() else _FUNCTION_STUB
    programs = [form.format(entry=suite.entry, result=result) for result in STUB_RESULTS]
    verdicts = await bench.screen(programs, suite.tests)
    matrix = [[result.status in PASSES for result in verdict.tests] for verdict in verdicts]
    return next((STUB_RESULTS[index] for index in passing(matrix, tests)), "")


async def _first_stable(trial: Trial, tests: tuple[int, ...], found: Sequence[int], bench: _Bench) -> Choice:
    """The first of the candidates found whose pass is confirmed on exactly these tests; if none is, what was wrong with
    the candidates or the tests.
    """
    chosen = tuple(trial.suite.tests[test] for test in tests)
    programs = [trial.code(index) for index in found]
    verdicts = await bench.confirm(programs, chosen)
    of = dict(zip(found, verdicts, strict=True))
    if stable := [index for index in found if of[index].passed]:
        return Choice(tests, stable[0], verdicts=of)
    statuses = Counter(verdict.status.value for verdict in verdicts)
    dropped = _flaky_drops(chosen, dict(zip(programs, verdicts, strict=True)))
    if flaky := statuses["flaky"]:
        return Choice(tests, reason="flaky", detail=f"{flaky} passed once only", verdicts=of, dropped=dropped)
    counts = ", ".join(f"{count} {status}" for status, count in sorted(statuses.items()))
    return Choice(tests, reason="none-passed", detail=f"no pass was confirmed: {counts}", verdicts=of)


def _flaky_drops(tests: Sequence[str], verdicts: Mapping[str, Verdict]) -> tuple[Drop, ...]:
    """Drops for the tests that are flaky themselves, judged by the programs that passed all of them once."""
    rows = [[result.status for result in verdict.tests] for verdict in verdicts.values()]
    rows = [row for row in rows if PASSES.union({Status.FLAKY}).issuperset(row)]
    detail = f"passed by {len(rows)} under the first seed, by none under the second"
    return tuple(Drop("flaky", detail, tests[test]) for test in flaky_tests(tests, rows))


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a solution comes from: model, prompt digest, seed of the call."""

    model: str
    prompt: str
    seed: int


def _dropped(question: Question, drop: Drop, attempts: Attempts, bench: _Bench) -> Outcome[Row]:
    return Outcome(question.id, drops=(replace(drop, text=question.question),), attempts=attempts, usage=bench.usage)


def _attempts(bench: _Bench, suite: Suite, config: SolveConfig) -> Attempts:
    """What was asked so far, and nothing passed yet."""
    return Attempts(
        calls=tuple(sorted(bench.calls, key=lambda call: (len(call.step), call.step))),
        tests=suite.tests,
        dropped_tests=suite.drops,
        passed_plain=False,
        passed_consensus=False if config.tests == "consensus" else None,
    )


def _with_trial(attempts: Attempts, trial: Trial, plain: Choice, final: Choice, outvoted: tuple[Drop, ...]) -> Attempts:
    consensus = attempts.passed_consensus
    return replace(
        attempts,
        dropped_tests=(*attempts.dropped_tests, *outvoted, *final.dropped),
        candidates=tuple(_candidate(index, trial, final) for index in range(len(trial.programs))),
        passed_plain=plain.index is not None,
        passed_consensus=None if consensus is None else final.index is not None,
    )


def _candidate(index: int, trial: Trial, final: Choice) -> Candidate:
    """A candidate's row; its status is that of the first final test that it does not pass, else of the weakest.

    How it did on exactly the final tests decides, where it passed them once, else how it did on them among the others.
    """
    program, verdict = trial.programs[index], trial.verdicts[index]
    if isinstance(program, Drop) or verdict is None:
        return Candidate(index, "", program.reason if isinstance(program, Drop) else "")
    own = final.verdicts.get(index)
    decisive = _decisive(own.tests if own else [verdict.tests[test] for test in final.tests] or verdict.tests)
    return Candidate(
        index=index,
        code=program.code,
        status=decisive.status.value,
        results=tuple(result.status.value for result in verdict.tests),
        detail="; ".join(filter(None, [*program.notes, _ADDRESS.sub("0x...", decisive.detail)])),
        n_passed=sum(result.status in PASSES for result in verdict.tests),
    )


def _decisive(results: Sequence[TestResult]) -> TestResult:
    failed = [result for result in results if result.status not in PASSES]
    weak = [result for result in results if result.status.value == "pass-weak"]
    return (failed or weak or list(results))[0]


def _row(question: Question, trial: Trial, final: Choice, origin: Origin, n: int) -> Row:
    solution = trial.code(final.index or 0)
    n_passed = sum(verdict.passed for verdict in final.verdicts.values())
    return Row(
        messages=(Message("user", question.question), Message("assistant", _fenced(solution))),
        id=question.id,
        question=question.question,
        solution=solution,
        tests=tuple(trial.suite.tests[test] for test in final.tests),
        shown_test=trial.suite.shown,
        entry_point=trial.suite.entry,
        n_candidates=n,
        n_tried=len(trial.programs),
        n_passed=n_passed,
        pass_rate=n_passed / n,
        chosen_index=final.index or 0,
        difficulty=question.difficulty,
        topic=question.topic,
        model=origin.model,
        prompt=origin.prompt,
        seed=origin.seed,
    )


def _fenced(code: str) -> str:
    """The code in a fence that is longer than any run of backticks inside."""
    longest = max(map(len, re.findall(r"`{3,}", code)), default=2)
    marks = "`" * (longest + 1)
    return f"{marks}python\n{code}\n{marks}"
