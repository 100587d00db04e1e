"""Files that are either whole or not there: every write of a run folder goes through here.

A full disk is a `StorageError` that says so; what was written before stays as it was.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from datagen.errors import InputError, StorageError

_FULL = {errno.ENOSPC, errno.EDQUOT}


@contextmanager
def storing(path: Path) -> Iterator[None]:
    """Turns an OSError of the body into a StorageError about `path`."""
    try:
        yield
    except OSError as error:
        raise _storage_error(path, error) from error


def _storage_error(path: Path, error: OSError) -> StorageError:
    reason = error.strerror or str(error)
    if error.errno in _FULL:
        hint = "What is finished is kept: free space and run the same command again"
        return StorageError(f"the disk is full ({reason})", where=str(path), hint=hint)
    return StorageError(
        f"cannot be written ({reason})", where=str(path), hint="Check the disk and its rights, then run it again"
    )


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A binary file that becomes `path` when the body ends well, on disk and by one rename; else nothing changes."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        with storing(path):
            with temporary.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            sync_folder(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def write_whole(path: Path, data: bytes) -> None:
    """Writes the file in one piece; StorageError if it cannot, and then the old one is still there."""
    with replacing(path) as file:
        file.write(data)


def write_json(path: Path, data: Any) -> None:
    """Readable JSON with sorted keys, in one piece: equal data are equal bytes."""
    write_whole(path, (json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode())


def read_json(path: Path, default: Any = None) -> Any:
    """The file's JSON, `default` where there is no file; InputError naming the file if it is not JSON."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return default
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read as JSON ({error})", where=str(path), hint="Restore or delete it") from error


def make_folder(path: Path) -> None:
    """Creates the folder and its parents, durably; StorageError if that is impossible."""
    with storing(path):
        path.mkdir(parents=True, exist_ok=True)
        sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Makes renames and new names in the folder survive a power cut."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
