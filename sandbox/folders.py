"""Folders that a program has written to, emptied and removed whatever it made of them."""

from __future__ import annotations

import os
import time
from contextlib import suppress

_PAUSES = (0.0, 0.01, 0.05, 0.2, 0.5)


def give(folder: str, owner: int) -> None:
    """Hand a folder over to a user, in the way that the zygote's filter allows on every processor."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fchown(descriptor, owner, owner)
    finally:
        os.close(descriptor)


def empty(folder: str) -> None:
    """Delete what a program left behind: any depth, for what lies deeper is first moved up, and folders that it made
    unreadable.
    """
    moved, prefix = 0, os.urandom(8).hex()  # no name that the program can have put in the way
    while entries := list(os.scandir(folder)):
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.path)
                continue
            os.chmod(entry.path, 0o700)
            for child_entry in list(os.scandir(entry.path)):
                if child_entry.is_dir(follow_symlinks=False):
                    os.chmod(child_entry.path, 0o700)
                moved += 1
                os.rename(child_entry.path, os.path.join(folder, f"{prefix}{moved}"))
            os.rmdir(entry.path)


def remove(folder: str) -> None:
    """Delete a folder and all that is in it. What is killed but not yet dead may write meanwhile: then once more."""
    for pause in _PAUSES:
        time.sleep(pause)
        with suppress(OSError):
            empty(folder)
            os.rmdir(folder)
        if not os.path.lexists(folder):
            return
