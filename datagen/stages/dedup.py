"""Drops questions that repeat an earlier one: word for word after normalisation, or nearly, by Jaccard similarity.

MinHash only proposes pairs (banding: Leskovec, Rajaraman, Ullman, "Mining of Massive Datasets", section 3.4); the
exact similarity decides. A question is dropped only for a question that is kept, never for one that was itself dropped.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from datasketch import MinHash, MinHashLSH
from datasketch.hashfunc import sha1_hash32
from numpy.typing import NDArray

from datagen.config import DedupConfig
from datagen.errors import InputError, UsageError
from datagen.sets import Selection

RECALL = 0.99
"""The least share of the pairs at the threshold that the bands must propose."""

PRIORITY = ("round", "id", "prompt_index", "position")
DROPPED = {
    "source_id": pl.String,
    "reason": pl.String,
    "detail": pl.String,
    "text": pl.String,
    "kept_id": pl.String,
    "jaccard": pl.Float64,
}

_RULE = re.compile(r"^[ \t]*([-*_=])(?:[ \t]*\1){2,}[ \t]*$", re.MULTILINE)
_FENCE = re.compile(r"^[ \t]*(?:`{3,}|~{3,})[ \t]*[\w+#.-]*[ \t]*$", re.MULTILINE)
_LINK = re.compile(r"!?\[([^\[\]\n]*)\]\((?:https?:|mailto:|www\.|[/#])[^()\s]*\)")
_STARS = re.compile(r"(?<![\w*])(\*{1,3})(?=[^\s*])([^*\n]+)(?<=\S)\1(?![\w*])")
_BULLET = re.compile(r"^(?:[ \t]*(?:[-*+•]|>+|#{1,6}|\d{1,3}[.)])[ \t]+)+", re.MULTILINE)
_LETTER = r"[a-z0-9\u0080-\U0010ffff]"
_TOKEN = re.compile(
    rf"[a-z](?:\+\+|\#)(?!{_LETTER})"  # c++, c#, f#
    rf"|\d+(?:\.\d+)+"
    rf"|{_LETTER}+(?:_+{_LETTER}+)*"
    r"|<<=|>>=|\*\*=|//="
    r"|<=|>=|==|!=|->|=>|:=|\+=|-=|\*=|/=|%=|&=|\|=|\^=|\*\*|//|<<|>>|&&|\|\||\+\+|--"
    r"|(?<![^\W\d_])-|-(?![^\W\d_])"  # a minus; a hyphen between two letters is punctuation
    r"|[<>=+*/%&|^~]"
)
_SPACED = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_SAME = {"≤": "<=", "≥": ">=", "≠": "!=", "−": "-", "×": "*", "÷": "/"}  # the sign and its ASCII spelling


def dedup(
    questions: pl.DataFrame, config: DedupConfig, *, column: str = "question", priority: Sequence[str] = PRIORITY
) -> Selection:
    """Keeps the first of each group of equal or similar texts; the result does not depend on the order of the rows.

    Rows are taken in ascending order of `priority`, ties broken by the other columns. A row is dropped when its
    Jaccard similarity (sets of `config.shingle` words) with a kept row before it is at least `config.threshold`, and
    names the most similar of those (`kept_id`, `jaccard`); a text without a word or an operator is dropped as `empty`.
    Of the pairs exactly at the threshold at least 99 % are found, of those above it more; no other pair counts.
    Raises UsageError for settings that cannot work, InputError for a missing column.
    """
    _check(questions, config, ("id", column, *priority))
    ordered = questions.sort(_total_order(questions, (*priority, column)), nulls_last=True)
    ids, raw = ordered["id"].cast(pl.String).to_list(), ordered[column].fill_null("").to_list()
    texts = [" ".join(tokens(text)) for text in raw]
    matches = _matches(texts, config)
    kept = [row for row, match in enumerate(matches) if match is not None and match.kept == row]
    drops = [
        _drop(row, match, ids, raw, texts) for row, match in enumerate(matches) if match is None or match.kept != row
    ]
    return Selection(ordered[kept], pl.DataFrame(drops, schema=DROPPED, orient="row"))


def tokens(text: str) -> list[str]:
    """The words, numbers and operators that the comparison sees.

    NFKC and casefold; markdown, punctuation and invisible characters go; operators and c++, c#, f# stay, and so do the
    marks that belong to letters; each Chinese or Japanese character is a word.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    plain = re.sub(r"\r\n?", "\n", folded)
    plain = _FENCE.sub(" ", _RULE.sub(" ", plain))
    plain = _STARS.sub(r"\2", _STARS.sub(r"\2", _LINK.sub(r"\1", plain)))  # twice: italics inside bold
    return _TOKEN.findall(_BULLET.sub(" ", plain).translate(_CHARACTERS))


class _Characters(dict[int, str | None]):
    """A table for str.translate, filled as characters are met: what each one beyond ASCII becomes."""

    def __missing__(self, code: int) -> str | None:
        self[code] = _becomes(chr(code)) if code > 127 else chr(code)
        return self[code]


def _becomes(character: str) -> str | None:
    category = unicodedata.category(character)
    if character in _SAME:
        return f" {_SAME[character]} "
    if category == "Cf":
        return None
    if category == "Sm" or _SPACED.match(character):
        return f" {character} "
    return character if category[0] in "LNM" else " "


_CHARACTERS = _Characters()


def shingles(text: str, size: int) -> set[str]:
    """The sets of `size` neighbouring words of a normalised text; a shorter text is one shingle."""
    words = text.split(" ")
    return {" ".join(words[start : start + size]) for start in range(max(1, len(words) - size + 1))}


