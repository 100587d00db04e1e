"""The benchmark items nearest to each row: by TF-IDF always, by sentence embeddings where a model is named.

What is rare is learnt from the items alone: contamination that is repeated in the rows would make itself common.
Rows are compared block by block, so memory is that of the items and of one block, whatever the number of rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import polars as pl

from datagen.errors import InputError, MissingDependency
from datagen.sets import Nearest

BLOCK = 512
"""Rows compared at once: 40 MB of similarities at 20,000 items."""

_WORD = r"[\p{L}\p{N}]+"
_COMMON = 0.02  # words in more items than this share are compared by a dense product, the others by their postings
_DIGITS = 4  # similarities are rounded, so that no order of adding up decides
_INSTALL = "Type: pip install 'datagen[embeddings]', or leave --neighbours out for TF-IDF"

Floats = np.ndarray[Any, np.dtype[np.float32]]
Integers = np.ndarray[Any, np.dtype[np.int64]]
Similarities = Callable[[pl.Series], Floats]


def nearest(rows: pl.Series, items: Sequence[str], k: int, *, model: str = "") -> Nearest:
    """The k items nearest to each row; equal similarities in the items' order.

    `model` names sentence embeddings, "" is TF-IDF over words (sublinear tf, smoothed idf of the items, cosine), which
    needs no model. MissingDependency or InputError where the model cannot be had.
    """
    k = min(k, len(items))
    if k == 0 or not len(rows):
        return Nearest(np.zeros((len(rows), 0), np.int64), np.zeros((len(rows), 0), np.float32))
    texts = pl.Series(items, dtype=pl.String)
    similar = _embedded(texts, model) if model else _tf_idf(texts)
    blocks = [_best(similar(rows.slice(start, BLOCK)), k) for start in range(0, len(rows), BLOCK)]
    return Nearest(np.concatenate([block.places for block in blocks]), np.concatenate([b.similarities for b in blocks]))


def _best(similarities: Floats, k: int) -> Nearest:
    """The k best of each line, best first, equals by place."""
    rounded = np.round(similarities, _DIGITS)
    keys = np.rint(rounded.astype(np.float64) * 10**_DIGITS).astype(np.int64) * rounded.shape[1]
    keys -= np.arange(rounded.shape[1])  # makes every key of a line distinct: the earlier place is the greater
    chosen = np.argpartition(-keys, k - 1, axis=1)[:, :k]
    order = np.argsort(-np.take_along_axis(keys, chosen, 1), axis=1)
    places = np.take_along_axis(chosen, order, 1)
    return Nearest(places.astype(np.int64), np.take_along_axis(rounded, places, 1))


# -- TF-IDF ----------------------------------------------------------------------------------------------------------


def _tf_idf(items: pl.Series) -> Similarities:
    """The similarities of a block of rows with all items.

    Words in many items are a few dense columns; the others are looked up in postings, whose total length is what a row
    costs. A word that no item has counts in a row's length with the greatest idf.
    """
    counts = _counted(items)
    frequency = counts.group_by("word").agg(n=pl.len()).sort("word").with_row_index("term")
    frequency = frequency.with_columns(idf=((1 + len(items)) / (1 + pl.col("n"))).log() + 1)
    unseen = float(np.log(1 + len(items)) + 1)
    vectors = _weighted(counts.join(frequency, on="word"), len(items))
    postings = _Postings(vectors, frequency["n"].to_numpy(), len(items))

    def similar(rows: pl.Series) -> Floats:
        counted = _counted(rows).join(frequency, on="word", how="left").with_columns(pl.col("idf").fill_null(unseen))
        known = _weighted(counted, len(rows)).filter(pl.col("term").is_not_null())
        return postings.product(known, len(rows))

    return similar


def _counted(texts: pl.Series) -> pl.DataFrame:
    """Columns text (its place), word, count."""
    words = pl.DataFrame({"words": texts.fill_null("").str.to_lowercase().str.extract_all(_WORD)}).with_row_index(
        "text"
    )
    return words.explode("words").drop_nulls().group_by("text", pl.col("words").alias("word")).len("count")


def _weighted(counts: pl.DataFrame, texts: int) -> pl.DataFrame:
    """Columns text, term and weight, every text's vector of length 1; sorted, so that sums are always the same."""
    weight = (pl.col("count").cast(pl.Float64).log() + 1) * pl.col("idf")
    weighted = counts.sort("text", "word").select("text", "term", weight=weight)
    squares = np.bincount(weighted["text"].to_numpy(), weighted["weight"].to_numpy() ** 2, minlength=texts)
    lengths = np.sqrt(np.maximum(squares, np.finfo(np.float64).tiny))
    return weighted.with_columns(weight=pl.col("weight") / lengths[weighted["text"].to_numpy()])


