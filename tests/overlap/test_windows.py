"""What is common in characters: nothing of the asked length is missed, and every stretch is really there."""

from __future__ import annotations

import unicodedata

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.config import DecontaminateConfig
from datagen.overlap import COMMON, texts, windows
from datagen.sets import BenchmarkItem
from datagen.stages.decontaminate import processed, scan, substrings

CONFIG = DecontaminateConfig()
SCHEMA = {"id": pl.String, "question": pl.String}
TEXTS = st.text(alphabet="ab B.é中\n", max_size=120)


def folded(strings: list[str], end: int, *, lower: bool = True) -> texts.Folded:
    return texts.fold(texts.raw(pl.Series(strings, dtype=pl.String)), end=end, lower=lower)


def kept(text: str) -> str:
    """The reference for `fold`."""
    letters = "".join(one for one in text if unicodedata.category(one)[0] in "LN")
    return "".join(one.lower() if one.isascii() else one for one in letters)


@st.composite
def copied(draw: st.DrawFn) -> tuple[list[str], list[str]]:
    """Some texts, and others that are glued together from pieces of them."""
    sources = draw(st.lists(TEXTS, min_size=1, max_size=4))
    loop = st.builds(
        lambda part, count: part * count, st.text(alphabet="ab", min_size=1, max_size=3), st.integers(1, 90)
    )
    sources = [*sources, draw(st.lists(loop, min_size=1, max_size=3).map("".join))]
    piece = st.builds(
        lambda source, start, size: source[start : start + size],
        st.sampled_from(sources), st.integers(0, 60), st.integers(0, 120),
    )  # fmt: skip
    return sources, draw(st.lists(st.lists(piece, max_size=3).map(" ".join), max_size=5))


@given(st.lists(st.text(alphabet=st.characters(max_codepoint=0x1FFFF, exclude_categories=("Cs", "Cn"))), max_size=5))
def test_folding_keeps_letters_and_digits(strings: list[str]) -> None:
    """All but letters and digits goes, ASCII is lowered, each text ends where it says."""
    found = folded(strings, 1)
    assert [found.data[found.bounds[i] : found.bounds[i + 1] - 1].tobytes().decode() for i in range(len(strings))] == [
        kept(text) for text in strings
    ]


@given(copied(), st.integers(8, 60))
def test_no_common_stretch_is_missed(pair: tuple[list[str], list[str]], length: int) -> None:
    """Two texts share a stretch of so many bytes if and only if some match of theirs is that long; it is maximal."""
    ours, theirs = pair
    one, two = folded(theirs, 1), folded(ours, 2)
    found = {}
    for part in windows.matches(one, windows.anchors(two, length)):
        for start, other, size in zip(part.start, part.other, part.length, strict=True):
            assert one.data[start : start + size].tobytes() == two.data[other : other + size].tobytes()
            assert one.data[start - 1] != two.data[other - 1] or start == 0 or other == 0
            assert one.data[start + size] != two.data[other + size]
            key = (int(one.text_of(start)), int(two.text_of(other)))
            found[key] = max(found.get(key, 0), int(size))
    for row, text in enumerate(theirs):
        for item, source in enumerate(ours):
            expected = share(kept(text).encode(), kept(source).encode(), length)
            assert (found.get((row, item), 0) >= length) == expected


def share(one: bytes, two: bytes, length: int) -> bool:
    return any(two[at : at + length] in one for at in range(len(two) - length + 1))


@settings(max_examples=200)
@given(copied(), st.integers(0, 3))
def test_every_window_includes_openai(pair: tuple[list[str], list[str]], seed: int) -> None:
    """Whatever substrings are drawn: what the three of 50 characters hit, the windows hit too."""
    sources, strings = pair
    items = [BenchmarkItem("b", str(number), source * 2) for number, source in enumerate(sources)]
    frame = pl.DataFrame({"id": [str(n) for n in range(len(strings))], "question": [text * 2 for text in strings]})
    hits = scan(frame, items, CONFIG, seed=seed).hits
    pairs = hits.select("source_id", "item", "method").rows()
    long = {item.item for item, size in zip(items, lengths(items), strict=True) if size >= 50}
    drawn = {(row, item) for row, item, method in pairs if method == "openai" and item in long}
    assert drawn <= {(row, item) for row, item, method in pairs if method in ("window", COMMON)}


