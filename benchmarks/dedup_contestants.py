"""One method of removing near-duplicates, run once in a process of its own.

    python -m benchmarks.dedup_contestants NAME CORPUS.parquet KEPT.npy

All read the same Parquet file of normalised texts (words apart by single spaces) and split, hash and compare it
themselves, at a Jaccard similarity of 0.7 on shingles of three words; which rows they keep is written to KEPT.npy. CPU
and wall time are of reading, splitting and deciding; imports and a first run on 500 rows, in which compilers and caches
warm up, come before. Peak memory is the whole process's. A peer's own interpreter is enough to run this module.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

THRESHOLD, SHINGLE, PERMUTATIONS = 0.7, 3, 128
WARM_UP = 500

Kept = Sequence[bool] | NDArray[np.bool_]
Keep = Callable[[Path], Kept]
"""Which rows of the file at this path are kept."""


@dataclass(frozen=True, slots=True)
class Contestant:
    """A method: what makes its `Keep` (imports included), the package it needs, the most rows it is asked for."""

    make: Callable[[], Keep]
    package: str
    most: int


def texts(path: Path) -> list[str]:
    """The normalised texts."""
    found: list[str] = pq.read_table(path, columns=["text"])["text"].to_pylist()
    return found


def shingles(text: str) -> set[str]:
    """The distinct runs of three words; a shorter text is one."""
    words = text.split(" ")
    return {" ".join(words[start : start + SHINGLE]) for start in range(max(1, len(words) - SHINGLE + 1))}


def floor() -> Keep:
    """Read, hash every shingle once, permute 125 times; no method with signatures can do less."""
    import polars as pl

    from benchmarks.dedup_floor import signatures

    def keep(path: Path) -> Kept:
        return [True] * len(signatures(pl.read_parquet(path, columns=["text"])["text"]))

    return keep


def ours(backend: str, column: str = "text") -> Callable[[], Keep]:
    """datagen's stage, with its own normalisation once more; where it has no choice of backends, as it is."""

    def make() -> Keep:
        import polars as pl

        from datagen.config import DedupConfig
        from datagen.stages.dedup import dedup

        known = {field.name for field in dataclasses.fields(DedupConfig)}
        config = DedupConfig(**{"backend": backend} if "backend" in known else {})

        def keep(path: Path) -> Kept:
            rows = pl.read_parquet(path, columns=[column]).with_row_index("id")
            return _mask(len(rows), dedup(rows, config, column=column, priority=("id",)).kept["id"].to_numpy())

        return keep

    return make


def datasketch_loop() -> Keep:
    """Its README: a MinHash a row, updated shingle by shingle; query, then insert."""
    from datasketch import MinHash, MinHashLSH

    def keep(path: Path) -> Kept:
        index, kept = MinHashLSH(threshold=THRESHOLD, num_perm=PERMUTATIONS), []
        for row, text in enumerate(texts(path)):
            sketch = MinHash(num_perm=PERMUTATIONS)
            for shingle in shingles(text):
                sketch.update(shingle.encode())
            kept.append(not index.query(sketch))
            if kept[-1]:
                index.insert(row, sketch)
        return kept

    return keep


def datasketch_bulk() -> Keep:
    """Its fastest way: sketches in bulk with a 32-bit xxhash, without checking keys."""
    import xxhash
    from datasketch import MinHash, MinHashLSH

    def keep(path: Path) -> Kept:
        index, kept = MinHashLSH(threshold=THRESHOLD, num_perm=PERMUTATIONS), []
        sets = ([shingle.encode() for shingle in shingles(text)] for text in texts(path))
        sketches = MinHash.generator(sets, num_perm=PERMUTATIONS, hashfunc=xxhash.xxh32_intdigest)
        for row, sketch in enumerate(sketches):
            kept.append(not index.query(sketch))
            if kept[-1]:
                index.insert(row, sketch, check_duplication=False)
        return kept

    return keep


def rensa() -> Keep:
    """Its streaming deduplicator, whose candidates are checked by their sketches."""
    from rensa import RMinHashDeduplicator

    def keep(path: Path) -> Kept:
        dedup = RMinHashDeduplicator(threshold=THRESHOLD, num_perm=PERMUTATIONS, use_lsh=True)
        kept: list[bool] = dedup.add_pairs((str(row), shingles(text)) for row, text in enumerate(texts(path)))
        return kept

    return keep


def gaoya() -> Keep:
    """Its string index with its own shingles, 128 hashes split into bands for the threshold; query, then insert."""
    from gaoya.minhash import MinHashStringIndex

    def keep(path: Path) -> Kept:
        index, kept = MinHashStringIndex(32, THRESHOLD, None, None, PERMUTATIONS, "word", False, (3, 3)), []
        for row, text in enumerate(texts(path)):
            kept.append(not index.query(text))
            if kept[-1]:
                index.insert_document(row, text)
        return kept

    return keep


