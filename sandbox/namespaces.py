"""A world of its own: user, mount, network, IPC and host-name namespaces, and a root that holds only Python.

Entered once per zygote and inherited by every child, who then gets a process-id namespace of its own for free.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable

import sandbox.kernel as kernel

INSIDE_ID = 1000
TMP = "/tmp"
SITE = "/site"
DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")

_FLAGS = kernel.MS_NOSUID | kernel.MS_NODEV
_STAGING = ("/tmp", "/mnt", "/run", "/var", "/home", "/opt")
_ATTR_READONLY, _ATTR_NOSUID, _ATTR_NODEV, _ATTR_NOEXEC = 1, 2, 4, 8
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_OUTSIDE_IDS = 60000, 5000  # first, number: inside every container's usual range


def outside_id(zygote: int) -> int:
    """The unprivileged user that the children of a root's zygote become; another for each zygote on this machine."""
    return _OUTSIDE_IDS[0] + zygote % _OUTSIDE_IDS[1]


def enter_namespaces() -> None:
    """Leave the host's namespaces. The caller keeps its rights over the new ones only."""
    started, release = os.pipe()
    parent = os.getpid()
    helper = os.fork()
    if helper == 0:
        _map_ids_and_exit(parent, started, release)
    os.close(started)
    try:
        kernel.call("unshare", kernel.UNSHARE_ALL)
    finally:
        os.write(release, b"!")
        os.close(release)
        _, status = os.waitpid(helper, 0)
    if status != 0:
        raise PermissionError("the ids of the user namespace could not be mapped")
    kernel.call("sethostname", b"sandbox", 7)


def build_root(readable: Iterable[str], packages: Iterable[str], hidden: Iterable[str], tmp_mb: int) -> None:
    """Make a root of read-only binds of `readable` and of `packages` below /site, with `hidden` covered, and move into
    it.
    """
    readable, packages = list(readable), list(packages)
    staging = _staging([*readable, *packages])
    kernel.mount("none", "/", "none", kernel.MS_REC | kernel.MS_PRIVATE)
    kernel.mount("tmpfs", staging, "tmpfs", _FLAGS, "size=1m,mode=755")
    for path in readable:
        _bind(path, staging + path)
    for path in packages:
        _bind(path, f"{staging}{SITE}/{os.path.basename(path)}")
    for path in hidden:
        if os.path.isdir(staging + path):
            kernel.mount("tmpfs", staging + path, "tmpfs", _FLAGS | kernel.MS_RDONLY, "size=4k")
    for path in DEVICES:
        _bind(path, staging + path, _ATTR_READONLY | _ATTR_NOSUID | _ATTR_NOEXEC)
    os.makedirs(staging + TMP)
    _pivot(staging)
    mount_tmp(tmp_mb)
    kernel.mount("none", "/", "none", kernel.MS_REMOUNT | kernel.MS_BIND | kernel.MS_RDONLY | _FLAGS)


def mount_tmp(size_mb: int) -> None:
    """An empty temporary folder over whatever lies there."""
    options = f"size={size_mb}m,nr_inodes=4096,mode=1777"
    kernel.mount("tmpfs", TMP, "tmpfs", _FLAGS | kernel.MS_NOEXEC, options)


def unmount_tmp() -> None:
    """Let the temporary folder go, with all that is in it."""
    kernel.call("umount2", TMP.encode(), kernel.MNT_DETACH)


def _map_ids_and_exit(process: int, started: int, release: int) -> None:
    code = 1
    try:
        os.close(release)
        os.read(started, 1)
        if os.geteuid() == 0:
            text = f"0 0 1\n{INSIDE_ID} {outside_id(process)} 1"
            _write(process, "uid_map", text)
            _write(process, "gid_map", text)
        else:
            _write(process, "setgroups", "deny")
            _write(process, "uid_map", f"{INSIDE_ID} {os.geteuid()} 1")
            _write(process, "gid_map", f"{INSIDE_ID} {os.getegid()} 1")
        code = 0
    finally:
        os._exit(code)


def _write(process: int, name: str, text: str) -> None:
    with open(f"/proc/{process}/{name}", "w", encoding="ascii") as file:
        file.write(text)


def _staging(readable: list[str]) -> str:
    for path in _STAGING:
        if os.path.isdir(path) and not any(f"{source}/".startswith(f"{path}/") for source in readable):
            return path
    raise FileNotFoundError("no folder to build the new root on")


def _bind(source: str, target: str, attributes: int = _ATTR_READONLY | _ATTR_NOSUID | _ATTR_NODEV) -> None:
    if not os.path.exists(source):
        return
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if os.path.islink(source) and not os.path.lexists(target) and not os.path.isabs(os.readlink(source)):
        os.symlink(os.readlink(source), target)
        return
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o444))
    kernel.mount(source, target, "none", kernel.MS_BIND | kernel.MS_REC)
    settings = struct.pack("=QQQQ", attributes, 0, 0, 0)
    kernel.call("mount_setattr", _AT_FDCWD, target.encode(), _AT_RECURSIVE, settings, len(settings))


def _pivot(root: str) -> None:
    os.chdir(root)
    kernel.call("pivot_root", b".", b".")
    kernel.call("umount2", b".", kernel.MNT_DETACH)
    os.chdir("/")
