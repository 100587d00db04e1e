"""What was kept, to go on from: a later set is compared with it without reading the earlier one again.

A folder with rows.parquet (id, normalised text, hash, band keys, sketch of every kept row) and index.json (the plan
and the hash functions), which is written last: an index without it is none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from datagen.errors import InputError
from datagen.files import make_folder, read_json, replacing, write_json
from datagen.similarity import hashing, matching
from datagen.similarity.backend import choose
from datagen.similarity.matching import Found, Plan, State, empty_state, sketched
from datagen.similarity.normalise import normalise
from datagen.similarity.texts import Texts
from datagen.similarity.workspace import Workspace

if TYPE_CHECKING:  # it loads scipy: a third of what a command takes to start
    from datasketch import LeanMinHash, MinHash, MinHashLSH

VERSION = 1
IN_MEMORY = 1 << 40
_MADE = f"Make it with scheme {hashing.SCHEME}, seed {hashing.SEED} and datagen's {hashing.NAME} as hashfunc"
_STATE = ("shingle", "num_perm", "bands", "rows", "exact")
"""What of a plan shapes a row's state."""
ROWS, ABOUT = "rows.parquet", "index.json"
AT_ONCE = 1 << 16
"""Rows written at once."""
_SCHEMA = pa.schema(
    {"id": pa.large_string(), "text": pa.large_string(), "value": pa.uint64(), "keys": pa.large_binary(),
     "sketch": pa.large_binary()}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class KeptIndex:
    """Kept rows in order of priority: the plan that they were compared under, their ids, their state."""

    plan: Plan
    ids: pl.Series
    state: State

    def __len__(self) -> int:
        return len(self.ids)

    def extended(self, ids: pl.Series, found: Found) -> KeptIndex:
        """With what `matching.find` kept of further rows (of these ids) after it."""
        rows = np.arange(len(ids)) + len(self)
        kept = ids.cast(pl.String).filter(pl.Series(found.kept == rows))
        return KeptIndex(self.plan, pl.concat([self.ids, kept.rename("id")]), found.state)

    def only(self, ids: pl.Series) -> KeptIndex:
        """Of its rows, those of these ids."""
        rows = np.flatnonzero(self.ids.is_in(ids.cast(pl.String).implode()))
        return KeptIndex(self.plan, self.ids.gather(rows), self.state.rows(rows))

    def since(self, row: int) -> KeptIndex:
        """Its rows from this one on, in the same memory."""
        return KeptIndex(self.plan, self.ids[row:], self.state.between(row, len(self)))


def concatenated(indexes: Sequence[KeptIndex]) -> KeptIndex:
    """The rows of several indexes of one plan, one after the other."""
    state = matching.concatenated([index.state for index in indexes])
    return KeptIndex(indexes[0].plan, pl.concat([index.ids for index in indexes]), state)


def empty_index(plan: Plan) -> KeptIndex:
    """The index of nothing."""
    return KeptIndex(plan, pl.Series("id", [], pl.String), empty_state(plan))


def is_index(path: Path) -> bool:
    """Whether a whole index lies in this folder."""
    return (path / ABOUT).is_file()


def save(index: KeptIndex, folder: Path, room: Workspace | None = None) -> None:
    """Writes the index, whose state may lie in `room`, in the place of an earlier one; StorageError if the disk cannot
    take it.
    """
    make_folder(folder)
    (folder / ABOUT).unlink(missing_ok=True)
    with replacing(folder / ROWS) as file, pq.ParquetWriter(file, _SCHEMA, compression="zstd") as writer:
        for start in (room or Workspace(0)).relieving(range(0, len(index), AT_ONCE)):
            writer.write_table(_table(index.ids[start : start + AT_ONCE], index.state.between(start, start + AT_ONCE)))
    write_json(folder / ABOUT, _about(index.plan, len(index)))


def load(folder: Path) -> KeptIndex:
    """The index that `save` wrote; InputError if it is not whole or not of this version."""
    about = read_json(folder / ABOUT)
    where = str(folder)
    if not isinstance(about, dict) or about.get("version") != VERSION or about.get("hash") != hashing.NAME:
        raise InputError("is no index that this version reads", where=where, hint="Run the dedup that made it again")
    try:
        rows = pl.read_parquet(folder / ROWS)
        plan = Plan(**about["plan"])
        keys = _array(rows["keys"], np.uint32).reshape(len(rows), plan.bands).T
        sketch = _array(rows["sketch"], np.uint8).reshape(len(rows), plan.num_perm)
    except (OSError, pl.exceptions.PolarsError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"the index cannot be read ({error})", where=where, hint="Run the dedup again") from error
    if len(rows) != about["rows"]:
        raise InputError("the index is not whole", where=where, hint="Run the dedup that made it again")
    return KeptIndex(
        plan, rows["id"], State(rows["text"], rows["value"].to_numpy(), np.ascontiguousarray(keys), sketch)
    )


def _about(plan: Plan, rows: int) -> dict[str, Any]:
    named = {"hash": hashing.NAME, "scheme": hashing.SCHEME, "seed": hashing.SEED}
    return {"version": VERSION, "rows": rows, "plan": asdict(plan), **named}


def _table(ids: pl.Series, state: State) -> pa.Table:
    """Rows of an index as they are saved."""
    texts = (column.to_arrow().cast(pa.large_string()) for column in (ids, state.text))
    columns = [*texts, pa.array(state.value), _binary(state.keys.T), _binary(state.sketch)]
    return pa.Table.from_arrays(columns, schema=_SCHEMA)


def _binary(rows: np.ndarray[Any, Any]) -> pa.LargeBinaryArray:
    """A value of bytes for each row."""
    ends = np.arange(len(rows) + 1) * (rows.shape[1] * rows.itemsize)
    data = pa.py_buffer(np.ascontiguousarray(rows))
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(rows), [None, pa.py_buffer(ends), data])