def jaccard(a: set[str], b: set[str]) -> float:
    """|a & b| / |a | b|, correctly rounded, so that a similarity of exactly 7/10 reaches a threshold of 0.7."""
    common = len(a & b)
    return common / (len(a) + len(b) - common)


def recall(similarity: float, bands: int, rows: int) -> float:
    """The probability that a pair of this Jaccard similarity agrees in at least one band: 1 - (1 - s^rows)^bands."""
    return float(1 - (1 - similarity**rows) ** bands)


def bands_for(threshold: float, num_perm: int) -> tuple[int, int]:
    """(bands, rows) that reach RECALL at the threshold, with the most rows a band, so the fewest needless pairs."""
    for rows in range(num_perm // 2, 0, -1):
        if recall(threshold, num_perm // rows, rows) >= RECALL:
            return num_perm // rows, rows
    raise UsageError(
        f"{num_perm} permutations cannot find {RECALL:.0%} of the pairs at threshold {threshold}",
        hint="Raise num_perm or the threshold",
    )


@dataclass(frozen=True, slots=True)
class _Match:
    """The kept row that a row equals or resembles (itself, if it is kept), by position, and their similarity."""

    kept: int
    jaccard: float


def _check(questions: pl.DataFrame, config: DedupConfig, needed: Sequence[str]) -> None:
    if not 0 < config.threshold <= 1:
        raise UsageError(f"threshold {config.threshold} is not a similarity", hint="Give one over 0 and up to 1")
    if config.shingle < 1:
        raise UsageError(f"shingle {config.shingle} is no number of words", hint="Give 1 or more; 3 is the default")
    if missing := [name for name in needed if name not in questions.columns]:
        raise InputError(f"no column {', '.join(missing)}", hint=f"Columns here: {', '.join(questions.columns)}")


def _total_order(frame: pl.DataFrame, first: Sequence[str]) -> list[str]:
    """Every column that can be sorted by, `first` before the others: rows that still tie are interchangeable."""
    rest = (name for name, dtype in frame.schema.items() if not dtype.is_nested())
    return list(dict.fromkeys((*first, *rest)))


def _matches(texts: Sequence[str], config: DedupConfig) -> list[_Match | None]:
    """The match of every text, in order of priority; None for an empty one."""
    first: dict[str, int] = {}
    for row, text in enumerate(texts):
        first.setdefault(text, row)
    first.pop("", None)
    found = dict(zip(first, _keep_first(first, config), strict=True))
    return [found.get(text) for text in texts]


def _keep_first(first: dict[str, int], config: DedupConfig) -> Iterator[_Match]:
    """Greedy maximal independent set: the index only ever holds what is kept."""
    bands, rows = bands_for(config.threshold, config.num_perm)
    index: Any = MinHashLSH(num_perm=config.num_perm, params=(bands, rows))
    texts, sources = list(first), list(first.values())
    signatures = np.empty((len(texts), config.num_perm), dtype=np.uint32)
    for position, sketch in enumerate(_sketches(texts, config)):
        signatures[position] = sketch.hashvalues
        likely = _likely(signatures, position, index.query(sketch), config.threshold)
        similarity, nearest = _nearest(texts, position, likely, config.shingle)
        if similarity >= config.threshold:
            yield _Match(sources[nearest], similarity)
        else:
            index.insert(position, sketch)
            yield _Match(sources[position], 1.0)


def _likely(
    signatures: NDArray[np.uint32], position: int, candidates: Sequence[int], threshold: float
) -> Sequence[int]:
    """The candidates whose signatures agree enough for an exact comparison to be worth it.

    By Hoeffding's inequality fewer than one true pair in a million falls under the floor.
    """
    if not candidates:
        return candidates
    floor = threshold - math.sqrt(math.log(1e6) / (2 * signatures.shape[1]))
    agreement = (signatures[candidates] == signatures[position]).mean(axis=1)
    return [candidate for candidate, share in zip(candidates, agreement, strict=True) if share >= floor]


def _nearest(texts: Sequence[str], position: int, candidates: Sequence[int], size: int) -> tuple[float, int]:
    """The highest exact similarity among the candidates and the first that has it; (0, -1) without candidates."""
    if not candidates:
        return 0.0, -1
    own = shingles(texts[position], size)
    similarity, nearest = max((jaccard(own, shingles(texts[other], size)), -other) for other in candidates)
    return similarity, -nearest


def _sketches(texts: Iterable[str], config: DedupConfig) -> Iterable[Any]:
    """datasketch's MinHash of each text's shingles; seed, scheme and hash are named, for other tools to reproduce."""
    sets = ([shingle.encode() for shingle in shingles(text, config.shingle)] for text in texts)
    sketches: Iterable[Any] = MinHash.generator(
        sets, num_perm=config.num_perm, seed=1, scheme="affine32", hashfunc=sha1_hash32
    )
    return sketches


def _drop(
    row: int, match: _Match | None, ids: Sequence[str], raw: Sequence[str], texts: Sequence[str]
) -> tuple[Any, ...]:
    """A row of the dropped frame, in the order of DROPPED."""
    if match is None:
        return ids[row], "empty", "no word and no operator", raw[row], None, None
    kept = ids[match.kept]
    if texts[row] == texts[match.kept]:
        return ids[row], "exact-duplicate", f"equal to {kept}", raw[row], kept, 1.0
    return ids[row], "near-duplicate", f"Jaccard {match.jaccard:.2f} with {kept}", raw[row], kept, match.jaccard