def text_dedup() -> Keep:
    """Its minhash command, called in this process: bands by its own optimum, connected components."""
    import datasets
    from text_dedup.minhash import main

    datasets.disable_progress_bars()

    def keep(path: Path) -> Kept:
        with tempfile.TemporaryDirectory() as folder:
            numbered, out = Path(folder, "rows.parquet"), Path(folder, "out")
            table = pq.read_table(path, columns=["text"])
            pq.write_table(table.append_column("row", [list(range(len(table)))]), numbered)
            options = {
                "path": "parquet", "data_files": numbered, "split": "train", "cache_dir": Path(folder, "cache"),
                "output": out, "column": "text", "ngram": SHINGLE, "threshold": THRESHOLD,
                "num_perm": PERMUTATIONS, "num_proc": 1, "hash_func": "xxh3", "min_length": 1,
            }  # fmt: skip
            main([part for key, value in options.items() for part in (f"--{key}", str(value))], standalone_mode=False)
            return _mask(len(table), datasets.load_from_disk(str(out))["row"])

    return keep


def datatrove() -> Keep:
    """Its MinHash steps, 14 bands of 8, on shingles of three words that are split at spaces; connected components."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupSignature
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from datatrove.pipeline.readers import ParquetReader
    from datatrove.utils.word_tokenizers import WordTokenizer
    from loguru import logger

    logger.remove()
    config = MinhashConfig(n_grams=SHINGLE)

    class Split(WordTokenizer):  # type: ignore[misc]  # the peer is not installed where types are checked
        def word_tokenize(self, text: str) -> list[str]:
            return text.split()

        def sent_tokenize(self, text: str) -> list[str]:
            return [text]

        def span_tokenize(self, text: str) -> list[tuple[int, int]]:
            return [(0, len(text))]

    def keep(path: Path) -> Kept:
        with tempfile.TemporaryDirectory() as folder:
            link = Path(folder, "in")
            link.mkdir()
            Path(link, "rows.parquet").symlink_to(path.resolve())
            steps: list[tuple[int, list[Any]]] = [
                (1, [ParquetReader(str(link)), MinhashDedupSignature(f"{folder}/sigs", config, Split())]),
                (config.num_buckets, [MinhashDedupBuckets(f"{folder}/sigs", f"{folder}/dups", config=config)]),
                (1, [MinhashDedupCluster(f"{folder}/dups", f"{folder}/remove", config=config)]),
            ]
            for number, (tasks, pipeline) in enumerate(steps):
                LocalPipelineExecutor(pipeline, tasks=tasks, workers=1, logging_dir=f"{folder}/log{number}").run()
            gone = Path(folder, "remove", "000000.remove")
            mask = np.ones(pq.read_metadata(path).num_rows, dtype=bool)
            mask[np.fromfile(gone, dtype="<u4") if gone.exists() else []] = False
            return mask

    return keep


def _mask(count: int, kept: Any) -> NDArray[np.bool_]:
    mask = np.zeros(count, dtype=bool)
    mask[np.asarray(kept)] = True
    return mask


OURS, OURS_NUMPY, OURS_RAW = "datagen, numba", "datagen, numpy", "datagen, numba, raw questions"
FLOOR = "floor: read, hash, permute"
LOOP, BULK, RENSA = "datasketch, loop", "datasketch, bulk + xxh32", "rensa"
TEXT_DEDUP, DATATROVE, GAOYA = "text-dedup", "datatrove, 14 x 8", "gaoya"

CONTESTANTS = {
    FLOOR: Contestant(floor, "numba", 4_000_000),
    OURS: Contestant(ours("numba"), "numba", 4_000_000),
    OURS_NUMPY: Contestant(ours("numpy"), "numpy", 1_000_000),
    OURS_RAW: Contestant(ours("numba", "question"), "numba", 62_000),
    RENSA: Contestant(rensa, "rensa", 1_000_000),
    BULK: Contestant(datasketch_bulk, "datasketch", 1_000_000),
    GAOYA: Contestant(gaoya, "gaoya", 62_000),
    LOOP: Contestant(datasketch_loop, "datasketch", 62_000),
    TEXT_DEDUP: Contestant(text_dedup, "text-dedup", 62_000),
    DATATROVE: Contestant(datatrove, "datatrove", 62_000),
}


def run(name: str, corpus: Path, out: Path) -> dict[str, Any]:
    """What it cost; `missing` says why it could not be run here."""
    contestant = CONTESTANTS[name]
    try:
        keep = contestant.make()
    except ImportError as error:
        return {"missing": f"not installed ({error})"}
    with tempfile.TemporaryDirectory() as folder:
        few = Path(folder, "few.parquet")
        pq.write_table(pa.Table.from_batches([next(pq.ParquetFile(corpus).iter_batches(batch_size=WARM_UP))]), few)
        keep(few)
    cpu, wall = _cpu(), time.monotonic()
    kept = keep(corpus)
    cpu, wall = _cpu() - cpu, time.monotonic() - wall
    np.save(out, np.asarray(kept, dtype=bool))
    version = importlib.metadata.version(contestant.package)
    return {"cpu": cpu, "wall": wall, "peak_mb": _peak_mb(), "version": f"{contestant.package} {version}"}


def _peak_mb() -> float:
    """Of this process; getrusage would also count what its parent held when it started this one."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def _cpu() -> float:
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def main() -> None:
    """Run one, print its cost as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=list(CONTESTANTS))
    parser.add_argument("corpus", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # peers print
    sys.stdout = sys.stderr
    print(json.dumps(run(options.name, options.corpus, options.out)), file=answer, flush=True)


if __name__ == "__main__":
    main()
