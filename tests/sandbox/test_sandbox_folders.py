"""Folders that programs leave behind."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from sandbox import folders
from sandbox.enclosure import SYSTEM_PATHS
from sandbox.namespaces import _staging


def mess(home: Path) -> None:
    """Nested folders, links, a folder that cannot be entered."""
    (home / "a/b/c").mkdir(parents=True)
    (home / "a/b/c/file").write_text("x")
    (home / "link").symlink_to("/")
    (home / "shut").mkdir(0)
    for number in range(20):
        (home / f".{number}/{number}").mkdir(parents=True)


def test_empty_keeps_the_folder(tmp_path):
    """Emptying deletes what is in a folder and not the folder."""
    mess(tmp_path)
    folders.empty(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_links_are_not_followed(tmp_path):
    """What a link points to stays."""
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/link").symlink_to(precious)
    folders.remove(str(tmp_path / "folder"))
    assert [path.name for path in tmp_path.rglob("*")] == ["precious", "file"]


def test_remove_deeper_than_a_path_can_be(tmp_path):
    """A folder nested deeper than any path can name is removed."""
    home = tmp_path / "home"
    home.mkdir()
    descriptor = os.open(home, os.O_RDONLY)
    for _ in range(60):
        os.mkdir("d" * 200, dir_fd=descriptor)
        inner = os.open("d" * 200, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = inner
    os.close(descriptor)
    folders.remove(str(home))
    assert not home.exists()


def test_remove_while_somebody_writes(tmp_path):
    """A process that is killed but not yet dead does not save its folder."""
    home = tmp_path / "home"
    mess(home)
    over = threading.Event()

    def write() -> None:
        number = 0
        while not over.is_set() and home.exists() and number < 3000:
            number += 1
            try:
                (home / str(number)).touch()
            except FileNotFoundError:
                return

    writer = threading.Thread(target=write)
    writer.start()
    folders.remove(str(home))
    over.set()
    writer.join()
    assert not home.exists()


def test_remove_what_is_gone(tmp_path):
    """Two may remove the same folder."""
    folders.remove(str(tmp_path / "never"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("package", ["/tmp/project/.venv/lib/python3/site-packages/numpy", "/tmp"])
def test_the_new_root_covers_no_package(package):
    """The root of level L0 is built where nothing lies that it binds, such as a virtual environment in /tmp."""
    assert _staging([*SYSTEM_PATHS, package]) != "/tmp"
