"""Overlap of training rows with benchmark items: what is looked for, where it stands, which items can be checked."""

from __future__ import annotations

from datagen.overlap.hits import ACTING, COMMON, HITS, STRONG, UNRESOLVED, no_hits
from datagen.overlap.openai import acting, processed, substrings
from datagen.overlap.scan import Scanned, ids_of, scan_rows

__all__ = [
    "ACTING", "COMMON", "HITS", "STRONG", "UNRESOLVED", "Scanned", "acting", "ids_of", "no_hits", "processed",
    "scan_rows", "substrings",
]  # fmt: skip
