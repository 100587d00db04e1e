"""Which columns of a table are scanned, each as one text a row."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from datagen.errors import InputError

USUAL = ("question", "solution", "tests")


def fields_of(rows: pl.DataFrame, columns: Sequence[str] = ()) -> dict[str, pl.Series]:
    """The texts of the named columns (none named: those of USUAL that are there); null is the empty text.

    A list of texts is joined by line ends, one of chat messages by their contents. InputError for a column that is
    missing or is no text, and where there is nothing to scan.
    """
    names = columns or [name for name in USUAL if name in rows.columns]
    missing = [name for name in names if name not in rows.columns]
    if missing or not names:
        what = f"no column {missing[0]!r}" if missing else "no column question, solution or tests"
        raise InputError(what, where="the data set", hint=f"Give --column one of: {', '.join(rows.columns)}")
    return {name: _text(rows[name]) for name in names}


def _text(column: pl.Series) -> pl.Series:
    kind = column.dtype
    if isinstance(kind, pl.List):
        inner = kind.inner
        if isinstance(inner, pl.Struct) and "content" in [field.name for field in inner.fields]:
            column = column.list.eval(pl.element().struct.field("content"))
        elif isinstance(inner, pl.Struct | pl.List):
            raise _no_text(column)
        return column.cast(pl.List(pl.String)).list.join("\n", ignore_nulls=True).fill_null("")
    if isinstance(kind, pl.Struct | pl.Array | pl.Object | pl.Binary):
        raise _no_text(column)
    return column.cast(pl.String).fill_null("")


def _no_text(column: pl.Series) -> InputError:
    hint = "Give --column a column of texts, of lists of texts or of chat messages"
    return InputError(f"column {column.name!r} holds no text ({column.dtype})", where="the data set", hint=hint)
