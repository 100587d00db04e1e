"""What extraction asks of Python's syntax trees is what Python's own functions say, only sooner."""

import ast
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen.demo.problems import asserts, source, tasks
from datagen.extract import syntax

LINES = (
    "x = 1", "y = (1,\n  2)", "assert f('é') == 'ü'; z = 3", "@d\ndef f(a=1, *b, **c):\n    return [i for i in a if i]",
    "class A(B):\n    x: int = 1\n    async def f(self): await g()", "lambda: 0",
    "match x:\n    case {'a': [1, *_]}: pass",
    "try:\n    pass\nexcept* E as e:\n    del e", "f'{x!r:>{w}}'", "if x:\n    a\nelif y:\n    b\nelse:\n    c",
    "'''two\nlines'''", "from a.b import c as d, e", "with open(f) as g, h: pass", "a = b = c[1:2, ::3].d",
)  # fmt: skip


@given(st.lists(st.sampled_from(LINES), min_size=1, max_size=8))
def test_walk_is_pythons(lines):
    """The same nodes in the same order."""
    tree = ast.parse("\n".join(lines))
    assert syntax.walk(tree) == tuple(ast.walk(tree))


@given(st.lists(st.sampled_from(LINES), min_size=1, max_size=8))
def test_a_statement_is_written_as_it_was(lines):
    """A simple statement at the margin is the very text that Python finds for it."""
    text = "\n".join(lines)
    tree = ast.parse(text)
    for node in tree.body:
        if not hasattr(node, "body") and node.col_offset == 0:
            assert syntax.source_of(text, node) == ast.get_source_segment(text, node)


@pytest.mark.parametrize("seed", range(5))
def test_short_texts_are_read_as_long_ones_are(seed):
    """Whether a text is short enough to be no danger makes no difference to its tree."""
    rng = Random(seed)
    task = rng.choice(tasks())
    for text in (*asserts(task, rng), source(task, task.name)):
        longer = syntax.parse(text + "\n" + "#" * 200)
        assert ast.dump(syntax.parse(text)) == ast.dump(longer)


def test_text_that_nests_too_deeply_is_refused_however_short():
    """A level for every character, up to the shortest text that is looked at."""
    for depth in (20, 40, 60, 99, 150):
        tree = syntax.parse("-" * depth + "1")
        assert tree is None or len("-" * depth) < syntax.MAX_DEPTH
