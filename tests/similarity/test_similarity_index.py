"""The index of what was kept: saved, loaded, extended, and exchanged with datasketch."""

from __future__ import annotations

import polars as pl
import pytest
from datasketch import LeanMinHash, MinHash, MinHashLSH
from planted import corpus

from datagen.config import DedupConfig
from datagen.errors import InputError
from datagen.similarity import hashing
from datagen.similarity.index import ABOUT, ROWS, from_lean, from_lsh, is_index, load, save, to_lean, to_lsh
from datagen.similarity.normalise import tokens
from datagen.similarity.verify import shingles
from datagen.stages.dedup import deduplicate

CONFIG = DedupConfig()


def frame(texts, prefix: str = "q") -> pl.DataFrame:
    return pl.DataFrame({"id": [f"{prefix}{row:04}" for row in range(len(texts))], "question": texts})


def done(texts, prefix: str = "q", config: DedupConfig = CONFIG, against=None):
    return deduplicate(frame(texts, prefix), config, priority=("id",), against=against)


def test_a_saved_index_is_the_index(tmp_path):
    """Loaded again, a later set finds the same matches in it, and its ids are those of the kept rows."""
    texts = corpus(1)
    first = done(texts[:250])
    save(first.index, tmp_path / "index")
    loaded = load(tmp_path / "index")
    assert is_index(tmp_path / "index")
    assert loaded.ids.to_list() == first.selection.kept["id"].to_list()
    again, direct = (done(texts[250:], "r", against=index) for index in (loaded, first.index))
    assert again.selection.kept.equals(direct.selection.kept)
    assert again.selection.dropped.equals(direct.selection.dropped)


def test_a_later_set_names_rows_of_the_earlier_one(tmp_path):
    """What goes for a row of an earlier set says so, exact and near."""
    first = done([" ".join(f"w{word}" for word in range(40))])
    texts = [" ".join(f"W{word}!" for word in range(40)), " ".join(f"w{word}" for word in range(1, 40)), "else"]
    later = done(texts, "r", against=first.index)
    assert later.selection.kept["id"].to_list() == ["r0002"]
    assert later.selection.dropped["kept_id"].to_list() == ["q0000", "q0000"]
    assert later.selection.dropped["reason"].to_list() == ["exact-duplicate", "near-duplicate"]
    assert later.index.ids.to_list() == ["q0000", "r0002"]


def test_an_index_of_nothing_can_be_saved(tmp_path):
    """An empty set has an index like any other."""
    save(done([""]).index, tmp_path)
    assert len(load(tmp_path)) == 0
    assert len(done(["a b c"], against=load(tmp_path)).selection.kept) == 1


def test_an_index_of_equal_texts_only_works(tmp_path):
    """Without bands, too, a saved index finds what is equal."""
    config = DedupConfig(exact=True)
    save(done(["One two", "three"], config=config).index, tmp_path)
    assert done(["one TWO", "four"], "r", config, load(tmp_path)).selection.kept["id"].to_list() == ["r0001"]


@pytest.mark.parametrize("damage", ["half", "none", "other"])
def test_a_damaged_index_is_said(tmp_path, damage):
    """A torn table, a missing one and something else in its place are an InputError that says what to do."""
    save(done(corpus(2, 50)).index, tmp_path)
    table = tmp_path / ROWS
    if damage == "half":
        table.write_bytes(table.read_bytes()[:100])
    elif damage == "none":
        table.unlink()
    else:
        pl.DataFrame({"id": ["a"]}).write_parquet(table)
    with pytest.raises(InputError, match="again"):
        load(tmp_path)


def test_an_index_without_its_last_file_is_none(tmp_path):
    """index.json is written last: without it there is no index."""
    save(done(["a b c"]).index, tmp_path)
    (tmp_path / ABOUT).unlink()
    assert not is_index(tmp_path)
    with pytest.raises(InputError):
        load(tmp_path)


def test_an_index_of_other_settings_is_refused():
    """A set under another shingle cannot be compared with it: the setting is named."""
    first = done(corpus(3, 30))
    with pytest.raises(InputError, match="shingle"):
        done(["a b c d e"], config=DedupConfig(shingle=4), against=first.index)


def signature(text: str, **options) -> MinHash:
    made = MinHash(num_perm=130, seed=1, scheme="affine32", hashfunc=options.get("hashfunc", hashing.shingle_hash))
    made.update_batch([shingle.encode() for shingle in shingles(" ".join(tokens(text)), 3)])
    return made


def test_signatures_leave_as_datasketchs():
    """Each kept row's LeanMinHash is the one that datasketch makes of its text."""
    texts = corpus(4, 40)
    found = done(texts)
    lean = to_lean(found.index)
    for id_, text in zip(found.selection.kept["id"], found.selection.kept["question"], strict=True):
        assert lean[id_] == LeanMinHash(signature(text))


def test_an_lsh_of_datasketch_finds_the_kept_rows():
    """Asked with datasketch's own signature of an edited text, the exported MinHashLSH proposes the kept original."""
    texts = [" ".join(f"a{row}b{word}" for word in range(60)) for row in range(20)]
    lsh = to_lsh(done(texts).index)
    for row, text in enumerate(texts):
        assert f"q{row:04}" in lsh.query(signature(text + " more"))


def test_signatures_come_in_with_their_texts():
    """An index of rows kept elsewhere, from their LeanMinHash and text, drops what resembles them."""
    text = " ".join(f"w{word}" for word in range(50))
    index = from_lean({"theirs": LeanMinHash(signature(text))}, {"theirs": text}, done(["x"]).index.plan)
    assert done([text + " end", "else"], against=index).selection.dropped["kept_id"].to_list() == ["theirs"]


def test_a_signature_of_another_text_is_refused():
    """A signature that its text does not have, for instance of another hash function, is named."""
    plan = done(["x"]).index.plan
    with pytest.raises(InputError, match="theirs"):
        from_lean({"theirs": LeanMinHash(signature("a b c d"))}, {"theirs": "a b c e"}, plan)


def test_an_lsh_comes_in_with_its_texts():
    """An index of the rows of a MinHashLSH and their texts; a text that it does not hold is named."""
    texts = {f"t{row}": " ".join(f"a{row}b{word}" for word in range(30)) for row in range(3)}
    lsh = MinHashLSH(num_perm=130, params=(26, 5))
    for id_, text in texts.items():
        lsh.insert(id_, signature(text))
    plan = done(["x"]).index.plan
    index = from_lsh(lsh, texts, plan)
    assert done([texts["t1"] + " end", "else"], against=index).selection.dropped["kept_id"].to_list() == ["t1"]
    with pytest.raises(InputError, match="t3"):
        from_lsh(lsh, texts | {"t3": "another text"}, plan)
    with pytest.raises(InputError, match="26 bands"):
        from_lsh(MinHashLSH(num_perm=130, params=(13, 10)), texts, plan)
