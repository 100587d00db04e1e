"""Landlock: which files a child may touch, enforced by the kernel without any privilege (Linux 5.13 and later).

Where mounts already hide the host's files this is the second lock; where namespaces are refused it is the only one.
"""

from __future__ import annotations

import os
import struct

import sandbox.kernel as kernel

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR, _MAKE_REG, _MAKE_SYM = 1 << 4, 1 << 5, 1 << 7, 1 << 8, 1 << 12
_REFER, _TRUNCATE = 1 << 13, 1 << 14
_READ = _READ_FILE | _READ_DIR
_FILE_ONLY = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE
_FOLDER = _READ | _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _MAKE_SYM | _REFER | _TRUNCATE
_RIGHTS_OF_VERSION = (0, 13, 14, 15, 15, 16)  # number of file rights that each version of the interface knows
_TCP = 3  # bind and connect
_SCOPES = 3  # abstract Unix sockets and signals


def version() -> int:
    """The kernel's Landlock version, 0 where there is none."""
    try:
        return kernel.call("landlock_create_ruleset", None, 0, 1)
    except OSError:
        return 0


def ruleset(readable: list[str], writable: list[str], devices: list[str]) -> int:
    """A descriptor of rules: read below `readable`, all but execution below `writable`, read and write `devices`."""
    supported = version()
    handled = (1 << _RIGHTS_OF_VERSION[min(supported, 5)]) - 1
    rules = struct.pack("=Q", handled)
    rules += struct.pack("=Q", _TCP) if supported >= 4 else b""
    rules += struct.pack("=Q", _SCOPES) if supported >= 6 else b""
    descriptor = kernel.call("landlock_create_ruleset", rules, len(rules), 0)
    for paths, rights in ((readable, _READ), (writable, _FOLDER), (devices, _READ_FILE | _WRITE_FILE)):
        for path in paths:
            _allow(descriptor, path, rights & handled)
    return descriptor


def restrict(descriptor: int) -> kernel.Call:
    """The call that puts the thread making it, and all that it starts, under the rules; needs no_new_privs."""
    return kernel.prepare("landlock_restrict_self", descriptor, 0)


def _allow(descriptor: int, path: str, rights: int) -> None:
    try:
        parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    if not os.path.isdir(path):
        rights &= _FILE_ONLY
    kernel.call("landlock_add_rule", descriptor, 1, struct.pack("=Qi", rights, parent), 0)
    os.close(parent)
