"""Moves the interpreter's code onto huge pages, so that a child does not map it again page by page.

After a fork the kernel maps a library's code into the child anew, sixteen small pages at a time as it is first run, and
unmaps all of them when the child ends: some seventy of the four hundred page faults of a small program. An entry
for two megabytes is simply copied. The same bytes stay at the same addresses, readable and executable, never writable.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from itertools import groupby, pairwise

import sandbox.kernel as kernel
import sandbox.mappings as mappings
from sandbox.mappings import READ_EXECUTE, READ_WRITE

SIZE = 2 << 20
_PRIVATE = 0x02 | 0x20  # MAP_PRIVATE, MAP_ANONYMOUS
_TO_A_PLACE = 1 | 2  # MREMAP_MAYMOVE | MREMAP_FIXED
_HUGE, _COLLAPSE = 14, 25  # MADV_HUGEPAGE; MADV_COLLAPSE: huge pages now, or an error


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
    for _, run in groupby(mappings.of_files(), key=lambda mapping: (mapping.rights[1], mapping.name)):
        pieces = list(run)
        if pieces[0].start <= inside < pieces[-1].stop:
            whole = all(before.stop == after.start for before, after in pairwise(pieces))
            return (pieces[0].start, pieces[-1].stop) if whole else (0, 0)
    return 0, 0


def _move(start: int, length: int) -> None:
    """Copy to huge pages elsewhere, then put these where the old ones are, in a single step of the kernel's."""
    room = kernel.call("mmap", None, length + SIZE, READ_WRITE, _PRIVATE, -1, 0)
    copy = -(-room // SIZE) * SIZE
    try:
        kernel.call("madvise", copy, length, _HUGE)
        ctypes.memmove(copy, start, length)
        kernel.call("madvise", copy, length, _COLLAPSE)
        kernel.call("mprotect", copy, length, READ_EXECUTE)
        kernel.call("mremap", copy, length, length, _TO_A_PLACE, start)
    finally:
        kernel.call("munmap", room, length + SIZE)
