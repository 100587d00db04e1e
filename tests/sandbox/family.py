"""Processes and their children, for tests that look at who is alive."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from pathlib import Path


def descendants(ancestor: int) -> set[int]:
    """Process ids of all living descendants of a process."""
    below: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
            if state != "Z":
                below.setdefault(int(parent), []).append(int(path.parent.name))
    found, new = set(), [ancestor]
    while new:
        mine = below.get(new.pop(), [])
        found.update(mine)
        new += mine
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def until(condition, seconds: float = 10.0) -> bool:
    """Whether the condition becomes true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        await asyncio.sleep(0.01)
    return True
