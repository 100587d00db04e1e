"""Overlap of training rows with benchmark items: what is looked for, where it stands, which items can be checked."""

from __future__ import annotations

from datagen.overlap.hits import ACTING, HITS, STRONG, UNRESOLVED, no_hits
from datagen.overlap.strong import strong

__all__ = ["ACTING", "HITS", "STRONG", "UNRESOLVED", "no_hits", "strong"]
