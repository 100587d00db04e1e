"""Licences: which identifiers the Hub knows, and what a model's licence says about the text that the model writes.

A licence is asked for, never guessed; what stands here only checks a name's spelling and points to the clause to read.
"""

from __future__ import annotations

import difflib
import re

from datagen.errors import UsageError

LICENSES = (
    "afl-3.0", "agpl-3.0", "apache-2.0", "artistic-2.0", "bigscience-openrail-m", "bsd", "bsd-2-clause", "bsd-3-clause",
    "bsl-1.0", "c-uda", "cc", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0",
    "cc-by-nc-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0",
    "cc-by-nd-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc0-1.0", "cdla-permissive-1.0", "cdla-permissive-2.0",
    "cdla-sharing-1.0", "ecl-2.0", "epl-2.0", "etalab-2.0", "eupl-1.2", "gemma", "gfdl", "gpl", "gpl-2.0", "gpl-3.0",
    "isc", "lgpl", "lgpl-2.1", "lgpl-3.0", "llama2", "llama3", "llama3.1", "llama3.2", "llama3.3", "llama4", "mit",
    "mpl-2.0", "ms-pl", "ncsa", "odbl", "odc-by", "openrail", "osl-3.0", "other", "pddl", "unlicense", "wtfpl", "zlib",
)  # fmt: skip
"""The Hub's licence identifiers that suit a data set; `other` stands for any that it does not list."""

_READ = "Read the licence: this line is a pointer, not advice."
_NO_OTHER_MODEL = (
    "section 1.b.v of the {licence} Community License forbids using the model's outputs to improve any other large "
    f"language model, except {{licence}} and its derivative works. {_READ}"
)
_NAMED_LLAMA = (
    "section 1.b.i of its Community License lets outputs train other models on conditions: a model that is trained on "
    'them and then distributed has a name that begins with "Llama"; who distributes Llama itself, or a product that '
    f'contains it, shows "Built with Llama" and passes on the licence. {_READ}'
)
_NO_SIZE = r"(?![\d.]*b\b|[\d.]*b_|\d)"  # open_llama_3b is a size of another model, not Llama 3
_TERMS = (
    (
        r"^demo-model$",
        "",
        "comes with datagen (Apache-2.0), was trained from scratch, and puts no terms on its outputs.",
    ),
    (r"code[-_ ]?llama", "Llama 2", f"Code Llama, under Llama 2's terms: {_NO_OTHER_MODEL.format(licence='Llama 2')}"),
    (rf"llama[-_ ]?2{_NO_SIZE}", "Llama 2", f"Llama 2: {_NO_OTHER_MODEL.format(licence='Llama 2')}"),
    (rf"llama[-_ ]?3[._][1-9]{_NO_SIZE}", "Llama 3.1 or later", f"Llama 3.1 or later: {_NAMED_LLAMA}"),
    (rf"llama[-_ ]?3{_NO_SIZE}", "Llama 3", f"Llama 3: {_NO_OTHER_MODEL.format(licence='Meta Llama 3')}"),
    (rf"llama[-_ ]?4{_NO_SIZE}", "Llama 4", f"Llama 4: {_NAMED_LLAMA}"),
)
"""Pattern of a model's name, the family whose licence it is under, and what that licence says about outputs."""
_UNKNOWN = "look up what its terms say about its outputs before you publish them or train on them."
_CLOSED = ("Llama 2", "Llama 3")
"""Families whose outputs may improve no other family."""


def check_license(name: str) -> None:
    """UsageError, with near matches, unless the name is empty (none chosen) or one of LICENSES."""
    if not name or name in LICENSES:
        return
    near = difflib.get_close_matches(name.lower(), LICENSES, n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(near)}?" if near else "Give one such as apache-2.0, or `other`."
    raise UsageError(f"{name!r} is no licence that the Hub knows", hint=f"{hint} See docs/publish.md")


def terms_of(model: str) -> str:
    """What this model's licence says about its outputs, as far as the model's name tells which licence that is.

    Llama 2 (July 18, 2023; Code Llama uses it), Llama 3 (April 18, 2024), 3.1 (July 23, 2024) and later are told apart:
    the ban on improving other models is in the first two only.
    """
    return _found(model)[1]


def training_conflict(generator: str, target: str) -> str:
    """What the licence of the model that wrote the data says against training `target` on it; "" if nothing is known.

    Llama 2 (with Code Llama) and Llama 3 allow their own family only, section 1.b.v; Llama 3.1 and later allow any
    model whose name begins with "Llama", section 1.b.i. Both models are told by their names alone.
    """
    family, terms = _found(generator)
    if not family or (family in _CLOSED and _found(target)[0] == family):
        return ""
    against = f"; by its name {target} is no {family}" if family in _CLOSED else ""
    return f"{generator} wrote rows of this data{against}. {terms}"


def _found(model: str) -> tuple[str, str]:
    """The family and the terms of the first pattern that the model's name matches."""
    known = ((family, terms) for pattern, family, terms in _TERMS if re.search(pattern, model, re.IGNORECASE))
    return next(known, ("", _UNKNOWN))
