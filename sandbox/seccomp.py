"""The system call filters: what a program may ask of the kernel at all.

Two filters. The first is entered once by the zygote and inherited by every child for free; it allows what programs
and the zygote need. The second, small because each child pays for it, takes away what only the zygote needs. A call
passes if both let it pass.

Arguments are 64 bits wide and are compared in both halves; where only bits are tested, they lie in the half that is
read.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable, Iterator

import sandbox.kernel as kernel
from sandbox.syscalls import ALLOWED, MISSING, PATHS, PRETENDED, UNSUPPORTED, ZYGOTE_ONLY, number, numbers

Instruction = tuple[int, int, int, int]
Filter = list[Instruction]

ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
X32_BIT = 0x40000000

_LOAD, _EQUAL, _GREATER, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x25, 0x35, 0x45, 0x06
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_EPERM, _ENOSYS, _ENOTSUP = 1, 38, 95

_PROT_WRITE, _PROT_EXEC, _MAP_ANONYMOUS = 2, 4, 0x20
_CLONE_THREAD, _CLONE_NEW_ANYTHING = 0x00010000, 0x7E020000
_IOCTLS = (0x5421, 0x5450, 0x5451, 0x541B, 0x5401, 0x5413)  # FIONBIO FIONCLEX FIOCLEX FIONREAD TCGETS TIOCGWINSZ
_FCNTLS = (0, 1, 2, 3, 4, 5, 6, 7, 1030)  # DUPFD, GETFD .. SETLKW, DUPFD_CLOEXEC: nothing that sends signals
_PRCTLS = (15, 16)  # the thread's name
_FUTEXES = (0x80, 0x81, 0x189, 0x89, 0x8A, 0x83, 0x84, 0x85, 0, 1, 3, 4, 5, 9, 10, 0x109)  # no priority inheritance
_SOCKET_OPTIONS = (3, 4, 7, 8, 30, 38, 39)  # SO_TYPE ERROR SNDBUF RCVBUF ACCEPTCONN PROTOCOL DOMAIN
_MESSAGE_FLAGS = 0x4142  # MSG_PEEK, MSG_DONTWAIT, MSG_WAITALL, MSG_NOSIGNAL: no out-of-band data
_AF_UNIX, _SOCK_STREAM, _SOCK_FLAGS = 1, 1, 0o2004000


def zygote_filter(machine: str) -> Filter:
    """The first filter: an allow-list; everything else is refused with EPERM."""
    code = _prologue(machine)
    for name, block in _argument_checks().items():
        if (found := number(name, machine)) >= 0:
            code += _when(found, block)
    for found in numbers(MISSING, machine):
        code += _when(found, [_refuse(_ENOSYS)])
    for found in numbers(UNSUPPORTED, machine):
        code += _when(found, [_refuse(_ENOTSUP)])
    extra = ["clone", "kill", "tgkill", "prctl"]
    for low, high in _ranges(numbers(ALLOWED + ZYGOTE_ONLY + extra, machine)):
        code += [(_AT_LEAST, 0, 2, low), (_GREATER, 1, 0, high), _allow()]
    return [*code, _refuse(_EPERM)]


def child_filter(machine: str, pid: int, *, host_files: bool = False, opens: bool = True) -> Filter:
    """The second filter, for the process whose own id is `pid`: no zygote calls, no processes, no signals to others.

    `host_files`: the host's files are within reach, and the kernel's other locks do not cover their modes and times.
    Without `opens` nothing that is reached by a path can be opened, made, changed or removed.
    """
    code: Filter = [_load(0)]
    checks: dict[str, Filter] = {
        "clone": _threads_only(),
        "prctl": _one_of(0, _PRCTLS),
        "kill": _one_of(0, (pid,)),
        "tgkill": _one_of(0, (pid,)),
        "prlimit64": _one_of(0, (0, pid)),
    }
    if host_files:
        checks["truncate"] = [_refuse(_EPERM)]
        checks |= {name: [_refuse(0)] for name in PRETENDED if number(name, machine) >= 0}
    for name, block in checks.items():
        code += _when(number(name, machine), block)
    refused = numbers(ZYGOTE_ONLY if opens else [*ZYGOTE_ONLY, *PATHS], machine)
    for index, found in enumerate(refused):
        code.append((_EQUAL, len(refused) - index, 0, found))
    return [*code, _allow(), _refuse(_EPERM)]


def narrow_filter(machine: str, names: list[str]) -> Filter:
    """A filter that lets only these calls pass, of those that the first one does."""
    allowed = numbers(names, machine)
    tests = [(_EQUAL, len(allowed) - index, 0, found) for index, found in enumerate(allowed)]
    return [_load(0), *tests, _refuse(_EPERM), _allow()]


def enter(code: Filter) -> kernel.Call:
    """The call that puts the thread making it, and all that it starts, under the filter; needs no_new_privs."""
    program = b"".join(struct.pack("=HBBI", *instruction) for instruction in code)
    buffer = ctypes.create_string_buffer(program, len(program))
    _buffers.append(buffer)  # the call holds only its address
    return kernel.prepare("seccomp", 1, 0, struct.pack("=H6xQ", len(code), ctypes.addressof(buffer)))


_buffers: list[ctypes.Array[ctypes.c_char]] = []


def decide(code: Filter, call: int, arguments: tuple[int, ...], architecture: int) -> int:
    """What the filter answers to a call, computed here: the kernel's 32-bit action word."""
    data = struct.pack("=iIQ6Q", call, architecture, 0, *(tuple(arguments) + (0,) * 6)[:6])
    accumulator, at = 0, 0
    while True:
        operation, when_true, when_false, value = code[at]
        at += 1
        if operation == _RETURN:
            return value
        if operation == _LOAD:
            accumulator = int.from_bytes(data[value : value + 4], "little")
        else:
            at += when_true if _holds(operation, accumulator, value) else when_false


