"""What each benchmark keeps in which column: one small reader a format, found by the columns of a record."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from datagen.extract import syntax
from datagen.extract.tests import entry_point
from datagen.sets import Case

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a record says beside its question; the fields are those of `BenchmarkItem`."""

    solution: str = ""
    tests: tuple[str, ...] = ()
    entry_point: str = ""
    cases: tuple[Case, ...] = ()


@dataclass(frozen=True, slots=True)
class Format:
    """A benchmark's file format: the columns that give it away, which of them is the question, how the rest is read."""

    name: str
    columns: frozenset[str]
    question: str
    answer: Callable[[Record], Answer]


def format_of(records: Sequence[Record]) -> Format | None:
    """The first format of FORMATS whose columns every record has; None for a file of a shape of its own."""
    common = set(records[0]).intersection(*records) if records else set()
    return next((one for one in FORMATS if one.columns <= common), None)


def humaneval(record: Record) -> Answer:
    """HumanEval, HumanEval+ and the demo's suite: the prompt continued, and one snippet that calls `check`.

    A function of the prompt that the tests use besides comes with them, so that they are complete in themselves.
    """
    entry = record["entry_point"]
    solution = record["prompt"] + record["canonical_solution"]
    test = f"{record['test'].strip()}\n\ncheck({entry})\n"
    return Answer(solution, (_with_callees(test, solution, entry),), entry)


def humanevalpack(record: Record) -> Answer:
    """The same in six languages; the tests of Python only, which call `check` themselves. Buggy code is left out."""
    solution = record["prompt"] + record["canonical_solution"]
    entry = record["entry_point"]
    if not str(record["task_id"]).startswith("Python/"):
        return Answer(solution, (), entry)
    return Answer(solution, (_with_callees(record["test"].strip() + "\n", solution, entry),), entry)


def mbpp(record: Record) -> Answer:
    """MBPP: one snippet an assert, below the set-up code (in the sanitized set: the imports); `challenge` ones not.

    MBPP+ has a column `test` beside, a program over many inputs: one more snippet.
    """
    solution = syntax.normalise(record["code"])
    setup = "\n".join([*(record.get("test_imports") or ()), record.get("test_setup_code") or ""]).strip()
    asserts = list(record["test_list"] or ())
    tests = [*(f"{setup}\n{test}" if setup else test for test in asserts), *filter(None, [record.get("test")])]
    return Answer(solution, tuple(map(syntax.normalise, tests)), _defined_and_called(solution, asserts))


def apps(record: Record) -> Answer:
    """APPS: the first solution; cases for programs, asserts where a function is named.

    An expected value that is a list also counts if its first element is what the function returns, as in APPS's own
    judge. Broken JSON (and integers too long to be read) leave the part empty.
    """
    solutions, facts = _json(record["solutions"]), _json(record["input_output"])
    solution = solutions[0] if isinstance(solutions, list) and solutions else ""
    if not isinstance(facts, dict):
        return Answer(solution)
    pairs = zip(facts.get("inputs") or (), facts.get("outputs") or (), strict=False)
    name = facts.get("fn_name")
    if not name:
        return Answer(solution, cases=tuple(Case(_lines(given), _lines(expected)) for given, expected in pairs))
    return Answer(solution, tuple(_calls(name, pairs, unwrap=True)), name)


def livecodebench(record: Record) -> Answer:
    """LiveCodeBench: the public cases, as asserts where a function is named. It publishes no solution.

    The private cases are a pickle, which would run code when opened: they are not read.
    """
    cases = _json(record["public_test_cases"]) or []
    name = (_json(record.get("metadata")) or {}).get("func_name") or ""
    if not name:
        return Answer(cases=tuple(Case(case["input"], case["output"]) for case in cases))
    pairs = ((_values(case["input"]), _json(case["output"])) for case in cases)
    return Answer("", tuple(_calls(name, pairs)), name)


def bigcodebench(record: Record) -> Answer:
    """BigCodeBench: a unittest class, run as one snippet; most need libraries that a sandbox has to be given."""
    test = f"{record['test'].strip()}\n{_RUN_UNITTEST}"
    return Answer(record["complete_prompt"] + record["canonical_solution"], (test,), record["entry_point"])


