"""Claims about problems in APPS's format, judged by the real sandbox."""

from __future__ import annotations

import json

from eval_kit import score

from datagen.models import Completion, Sample

PROGRAM = {
    "problem_id": 1, "question": "Read n, print half of it.", "solutions": json.dumps(["print(int(input()) / 2)"]),
    "input_output": json.dumps({"inputs": ["3\n", "4\n"], "outputs": ["1.5\n", "2.0\n"]}),
}  # fmt: skip
FUNCTION = {
    "problem_id": 2, "question": "Add two numbers.", "solutions": json.dumps(["def add(a, b): return a + b"]),
    "input_output": json.dumps({"fn_name": "add", "inputs": [[1, 2], [0, 0]], "outputs": [3, 0]}),
}  # fmt: skip


def scored(tmp_path, answers):
    """How many of the samples pass, problem by problem; the chat protocol asks for [PYTHON]."""
    file = tmp_path / "apps.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in (PROGRAM, FUNCTION)))

    def answer(request):
        code = answers["function add" in request.messages[-1].content]
        return Completion((Sample(f"[PYTHON]\n{code}\n[/PYTHON]"),))

    score(tmp_path / "model", answer, benchmarks=(str(file),), n=1)
    lines = (tmp_path / "model/apps/results.jsonl").read_text().splitlines()
    return [json.loads(line)["status"] for line in lines]


def test_programs_and_functions_are_judged(tmp_path):
    """Standard input and output where no function is named, calls where one is."""
    answers = {False: "print(int(input()) * 0.5)", True: "def add(x, y):\n    return y + x"}
    assert scored(tmp_path, answers) == ["pass", "pass"]


def test_a_method_of_class_solution_counts(tmp_path):
    """As in APPS's own judge; a wrong output fails."""
    answers = {False: "print(input())", True: "class Solution:\n    def add(self, a, b):\n        return a + b"}
    assert scored(tmp_path, answers) == ["fail", "pass"]


def test_protocol_and_hash_are_those_of_apps(tmp_path):
    """APPS in a file is scored by Code Llama's protocol: T 0.6, p 0.95."""
    scored(tmp_path, {False: "pass", True: "pass"})
    entry = json.loads((tmp_path / "model/report.json").read_text())["benchmarks"]["apps"]
    assert (entry["protocol"], entry["top_p"], entry["max_tokens"]) == ("code-llama/apps/chat", 0.95, 1024)
