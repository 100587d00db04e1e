"""What is mapped into this process, and in how few pieces: each costs every fork, and the end of every child, about a
microsecond.

The loader maps a library in five: header, code, constants, constants that it filled in, data. Joined, they are two:
what is never written, readable and executable together, as linkers laid libraries out until 2018, and what was written.
No byte is both writable and executable. What this gives up, constants that a program cannot make its processor run and
tables of functions that it cannot change, protects a program from its input; here the program itself is the danger.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from itertools import groupby
from typing import NamedTuple

import sandbox.kernel as kernel

# by number, for the module `mmap` would be five mappings more for each fork to copy
READ_WRITE, READ_EXECUTE = 1 | 2, 1 | 4  # PROT_READ, PROT_WRITE, PROT_EXEC
_LINE = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (....) ([0-9a-f]+) \S+ \d+ *(.*)\n")


class Mapping(NamedTuple):
    """One line of /proc/self/maps: from where to where, "r-xp", what; `shift` is alike for one segment of a file."""

    start: int
    stop: int
    rights: str
    shift: int
    name: str


def current() -> list[Mapping]:
    """All of them, by address."""
    return read(os.open("/proc/self/maps", os.O_RDONLY))


def read(descriptor: int) -> list[Mapping]:
    """All that a descriptor of such a file lists, by address; closes it."""
    with open(descriptor, encoding="utf-8", errors="surrogateescape") as lines:
        found = [match.groups() for match in map(_LINE.fullmatch, lines) if match]
    return [
        Mapping(int(start, 16), int(stop, 16), rights, int(start, 16) - int(offset, 16), name)
        for start, stop, rights, offset, name in found
    ]


def of_files() -> list[Mapping]:
    """Those of files that can be read, by address."""
    return [mapping for mapping in current() if mapping.rights[0] == "r" and mapping.name.startswith("/")]


def join() -> None:
    """Join the pieces of each library. To be called before any filter, for it makes memory executable."""
    for _, pieces in groupby(of_files(), key=lambda mapping: mapping.name):
        _join(list(pieces))


def _join(pieces: Sequence[Mapping]) -> None:
    data = {(piece.start, piece.shift) for piece in pieces if piece.rights == "rw-p"}
    code = {piece.shift for piece in pieces if piece.rights == "r-xp"}
    for piece in pieces:
        if piece.rights == "r--p":
            if (piece.stop, piece.shift) in data:
                _protect(piece, READ_WRITE)
            elif piece.shift in code:
                _protect(piece, READ_EXECUTE)


def _protect(piece: Mapping, rights: int) -> None:
    with suppress(OSError):  # without it everything works, if a little slower
        kernel.call("mprotect", piece.start, piece.stop - piece.start, rights)
