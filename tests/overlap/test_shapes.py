"""The shape of a function: what does not change it, what does, and where it stands."""

from __future__ import annotations

import polars as pl
import pytest

from datagen.config import DecontaminateConfig
from datagen.overlap.shapes import shapes
from datagen.sets import BenchmarkItem
from datagen.stages.decontaminate import scan

PROGRAM = '''def median(numbers):
    """The middle."""
    ordered = sorted(numbers)
    half = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[half]
    return (ordered[half - 1] + ordered[half]) / 2
'''
RENAMED = PROGRAM.replace("median", "f").replace("numbers", "xs").replace("ordered", "s").replace("half", "m")


def fingerprint(code: str) -> str:
    (shape,) = shapes(code)
    return shape.print


@pytest.mark.parametrize(
    "other",
    [
        RENAMED,
        PROGRAM.replace("numbers)", "numbers: list[float]) -> float", 1),
        PROGRAM.replace('    """The middle."""\n', "    # other words\n"),
        PROGRAM.replace("    ", "\t").replace("\n", "\r\n"),
        f"import math\n\n\nclass Solution:\n{''.join('    ' + line for line in PROGRAM.splitlines(keepends=True))}",
    ],
)
def test_names_notes_and_layout_do_not_matter(other: str) -> None:
    """Renamed, annotated, differently documented and laid out functions, and methods, have one shape."""
    assert other != PROGRAM
    assert fingerprint(other) == fingerprint(PROGRAM)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("// 2", "// 3"),
        ("sorted", "list"),
        ("half - 1", "half + 1"),
        ("% 2:", "% 2 == 1:"),
        ("[half]", "[0]"),
        (") / 2", ")"),
    ],
)
def test_what_is_computed_matters(old: str, new: str) -> None:
    """Other numbers, operators, Python's own functions or statements are another shape."""
    assert fingerprint(PROGRAM.replace(old, new)) != fingerprint(PROGRAM)


def test_which_name_is_which_matters() -> None:
    """Two names swapped in one place are another program; so are what is left out or split in another way."""
    assert fingerprint("def f(a, b):\n    return a - b") != fingerprint("def f(a, b):\n    return b - a")
    slices = ["a[2:]", "a[:2]", "a[::2]", "a[2]", "f(a, 2)", "f(*a)", "f(**a)"]
    assert len({fingerprint(f"def f(a):\n    return {part}") for part in slices}) == len(slices)
    assert fingerprint("def f(a):\n    return [a, [a]]") != fingerprint("def f(a):\n    return [[a], a]")
    assert fingerprint("def f(a):\n    sum = len\n    return sum(a)") != fingerprint(
        "def f(a):\n    x = len\n    return sum(a)"
    )


@pytest.mark.parametrize("text", ["", "def f(", "prose about def f", "(" * 500 + "def ", "x = 1", "\x00def f(): pass"])
def test_what_is_no_program_has_no_shape(text: str) -> None:
    """Any text may be asked; broken, deep and empty ones have no shapes."""
    assert shapes(text) == []


@pytest.mark.parametrize(
    ("before", "end"),
    [("", ""), ("# é\n", "\nprint(1)"), ("import os\r\n\r\n", ""), ("It is: é\n```python\n", "\n```\nas asked")],
)
def test_a_hit_spans_the_function(before: str, end: str) -> None:
    """The span is the function's source where it stands, in a program or in a fenced block."""
    text = before + RENAMED + end
    frame = pl.DataFrame({"solution": [text, None, "x"]})
    item = BenchmarkItem("b", "0", "q", PROGRAM, (), "median")
    (hit,) = scan(frame, [item], DecontaminateConfig(), seed=0).hits.to_dicts()
    assert (hit["method"], hit["source_id"], hit["field"], hit["score"]) == ("ast", "0", "solution", 1.0)
    assert text[hit["start"] : hit["end"]] == hit["span"] == RENAMED.rstrip()


def test_small_functions_have_no_print_to_match() -> None:
    """`return len(text)` is everybody's; the item is listed as one that shapes cannot find."""
    frame = pl.DataFrame({"solution": ["def g(x):\n    return len(x)"]})
    item = BenchmarkItem("b", "0", "q", "def f(text):\n    return len(text)", (), "f")
    found = scan(frame, [item], DecontaminateConfig(), seed=0)
    assert found.hits.is_empty() and not found.coverage["ast"][0]


def test_what_the_solution_calls_is_not_looked_for() -> None:
    """Only the entry point's shape is looked for, not that of a function which it calls."""
    callee = PROGRAM.replace("median", "middle")
    item = BenchmarkItem("b", "0", "q", callee + "\n\ndef f(x):\n    return middle(x)\n", (), "f")
    assert scan(pl.DataFrame({"solution": [PROGRAM]}), [item], DecontaminateConfig(), seed=0).hits.is_empty()
