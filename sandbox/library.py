"""The standard library for level L2, where nothing in the kernel keeps a program from the host's files by their path.

Either the zygote moves into a root of files of its own, which holds a copy of the library and little more (needs root's
rights to chroot), or nothing at all can be opened, and what programs import is loaded in advance.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

TMP, SITE = "/tmp", "/site"
ZONES = "/usr/share/zoneinfo"
LOADER_CACHE = "/etc/ld.so.cache"
MOST_OF_A_PACKAGE = 100 << 20

LEFT_OUT = frozenset(
    {"test", "tests", "site-packages", "dist-packages", "idlelib", "turtledemo", "ensurepip", "posix", "right"}
)
"""Names of folders: tests, other people's packages, programs, and the time zones' second and third copies."""

PRELOADED = """
    abc argparse array ast asyncio base64 binascii bisect builtins bz2 calendar cmath codecs collections.abc
    colorsys concurrent.futures.process concurrent.futures.thread configparser contextlib contextvars copy copyreg
    csv ctypes dataclasses datetime decimal difflib dis doctest encodings.ascii encodings.base64_codec
    encodings.cp1252 encodings.cp437 encodings.hex_codec encodings.idna encodings.latin_1 encodings.punycode
    encodings.raw_unicode_escape encodings.rot_13 encodings.unicode_escape encodings.utf_16 encodings.utf_16_be
    encodings.utf_16_le encodings.utf_32 encodings.utf_7 encodings.utf_8_sig enum errno fcntl fnmatch fractions
    functools gc getpass glob graphlib gzip hashlib heapq hmac html html.parser inspect io ipaddress itertools json
    keyword linecache locale logging lzma marshal math mmap multiprocessing.pool multiprocessing.popen_fork numbers
    operator os pathlib pickle platform pprint queue random re reprlib resource sched secrets select selectors shlex
    shutil signal socket stat statistics string struct subprocess sys sysconfig tempfile textwrap threading time
    timeit token tokenize traceback tracemalloc types typing unicodedata unittest unittest.mock urllib.parse uuid
    warnings weakref zipfile zlib zoneinfo _strptime _pickle _json _random _heapq _bisect _statistics _lsprof
    _blake2 _md5 _sha1 _sha3 _queue _uuid _struct _csv
"""
"""What can be imported where nothing can be opened. Modules that an interpreter was built without are left out."""


class _LinkMap(ctypes.Structure):
    """The head of the dynamic loader's record of a loaded file (link.h)."""

    _fields_ = (
        ("address", ctypes.c_size_t),
        ("name", ctypes.c_char_p),
        ("dynamic", ctypes.c_void_p),
        ("next", ctypes.c_void_p),
    )


def preload() -> None:
    """Import what programs use, for they will not be able to read it."""
    for name in PRELOADED.split():
        with suppress(ImportError):
            importlib.import_module(name)


def may_move_below(folder: str) -> bool:
    """Whether this process may chroot, shown by doing so without an effect, and load extension modules from there."""
    try:
        os.chroot("/")
    except OSError:
        return False
    return not os.statvfs(folder).f_flag & os.ST_NOEXEC


def build_root(root: str, packages: Sequence[str], devices: Iterable[str]) -> None:
    """Fill the folder `root`: the library at its own path, `packages` below /site; whose /tmp is left to the caller.

    Files are hard links to the host's where the file system allows it, and copies otherwise. A package of more than
    100 MB is left out, and devices are where the machine refuses to make them.
    """
    before = os.umask(0o022)
    os.makedirs(root)
    libraries = _shared_libraries(packages)
    for folder in [*_standard(), ZONES]:
        _copy(folder, root + folder)
    for package in packages:
        if _size(package) <= MOST_OF_A_PACKAGE:
            _copy(package, os.path.join(root + SITE, os.path.basename(package)))
    for path in [*libraries, LOADER_CACHE]:
        _place(path, root + path)
    for path in devices:
        _make_device(path, root + path)
    os.umask(before)


def _standard() -> list[str]:
    """The folders of the standard library: its own, and its extension modules' if that lies elsewhere."""
    home = os.path.dirname(os.__file__)
    elsewhere = [path for path in sys.path if path.endswith("/lib-dynload") and not path.startswith(f"{home}/")]
    return [home, *elsewhere]


def _copy(source: str, target: str) -> None:
    if not os.path.isdir(source):
        return
    os.makedirs(target, exist_ok=True)
    for entry in _entries(source):
        path = os.path.join(target, entry.name)
        if entry.is_dir(follow_symlinks=False):
            _copy(entry.path, path)
        elif entry.is_file():
            _place(entry.path, path)


def _entries(folder: str) -> Iterator[os.DirEntry[str]]:
    for entry in os.scandir(folder):
        optimised = entry.name.endswith((".opt-1.pyc", ".opt-2.pyc"))
        if not optimised and entry.name not in LEFT_OUT and not entry.name.startswith("config-"):
            yield entry


def _place(source: str, target: str) -> None:
    """A file, and the folders above it; symbolic links become what they point to."""
    source = os.path.realpath(source)
    if os.path.lexists(target) or not os.path.isfile(source):
        return
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if _read_only(os.stat(source)):
        with suppress(OSError):  # another file system, or a kernel that protects hard links
            os.link(source, target)
            return
    with open(source, "rb") as original, open(target, "wb") as copy:
        copy.write(original.read())


def _read_only(state: os.stat_result) -> bool:
    """Whether all can read the file and none but root can change it: then it may be there under a second name."""
    return state.st_uid == 0 and state.st_mode & 0o026 == 0o004 and not state.st_mode & 0o6000


def _size(folder: str) -> int:
    return sum(
        _size(entry.path) if entry.is_dir(follow_symlinks=False) else entry.stat(follow_symlinks=False).st_size
        for entry in _entries(folder)
    )


def _make_device(source: str, target: str) -> None:
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with suppress(OSError):
        state = os.stat(source)
        os.mknod(target, state.st_mode, state.st_rdev)
        os.chmod(target, 0o666)


def _shared_libraries(packages: Sequence[str]) -> list[str]:
    """Where the loader finds what extension modules need: asked in a process that loads them all, and ends."""
    reading, writing = os.pipe()
    helper = os.fork()
    if helper == 0:
        _load_and_exit([*_standard(), *packages], writing)
    os.close(writing)
    with open(reading, "rb") as answer:
        text = os.fsdecode(answer.read())
    os.waitpid(helper, 0)
    homes = {f"{os.path.dirname(package)}/" for package in packages}
    return [path for path in map(os.path.normpath, text.splitlines()) if not path.startswith(tuple(homes))]


def _load_and_exit(folders: Iterable[str], writing: int) -> None:
    code = 1
    try:
        known = set(_loaded())  # what is loaded stays so, and the loader will not look for it
        modules = [module for folder in folders for module in _extension_modules(folder)]
        with open(writing, "wb") as answer:
            answer.write(b"\n".join(set(_loaded()) - known))
        code = 1 - bool(modules)
    finally:
        os._exit(code)


def _extension_modules(folder: str) -> Iterator[ctypes.CDLL]:
    for entry in _entries(folder):
        if entry.is_dir(follow_symlinks=False):
            yield from _extension_modules(entry.path)
        elif entry.name.endswith(".so"):
            with suppress(OSError):  # what lacks a library here cannot be imported outside either
                yield ctypes.CDLL(entry.path)


def _loaded() -> Iterator[bytes]:
    at = ctypes.CDLL(None)._handle
    while at:
        record = _LinkMap.from_address(at)
        if record.name and record.name.startswith(b"/"):
            yield record.name
        at = record.next
