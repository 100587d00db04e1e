"""Claims about what a run prints of itself."""

from __future__ import annotations

from dataclasses import replace

from datagen.funnel import attempts, funnel, overlaps, record
from datagen.models import Attempts, Candidate, Drop, Message, Outcome, Row
from datagen.store import Report

ROW = Row(
    messages=(Message("user", "Add one."), Message("assistant", "```python\n...\n```")),
    id="1f", question="Add one.", solution="def f(n):\n    return n + 1\n",
    tests=("assert f(1) == 2", "assert f(2) == 3"),
    shown_test="assert f(1) == 2", entry_point="f", n_candidates=10, n_tried=10, n_passed=4, pass_rate=0.4,
    chosen_index=2, difficulty="easy", topic="numbers", model="m", prompt="p", seed=7,
)  # fmt: skip


def test_funnel_shows_every_reason_with_its_count():
    """Each stage's line has what went in, what was kept, and each reason with its count, the most frequent first."""
    text = funnel([Report("2-dedup", 100, 100, 70, {"near-duplicate": 10, "exact-duplicate": 20})])
    assert text.splitlines()[1].split() == [
        "2-dedup", "100", "70", "exact-duplicate", "20", "·", "near-duplicate", "10",
    ]  # fmt: skip


def test_funnel_tells_both_yields():
    """The yields of plain and of consensus tests stand side by side, as counts and shares."""
    text = funnel([Report("3-solve", 240, 240, 141, {}, notes={"passed_plain": 39, "passed_consensus": 141})])
    assert "39 with plain tests (16%), 141 with consensus tests (59%)" in text


def test_owed_items_come_with_the_way_to_get_them():
    """Items whose engine failed are said to be owed, and how to try them again."""
    text = funnel([Report("3-solve", 5, 5, 2, {"engine-failed": 3}, owed=3)])
    assert "3 items owed (engine-failed); run the same command" in text


def test_unchecked_benchmarks_are_not_hidden():
    """A benchmark that could not be loaded is named: the set was not checked against it."""
    text = funnel([Report("4-decontaminate", 5, 5, 5, {}, notes={"not_checked": ["mbpp"]})])
    assert "not checked against mbpp" in text


def test_record_is_whole():
    """A shown row has its question, solution, every test, and which one the solver saw."""
    text = record(ROW)
    for part in (ROW.question, ROW.solution.rstrip(), *ROW.tests, "the solver saw: assert f(1) == 2", "4 of 10"):
        assert part in text


def test_attempts_show_tests_candidates_and_verdict():
    """A preview shows each test, each dropped test with its reason, each candidate's row of the matrix, and the end."""
    tried = Attempts(
        tests=("assert f(1) == 2",),
        dropped_tests=(Drop("duplicate", text="assert f(1) == 2"),),
        candidates=(Candidate(0, "def f(n): ...", "fail", ("fail",), "got None, expected 2"),),
    )
    text = attempts(
        Outcome("1f", drops=(Drop("none-passed", "the best passes 0 of 1 tests", "Add one."),), attempts=tried)
    )
    for part in ("assert f(1) == 2", "duplicate", "candidate 0: fail got None, expected 2", "none-passed"):
        assert part in text


def test_a_record_without_a_pass_rate_says_where_the_first_pass_was():
    """With early stop nothing is known of how many candidates pass, nor is the difficulty told."""
    text = record(replace(ROW, n_tried=3, n_passed=None, pass_rate=None, difficulty=None))
    assert "first pass at candidate 3 of 10" in text and "None" not in text.replace("return None", "")


def test_funnel_tells_what_early_stop_saved():
    """Candidates not drawn, as a count and a share, and the tokens that they would have had."""
    notes = {"candidates_drawn": 600, "candidates_saved": 400, "tokens_saved": 12345}
    text = funnel([Report("3-solve", 100, 100, 60, {"none-passed": 40}, notes=notes)])
    assert "early stop: 400 of 1,000 candidates not drawn (40%), about 12,345 tokens saved" in text


def test_both_reports_stand_side_by_side():
    """Rows that overlap and items that could be checked stand in tables, a column for each method in its order, with
    what was run and asked below.
    """
    counts = {"items": 10, "rows_hit": 2}
    found = {
        "methods": {name: {"bench": counts} for name in ("judge", "execution", "strong", "openai-min20", "openai")},
        "unchecked": {"bench": ["7"]},
        "execution": {"rows": 5, "pairs": 40, "unanswered": 1},
        "judge": {"asked": 6, "neighbours": "tf-idf", "yes": 1, "no": 4, "unresolved": 1},
    }
    text = overlaps(Report("4-decontaminate", 20, 20, 18, {"contaminated": 2}, 0, {"decontamination": found}))
    lines = text.splitlines()
    assert lines[0].split() == ["rows", "that", "overlap", "openai", "openai-min20", "strong", "execution", "judge"]
    assert lines[1].split() == ["bench", *["2"] * 5] and lines[4].split() == ["bench", *["10"] * 5]
    assert "1 items that no method can check" in text and "40 pairs of row and item, 1 without an answer" in text
    assert "1 yes, 4 no, 1 unresolved" in text and "neither yes nor no" not in text


def test_a_judge_that_does_not_answer_is_said():
    """Where most answers are neither yes nor no, the reader is told, and where to read them."""
    found = {
        "methods": {"judge": {"bench": {"items": 10, "rows_hit": 0}}},
        "judge": {"asked": 6, "neighbours": "tf-idf", "no": 2, "unresolved": 4},
    }
    text = overlaps(Report("4-decontaminate", 20, 20, 16, {"unresolved": 4}, 0, {"decontamination": found}))
    assert "most answers are neither yes nor no" in text and "hits.parquet" in text


def test_no_benchmark_no_table():
    """A stage that compared with no benchmark has no such tables."""
    assert overlaps(Report("2-dedup", 1, 1, 1)) == ""