class _Postings:
    """The items' vectors by term: common terms as columns of a matrix, the others as lists of (item, weight)."""

    def __init__(self, vectors: pl.DataFrame, frequency: Integers, items: int) -> None:
        self._items = items
        common = frequency > max(1, _COMMON * items)
        self._column = np.where(common, np.cumsum(common) - 1, -1)
        ordered = vectors.sort("term", "text")
        terms, texts, weights = (ordered[name].to_numpy() for name in ("term", "text", "weight"))
        self._dense = np.zeros((int(common.sum()), items), np.float32)
        dense = common[terms]
        self._dense[self._column[terms[dense]], texts[dense]] = weights[dense]
        self._texts, self._weights = texts.astype(np.int64), weights
        self._starts = np.concatenate([[0], np.cumsum(np.bincount(terms, minlength=len(frequency)))])

    def product(self, rows: pl.DataFrame, count: int) -> Floats:
        """The dot products of `count` rows, given as text, term, weight, with all items."""
        texts, terms, weights = (rows[name].to_numpy() for name in ("text", "term", "weight"))
        columns = self._column[terms]
        dense = columns >= 0
        block = np.zeros((count, len(self._dense)), np.float32)
        block[texts[dense], columns[dense]] = weights[dense]
        return block @ self._dense + self._sparse(texts[~dense], terms[~dense], weights[~dense], count)

    def _sparse(self, texts: Integers, terms: Integers, weights: Floats, count: int) -> Floats:
        starts, lengths = self._starts[terms], self._starts[terms + 1] - self._starts[terms]
        total = int(lengths.sum())
        within = np.arange(total) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        places = np.repeat(starts, lengths) + within
        cells = np.repeat(texts.astype(np.int64) * self._items, lengths) + self._texts[places]
        values = np.repeat(weights, lengths) * self._weights[places]
        summed = np.bincount(cells, values, minlength=count * self._items)
        return summed.astype(np.float32).reshape(count, self._items)


# -- sentence embeddings ---------------------------------------------------------------------------------------------


def _embedded(items: pl.Series, model: str) -> Similarities:
    encode = _encoder(model)
    known = encode(items)

    def similar(rows: pl.Series) -> Floats:
        product: Floats = encode(rows) @ known.T
        return product

    return similar


def _encoder(model: str) -> Callable[[pl.Series], Floats]:
    """A function from texts to vectors of length 1."""
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise MissingDependency("sentence-transformers is not installed", hint=_INSTALL) from error
    try:
        loaded = SentenceTransformer(model)
    except (OSError, ValueError) as error:
        hint = "Give a folder or a model that is at hand, or leave --neighbours out for TF-IDF"
        raise InputError(f"cannot load the embedding model ({error})", where=model, hint=hint) from error

    def encode(texts: pl.Series) -> Floats:
        options = {"normalize_embeddings": True, "show_progress_bar": False, "convert_to_numpy": True}
        return np.asarray(loaded.encode(texts.fill_null("").to_list(), batch_size=64, **options), dtype=np.float32)

    return encode
