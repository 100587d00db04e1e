"""Claims about how answers are read."""

from __future__ import annotations

import pytest

from datagen.evaluation.answers import last_number, program, until


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Sure:\n```python\ndef f():\n    return 1\n```\nDone.", "def f():\n    return 1\n"),
        ("[PYTHON]\ndef f():\n    return 1\n[/PYTHON] that was it", "def f():\n    return 1\n"),
        ("[PYTHON]\n```python\ndef f():\n    return 1\n```\n[/PYTHON]", "def f():\n    return 1\n"),
        ("[PYTHON]\ndef f():\n    return 1\n", "def f():\n    return 1\n"),
        ("def f():\n    return 1", "def f():\n    return 1\n"),
        ("```python\nf(1)\n```\nand\n```python\ndef f(x):\n    pass\n```", "def f(x):\n    pass\n"),
        ("```\n$ ls\n```", "$ ls\n"),
        ("```python\ndef f():\n    return 1", "def f():\n    return 1\n"),
    ],
)
def test_the_program_of_a_chat_answer(text, code):
    """Tags before fences, a part that defines the function before others, unclosed parts to their end."""
    assert program(text, "f") == code


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("so 4 + 5 = 9\n#### 9", "9"),
        ("#### 1,234", "1234"),
        ("#### $18.00 in all, of 3", "18"),
        ("#### -0.50", "-0.5"),
        ("it is 3, then 12.", "12"),
        ("#### none", ""),
        ("no number", ""),
        ("#### 0.0", "0"),
        ("#### 100", "100"),
    ],
)
def test_the_number_of_an_answer(text, number):
    """The one after ####, else the last; commas, a currency sign and empty decimals do not count."""
    assert last_number(text) == number


def test_text_ends_at_its_first_stop():
    """The earliest of the stops ends a text, whichever is named first."""
    assert until("a\ndef b\nclass c", ("\nclass", "\ndef")) == "a"
    assert until("a", ("\nclass",)) == "a"