@settings(max_examples=200)
@given(copied(), st.integers(0, 3), st.sampled_from([50, 30, 20, 9]))
def test_openai_equals_a_naive_search(pair: tuple[list[str], list[str]], seed: int, length: int) -> None:
    """Items and hits of OpenAI's procedure are those of one `in` for every row and drawn substring, at any length."""
    sources, strings = pair
    config = DecontaminateConfig(length=length)
    items = [BenchmarkItem("b", str(number), source) for number, source in enumerate(sources)]
    frame = pl.DataFrame({"id": [str(n) for n in range(len(strings))], "question": strings}, schema=SCHEMA)
    hits = scan(frame, items, config, seed=seed).hits.filter(pl.col("method") == "openai").to_dicts()
    expected = {}
    for row, text in enumerate(processed(frame["question"])):
        for item, source in zip(items, processed(pl.Series(sources, dtype=pl.String)), strict=True):
            drawn = substrings(source, item, config, seed)
            if found := [part for part in drawn if part and part in text]:
                expected[str(row), item.item] = (found[0], len(found) / len(drawn))
    spans = processed(pl.Series([hit["span"] for hit in hits], dtype=pl.String))
    assert {
        (hit["source_id"], hit["item"]): (span, hit["score"]) for hit, span in zip(hits, spans, strict=True)
    } == expected


def lengths(items: list[BenchmarkItem]) -> list[int]:
    return processed(pl.Series([item.question for item in items], dtype=pl.String)).str.len_chars().to_list()


@given(copied())
def test_windows_equal_a_naive_search(pair: tuple[list[str], list[str]]) -> None:
    """A row is hit by an item exactly if they share 50 letters and digits; the longest such stretch is the span."""
    sources, strings = pair
    frame = pl.DataFrame({"id": [str(n) for n in range(len(strings))], "question": strings}, schema=SCHEMA)
    items = [BenchmarkItem("b", str(number), source) for number, source in enumerate(sources)]
    hits = scan(frame, items, CONFIG, seed=0).hits.filter(pl.col("method").is_in(["window", COMMON]))
    expected = {
        (str(row), str(item)): size
        for row, text in enumerate(strings)
        for item, source in enumerate(sources)
        if (size := longest(kept(text), kept(source))) >= 50
    }
    assert {(hit["source_id"], hit["item"]): len(kept(hit["span"])) for hit in hits.to_dicts()} == expected
    for hit in hits.to_dicts():
        assert strings[int(hit["source_id"])][hit["start"] : hit["end"]] == hit["span"]


def longest(one: str, two: str) -> int:
    """The length of the longest common substring."""
    best, row = 0, np.zeros(len(two) + 1, int)
    letters = np.array(list(two))
    for letter in one:
        row[1:] = np.where(letters == letter, row[:-1] + 1, 0) if len(two) else row[1:]
        best = max(best, int(row.max()))
    return best


@given(st.lists(st.text(max_size=9), max_size=20), st.integers(1, 30))
def test_chunks_are_the_column(strings: list[str], size: int) -> None:
    """Pieces of any size are the whole, in order, each with the number of its first row."""
    column = pl.Series(strings, dtype=pl.String)
    parts = list(texts.chunks(column, size))
    assert [text for _, part in parts for text in part] == strings
    assert [start for start, _ in parts] == list(np.cumsum([0, *(len(part) for _, part in parts)])[:-1])


def test_slices_and_chunked_columns_read_alike() -> None:
    """A column that is a slice, or made of several pieces, gives the bytes of its own texts only."""
    column = pl.concat([pl.Series(["zero", None, "two"]), pl.Series(["thrée"])])
    assert [texts.raw(column.slice(1, 3)).text(number) for number in range(3)] == ["", "two", "thrée"]
