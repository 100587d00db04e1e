"""Moves the interpreter's code onto huge pages, so that a child does not map it again page by page.

After a fork the kernel maps a library's code into the child anew, sixteen small pages at a time as it is first run, and
unmaps all of them when the child ends: some seventy of the four hundred page faults of a small program. An entry
for two megabytes is simply copied. The same bytes stay at the same addresses, readable and executable, never writable.
"""

from __future__ import annotations

import ctypes
import os
import re
from contextlib import suppress
from itertools import groupby, pairwise

import sandbox.kernel as kernel

SIZE = 2 << 20
# by number, for the module `mmap` would be five mappings more for each fork to copy
_READ_WRITE, _READ_EXECUTE = 1 | 2, 1 | 4  # PROT_READ, PROT_WRITE, PROT_EXEC
_PRIVATE = 0x02 | 0x20  # MAP_PRIVATE, MAP_ANONYMOUS
_TO_A_PLACE = 1 | 2  # MREMAP_MAYMOVE | MREMAP_FIXED
_HUGE, _COLLAPSE = 14, 25  # MADV_HUGEPAGE; MADV_COLLAPSE: huge pages now, or an error
_MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) r(.).. [0-9a-f]+ \S+ [1-9]\d* +(.*)\n")


def back_code() -> int:
    """How many huge pages the interpreter's code lies on from now on: 0 where the machine has none to give, or where
    the code is too small. To be called before any filter, for it makes memory executable.
    """
    if os.uname().machine != "x86_64":  # elsewhere it was not tried
        return 0
    with suppress(OSError):  # without it everything works, if a little slower
        start, stop = _code()
        start, stop = -(-start // SIZE) * SIZE, stop // SIZE * SIZE
        if start < stop:
            _move(start, stop - start)
            return (stop - start) // SIZE
    return 0


def _code() -> tuple[int, int]:
    """From where to where the file with the interpreter's code is mapped, unwritable and without a gap."""
    inside = ctypes.cast(ctypes.pythonapi.Py_GetVersion, ctypes.c_void_p).value or 0
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as lines:
        found = [match for match in map(_MAPPING.fullmatch, lines) if match]
    for _, run in groupby(found, key=lambda match: (match[3], match[4])):
        spans = [(int(match[1], 16), int(match[2], 16)) for match in run]
        if spans[0][0] <= inside < spans[-1][1]:
            whole = all(before[1] == after[0] for before, after in pairwise(spans))
            return (spans[0][0], spans[-1][1]) if whole else (0, 0)
    return 0, 0


def _move(start: int, length: int) -> None:
    """Copy to huge pages elsewhere, then put these where the old ones are, in a single step of the kernel's."""
    room = kernel.call("mmap", None, length + SIZE, _READ_WRITE, _PRIVATE, -1, 0)
    copy = -(-room // SIZE) * SIZE
    try:
        kernel.call("madvise", copy, length, _HUGE)
        ctypes.memmove(copy, start, length)
        kernel.call("madvise", copy, length, _COLLAPSE)
        kernel.call("mprotect", copy, length, _READ_EXECUTE)
        kernel.call("mremap", copy, length, length, _TO_A_PLACE, start)
    finally:
        kernel.call("munmap", room, length + SIZE)
