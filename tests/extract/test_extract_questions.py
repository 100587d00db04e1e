"""What comes out of a completion that lists questions: the styles that models write, and what must never be lost."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.extract.questions import Piece, parse_questions
from datagen.models import REASONS

ADD = "Write a function that adds two numbers and returns the sum."
ROT = "Implement rotate(items, k), which moves a list k places to the right."
CNT = "Given a string, return how many of its letters are vowels."
THREE = (ADD, ROT, CNT)


def parse(
    text: str, *, truncated: bool = False, min_words: int = 6, max_words: int = 400, known=()
) -> tuple[Piece, ...]:
    return parse_questions(text, truncated=truncated, min_words=min_words, max_words=max_words, known=known)


def kept(text: str, **options) -> list[str]:
    return [piece.text for piece in parse(text, **options) if piece.drop is None]


def reasons(text: str, **options) -> list[str]:
    return [piece.drop.reason if piece.drop else "kept" for piece in parse(text, **options)]


NUMBERINGS = {
    "dot": "{n}. {q}",
    "bracket": "{n}) {q}",
    "brackets": "({n}) {q}",
    "square brackets": "[{n}] {q}",
    "colon": "{n}: {q}",
    "dash": "{n} - {q}",
    "hash": "#{n} {q}",
    "hash and dot": "#{n}. {q}",
    "Q": "Q{n}: {q}",
    "Q with a dot": "Q{n}. {q}",
    "Q with a space": "Q. {n}: {q}",
    "Question": "Question {n}: {q}",
    "Question on its own line": "Question {n}\n{q}",
    "Problem": "Problem {n}. {q}",
    "bold number": "**{n}.** {q}",
    "bold number, dot outside": "**{n}**. {q}",
    "bold label": "**Question {n}:** {q}",
    "bold label, colon outside": "**Question {n}**: {q}",
    "bold label on its own line": "**Question {n}**\n\n{q}",
    "all bold": "**{n}. {q}**",
    "bold question": "{n}. **{q}**",
    "heading": "### {n}. {q}",
    "heading with a label": "## Question {n}\n{q}",
    "heading with a level": "### Question {n} (Easy)\n\n{q}",
    "label after the number": "{n}. Question {n}: {q}",
    "number in a bullet": "- {n}. {q}",
    "no space": "{n}.{q}",
    "escaped dot": "{n}\\. {q}",
    "indented": "  {n}. {q}",
    "hyphen": "- {q}",
    "asterisk": "* {q}",
    "bullet": "• {q}",
}
PREAMBLES = (
    "",
    "Sure! Here are 50 questions:\n\n",
    "Here are the next interview questions, numbered from 11:\n",
    "**Easy Questions**\n\n",
    "Of course.\nI will write questions about strings.\n\n---\n",
    "[/INST] ",
)
CLOSINGS = (
    "",
    "\n\nLet me know if you need more questions!",
    "\n\n---\n\nI hope these help. Good luck!",
    "</s>",
    "\n\n\n",
)


@pytest.mark.parametrize("style", NUMBERINGS)
@pytest.mark.parametrize("gap", ["\n", "\n\n", "\n\n---\n\n"])
def test_numbering_style_is_read(style: str, gap: str):
    """Whatever style numbers the list, each question comes out without its number, whole and in order."""
    text = gap.join(NUMBERINGS[style].format(n=n, q=q) for n, q in enumerate(THREE, 11))
    assert kept(text) == list(THREE)


CORPUS = {
    "a preamble and a closing": (
        f"Certainly! Below are the questions.\n\n11. {ADD}\n12. {ROT}\n\nThese questions cover lists and numbers.",
        [ADD, ROT],
    ),
    "steps at the margin": (
        f"11. Write a function that does this to a list:\n1. sorts it\n2. drops the ends\n3. returns it\n12. {ROT}",
        ["Write a function that does this to a list:\n1. sorts it\n2. drops the ends\n3. returns it", ROT],
    ),
    "steps that read like questions": (
        "1. Write a function for a till that must do these things:\n1. Create a list of all the coins\n"
        f"2. Given the list, return its sum total\n2. {ROT}\n3. {CNT}",
        [
            "Write a function for a till that must do these things:\n1. Create a list of all the coins\n"
            "2. Given the list, return its sum total",
            ROT,
            CNT,
        ],
    ),
    "steps in another style": (
        f"1. Write a function that does two things to a text:\n1) trims it\n2) counts words\n2. {ROT}",
        ["Write a function that does two things to a text:\n1) trims it\n2) counts words", ROT],
    ),
    "indented steps, letters and roman numbers": (
        f"5. Write a function with these rules:\n   1. no loops\n   2. no sets\n   (a) ever\n   i. really\n6. {ROT}",
        ["Write a function with these rules:\n1. no loops\n2. no sets\n(a) ever\ni. really", ROT],
    ),
    "bullets below a number": (
        f"1. {ADD}\n   - Input: two integers\n   - Output: an integer\n\n2. {ROT}\n* k may be 0\n* k may be large",
        [f"{ADD}\n- Input: two integers\n- Output: an integer", f"{ROT}\n* k may be 0\n* k may be large"],
    ),
    "bullets below a bullet": (
        f"- {ADD}\n  - Input: two integers\n- Output: an integer\n- {ROT}",
        [f"{ADD}\n  - Input: two integers\n- Output: an integer", ROT],
    ),
    "numbers below a bullet": (
        f"- Write a function for this recipe:\n  1. sort the words\n  2. join them\n- {ROT}",
        ["Write a function for this recipe:\n1. sort the words\n2. join them", ROT],
    ),
    "bullets that name levels": (f"- Easy:\n  1. {ADD}\n  2. {ROT}\n- Medium:\n  3. {CNT}", [ADD, ROT, CNT]),
    "a numbered list in a fence": (
        f"1. Write a function that prints this menu:\n```\n2. Eggs\n3. Tea\n```\nand returns None.\n2. {ROT}",
        ["Write a function that prints this menu:\n```\n2. Eggs\n3. Tea\n```\nand returns None.", ROT],
    ),
    "a fence that is never closed": (
        f"1. Write a function such as:\n```python\nadd(1, 2)\n\n2. {ROT}\n\n3. {CNT}",
        ["Write a function such as:\n```python\nadd(1, 2)", ROT, CNT],
    ),
    "the whole list in a fence": (f"Here you go:\n```\n1. {ADD}\n2. {ROT}\n```", [ADD, ROT]),
    "several paragraphs and an example": (
        f"1. {CNT}\n\nThe string may be empty.\n\nExample:\nInput: 'banana'\nOutput: 3\n\n2. {ROT}",
        [f"{CNT}\n\nThe string may be empty.\n\nExample:\nInput: 'banana'\nOutput: 3", ROT],
    ),
    "titles in bold": (
        f"**1. Sum**\n{ADD}\n\n**2. Rotation**: {ROT}\n\n3. **Vowels**: {CNT}",
        [f"Sum\n{ADD}", f"Rotation: {ROT}", f"**Vowels**: {CNT}"],
    ),
    "headings between questions": (
        f"### Easy\n\n1. {ADD}\n\n### Medium Questions\n\n2. {ROT}\n\n**Lists and Text**\n\n3. {CNT}",
        [ADD, ROT, CNT],
    ),
    "sections that count anew": (
        f"Easy:\n1. {ADD}\n2. {ROT}\n\nMedium:\n"
        f"1. {CNT}\n2. Write f(x) that returns x plus one.\n3. Write g(x), the negative of x.",
        [ADD, ROT, CNT, "Write f(x) that returns x plus one.", "Write g(x), the negative of x."],
    ),
    "numbers that are left out": (f"11. {ADD}\n12. {ROT}\n14. {CNT}", list(THREE)),
    "every number is 1": (f"1. {ADD}\n1. {ROT}\n1. {CNT}", list(THREE)),
    "styles that change": (f"9. {ADD}\n10) {ROT}\n**11.** {CNT}", list(THREE)),
    "right-aligned numbers": (f" 9. {ADD}\n10. {ROT}", [ADD, ROT]),
    "a year at the start of a line": (
        f"1. Given a date, return whether it lies after\n2019. The date is a string.\n2. {ROT}",
        ["Given a date, return whether it lies after\n2019. The date is a string.", ROT],
    ),
    "a decimal at the start of a line": (
        f"1. Write area(r) where pi is taken to be\n3.14 exactly.\n2. {ROT}",
        ["Write area(r) where pi is taken to be\n3.14 exactly.", ROT],
    ),
    "going on in the middle of number 11": (f"{ADD}\n12. {ROT}\n13. {CNT}", list(THREE)),
    "an answer after each": (
        f"1. {ADD}\n\nAnswer: a + b\n\n2. {ROT}\n**Solution:**\n```python\ndef r(x, k):\n    return x\n```\n3. {CNT}",
        list(THREE),
    ),
    "answers as code alone": (
        f"1. {ADD}\n```python\ndef add(a, b):\n    return a + b\n```\n2. {ROT}\nHere is a possible solution:\n...",
        [ADD, ROT],
    ),
    "questions and answers by letter": (f"Q1: {ADD}\nA1: a + b\nQ2: {ROT}\nA: items[-k:]", [ADD, ROT]),
    "code that belongs to the question": (
        f"1. Complete this function so that it works:\n```python\ndef f(x):\n    return x\n```\n2. {ROT}",
        ["Complete this function so that it works:\n```python\ndef f(x):\n    return x\n```", ROT],
    ),
    "unnumbered lines": (f"Sure, here are some questions:\n{ADD}\n{ROT}\n{CNT}", list(THREE)),
    "unnumbered paragraphs": (f"{ADD}\nThe numbers are integers.\n\n{ROT}", [f"{ADD}\nThe numbers are integers.", ROT]),
    "one paragraph": (
        "Reverse each word of a sentence\nand return the new sentence.",
        ["Reverse each word of a sentence\nand return the new sentence."],
    ),
    "labels without numbers": (f"Question: {ADD}\n\nQuestion: {ROT}", [ADD, ROT]),
    "windows line ends": (f"1. {ADD}\r\n2. {ROT}\r\n", [ADD, ROT]),
    "Greek letters and foreign strings": (
        "1. Given α and β, return α·β rounded to 2 digits.\n2. Write a function that counts 'é' and \"你好\" in it.",
        ["Given α and β, return α·β rounded to 2 digits.", "Write a function that counts 'é' and \"你好\" in it."],
    ),
    "identifiers": (
        "1. Implement `parse_los_datos(el_csv)` as a dictOfLists now.\n2. Write que_de_la(para_una) for all of these.",
        [
            "Implement `parse_los_datos(el_csv)` as a dictOfLists now.",
            "Write que_de_la(para_una) for all of these.",
        ],
    ),
    "a matrix of zeros": (
        f"1. Write f(m) that counts islands, e.g. in [[{', '.join('0' * 40)}]] there are 0.\n2. {ROT}",
        [f"Write f(m) that counts islands, e.g. in [[{', '.join('0' * 40)}]] there are 0.", ROT],
    ),
}


@pytest.mark.parametrize("name", CORPUS)
def test_realistic_completion(name: str):
    """Completions of the kinds that a 7B model writes give exactly the questions they hold."""
    text, expected = CORPUS[name]
    assert kept(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "empty"),
        (" \n\n\t", "empty"),
        ("I'm sorry, but as an AI language model I cannot write questions.", "unparsable"),
        ("Sure! What would you like me to ask about?", "unparsable"),
        ("def add(a, b):\n    return a + b", "unparsable"),
        ("下面是一些编程面试问题。请编写一个函数来计算列表中所有数字的总和。", "not-english"),
        ("the list of the " * 200, "repetition"),
    ],
)
def test_completion_without_a_list(text: str, expected: str):
    """A completion that holds no question is one dropped piece that says why."""
    assert reasons(text) == [expected]


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("Two Sum", "too-short"),
        ("", "too-short"),
        ("Conclusion", "not-a-question"),
        ("Thank you for reading", "not-a-question"),
        ("Pythons live in warm and wet places all over Asia.", "not-a-question"),
        ("What is the difference between a list and a tuple in Python?", "not-a-question"),
        ("Explain what the global interpreter lock is for.", "not-a-question"),
        ("Write a function. " + "It must be fast and small. " * 30, "repetition"),
        ("Write a function that returns " + " ".join(f"w{n}" for n in range(500)), "too-long"),
        ("Écris une fonction qui prend une liste et renvoie la somme des nombres.", "not-english"),
        ("Schreibe eine Funktion, die eine Liste nimmt und die Summe der Zahlen gibt.", "not-english"),
        ("Escribe una función que reciba una lista y devuelva la suma de los números.", "not-english"),
        ("Напишите функцию, которая возвращает сумму чисел в списке.", "not-english"),
        ("编写一个 Python 函数 sum_list 返回列表中所有数字的总和并且忽略负数", "not-english"),
        ("Write a list of the list of the list of the list of the list of the list.", "repetition"),
    ],
)
def test_entry_that_is_no_question(entry: str, expected: str):
    """An entry that cannot be used is dropped with the reason that fits; its neighbours stay."""
    assert reasons(f"1. {ADD}\n2. {entry}\n3. {ROT}") == ["kept", expected, "kept"]


@pytest.mark.parametrize(
    "entry",
    [
        "What is the sum of all even numbers in a given list?",
        "How would you reverse a linked list held in tuples?",
        "Explain, by writing a function, how to merge two lists.",
        "Find the longest word of a sentence, ignoring case.",
        "Sort a la carte menus by price, cheapest first, please.",
    ],
)
def test_doubtful_entry_stays(entry: str):
    """Where it is not clear that nothing is to be programmed, or that it is not English, the entry is kept."""
    assert kept(f"1. {entry}\n2. {ROT}") == [entry, ROT]


@pytest.mark.parametrize("ending", ["", " The function must", " It returns None.", "\n```python\nrotate([1"])
def test_last_question_of_a_cut_completion_is_truncated(ending: str):
    """When max_tokens ended the completion, the last question is dropped, even if it seems to end well."""
    assert reasons(f"1. {ADD}\n2. {ROT}{ending}", truncated=True) == ["kept", "truncated"]


def test_cut_after_a_number():
    """A completion cut right after a number lists an empty, truncated entry there."""
    assert reasons(f"1. {ADD}\n2.", truncated=True) == ["kept", "truncated"]


def test_cut_inside_an_answer():
    """A question whose answer was cut by max_tokens is whole, and kept."""
    assert kept(f"1. {ADD}\n2. {ROT}\nAnswer:\n```python\ndef rot", truncated=True) == [ADD, ROT]


def test_a_single_cut_paragraph_is_truncated():
    """A question without a list that max_tokens cut is truncated, not kept."""
    assert reasons(ADD, truncated=True) == ["truncated"]


def test_the_same_question_again_is_repetition():
    """A model that writes one question again and again gets it kept once; each other entry names the first."""
    pieces = parse("\n".join(f"{n}. {ADD}" for n in range(11, 40)))
    assert [piece.drop.reason if piece.drop else "kept" for piece in pieces] == ["kept"] + ["repetition"] * 28
    assert pieces[5].drop is not None
    assert pieces[5].drop.detail == "same as entry 1 of the list"


def test_a_stuck_number_is_repetition():
    """A loop in which even the number stands still is one question, not one long text."""
    assert reasons(f"11. {ADD}\n" * 20) == ["kept"] + ["repetition"] * 19


def test_a_list_that_starts_over_is_repetition():
    """A model that writes its whole list again gets each question kept once, whatever its words are."""
    once = [f"{n}. Find the sum of the numbers in list {n}." for n in range(11, 21)]
    assert reasons("\n".join(once * 3)) == ["kept"] * 10 + ["repetition"] * 20
    once = [f"{n}. Find the sum of the numbers in list {n}." for n in range(1, 5)]
    assert reasons("\n".join(once * 2)) == ["kept"] * 4 + ["repetition"] * 4


def test_an_echoed_example_is_repetition():
    """An example of the prompt that the model repeats is not a new question."""
    assert reasons(f"1. {ADD.upper()}\n2. {ROT}", known=[ADD]) == ["repetition", "kept"]


def test_a_loop_to_the_end_is_repetition_not_truncation():
    """A phrase that loops until max_tokens says so: more tokens would not have helped."""
    text = f"1. {ADD}\n2. Write a function that takes a string and" + " returns the string and" * 50
    assert reasons(text, truncated=True) == ["kept", "repetition"]


def test_positions_count_all_entries():
    """Positions are the places in the list, dropped entries included."""
    assert [piece.position for piece in parse(f"7. {ADD}\n8. Two Sum\n9. {ROT}")] == [0, 1, 2]


def test_a_dropped_entry_keeps_its_text():
    """What is dropped is stored with it, and says when an answer was cut off."""
    drop = parse("1. Two Sum\nAnswer: yes")[0].drop
    assert drop is not None
    assert (drop.reason, drop.text) == ("too-short", "Two Sum")
    assert "an answer after it was cut off" in drop.detail


def _real_questions(folder: Path) -> list[str]:
    """The questions of MBPP, GSM8K and HumanEvalPack (Python), stripped."""
    columns = {
        "mbpp_original/mbpp.jsonl": "text",
        "gsm8k/test.jsonl": "question",
        "humanevalpack/humanevalpack-python.jsonl": "instruction",
    }
    rows = [
        json.loads(line)[column].strip()
        for name, column in columns.items()
        for line in (folder / name).read_text(encoding="utf-8").splitlines()
    ]
    return list(dict.fromkeys(rows))


@pytest.mark.parametrize("style", ["{n}. {q}", "({n}) {q}", "**Question {n}:** {q}"])
def test_real_questions_parse_back(benchmarks_dir: Path, style: str):
    """2,400 questions that people wrote, 50 to a list, come out exactly; at most one in 500 is dropped."""
    real = _real_questions(benchmarks_dir)
    chunks = [real[at : at + 50] for at in range(0, len(real), 50)]
    pieces = [
        piece for chunk in chunks for piece in parse("\n".join(style.format(n=n, q=q) for n, q in enumerate(chunk, 11)))
    ]
    assert [piece.text for piece in pieces] == real
    assert sum(piece.drop is not None for piece in pieces) <= len(real) / 500


@pytest.mark.parametrize(
    "ending",
    [
        "The list is always sorted.\nThe list may be empty.",
        "That is the whole rule.",
        "Would you like a hint?" + " Then return it.",
        "These are the names: a, b.",
    ],
)
def test_a_last_line_is_no_farewell(ending: str):
    """Only a paragraph of its own that says goodbye is cut off; the last lines of a question stay."""
    assert kept(f"1. {ADD}\n2. {ROT}\n{ending}") == [ADD, f"{ROT}\n{ending}"]


def test_examples_of_calls_are_no_loop():
    """Doctests call one function with different arguments; that is no loop."""
    question = "Write is_prime(n), which tells primes.\n" + "\n".join(f">>> is_prime({n})\nFalse" for n in range(4, 16))
    assert kept(f"1. {question}\n2. {ROT}") == [question, ROT]


def test_only_equal_texts_repeat():
    """Two questions that differ in a character, if only a sign, are two questions."""
    texts = [
        f"Write a function that checks a text of {pair} for balance." for pair in ("( and )", "< and >", "[ and ]")
    ]
    assert kept("\n".join(f"{n}. {text}" for n, text in enumerate(texts, 1))) == texts


words = st.sampled_from(
    [
        "the",
        "list",
        "of",
        "numbers",
        "returns",
        "a",
        "string",
        "when",
        "no",
        "item",
        "is",
        "left",
        "over",
        "and",
        "in",
        "x",
    ]
)
openers = st.sampled_from(
    ["Write a function that", "Given a list,", "Implement a method which", "Return the", "How can you find", "Count"]
)


@st.composite
def clean_questions(draw) -> list[str]:
    """Distinct questions of one to three paragraphs, some with bullets or an example block."""
    count = draw(st.integers(1, 12))
    return [_question(draw, index) for index in range(count)]


def _question(draw, index: int) -> str:
    body = " ".join(draw(st.lists(words, min_size=5, max_size=12, unique=True)))
    extra = draw(
        st.sampled_from(["", "\n\nThe input may be empty.", "\nExample:\nInput: [3, 4]\nOutput: 7", "\n```\n1. x\n```"])
    )
    return f"{draw(openers)} {body} item{index}.{extra}"


@settings(max_examples=150, deadline=None)
@given(
    questions=clean_questions(),
    style=st.sampled_from([name for name in NUMBERINGS if name not in ("all bold", "bold question")]),
    start=st.integers(1, 60),
    preamble=st.sampled_from(PREAMBLES),
    closing=st.sampled_from(CLOSINGS),
    gap=st.sampled_from(["\n", "\n\n"]),
)
def test_rendered_questions_parse_back(questions, style, start, preamble, closing, gap):
    """Questions rendered in any style, between any greeting and farewell, parse back to exactly these questions."""
    text = gap.join(NUMBERINGS[style].format(n=n, q=q) for n, q in enumerate(questions, start))
    assert kept(preamble + text + closing) == questions


fragments = st.lists(
    st.one_of(
        st.text(max_size=20),
        st.sampled_from(
            [
                "\n",
                "\n\n",
                "1. ",
                "2. ",
                "11) ",
                "- ",
                "**",
                "```",
                "```python\n",
                "Q1: ",
                "### ",
                "Answer:",
                ADD,
                "\n   3. ",
                "#",
                "Sure:",
                "</s>",
            ]
        ),
    ),
    max_size=40,
).map("".join)


@settings(max_examples=300, deadline=None)
@given(text=fragments, truncated=st.booleans())
def test_any_text_is_accounted_for(text: str, truncated: bool):
    """No text raises; there is always an entry; each is kept with enough words or dropped with a known reason."""
    pieces = parse(text, truncated=truncated)
    assert [piece.position for piece in pieces] == list(range(len(pieces)))
    assert pieces
    assert all(piece.drop.reason in REASONS if piece.drop else len(piece.text.split()) >= 6 for piece in pieces)


@settings(max_examples=100, deadline=None)
@given(text=fragments)
def test_kept_texts_are_pairwise_different(text: str):
    """No completion gives the same question twice, so ids made of the text are unique within it."""
    texts = kept(text * 2)
    assert len(set(texts)) == len(texts)


HOSTILE = {
    "*": 20_000, " ": 20_000, "_": 20_000, "\n": 20_000, "1. ": 7_000, "1. a\n": 4_000, "- \n": 7_000, "```\n": 5_000,
    "**a": 7_000, "# ": 10_000, "'a": 10_000, "<|a": 7_000, "Answer ": 3_000, "here is a ": 2_000, "Question ": 2_000,
}  # fmt: skip


@pytest.mark.parametrize("unit", HOSTILE)
def test_hostile_text_takes_no_time(unit: str):
    """No pattern blows up: 20,000 characters of any one thing are read in a few seconds at most."""
    started = time.process_time()
    parse(unit * HOSTILE[unit] + "x")
    assert time.process_time() - started < 5
