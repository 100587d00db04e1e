"""The steps of dedup one by one: each equals its definition, with both backends."""

from __future__ import annotations

import resource
from fractions import Fraction
from math import comb
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from datasketch import MinHash
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.errors import MissingDependency, StorageError
from datagen.similarity import hashing
from datagen.similarity.backend import COMPILED_FROM, choose
from datagen.similarity.bands import CAP, MISSED, Counts, Seen, band_keys, buckets, floor_of, pairs_of, split
from datagen.similarity.matching import Plan, State, empty_state, exact, find
from datagen.similarity.normalise import normalise, tokens
from datagen.similarity.select import Edges, joined, keep_first
from datagen.similarity.texts import Texts, in_batches
from datagen.similarity.verify import shingles
from datagen.similarity.workspace import Workspace

BACKENDS = {name: choose(name, 0) for name in ("numpy", "numba")}
both = pytest.mark.parametrize("backend", BACKENDS.values(), ids=BACKENDS)
AWKWARD = st.sampled_from(list("aAbZ09 _-+*#.<>=/%&|^~!:`[](){}\n\r\t,;\"'éßİ中ア≤×−\u200b①"))
RAW = st.lists(st.one_of(st.none(), st.text(AWKWARD, max_size=40), st.text(max_size=20)), max_size=8)
WORD = st.sampled_from(["a", "b", "c", "dd", "ee", "f12", "x_y", "<", "é"])
NORMALISED = st.lists(st.lists(WORD, min_size=1, max_size=30).map(" ".join), min_size=1, max_size=8)


def column(values) -> pl.Series:
    return pl.Series("text", values, pl.String)


def texts(values) -> Texts:
    return Texts.of(column(values))


@both
@given(values=RAW)
@settings(deadline=None, max_examples=300)
def test_normalising_a_column_gives_each_texts_tokens(backend, values):
    """The fast scan of a whole column reads every text as `tokens` does, markup, Unicode and nulls included."""
    assert normalise(column(values), backend).series().to_list() == [" ".join(tokens(value or "")) for value in values]


@both
def test_sliced_and_chunked_columns_are_read_right(backend):
    """A slice and a column of several chunks are as good as a column made at once."""
    whole = column(["One <= two", None, "c++ and C#", "", "x-y -1", "中文"])
    chunked = pl.concat([whole[:2], whole[2:5], whole[5:]], rechunk=False)
    expected = normalise(whole, backend).series().to_list()
    assert normalise(chunked, backend).series().to_list() == expected
    assert normalise(whole[1:4], backend).series().to_list() == expected[1:4]


@both
@given(values=NORMALISED, size=st.integers(1, 5), num_perm=st.sampled_from([16, 130]), seed=st.integers(1, 4))
@settings(deadline=None, max_examples=100)
def test_signatures_are_datasketchs(backend, values, size, num_perm, seed):
    """Bit for bit MinHash(num_perm, seed, scheme="affine32") over the shingles, with the documented hash function."""
    a, b = hashing.permutations(num_perm, seed)
    found = backend.signatures(texts(values), size, a, b)
    for value, signature in zip(values, found, strict=True):
        oracle = MinHash(num_perm=num_perm, seed=seed, scheme="affine32", hashfunc=hashing.shingle_hash)
        oracle.update_batch([shingle.encode() for shingle in shingles(value, size)])
        assert signature.tolist() == oracle.hashvalues.tolist()


@both
@given(values=NORMALISED)
@settings(deadline=None, max_examples=100)
def test_hashes_are_the_definition(backend, values):
    """The hash of a whole text is `hashing.value` of its bytes."""
    assert backend.values(texts(values)).tolist() == [hashing.value(value.encode()) for value in values]


@both
def test_a_long_column_is_read_text_by_text(backend):
    """Over many batches of bytes, with empty and very long texts among them, each text gives what it gives alone."""
    rows = [f"({row}) Is x_{row} <= -{row}, or not? " * (row % 40) for row in range(1600)]
    rows[800] = "One very long text, " * 40_000
    content = normalise(column(rows), backend)
    words = content.series().to_list()
    assert words == [" ".join(tokens(row)) for row in rows]
    assert backend.values(content).tolist() == [hashing.value(text.encode()) for text in words]
    filled, (a, b) = [text for text in words if text], hashing.permutations(16)
    alone = np.concatenate([backend.signatures(texts([text]), 3, a, b) for text in filled])
    assert (backend.signatures(texts(filled), 3, a, b) == alone).all()


