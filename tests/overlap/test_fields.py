"""Which columns are scanned, and how their values become texts."""

from __future__ import annotations

import polars as pl
import pytest

from datagen.config import DecontaminateConfig
from datagen.errors import InputError
from datagen.overlap.fields import fields_of
from datagen.sets import BenchmarkItem
from datagen.stages.decontaminate import apply, scan

MESSAGES = [[{"role": "user", "content": "a"}, {"role": "assistant", "content": None}], None]


def test_the_usual_columns_are_taken() -> None:
    """question, solution and tests if they are there, and no others."""
    frame = pl.DataFrame({"tests": [["a", None, "b"], None], "question": ["q", None], "answer": ["x", "y"]})
    fields = fields_of(frame)
    assert {name: column.to_list() for name, column in fields.items()} == {"question": ["q", ""], "tests": ["a\nb", ""]}


def test_columns_can_be_named() -> None:
    """--column wins; chat messages are joined by their contents, numbers are texts."""
    frame = pl.DataFrame({"messages": MESSAGES, "question": ["q", "r"], "n": [1, None]})
    fields = fields_of(frame, ["messages", "n"])
    assert {name: column.to_list() for name, column in fields.items()} == {"messages": ["a", ""], "n": ["1", ""]}


@pytest.mark.parametrize(
    ("frame", "columns", "says"),
    [
        (pl.DataFrame({"a": ["x"]}), [], "no column question, solution or tests. Give --column one of: a"),
        (pl.DataFrame({"a": ["x"]}), ["b"], "no column 'b'"),
        (pl.DataFrame({"a": [{"x": 1}]}), ["a"], "holds no text"),
        (pl.DataFrame({"a": [[{"x": 1}]]}), ["a"], "holds no text"),
    ],
)
def test_columns_without_text_are_named(frame: pl.DataFrame, columns: list[str], says: str) -> None:
    """A column that is missing or holds something else is an InputError that says what to give."""
    with pytest.raises(InputError) as caught:
        fields_of(frame, columns)
    assert says in str(caught.value)


def test_rows_need_no_id() -> None:
    """Rows without an id are called by their places, in hits and in drops."""
    text = "Compute the number of purple elephants that dance on seventeen small green tables at noon."
    frame = pl.DataFrame({"text": ["clean", text]})
    hits = scan(frame, [BenchmarkItem("b", "0", text)], DecontaminateConfig(), seed=0, columns=["text"]).hits
    selection = apply(frame, hits, DecontaminateConfig())
    assert set(hits["source_id"]) == {"1"} and set(hits["field"]) == {"text"}
    assert selection.kept.to_dicts() == [{"text": "clean"}]
    assert selection.dropped["source_id"].to_list() == ["1"] and selection.dropped["text"].to_list() == [text]
