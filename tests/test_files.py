"""Files of a run are whole or not there."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from datagen.errors import InputError, StorageError
from datagen.files import make_folder, read_json, replacing, storing, write_json, write_whole


def test_file_is_replaced_whole(tmp_path):
    """Until the body ends the old content is there, afterwards the new one, and nothing beside it."""
    path = tmp_path / "a"
    write_whole(path, b"old")
    with replacing(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new" and list(tmp_path.iterdir()) == [path]


def test_failure_changes_nothing(tmp_path):
    """An exception in the body leaves the old file and removes the temporary one."""
    path = tmp_path / "a"
    write_whole(path, b"old")
    with pytest.raises(ZeroDivisionError), replacing(path) as file:
        file.write(b"new" * (1 // 0))
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("number", "hint"), [(errno.ENOSPC, "free space"), (errno.EDQUOT, "free space"), (errno.EIO, "Check the disk")]
)
def test_disk_errors_are_one_line_with_a_way_out(tmp_path, number, hint):
    """A full disk, a spent quota and a broken disk name the file and what to do, in one line."""
    with pytest.raises(StorageError) as caught, storing(tmp_path / "ledger"):
        raise OSError(number, "said by the kernel")
    text = str(caught.value)
    assert hint in text and str(tmp_path / "ledger") in text and "\n" not in text


def test_full_device_is_a_storage_error():
    """A write that the kernel refuses (here by /dev/full) comes out as StorageError, not as OSError."""
    full = Path("/dev/full")
    with pytest.raises(StorageError, match="disk is full"), storing(full), full.open("wb", buffering=0) as file:
        file.write(b"x")


def test_folder_in_place_of_a_file_is_a_storage_error(tmp_path):
    """A run folder under a plain file cannot be made, and that is said."""
    (tmp_path / "a").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        make_folder(tmp_path / "a" / "b")


def test_json_is_sorted_and_equal_for_equal_data(tmp_path):
    """The order in which keys were set does not show."""
    write_json(tmp_path / "a", {"b": 1, "a": 2})
    write_json(tmp_path / "b", {"a": 2, "b": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_unreadable_json_names_its_file(tmp_path):
    """JSON that is broken is an InputError with the file's name; a file that is not there gives the default."""
    (tmp_path / "a").write_text("{")
    with pytest.raises(InputError, match=str(tmp_path / "a")):
        read_json(tmp_path / "a")
    assert read_json(tmp_path / "b", 3) == 3
