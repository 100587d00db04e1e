"""The few system calls that Python does not offer, through ctypes.

`PyDLL` keeps the interpreter lock during a call: the zygote has a single thread, and a child made by a raw `clone`
must not have to take the lock back.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from sandbox.syscalls import MACHINES, number

CLONE_NEWPID = 0x20000000
UNSHARE_ALL = 0x10000000 | 0x00020000 | 0x40000000 | 0x08000000 | 0x04000000 | 0x02000000
"""Namespaces for users, mounts, network, IPC, host name, control groups."""

SIGCHLD = 17

BIND_NOW = "LD_BIND_NOW"
"""The loader finds all of a library's functions at the start, and not each when it is first called: in a child, that
would be `_exit`, whose search costs a dozen page faults.
"""

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
        raise _failure(prepared.name)
    return result


def make_all(calls: Iterable[Call]) -> None:
    """Make prepared calls of which none gives anything; OSError at the first that fails."""
    for prepared in calls:
        if _syscall(*prepared.arguments) < 0:
            raise _failure(prepared.name)


def _failure(name: str) -> OSError:
    error = ctypes.get_errno()
    return OSError(error, f"{name}: {os.strerror(error)}")


def call(name: str, *arguments: Argument) -> int:
    """Make a system call now."""
    return make(prepare(name, *arguments))


_WAIT4, _STAT = (ctypes.c_long(number(name, _MACHINE)) for name in ("wait4", "newfstatat"))
_HERE, _NO_FLAGS = ctypes.c_long(-100), ctypes.c_long(0)  # AT_FDCWD
_STATUS, _USAGE, _STATE = (ctypes.create_string_buffer(size) for size in (4, 144, 144))
_STATUS_LAYOUT, _USAGE_LAYOUT = struct.Struct("=i"), struct.Struct("=5q")


def wait4(pid: int, options: int) -> tuple[int, int, float, int]:
    """wait4(2): the process id or 0, the status, seconds of CPU time, peak memory in KB.

    Python's own looks for the `resource` module each time, on as many pages as all the rest of a report needs.
    """
    done: int = _syscall(_WAIT4, ctypes.c_long(pid), _STATUS, ctypes.c_long(options), _USAGE)
    if done < 0:
        raise _failure("wait4")
    user, user_more, system, system_more, peak = _USAGE_LAYOUT.unpack_from(_USAGE)
    return done, _STATUS_LAYOUT.unpack_from(_STATUS)[0], user + system + (user_more + system_more) / 1e6, peak


def state_of(path: bytes) -> bytes:
    """All that stat(2) says of a path, as the kernel writes it: for comparison, and cheaper than `os.stat`."""
    if _syscall(_STAT, _HERE, path, _STATE, _NO_FLAGS) < 0:
        raise _failure("stat")
    return _STATE.raw


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
