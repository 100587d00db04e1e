"""Outputs are right when the comparison that was asked for says so, and a difference is told in words."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.compare import mismatch
from sandbox.contract import Compare

EXACT, WHITESPACE, FLOAT = Compare.EXACT, Compare.WHITESPACE, Compare.FLOAT
TOLERANCE = 1e-6
KINDS = pytest.mark.parametrize("compare", list(Compare))

WORDS = st.text("ab01.-e", min_size=1, max_size=4).map(str.encode)
LINES = st.lists(st.lists(WORDS, max_size=4), max_size=5)


def difference(got: bytes, expected: bytes, compare: Compare, tolerance: float = TOLERANCE) -> str:
    return mismatch(got, expected, compare, tolerance)


def laid_out(lines: list[list[bytes]], blank: bytes = b" ", ending: bytes = b"\n") -> bytes:
    return b"".join(blank.join(words) + ending for words in lines)


@KINDS
@given(st.binary())
def test_same_bytes_are_right(compare, data):
    """Whatever bytes they are, the expected ones are right."""
    assert difference(data, data, compare) == ""


@given(st.binary(max_size=8), st.binary(max_size=8))
def test_exact_is_equality(got, expected):
    """EXACT finds a difference where there is one, and nowhere else."""
    assert (difference(got, expected, EXACT) == "") == (got == expected)


@given(LINES, st.sampled_from([b" ", b"\t", b"  ", b" \t "]), st.sampled_from([b"\n", b" \n", b"\r\n", b"\t\r\n"]))
def test_layout_of_blanks_does_not_count(lines, blank, ending):
    """Blanks between and around words, CRLF, and empty lines at the end make no difference."""
    assert difference(laid_out(lines, blank, ending) + b"\n \n", laid_out(lines), WHITESPACE) == ""


@given(LINES, LINES)
def test_words_and_lines_count(got, expected):
    """Other words, or the same words on other lines, make a difference."""

    def significant(lines: list[list[bytes]]) -> list[list[bytes]]:
        kept = list(lines)
        while kept and not kept[-1]:
            kept.pop()
        return kept

    same = significant(got) == significant(expected)
    assert (difference(laid_out(got), laid_out(expected), WHITESPACE) == "") == same


@given(st.binary(max_size=200), st.binary(max_size=200), st.sampled_from(list(Compare)))
def test_difference_can_be_shown(got, expected, compare):
    """What is said about a difference is short and fits on one line of a terminal."""
    text = difference(got, expected, compare)
    assert text.isprintable() and len(text) <= 800


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        ("0.3333333", "0.33333333333"),
        ("1000000.5", "1000000.0"),
        ("-1e-9", "0"),
        ("-0.0", "0"),
        ("5", "5.0"),
        ("5.", "005"),
        ("1E3", "1000.0"),
        ("NaN", "nan"),
        ("inf", "Infinity"),
        ("-inf", "-Infinity"),
        ("1e999", "inf"),
        ("x = 1.0000001 y", "x = 1 y"),
        ("9007199254740993", "9007199254740993"),
        ("1" * 5000, "1" * 5000),
        ("+7", "7"),
        ("1.5 \r\n\n", "1.5"),
    ],
)  # fmt: skip
def test_close_numbers_are_right(got, expected):
    """Numbers within the tolerance, relative or absolute, are equal under FLOAT."""
    assert difference(got.encode(), expected.encode(), FLOAT) == ""


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        ("0.3333", "0.33333333333"),
        ("1000002.0", "1000000.0"),
        ("nan", "1"),
        ("1", "nan"),
        ("inf", "-inf"),
        ("1e308", "inf"),
        ("inf", "1e308"),
        ("1.7e308", "-1.7e308"),
        ("9007199254740993", "9007199254740992"),
        ("1000000", "1000001"),
        ("1" * 5000, "1" * 4999 + "2"),
        ("9" * 999 + ".5", "x"),
        ("1_0", "10"),
        ("0x10", "16"),
        ("1.0 2.0", "1.0"),
        ("1.0\n2.0", "1.0 2.0"),
        ("yes", "no"),
        ("", "0"),
    ],
)  # fmt: skip
def test_other_numbers_are_wrong(got, expected):
    """Numbers beyond the tolerance, integers that differ at all, and other words are not equal under FLOAT."""
    assert difference(got.encode(), expected.encode(), FLOAT) != ""


def test_tolerance_is_the_jobs():
    """A wider tolerance lets more pass."""
    assert difference(b"1.05", b"1.0", FLOAT, 0.1) == "" != difference(b"1.05", b"1.0", FLOAT, 0.01)


@pytest.mark.parametrize(
    ("got", "expected", "compare", "text"),
    [
        ("1\n2\n4\n", "1\n2\n5\n", WHITESPACE, "line 3: got '4', expected '5'"),
        ("1\n", "1\n2\n3\n", WHITESPACE, "2 lines missing, from line 2: '2'"),
        ("1\n2\n", "1\n", WHITESPACE, "1 line too many, from line 2: '2'"),
        ("", "1\n2\n", WHITESPACE, "wrote nothing, expected '1'"),
        ("\n5\n", "5\n", WHITESPACE, "line 1: got '', expected '5'"),
        ("0 " * 50 + "1", "0 " * 50 + "2", WHITESPACE, "line 1, word 51: got '1', expected '2'"),
        ("0 " * 50, "0 " * 51, WHITESPACE, "line 1, word 51: got the end of the line, expected '0'"),
        ("a\n", "a", EXACT, "one line break too many at the end"),
        ("a", "a\n", EXACT, "the line break at the end is missing"),
        ("a\r\nb", "a\nb", EXACT, "line 1: got 'a\\r', expected 'a'"),
        ("a", "a\n\n", EXACT, "line 1: got 'a', expected 'a\\n'"),
        ("x" * 70 + "1", "x" * 70 + "2", EXACT, "line 1, byte 71: got '1', expected '2'"),
        ("2.5\n2.6", "2.5\n2.7", FLOAT, "line 2: got '2.6', expected '2.7'"),
    ],
)
def test_differences_in_words(got, expected, compare, text):
    """The first difference is told with its place and both sides."""
    assert difference(got.encode(), expected.encode(), compare) == text


@KINDS
@pytest.mark.parametrize(
    ("got", "expected"),
    [
        (b" " * 4_000_000 + b"1", b"1 1"),
        (b"\n" * 4_000_000 + b"1", b"1"),
        (b"1" * 4_000_000 + b"x", b"1" * 4_000_000 + b"y"),
        (b"1e" * 2_000_000, b"1"),
        (b"a " * 2_000_000, b"a " * 2_000_000 + b"b"),
        (b"-" * 4_000_000, b"+" * 4_000_000),
    ],
)  # fmt: skip
def test_large_outputs_are_compared_in_time(compare, got, expected):
    """Megabytes made to be hard to compare take seconds at most."""
    start = time.process_time()
    assert difference(got, expected, compare)
    assert time.process_time() - start < 5
