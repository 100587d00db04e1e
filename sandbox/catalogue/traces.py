"""What a zygote has about it, seen from outside: whatever a program leaves behind shows here."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Traces:
    """Numbers of living children, of descriptors and mounts, and the names in the temporary folder; -1 or nothing where
    this process may not look.
    """

    alive: bool
    processes: int
    descriptors: int
    mounts: int
    files: tuple[str, ...]


def children(parent: int) -> list[int]:
    """Process ids of the living children of a process."""
    found = []
    for number in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError), open(f"/proc/{number}/stat", encoding="utf-8", errors="replace") as file:
            state, owner = file.read().rpartition(")")[2].split()[:2]
            if int(owner) == parent and state != "Z":
                found.append(int(number))
    return found


def look(zygote: int) -> Traces:
    """The traces at this moment."""
    home = f"/proc/{zygote}"
    files: tuple[str, ...] = ()
    mounts = -1
    with suppress(OSError):
        files = tuple(sorted(os.listdir(f"{home}/cwd")))
    with suppress(OSError), open(f"{home}/mounts", encoding="utf-8", errors="replace") as file:
        mounts = len(file.readlines())
    return Traces(os.path.exists(home), len(children(zygote)), _descriptors(home), mounts, files)


def left_behind(before: Traces, now: Traces) -> str:
    """What there is more of now, in words; fewer processes are no trace."""
    if not now.alive:
        return "the worker did not survive it"
    grown = [
        f"{getattr(now, field.name)} {field.name} instead of {getattr(before, field.name)}"
        for field in fields(Traces)
        if field.name in ("processes", "descriptors", "mounts")
        and getattr(now, field.name) > getattr(before, field.name)
    ]
    new = set(now.files) - set(before.files)
    return ", ".join([*grown, *([f"files {sorted(new)[:3]!r}"] if new else [])])


def _descriptors(home: str) -> int:
    try:
        return len(os.listdir(f"{home}/fd"))
    except OSError:
        return -1
