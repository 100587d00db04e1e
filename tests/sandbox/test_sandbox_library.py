"""The root of files that level L2 has of its own."""

from __future__ import annotations

import importlib.util
import os
import stat
from pathlib import Path

import pytest

from sandbox import library
from sandbox.namespaces import DEVICES

STANDARD = os.path.dirname(os.__file__)


def package(home: Path, name: str, *, size: int = 1, mode: int = 0o644) -> Path:
    """A package with one module and tests."""
    folder = home / name
    (folder / "tests").mkdir(parents=True)
    (folder / "tests" / "test_it.py").touch()
    module = folder / "__init__.py"
    module.touch()
    os.truncate(module, size)
    module.chmod(mode)
    return folder


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A root built under a forbidding umask, with packages of each kind."""
    home = tmp_path_factory.mktemp("packages")
    huge = library.MOST_OF_A_PACKAGE + 1
    found = [package(home, "small"), package(home, "huge", size=huge), package(home, "changeable", mode=0o666)]
    built = tmp_path_factory.mktemp("below") / "root"
    before = os.umask(0o077)
    library.build_root(str(built), list(map(str, found)), DEVICES)
    os.umask(before)
    return built


def test_library_is_where_it_was(root):
    """The standard library keeps its paths, its compiled files included."""
    inside = root / STANDARD.lstrip("/")
    assert (inside / "json" / "decoder.py").read_bytes() == Path(STANDARD, "json", "decoder.py").read_bytes()


def test_only_the_library(root):
    """Neither tests nor other people's packages are in it."""
    names = {path.name for path in root.rglob("*") if path.is_dir()}
    assert names & {"test", "tests", "site-packages", "dist-packages"} == set()
    assert {path.name for path in root.iterdir()} <= {"dev", "etc", "lib", "lib64", "root", "site", "usr"} | {
        STANDARD.split("/")[1]
    }


def test_nobody_else_can_change_it(root):
    """Everything is for all to read, and nothing but the devices for others to write."""
    for path in root.rglob("*"):
        mode = path.lstat().st_mode
        if not stat.S_ISCHR(mode):
            assert mode & 0o026 == 0o004, path


def test_changeable_files_are_copied(root):
    """A file that others can change on the host is there as a copy; what only root can change, under a second name."""
    assert (root / "site/changeable/__init__.py").stat().st_nlink == 1
    if os.geteuid() == 0 and os.stat(root).st_dev == os.stat("/usr/lib").st_dev:
        assert (root / "site/small/__init__.py").stat().st_nlink == 2


def test_huge_packages_are_left_out(root):
    """A package of more than 100 MB is not offered."""
    assert sorted(os.listdir(root / "site")) == ["changeable", "small"]


def test_no_symbolic_links(root):
    """A link would point to where nothing is: each is the file that it points to."""
    assert [path for path in root.rglob("*") if path.is_symlink()] == []


def test_preloaded_modules_exist():
    """No name in the list of modules to load is misspelt: all but a few that some interpreters lack are here."""
    optional = {"_lsprof", "_blake2", "_md5", "_sha1", "_sha3", "_uuid", "bz2", "lzma", "resource", "mmap", "fcntl"}
    missing = {name for name in library.PRELOADED.split() if importlib.util.find_spec(name) is None}
    assert missing <= optional
