"""Benchmark items as a model is asked them: what a prompt may show, and what an answer is judged by."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from datagen.benchmarks import HubSource, Record, digest, format_of, load_hub, load_tasks
from datagen.errors import InputError
from datagen.evaluation.answers import last_number
from datagen.extract import syntax
from datagen.sets import BenchmarkItem

VARIABLES = (
    "question", "stub", "entry_point", "test", "tests", "description", "signature", "declaration", "buggy", "solution",
    "answer",
)  # fmt: skip
"""What a prompt of prompts/eval may use. `answer` is what the model wrote in an earlier call of the same problem."""


@dataclass(frozen=True, slots=True)
class Problem:
    """An item, the format that it came in, and the texts that prompts show.

    `stub` is code that a completion continues (HumanEval's prompt); `gold` the number that an answer without tests has
    to give. `facts` are the prompts' variables.
    """

    item: BenchmarkItem
    kind: str
    stub: str = ""
    gold: str = ""
    facts: dict[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """As samples.jsonl names it: the benchmark's own id, with evalplus's prefix for MBPP."""
        return f"Mbpp/{self.item.item}" if self.kind.startswith("mbpp") else self.item.item


@dataclass(frozen=True, slots=True)
class Benchmark:
    """The problems of a benchmark that can be judged, and how many items cannot be (no Python tests, no cases)."""

    name: str
    problems: tuple[Problem, ...]
    left_out: int
    digest: str


def load_problems(name: str, *, load: Callable[[HubSource], Sequence[Record]] = load_hub) -> Benchmark:
    """The problems of a benchmark (a name, file, folder or data set); InputError if none can be judged."""
    pairs = load_tasks(name, load=load)
    problems = [_problem(item, record) for item, record in pairs]
    judged = tuple(problem for problem in problems if problem.gold or problem.item.tests or problem.item.cases)
    if not judged:
        hint = "A file of your own needs the columns prompt (or question) and tests: docs/evaluate.md"
        raise InputError("holds no item with tests, cases or a number to find", where=name, hint=hint)
    own = judged[0].item.benchmark
    return Benchmark(own, judged, len(problems) - len(judged), digest([problem.item for problem in judged]))


def _problem(item: BenchmarkItem, record: Record) -> Problem:
    known = format_of([record])
    kind = known.name if known else "gsm8k" if {"question", "answer"} <= record.keys() else "other"
    gold = last_number(str(record["answer"])) if kind == "gsm8k" else ""
    coded = kind in ("humaneval", "humanevalpack") or (kind == "own-prompt" and "def " in item.question)
    stub = item.question if coded else ""
    return Problem(item, kind, stub, gold, _facts(item, record, stub))


def _facts(item: BenchmarkItem, record: Record, stub: str) -> dict[str, str]:
    shown = [*map(str, record.get("test_list") or ())] or _asserts(item)
    declaration = str(record.get("declaration") or stub)
    return {
        "question": stub or item.question.strip(),
        "stub": stub,
        "entry_point": item.entry_point,
        "test": shown[0] if shown else "",
        "tests": "\n".join(shown),
        "description": str(record.get("docstring") or "") or described(stub, item.entry_point) or item.question.strip(),
        "signature": str(record.get("signature") or item.entry_point),
        "declaration": declaration,
        "solution": declaration + str(record.get("canonical_solution") or ""),
        "buggy": declaration + str(record.get("buggy_solution") or ""),
    }


def described(stub: str, entry: str) -> str:
    """The docstring of the function that a stub begins; empty without one."""
    node = _defined(stub, entry)
    return textwrap.dedent(ast.get_docstring(node) or "").strip() if node is not None else ""


def preamble(stub: str, entry: str) -> str:
    """What stands above the function that a stub begins: imports, and the functions that it may call."""
    node = _defined(stub, entry)
    return "\n".join(stub.split("\n")[: node.lineno - 1]).strip() if node is not None else ""


def _defined(stub: str, entry: str) -> ast.FunctionDef | None:
    tree = syntax.parse(stub)
    found = [node for node in tree.body if isinstance(node, ast.FunctionDef)] if tree else []
    return next((node for node in found if node.name == entry), None)


def _asserts(item: BenchmarkItem) -> list[str]:
    """The asserts of the tests that stand alone, those inside `check` with the function's own name."""
    lines: list[str] = []
    for test in item.tests:
        tree = syntax.parse(test)
        if tree is None:
            continue
        checks = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "check"]
        parameter = checks[0].args.args[0].arg if checks and checks[0].args.args else ""
        found = [*tree.body, *(inner for check in checks for inner in check.body)]
        lines += [_renamed(node, parameter, item.entry_point) for node in found if isinstance(node, ast.Assert)]
    return lines


def _renamed(node: ast.Assert, old: str, new: str) -> str:
    for name in ast.walk(node):
        if isinstance(name, ast.Name) and name.id == old:
            name.id = new
    return ast.unparse(node)