@both
@given(values=NORMALISED, size=st.sampled_from([1, 2, 3, 4, 25]))
@settings(deadline=None, max_examples=100)
def test_overlaps_are_those_of_the_sets(backend, values, size):
    """Common and united shingles of every pair are counted as Python's sets count them."""
    left, right = np.triu_indices(len(values), 0)
    common, union = backend.overlaps(texts(values), size, left, right)
    sets = [shingles(value, size) for value in values]
    expected = [(len(sets[a] & sets[b]), len(sets[a] | sets[b])) for a, b in zip(left, right, strict=True)]
    assert list(zip(common.tolist(), union.tolist(), strict=True)) == expected


@both
def test_shingles_of_one_hash_are_told_apart(backend):
    """Words whose 64-bit hashes are equal (Thue and Morse's sequence and its complement) are different shingles."""
    one, other = "a", "b"
    for _ in range(10):
        one, other = one + other, other + one
    assert hashing.value(one.encode()) == hashing.value(other.encode())
    rows = texts([f"{one} x {one}", f"{other} x {other}", f"{one} x y", f"{one} {other}"])
    common, union = backend.overlaps(rows, 1, np.array([0, 0, 3, 3]), np.array([1, 2, 0, 1]))
    assert (common.tolist(), union.tolist()) == ([1, 2, 1, 1], [3, 3, 3, 3])


def test_the_hash_function_is_named_and_fixed():
    """A signature can be made again by any tool: these values are part of the format."""
    assert [hashing.shingle_hash(text) for text in (b"", b"a", b"write a function")] == [0, 3653281847, 764432422]


def test_batches_cover_every_text_once():
    """Runs of about so many bytes hold all texts in order, also those that are longer than a run."""
    values = ["a" * length for length in (0, 5, 100, 1, 0, 7)]
    pieces = list(in_batches(texts(values), 8))
    assert [start for start, _ in pieces] == np.cumsum([0, *(len(piece) for _, piece in pieces)])[:-1].tolist()
    assert [piece[row].decode() for _, piece in pieces for row in range(len(piece))] == values


# Exact pass


@given(st.lists(st.integers(0, 9), max_size=12))
def test_the_state_of_some_rows_is_theirs_in_their_order(rows):
    """Ascending or not, each row brings its own text, hash, keys and sketch."""
    number = np.arange(10)
    state = State(column([f"t{row}" for row in number]), number.astype(np.uint64),
                  number.astype(np.uint32)[None], number.astype(np.uint8)[:, None])  # fmt: skip
    taken = state.rows(np.array(rows, np.int64))
    assert taken.text.to_list() == [f"t{row}" for row in rows]
    assert [taken.value.tolist(), taken.keys[0].tolist(), taken.sketch[:, 0].tolist()] == [rows] * 3


@given(st.lists(st.sampled_from(["", "a", "b", "a b"]), max_size=12), st.booleans())
def test_equal_texts_find_the_first(values, collide):
    """Each text finds the first that equals it, an empty one none, even if all hashes collide."""
    hashes = np.zeros(len(values), np.uint64) if collide else BACKENDS["numpy"].values(texts(values))
    expected = [values.index(value) if value else -1 for value in values]
    assert exact(column(values), hashes).tolist() == expected


# Bands


def test_rows_of_one_bucket_are_all_paired_once():
    """Within the buckets each pair comes once, the earlier row first."""
    band = buckets(np.array([7, 3, 7, 7, 3, 9], np.uint32))
    pairs = [pair for left, right in pairs_of(band, 2) for pair in zip(left.tolist(), right.tolist(), strict=True)]
    assert sorted(pairs) == [(0, 2), (0, 3), (1, 4), (2, 3)]


def test_pairs_of_an_earlier_band_are_not_fresh():
    """A pair that agreed in a band before is not compared again, unless that bucket was too large to be paired."""
    keys = np.array([[1, 1, 2], [5, 5, 5]], np.uint32)
    pairs = np.array([0, 0, 1]), np.array([1, 2, 2])
    assert [side.tolist() for side in Seen(keys, {}).fresh(1, pairs)] == [[0, 1], [2, 2]]
    capped = Seen(keys, {0: np.array([True, True, False])})
    assert [side.tolist() for side in capped.fresh(1, pairs)] == [[0, 0, 1], [1, 2, 2]]


def test_large_buckets_are_set_apart():
    """A bucket over CAP is not paired but handed out whole."""
    keys = np.array([1] * (CAP + 1) + [2, 2], np.uint32)
    small, large = split(buckets(keys))
    assert small.rows.tolist() == [CAP + 1, CAP + 2]
    assert [rows.tolist() for rows in large] == [list(range(CAP + 1))]


@pytest.mark.parametrize("num_perm", [16, 130, 252])
@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.9, 1.0])
def test_sketches_lose_almost_no_true_pair(threshold, num_perm):
    """A pair at the threshold has fewer equal bytes than the floor in at most MISSED of all cases, counted exactly."""
    floor, t = floor_of(threshold, num_perm), Fraction(threshold)

    def fewer_than(bound: int) -> Fraction:
        return sum((comb(num_perm, k) * t**k * (1 - t) ** (num_perm - k) for k in range(bound)), Fraction(0))

    assert fewer_than(floor) <= MISSED
    assert floor == num_perm or fewer_than(floor + 1) > MISSED