def _holds(operation: int, accumulator: int, value: int) -> bool:
    if operation == _EQUAL:
        return accumulator == value
    if operation == _GREATER:
        return accumulator > value
    return accumulator >= value if operation == _AT_LEAST else bool(accumulator & value)


def machine() -> str:
    """This machine's name in the tables."""
    return os.uname().machine


def _prologue(machine: str) -> Filter:
    code: Filter = [_load(4), (_EQUAL, 1, 0, ARCHITECTURE[machine]), (_RETURN, 0, 0, _KILL), _load(0)]
    if machine == "x86_64":
        code += [(_AT_LEAST, 0, 1, X32_BIT), _refuse(_ENOSYS)]
    return code


def _argument_checks() -> dict[str, Filter]:
    return {
        "mmap": _no_new_code(),
        "mprotect": [_load_low(2), (_ANY_BIT, 0, 1, _PROT_EXEC), _refuse(_EPERM), _allow()],
        "ioctl": _one_of(1, _IOCTLS),
        "fcntl": _one_of(1, _FCNTLS),
        "socketpair": _stream_pairs(),
        "sendto": [*_no_flags(3, _MESSAGE_FLAGS), *_one_of(4, (0,))],
        "recvfrom": [*_no_flags(3, _MESSAGE_FLAGS), _allow()],
        # a flag asks whether the data is in memory: what one process has read another could tell
        "preadv2": _one_of(5, (0,)),
        "pwritev2": _one_of(5, (0,)),
        "getsockopt": [*_only(1, 1), *_one_of(2, _SOCKET_OPTIONS)],
        "fallocate": [*_only(1, 0), _allow()],
        "futex": _one_of(1, _FUTEXES, _ENOSYS),
        "prlimit64": [_allow()],
    }


def _no_new_code() -> Filter:
    """mmap: executable memory only from a file, and never writable."""
    return [
        _load_low(2),
        (_ANY_BIT, 0, 4, _PROT_EXEC),
        (_ANY_BIT, 2, 0, _PROT_WRITE),
        _load_low(3),
        (_ANY_BIT, 0, 1, _MAP_ANONYMOUS),
        _refuse(_EPERM),
        _allow(),
    ]


def _threads_only() -> Filter:
    """clone: a thread of this process, in no new namespace."""
    return [
        _load_high(0),
        (_EQUAL, 0, 3, 0),
        _load_low(0),
        (_ANY_BIT, 1, 0, _CLONE_NEW_ANYTHING),
        (_ANY_BIT, 1, 0, _CLONE_THREAD),
        _refuse(_EPERM),
        _allow(),
    ]


def _stream_pairs() -> Filter:
    """socketpair: connected Unix streams only, which have no address to send elsewhere to."""
    kinds = (_SOCK_STREAM, _SOCK_STREAM | 0o2000000, _SOCK_STREAM | 0o4000, _SOCK_STREAM | _SOCK_FLAGS)
    return [_load_low(0), (_EQUAL, 1, 0, _AF_UNIX), _refuse(_EPERM), *_one_of(1, kinds)]


def _only(argument: int, value: int) -> Filter:
    """Go on if the argument, a C int, is the value; else EPERM."""
    return [_load_low(argument), (_EQUAL, 1, 0, value), _refuse(_EPERM)]


def _no_flags(argument: int, allowed: int) -> Filter:
    """Go on if the argument, a C int, has no bits but these; else EPERM."""
    return [_load_low(argument), (_ANY_BIT, 0, 1, 0xFFFFFFFF & ~allowed), _refuse(_EPERM)]


def _one_of(argument: int, values: tuple[int, ...], error: int = _EPERM) -> Filter:
    """Allow if the argument, all 64 bits of it, is one of `values`; else the error."""
    count = len(values)
    tests = [(_EQUAL, count - index, 0, value) for index, value in enumerate(values)]
    head = [_load_high(argument), (_EQUAL, 0, count + 1, 0), _load_low(argument)]
    return [*head, *tests, _refuse(error), _allow()]


def _when(found: int, block: Filter) -> Filter:
    """Run `block`, which ends in a decision on every path, for one call number only."""
    return [(_EQUAL, 0, len(block), found), *block]


def _ranges(values: Iterable[int]) -> Iterator[tuple[int, int]]:
    run: list[int] = []
    for value in values:
        if run and value != run[-1] + 1:
            yield run[0], run[-1]
            run = []
        run.append(value)
    if run:
        yield run[0], run[-1]


def _load(offset: int) -> Instruction:
    return (_LOAD, 0, 0, offset)


def _load_low(argument: int) -> Instruction:
    return _load(16 + 8 * argument)


def _load_high(argument: int) -> Instruction:
    return _load(20 + 8 * argument)


def _allow() -> Instruction:
    return (_RETURN, 0, 0, _ALLOW)


def _refuse(error: int) -> Instruction:
    return (_RETURN, 0, 0, _ERRNO | error)
