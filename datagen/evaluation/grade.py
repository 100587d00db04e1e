"""One problem: ask for n samples, read each, run it. The per-item function that the pipeline drives."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol as Contract

from datagen.evaluation import answers
from datagen.evaluation.problems import Problem, preamble
from datagen.evaluation.protocols import Protocol, joined
from datagen.models import (
    Attempts,
    Call,
    Completion,
    Engine,
    Message,
    Outcome,
    Request,
    Sample,
    Sampling,
    Usage,
    seed_for,
)
from sandbox.contract import Case, Compare, Job, Limits, ScriptJob, Status, Verdict

Ask = Callable[[str, Request], Awaitable[Completion]]


class Judge(Contract):
    """The sandbox: programs with tests, and scripts with cases."""

    async def run(self, job: Job | ScriptJob) -> Verdict: ...


@dataclass(frozen=True, slots=True)
class Graded:
    """A sample and its verdict. `completion` is what the model wrote, `solution` the program read from it (or number).

    `status` is the sandbox's (docs/evaluate.md lists them); `finish_reason` is length where max_tokens cut the text.
    """

    task_id: str
    index: int
    completion: str
    solution: str
    status: str
    passed: bool
    detail: str = ""
    finish_reason: str = "stop"


async def ask_and_grade(
    problem: Problem, *, protocol: Protocol, engine: Engine, sandbox: Judge, limits: Limits, seed: int
) -> Outcome[Graded]:
    """The n samples of a problem with their verdicts. RequestFailed and SandboxError pass through."""
    calls: list[Call] = []

    async def ask(step: str, request: Request) -> Completion:
        completion = await engine.complete(request)
        calls.append(Call(step, request.digest(), completion))
        return completion

    samples = await _samples(problem, protocol, ask, seed)
    graded = await grade(problem, [(s.text, read(s.text, problem, protocol), s.finish_reason) for s in samples],
                         sandbox, limits)  # fmt: skip
    usage = sum((Usage(c.completion.prompt_tokens, c.completion.completion_tokens) for c in calls), Usage())
    return Outcome(problem.id, graded, attempts=Attempts(calls=tuple(calls)), usage=usage)


async def _samples(problem: Problem, protocol: Protocol, ask: Ask, seed: int) -> Sequence[Sample]:
    """The samples; with a step before, each goes on from a sample of its own of that step's."""
    if protocol.first is None:
        return (await ask("eval", _request(problem, protocol, protocol.form.n, seed))).samples
    messages = protocol.first.render(**problem.facts, answer="")
    first = await ask("eval-first", _asked(messages, protocol, _sampling(problem, protocol, "first", seed)))
    asked = [
        ask("eval", _request(problem, protocol, 1, seed + index, answer=sample.text.strip()))
        for index, sample in enumerate(first.samples)
    ]
    return [completion.samples[0] for completion in await asyncio.gather(*asked)]


def _request(problem: Problem, protocol: Protocol, n: int, seed: int, answer: str = "") -> Request:
    sampling = _sampling(problem, protocol, "eval", seed, n, protocol.form.stop)
    if protocol.prompt is None or protocol.style == "base":
        return Request(prompt=protocol.text(problem, answer), sampling=sampling)
    return Request(protocol.messages(problem, answer), sampling)


def _asked(messages: tuple[Message, ...], protocol: Protocol, sampling: Sampling) -> Request:
    return (
        Request(prompt=joined(messages), sampling=sampling) if protocol.style == "base" else Request(messages, sampling)
    )


def _sampling(
    problem: Problem, protocol: Protocol, step: str, seed: int, n: int = 0, stop: tuple[str, ...] = ()
) -> Sampling:
    form = protocol.form
    drawn = seed_for(seed, "eval", f"{problem.item.benchmark}/{problem.id}", step)
    return Sampling(n or form.n, form.temperature, form.top_p, form.max_tokens, stop, drawn)


def read(text: str, problem: Problem, protocol: Protocol) -> str:
    """The program (or number) of a completion, as the protocol reads it."""
    form, entry = protocol.form, problem.item.entry_point
    text = answers.until(text, form.stop)
    match form.reads:
        case "continuation":
            return protocol.text(problem) + text
        case "rewritten":
            return problem.facts["declaration"] + text
        case "number":
            return answers.last_number(text)
        case "marked":
            return text
    if protocol.prompt is not None and protocol.style == "chat":
        last = protocol.messages(problem)[-1]
        whole = answers.defines(answers.program(text, entry), entry)  # some servers begin the answer anew
        text = f"{last.content}\n{text}" if last.role == "assistant" and not whole else text
    return _completed(answers.program(text, entry), problem)


def _completed(code: str, problem: Problem) -> str:
    """The program with what a stub stands for: the whole of it where only a body came, else its imports and helpers."""
    if not problem.stub:
        return code
    if not answers.defines(code, problem.item.entry_point):
        return problem.stub + code
    above = preamble(problem.stub, problem.item.entry_point)
    return f"{above}\n\n\n{code}" if above and above not in code else code


async def grade(
    problem: Problem, samples: Sequence[tuple[str, str, str]], sandbox: Judge, limits: Limits
) -> tuple[Graded, ...]:
    """Verdicts of (completion, solution, finish reason) in order; equal solutions run once."""
    distinct = list(dict.fromkeys(solution for _, solution, _ in samples))
    verdicts = await asyncio.gather(*(_judged(problem, solution, sandbox, limits) for solution in distinct))
    known: Mapping[str, Verdict] = dict(zip(distinct, verdicts, strict=True))
    return tuple(
        Graded(problem.id, index, completion, solution, known[solution].status.value, known[solution].passed,
               _detail(known[solution]), finish)
        for index, (completion, solution, finish) in enumerate(samples)
    )  # fmt: skip


async def _judged(problem: Problem, solution: str, sandbox: Judge, limits: Limits) -> Verdict:
    item = problem.item
    if problem.gold:
        right = answers.last_number(solution) == problem.gold
        return Verdict(Status.PASS if right else Status.FAIL, (), "" if right else f"expected {problem.gold}")
    if item.cases:
        cases = tuple(Case(case.input, case.output) for case in item.cases)
        return await sandbox.run(ScriptJob(solution, cases, limits, compare=Compare.FLOAT))
    return await sandbox.run(Job(_callable(solution, problem), item.tests, limits))


def _callable(solution: str, problem: Problem) -> str:
    """APPS: a method of a class Solution counts as the function, as in its own judge."""
    entry = problem.item.entry_point
    if problem.kind != "apps" or answers.defines(solution, entry) or not answers.defines(solution, "Solution"):
        return solution
    return f"{solution}\n\ndef {entry}(*args):\n    return Solution().{entry}(*args)\n"


def _detail(verdict: Verdict) -> str:
    first = next((test for test in verdict.tests if test.status not in (Status.PASS, Status.PASS_WEAK)), None)
    return (first.detail if first else "") or verdict.detail