def _array(rows: pl.Series, dtype: type[np.generic]) -> np.ndarray[Any, Any]:
    return np.frombuffer(b"".join(rows.to_list()), dtype)


def to_lean(index: KeptIndex) -> dict[str, LeanMinHash]:
    """Each kept row's signature as datasketch's LeanMinHash, by id; recomputed from its text, for the index has a byte
    of each value only.
    """
    from datasketch import LeanMinHash

    return {id_: LeanMinHash(minhash) for id_, minhash in _minhashes(index).items()}


def to_lsh(index: KeptIndex) -> MinHashLSH:
    """The kept rows as datasketch's MinHashLSH with the same bands, to be asked with signatures of the same scheme."""
    from datasketch import MinHashLSH

    plan = index.plan
    lsh = MinHashLSH(num_perm=plan.num_perm, params=(plan.bands, plan.rows))
    for id_, minhash in _minhashes(index).items():
        lsh.insert(id_, minhash)
    return lsh


def from_lean(signatures: Mapping[str, LeanMinHash], texts: Mapping[str, str], plan: Plan) -> KeptIndex:
    """An index of rows that were kept elsewhere, from their signatures and their texts, in the order of the signatures.

    A signature alone proves no similarity, so the texts have to come along; InputError names the first signature that
    is not its text's: of another text, scheme, seed, hash function or number of permutations.
    """
    index = _of_texts({id_: texts[id_] for id_ in signatures}, plan)
    for id_, own in to_lean(index).items():
        given = signatures[id_]
        if given.seed != own.seed or not np.array_equal(given.hashvalues, own.hashvalues):
            raise InputError("this signature is not that of its text", where=f"id {id_}", hint=_MADE)
    return index


def from_lsh(lsh: MinHashLSH, texts: Mapping[str, str], plan: Plan) -> KeptIndex:
    """An index of the rows that a MinHashLSH holds, whose texts are given, in their order.

    InputError if its bands are others, or names the first text that it does not hold under that id.
    """
    if (lsh.b, lsh.r) != (plan.bands, plan.rows):
        wanted = f"{plan.bands} bands of {plan.rows} rows"
        raise InputError(f"the MinHashLSH has {lsh.b} bands of {lsh.r} rows, not {wanted}", hint="Change --num-perm")
    index = _of_texts(texts, plan)
    for id_, minhash in _minhashes(index).items():
        if id_ not in lsh.query(minhash):
            raise InputError("the MinHashLSH does not hold this text", where=f"id {id_}", hint=_MADE)
    return index


def _of_texts(texts: Mapping[str, str], plan: Plan) -> KeptIndex:
    backend = choose("auto", len(texts))
    content = normalise(pl.Series(list(texts.values()), dtype=pl.String), backend)
    with Workspace(IN_MEMORY) as room:
        state = sketched(content.series(), backend.values(content), plan, backend, room, empty_state(plan))
    return KeptIndex(plan, pl.Series("id", list(texts), pl.String), state)


def _minhashes(index: KeptIndex) -> dict[str, MinHash]:
    plan = index.plan
    if plan.exact:
        raise InputError("an exact index has no signatures", hint="Make the index without --exact")
    backend, (a, b) = choose("auto", len(index)), hashing.permutations(plan.num_perm)
    values = backend.signatures(Texts.of(index.state.text), plan.shingle, a, b)
    return {id_: _minhash(plan, row) for id_, row in zip(index.ids.to_list(), values, strict=True)}


def _minhash(plan: Plan, values: np.ndarray[Any, Any]) -> MinHash:
    from datasketch import MinHash

    return MinHash(
        num_perm=plan.num_perm, seed=hashing.SEED, scheme=hashing.SCHEME, hashfunc=hashing.shingle_hash,
        hashvalues=values,
    )  # fmt: skip


def made_alike(index: KeptIndex, plan: Plan, where: str) -> KeptIndex:
    """The index, if texts under this plan can be compared with it; InputError else."""
    differ = [name for name in _STATE if getattr(index.plan, name) != getattr(plan, name)]
    if differ:
        hint = f"Use the same {', '.join(differ)}, or give the data set itself"
        raise InputError("this index was made with other settings", where=where, hint=hint)
    return index
