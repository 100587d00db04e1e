"""The few system calls that Python does not offer, through ctypes.

`PyDLL` keeps the interpreter lock during a call: the zygote has a single thread, and a child made by a raw `clone`
must not have to take the lock back.
"""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass

from sandbox.syscalls import MACHINES, number

CLONE_NEWPID = 0x20000000
UNSHARE_ALL = 0x10000000 | 0x00020000 | 0x40000000 | 0x08000000 | 0x04000000 | 0x02000000
"""Namespaces for users, mounts, network, IPC, host name, control groups."""

SIGCHLD = 17

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1 << 5, 1 << 12, 1 << 14, 1 << 18
MNT_DETACH = 2

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS = 1, 4, 38
CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.PyDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long
_MACHINE = os.uname().machine

Argument = int | bytes | None


def supported() -> bool:
    """Whether this machine's system call numbers are known: Linux on x86-64 or aarch64."""
    return os.uname().sysname == "Linux" and _MACHINE in MACHINES


@dataclass(frozen=True, slots=True)
class Call:
    """A system call made ready in advance, so that making it touches next to nothing of a child's memory, which is a
    copy.
    """

    name: str
    arguments: tuple[object, ...]


def prepare(name: str, *arguments: Argument) -> Call:
    """A call to make later, any number of times."""
    # ctypes passes a Python int as a C int: everything that fits a register is widened here
    wide = [ctypes.c_void_p(value) if isinstance(value, int) else value for value in arguments]
    return Call(name, (ctypes.c_long(number(name, _MACHINE)), *wide))


def make(prepared: Call) -> int:
    """Make a prepared system call; OSError names it when it fails."""
    result: int = _syscall(*prepared.arguments)
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{prepared.name}: {os.strerror(error)}")
    return result


def call(name: str, *arguments: Argument) -> int:
    """Make a system call now."""
    return make(prepare(name, *arguments))


def clone(flags: int) -> Call:
    """Fork without Python's or the C library's hooks: gives 0 in the child, the child's process id in the parent."""
    return prepare("clone", flags | SIGCHLD, 0, 0, 0, 0)


def mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    """mount(2)."""
    call("mount", source.encode(), target.encode(), kind.encode(), flags, options.encode())


def prctl(option: int, value: int) -> Call:
    """prctl(2) with one argument."""
    return prepare("prctl", option, value, 0, 0, 0)


def drop_capabilities() -> Call:
    """Give up every capability of this process."""
    header = CAPABILITY_VERSION_3.to_bytes(4, "little") + bytes(4)
    return prepare("capset", header, bytes(24))