@given(st.integers(1, 6), st.integers(1, 4))
def test_band_keys_agree_where_signatures_do(bands, rows):
    """Two texts have one key in a band exactly if their signatures agree in all rows of it (but for chance)."""
    signatures = np.arange(bands * rows * 2, dtype=np.uint32).reshape(2, bands * rows)
    signatures[1, :rows] = signatures[0, :rows]
    keys = band_keys(signatures, bands, rows)
    assert keys.shape == (bands, 2)
    assert (keys[:, 0] == keys[:, 1]).tolist() == [True] + [False] * (bands - 1)


# Selection


def edges(*pairs, flips=()) -> Edges:
    left, right = (np.array(side, np.int64) for side in zip(*pairs, strict=True))
    return joined([Edges(left, right, np.full(len(pairs), 0.9), np.array([pair in flips for pair in pairs]))])


def test_a_chain_keeps_both_ends():
    """A~B~C with A and C unlike: B goes, A and C stay."""
    assert keep_first(3, edges((0, 1), (1, 2))).tolist() == [True, False, True]


def test_a_cap_bounds_the_flips_of_a_kept_row():
    """Of three flips of one row the first stays under a cap of 1, two under 2; a duplicate goes all the same."""
    pairs = ((0, 1), (0, 2), (0, 3), (0, 4))
    found = edges(*pairs, flips=pairs[:3])
    assert keep_first(5, found, 1).tolist() == [True, True, False, False, False]
    assert keep_first(5, found, 2).tolist() == [True, True, True, False, False]


# Backends and room


def test_small_sets_need_no_compiled_code():
    """Under COMPILED_FROM rows auto is NumPy: loading compiled code would cost more than it saves."""
    assert choose("auto", COMPILED_FROM - 1) is BACKENDS["numpy"]
    assert choose("auto", COMPILED_FROM) is BACKENDS["numba"]


def test_a_missing_numba_is_said(monkeypatch):
    """Asked for by name where it is not installed, the answer is what to type."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert choose("auto", 10**9) is BACKENDS["numpy"]
    with pytest.raises(MissingDependency, match="pip install"):
        choose("numba", 1)


def test_what_does_not_fit_lies_in_files_that_go(tmp_path):
    """Over its budget a workspace maps files; they are gone at the end."""
    with Workspace(100, tmp_path) as room:
        room.array((10,), np.uint8)
        assert room.spilled == 0
        spilled = room.array((1000,), np.uint32)
        spilled[:] = 7
        assert room.texts(column(["a" * 50, "", "é" * 50])).to_list() == ["a" * 50, "", "é" * 50]
        assert room.spilled >= 4000
        assert len(list(tmp_path.glob("datagen-dedup-*/*"))) == 2
    assert not list(tmp_path.iterdir())


def mapped() -> int:
    """Bytes of mapped files that this process holds in memory."""
    return int(Path("/proc/self/statm").read_text().split()[2]) * resource.getpagesize()


def test_pages_go_back_to_their_files_between_steps(tmp_path):
    """Beyond the budget what is mapped leaves memory, and what was written there is read again where it is used."""
    with Workspace(0, tmp_path) as room:
        numbers = room.array((1 << 22,), np.uint32)
        texts = room.texts(column([f"text {row}" for row in range(1000)]))
        numbers[:] = np.arange(1 << 22)
        before = mapped()
        assert list(room.relieving(range(2))) == [0, 1]
        assert mapped() <= before - numbers.nbytes
        assert (numbers == np.arange(1 << 22)).all() and texts[-1] == "text 999"


def test_a_full_disk_is_said_before_anything_is_lost(tmp_path):
    """A disk without room is a StorageError when space is reserved, not a crash later."""
    with Workspace(0, tmp_path) as room, pytest.raises(StorageError):
        room.array((1 << 50,), np.uint8)


def test_state_is_at_most_250_bytes_a_row():
    """Hash, band keys and sketch of a row at 26 bands of 5, beside its text."""
    plan = Plan(0.7, 3, 130, 26, 5)
    with Workspace(1 << 30) as room:
        found = find([column([f"w{row} x y" for row in range(100)])], plan, BACKENDS["numpy"], room)
    state = found.state
    assert (state.value.nbytes + state.keys.nbytes + state.sketch.nbytes) / len(state) <= 250
    assert len(empty_state(plan)) == 0
    assert found.counts == Counts(found.counts.proposed, found.counts.compared, found.counts.verified)
