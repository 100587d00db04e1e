"""Has a fork copy at once what every child would otherwise copy page by page.

After a fork a page is shared until either side writes to it, which costs that side a page fault; a child writes to some
150 pages whatever it runs, and the zygote to many of the same between two programs. A page that is pinned, as for a
device to write to, the kernel copies during the fork (copy_present_page in its mm/memory.c), and the parent goes on
writing to its own: of up to two faults none is left. io_uring pins what is registered with it as buffers: one ring, for
good, what every child writes to, another, while a pair is cloned, what both of the two write to besides. They are used
for nothing else, cannot be (they stay disabled), and no child holds one.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby

import sandbox.kernel as kernel
import sandbox.mappings as mappings

PAGE = os.sysconf("SC_PAGE_SIZE")
_PARAMETERS = struct.pack("=2I112x", 0, 1 << 6)  # IORING_SETUP_R_DISABLED
_REGISTER_BUFFERS, _UNREGISTER_BUFFERS = 0, 1
_OWN = 0x81  # of the highest byte of an entry in /proc/PID/pagemap: present, mapped by this process alone


class Pins:
    """Pages that forks copy while they are held, for good or in a context; where the kernel does not have it, they copy
    none of them.
    """

    __slots__ = ("_held", "_pin", "_unpin")

    def __init__(self, ring: int, pages: Iterable[int]) -> None:
        # pages in a row: those whose number rises with their place
        runs = groupby(enumerate(sorted(pages)), key=lambda placed: placed[1] - placed[0])
        spans = [[page for _, page in run] for _, run in runs]
        buffers = b"".join(struct.pack("=2Q", span[0] * PAGE, len(span) * PAGE) for span in spans)
        self._pin = kernel.prepare("io_uring_register", ring, _REGISTER_BUFFERS, buffers, len(spans))
        self._unpin = kernel.prepare("io_uring_register", ring, _UNREGISTER_BUFFERS, None, 0)
        self._held = False

    def hold(self) -> None:
        """From now on forks copy these pages."""
        with suppress(OSError):  # without it everything works, if slower
            kernel.make(self._pin)
            self._held = True

    def __enter__(self) -> None:
        self.hold()

    def __exit__(self, *error: object) -> None:
        if self._held:
            kernel.make(self._unpin)
            self._held = False


@dataclass(frozen=True, slots=True)
class Tools:
    """Descriptors of two io_urings, each of which can pin one set of pages at a time, and of /proc."""

    rings: tuple[int, int]
    processes: int

    def written(self, children: Iterable[int]) -> list[set[int]]:
        """The numbers of the pages of this process's memory that each of these children has for itself: those that it
        wrote to, where another process shares the rest with it. OSError if one cannot be looked at.
        """
        pieces = self._writable()
        return [{page for found in self._owned(pid, pieces) for page in found} for pid in children]

    def _owned(self, pid: int, pieces: Iterable[mappings.Mapping]) -> Iterator[list[int]]:
        pagemap = os.open(f"{pid}/pagemap", os.O_RDONLY, dir_fd=self.processes)
        try:
            yield from (_own(pagemap, piece) for piece in pieces)
        finally:
            os.close(pagemap)

    def _writable(self) -> list[mappings.Mapping]:
        lines = os.open("self/maps", os.O_RDONLY, dir_fd=self.processes)
        return [piece for piece in mappings.read(lines) if piece.rights == "rw-p"]


def tools() -> Tools | None:
    """What is needed to find and pin pages, if this machine gives it; to be called before any limits."""
    try:
        if os.readlink("/proc/self") == str(os.getpid()):  # else it numbers processes otherwise
            return Tools((_ring(), _ring()), os.open("/proc", os.O_PATH | os.O_DIRECTORY))
    except OSError:
        return None  # where there is no io_uring; /proc is there, for the mappings were read from it
    return None


def _ring() -> int:
    parameters = ctypes.create_string_buffer(_PARAMETERS, len(_PARAMETERS))  # the kernel writes to it
    return kernel.call("io_uring_setup", 1, ctypes.addressof(parameters))


def _own(pagemap: int, piece: mappings.Mapping) -> list[int]:
    first, last = piece.start // PAGE, piece.stop // PAGE
    entries = os.pread(pagemap, (last - first) * 8, first * 8)
    return [first + place for place, top in enumerate(entries[7::8]) if top & _OWN == _OWN]