def multipl_e(record: Record) -> Answer:
    """MultiPL-E: prompts only; its tests are in the other languages, and it has no solutions."""
    return Answer()


def own(record: Record) -> Answer:
    """A file in this project's own terms: `tests` (a snippet, or a list of them), perhaps `solution`, `entry_point`."""
    given = record["tests"] or ()
    tests = (given,) if isinstance(given, str) else tuple(given)
    return Answer(record.get("solution") or "", tests, record.get("entry_point") or entry_point(tests) or "")


FORMATS = tuple(
    Format(name, frozenset(columns.split()), columns.split()[0], answer)
    for name, columns, answer in (
        ("humanevalpack", "prompt canonical_solution test entry_point task_id buggy_solution", humanevalpack),
        ("bigcodebench", "complete_prompt canonical_solution test entry_point", bigcodebench),
        ("humaneval", "prompt canonical_solution test entry_point", humaneval),
        ("mbpp", "text code test_list", mbpp),
        ("mbpp-sanitized", "prompt code test_list", mbpp),
        ("apps", "question solutions input_output", apps),
        ("livecodebench", "question_content public_test_cases", livecodebench),
        ("multipl-e", "prompt language tests stop_tokens", multipl_e),
        ("own", "question tests", own),
        ("own-prompt", "prompt tests", own),
    )
)
"""Most particular first; the first column named is the question."""

_RUN_UNITTEST = """
import io as _io, unittest as _unittest
_suite = _unittest.defaultTestLoader.loadTestsFromTestCase(TestCases)
_outcome = _unittest.TextTestRunner(stream=_io.StringIO()).run(_suite)
assert _outcome.testsRun and _outcome.wasSuccessful()
"""


def _with_callees(test: str, solution: str, entry: str) -> str:
    """The test below those functions of the solution, other than the entry point, that it uses."""
    tree, program = syntax.parse(test), syntax.parse(solution)
    if tree is None or program is None:
        return test
    wanted = syntax.free(tree) - syntax.stores(tree) - {entry}
    callees = [node for node in program.body if isinstance(node, ast.FunctionDef) and node.name in wanted]
    if not callees:
        return test
    imports = [node for node in program.body if isinstance(node, ast.Import | ast.ImportFrom)]
    return "\n\n".join([*(syntax.source_of(solution, node).strip() for node in [*imports, *callees]), test])


def _defined_and_called(solution: str, asserts: Sequence[str]) -> str:
    """The function or class of the solution that most asserts call, else whatever they call most."""
    tree = syntax.parse(solution)
    defined = {node.name for node in tree.body if isinstance(node, _NAMED)} if tree else set()
    called = [name for test in asserts if (parsed := syntax.parse(test)) for name in set(syntax.called_names(parsed))]
    known = [name for name in called if name in defined]
    return max(known, key=known.count) if known else entry_point(asserts) or ""


_NAMED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def _calls(name: str, pairs: Iterable[tuple[Any, Any]], *, unwrap: bool = False) -> Iterator[str]:
    """An assert for each pair of arguments and expected value that can be written down."""
    for arguments, expected in pairs:
        values = arguments if isinstance(arguments, list) else [arguments]
        accepted = [expected, *(expected[:1] if unwrap and isinstance(expected, list) else [])]
        if _is_literal([values, accepted]):
            call = f"{name}({', '.join(map(repr, values))})"
            yield f"assert {call} in {accepted!r}" if len(accepted) > 1 else f"assert {call} == {expected!r}"


def _is_literal(value: Any) -> bool:
    """Whether `repr` can be read back: not so for NaN and infinity."""
    try:
        ast.literal_eval(repr(value))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return False
    return True


def _values(text: str) -> list[Any]:
    return [_json(line) for line in text.splitlines()]


def _json(text: Any) -> Any:
    """A column that holds JSON as text, read; None where it holds none."""
    if not isinstance(text, str):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return None


def _lines(value: Any) -> str:
    """What a case prints or reads: text, or a list of lines."""
    return "\n".join(map(str, value)) if isinstance(value, list) else str(value)
