"""The filters against two oracles: libseccomp, which compiles the same rules its own way, and this machine's kernel.

The rules are stated here a second time, by the names of the calls and by what each argument means, and libseccomp makes
a program of them. What it decides and what ours decides must agree: on every call number, and around every value of an
argument that a rule looks at.
"""

from __future__ import annotations

import ctypes
import errno
import faulthandler
import json
import mmap
import os
import signal
import struct
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sandbox.kernel as kernel
from sandbox.compiler import CALLS
from sandbox.seccomp import ARCHITECTURE, child_filter, decide, enter, narrow_filter, zygote_filter
from sandbox.syscalls import ALLOWED, MACHINES, MISSING, NUMBERS, PATHS, PRETENDED, UNSUPPORTED, ZYGOTE_ONLY, number

try:
    SECCOMP = ctypes.CDLL("libseccomp.so.2", use_errno=True)
except OSError:
    SECCOMP = None

oracle = pytest.mark.skipif(SECCOMP is None, reason="libseccomp is not installed (Debian: libseccomp2)")
machines = pytest.mark.parametrize("machine", MACHINES)

ALLOW, KILL = 0x7FFF0000, 0x80000000
ERRNO, EPERM, ENOSYS, ENOTSUP = (0x00050000 | error for error in (0, 1, 38, 95))
FIRST, OTHER = 1, 4242  # the process id in a namespace of its own, and any other
FULL, LOW = (1 << 64) - 1, (1 << 32) - 1
X32 = 0x40000000
FOREIGN = (0x40000003, 0xC000003E, 0xC00000B7, 0x40000028, 0xC00000F3, 0, LOW)  # i386, the two, ARM, RISC-V, nonsense

THREAD, NAMESPACES = 1 << 16, (1 << 17, 1 << 25, 1 << 26, 1 << 27, 1 << 28, 1 << 29, 1 << 30)
READ, WRITE, EXEC, ANONYMOUS = 1, 2, 4, 0x20
IOCTLS = (0x5421, 0x5450, 0x5451, 0x541B, 0x5401, 0x5413)  # FIONBIO FIONCLEX FIOCLEX FIONREAD TCGETS TIOCGWINSZ
FCNTLS = (0, 1, 2, 3, 4, 5, 6, 7, 1030)  # F_DUPFD to F_SETLKW, F_DUPFD_CLOEXEC
MESSAGE_FLAGS = 0x2 | 0x40 | 0x100 | 0x4000  # MSG_PEEK, MSG_DONTWAIT, MSG_WAITALL, MSG_NOSIGNAL
SOCKET_OPTIONS = (3, 4, 7, 8, 30, 38, 39)
FUTEXES = tuple(operation | private for operation in (0, 1, 3, 4, 5, 9, 10, 9 | 0x100) for private in (0, 0x80))
STREAMS = tuple(1 | flags for flags in (0, 0o4000, 0o2000000, 0o2004000))  # SOCK_NONBLOCK, SOCK_CLOEXEC


# --- libseccomp -------------------------------------------------------------------------------------------------------

NOT_EQUAL, EQUAL, GREATER, MASKED = 1, 4, 6, 7
BAD_ARCHITECTURE = 2
TOKENS = ARCHITECTURE  # a token is the kernel's own number


class Comparison(ctypes.Structure):
    """struct scmp_arg_cmp."""

    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


@dataclass(frozen=True)
class Rule:
    """What happens to a call if all comparisons (argument, operator, value[, value]) hold."""

    name: str
    action: int
    when: tuple[tuple[int, ...], ...] = ()


def compile_rules(machine: str, default: int, rules: list[Rule]) -> list[tuple[int, int, int, int]]:
    """libseccomp's program for the rules."""
    SECCOMP.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(SECCOMP.seccomp_init(ctypes.c_uint32(default)))
    try:
        _architecture(context, machine)
        for rule in rules:
            _add(context, rule)
        with tempfile.TemporaryFile() as file:
            _check(SECCOMP.seccomp_export_bpf(context, file.fileno()), "export")
            file.seek(0)
            return list(struct.iter_unpack("=HBBI", file.read()))
    finally:
        SECCOMP.seccomp_release(context)


def _architecture(context: ctypes.c_void_p, machine: str) -> None:
    _check(SECCOMP.seccomp_attr_set(context, BAD_ARCHITECTURE, ctypes.c_uint32(KILL)), "attribute")
    native = SECCOMP.seccomp_arch_native()
    token = TOKENS[machine]
    if token != native % (1 << 32):
        _check(SECCOMP.seccomp_arch_add(context, ctypes.c_uint32(token)), "add")
        _check(SECCOMP.seccomp_arch_remove(context, ctypes.c_uint32(native)), "remove")


def _add(context: ctypes.c_void_p, rule: Rule) -> None:
    found = SECCOMP.seccomp_syscall_resolve_name(rule.name.encode())
    assert found != -1, f"libseccomp does not know {rule.name}"
    comparisons = (Comparison * len(rule.when))(*(Comparison(*comparison) for comparison in rule.when))
    arguments = (context, ctypes.c_uint32(rule.action), found, len(rule.when), comparisons)
    _check(SECCOMP.seccomp_rule_add_array(*arguments), rule.name)


def _check(result: int, what: str) -> None:
    assert result == 0, f"libseccomp: {what}: {os.strerror(-result)}"


def run(code: list[tuple[int, int, int, int]], call: int, arguments: tuple[int, ...], architecture: int) -> int:
    """What a classic BPF program returns for a call, by the definition of its instructions (linux/filter.h)."""
    data = struct.pack("=IIQ6Q", call % (1 << 32), architecture, 0, *(arguments + (0,) * 6)[:6])
    accumulator, index, memory, at = 0, 0, [0] * 16, 0
    while True:
        operation, yes, no, value = code[at]
        at += 1
        kind, operand = operation & 7, index if operation & 8 else value
        if kind == 6:
            return accumulator if operation & 0x18 == 0x10 else value
        if kind == 5:
            at += value if operation == 5 else yes if JUMPS[operation & 0xF0](accumulator, operand) else no
        elif kind == 4:
            accumulator = ALU[operation & 0xF0](accumulator, operand) & LOW
        elif kind in (0, 1):
            loaded = LOADS[operation & 0xE0](data, memory, value)
            accumulator, index = (loaded, index) if kind == 0 else (accumulator, loaded)
        elif kind in (2, 3):
            memory[value] = accumulator if kind == 2 else index
        else:
            accumulator, index = (index, index) if operation & 0x80 else (accumulator, accumulator)


JUMPS: dict[int, Callable[[int, int], bool]] = {
    0x10: lambda a, b: a == b,
    0x20: lambda a, b: a > b,
    0x30: lambda a, b: a >= b,
    0x40: lambda a, b: bool(a & b),
}
ALU: dict[int, Callable[[int, int], int]] = {
    0x00: lambda a, b: a + b,
    0x10: lambda a, b: a - b,
    0x20: lambda a, b: a * b,
    0x30: lambda a, b: a // b,
    0x40: lambda a, b: a | b,
    0x50: lambda a, b: a & b,
    0x60: lambda a, b: a << b,
    0x70: lambda a, b: a >> b,
    0x80: lambda a, b: -a,
    0xA0: lambda a, b: a ^ b,
}
LOADS: dict[int, Callable[[bytes, list[int], int], int]] = {
    0x00: lambda data, memory, value: value,
    0x20: lambda data, memory, value: int.from_bytes(data[value : value + 4], "little"),
    0x60: lambda data, memory, value: memory[value],
    0x80: lambda data, memory, value: len(data),
}


# --- the rules, said again --------------------------------------------------------------------------------------------


def blocks(low: int, high: int) -> Iterator[tuple[int, int]]:
    """An interval as (mask, value) pairs: the aligned powers of two that it falls into."""
    while low <= high:
        size = low & -low or 1 << 64
        while size > high - low + 1:
            size >>= 1
        yield FULL & ~(size - 1), low
        low += size


def none_of(name: str, argument: int, values: tuple[int, ...]) -> list[Rule]:
    """Refuse the call unless the argument, in all its 64 bits, is one of the values."""
    found, start = [], 0
    for value in (*sorted(values), 1 << 64):
        found += [Rule(name, EPERM, ((argument, MASKED, *block),)) for block in blocks(start, value - 1)]
        start = value + 1
    return found


def zygote_rules() -> list[Rule]:
    """An allow-list: what is not in it is refused."""
    plain = {*ALLOWED, *ZYGOTE_ONLY, "clone", "kill", "tgkill", "prctl", "prlimit64"}
    checked = [
        Rule("mmap", ALLOW, ((2, MASKED, EXEC, 0),)),
        Rule("mmap", ALLOW, ((2, MASKED, EXEC | WRITE, EXEC), (3, MASKED, ANONYMOUS, 0))),
        Rule("mprotect", ALLOW, ((2, MASKED, EXEC, 0),)),
        Rule("sendto", ALLOW, ((3, MASKED, LOW & ~MESSAGE_FLAGS, 0), (4, EQUAL, 0))),
        Rule("preadv2", ALLOW, ((5, EQUAL, 0),)),
        Rule("pwritev2", ALLOW, ((5, EQUAL, 0),)),
        Rule("recvfrom", ALLOW, ((3, MASKED, LOW & ~MESSAGE_FLAGS, 0),)),
        Rule("fallocate", ALLOW, ((1, MASKED, LOW, 0),)),
        *(Rule("getsockopt", ALLOW, ((1, MASKED, LOW, 1), (2, EQUAL, option))) for option in SOCKET_OPTIONS),
        *(Rule("futex", ALLOW, ((1, EQUAL, operation),)) for operation in FUTEXES),
        *(Rule(rule.name, ENOSYS, rule.when) for rule in none_of("futex", 1, FUTEXES)),
        *(Rule("ioctl", ALLOW, ((1, EQUAL, value),)) for value in IOCTLS),
        *(Rule("fcntl", ALLOW, ((1, EQUAL, value),)) for value in FCNTLS),
        *(Rule("socketpair", ALLOW, ((0, MASKED, LOW, 1), (1, EQUAL, value))) for value in STREAMS),
    ]
    pretended = [Rule(name, ENOSYS) for name in MISSING] + [Rule(name, ENOTSUP) for name in UNSUPPORTED]
    return [*(Rule(name, ALLOW) for name in sorted(plain)), *checked, *pretended]


@dataclass(frozen=True)
class Child:
    """The arguments of a child's filter."""

    pid: int
    host_files: bool = False
    opens: bool = True

    def __str__(self) -> str:
        return f"{self.pid}{'-host' * self.host_files}{'-closed' * (not self.opens)}"


def child_rules(child: Child) -> list[Rule]:
    """What is taken away: the zygote's calls, new processes, signals and limits of others, other process controls; and
    where nothing else keeps it from the host's files, changing those, or reaching them by a path at all.
    """
    clone = [
        Rule("clone", EPERM, ((0, GREATER, LOW),)),
        Rule("clone", EPERM, ((0, MASKED, THREAD, 0),)),
        *(Rule("clone", EPERM, ((0, MASKED, space, space),)) for space in NAMESPACES),
    ]
    signals = [Rule(name, EPERM, ((0, NOT_EQUAL, child.pid),)) for name in ("kill", "tgkill")]
    others = [*none_of("prctl", 0, (15, 16)), *none_of("prlimit64", 0, (0, child.pid))]  # PR_SET_NAME, PR_GET_NAME
    rules = [*(Rule(name, EPERM) for name in ZYGOTE_ONLY), *clone, *signals, *others]
    if child.host_files:
        rules += [Rule("truncate", EPERM), *(Rule(name, ERRNO) for name in PRETENDED)]
    if not child.opens:
        rules += [Rule(name, EPERM) for name in PATHS if not (child.host_files and name == "truncate")]
    return rules


Code = list[tuple[int, int, int, int]]


CHILDREN = [Child(pid, host, opens) for pid in (FIRST, OTHER) for host in (False, True) for opens in (True, False)]
FILTERS = ["zygote", "narrow", *CHILDREN]
Which = str | Child


@cache
def theirs(machine: str, which: Which) -> Code:
    """libseccomp's program."""
    if which == "zygote":
        return compile_rules(machine, EPERM, zygote_rules())
    if which == "narrow":
        return compile_rules(machine, EPERM, [Rule(name, ALLOW) for name in CALLS.split()])
    return compile_rules(machine, ALLOW, child_rules(which))


@cache
def ours(machine: str, which: Which) -> Code:
    """The program under test."""
    if which == "zygote":
        return zygote_filter(machine)
    if which == "narrow":
        return narrow_filter(machine, CALLS.split())
    return child_filter(machine, which.pid, host_files=which.host_files, opens=which.opens)


def signed(call: int) -> int:
    return call - (1 << 32) if call >= 1 << 31 else call


def strictest(answers: list[int]) -> int:
    """Of several filters, newest first: the kernel takes the smallest action as a signed word, of equals the newest."""
    return min(answers, key=lambda answer: signed(answer & 0xFFFF0000))


# --- cases ------------------------------------------------------------------------------------------------------------


def around(*values: int) -> set[int]:
    """The values, their neighbours, each with something in the high word, and the ends of the ranges."""
    near = {value + step for value in values for step in (-1, 0, 1)}
    high = {value | word << 32 for value in values for word in (1, 1 << 31, LOW)}
    return {value % (1 << 64) for value in near | high | {0, LOW, 1 << 31, 1 << 32, 1 << 63, FULL}}


def flags(*values: int) -> set[int]:
    """The values with each one of 64 bits turned."""
    return around(*values) | {value ^ 1 << bit for value in values for bit in range(64)}


THREAD_FLAGS = 0x003D0F00  # what the C library starts a thread with
FORK_FLAGS = 0x01200011
CASES: dict[str, tuple[dict[int, set[int]], tuple[int, ...]]] = {
    # by call: the values to try for each argument, and what the other arguments are meanwhile
    "clone": ({0: flags(THREAD_FLAGS, FORK_FLAGS, 17, THREAD)}, (THREAD_FLAGS, 1 << 40, 0, 0, 0)),
    "kill": ({0: around(FIRST, OTHER), 1: around(9)}, (FIRST, 9)),
    "tgkill": ({0: around(FIRST, OTHER), 1: around(FIRST), 2: around(9)}, (FIRST, FIRST, 9)),
    "prctl": ({0: around(1, 4, 15, 16, 22, 38, 0x53564D41)}, (15,)),
    "prlimit64": ({0: around(FIRST, OTHER), 1: around(7)}, (0, 7)),
    "mmap": (
        {2: flags(READ, READ | WRITE, READ | EXEC, 7), 3: flags(2, 0x22, 0x12, 1)},
        (0, 4096, READ | EXEC, 2, 3, 0),
    ),
    "mprotect": ({2: flags(0, READ, READ | WRITE, READ | EXEC, 7)}, (0, 4096, READ)),
    "ioctl": ({0: around(3), 1: around(*IOCTLS, 0x5412, 0x541D, 0x5423), 2: around(1)}, (0, 0x5421, 0)),
    "fcntl": ({0: around(3), 1: around(*range(18), *range(1024, 1044)), 2: around(1)}, (0, 3, 0)),
    "socketpair": (
        {0: around(0, 1, 2, 16, 17, 40), 1: around(*STREAMS, 2, 3, 5, 10), 2: around(0, 255)},
        (1, 1, 0, 0),
    ),
    "preadv2": ({5: around(0, 1, 8)}, (3, 0, 1, 0, 0, 0)),
    "pwritev2": ({5: around(0, 1, 8)}, (3, 0, 1, 0, 0, 0)),
    "recvfrom": ({3: flags(0, 0x4142), 4: around(1)}, (3, 0, 1, 0, 0, 0)),
    "getsockopt": ({1: around(0, 1), 2: around(*range(80))}, (3, 1, 3, 0, 0)),
    "fallocate": ({1: flags(0), 2: around(1)}, (3, 0, 0, 1)),
    "futex": ({1: around(*range(16), *range(128, 144), *range(256, 272), *range(384, 400))}, (0, 0x80, 0)),
    "sendto": ({3: flags(0, 0x4000), 4: flags(0, 0x7F0000000000), 5: around(16)}, (3, 0, 1, 0, 0, 0)),
    "truncate": ({0: around(1)}, (1, 1)),
    "socket": ({0: around(1, 2)}, (1, 1, 0)),
    "clone3": ({0: around(1)}, (0,)),
}


def cases_of(name: str) -> Iterator[tuple[int, ...]]:
    """Argument lists for a call: every combination of two arguments' values where two are looked at."""
    varied, rest = CASES[name]
    for argument, values in varied.items():
        for value in values:
            yield (*rest[:argument], value, *rest[argument + 1 :])
    if name in ("mmap", "socketpair"):
        (one, two), (firsts, seconds) = zip(*list(varied.items())[:2], strict=True)
        for value in (0, READ, WRITE, EXEC, 5, 6, 7, 1, 2, 1 << 32 | EXEC) if name == "mmap" else firsts:
            for other in seconds:
                arguments = [*rest, 0, 0][:6]
                arguments[one], arguments[two] = value, other
                yield tuple(arguments)


def differences(machine: str, which: Which, calls: Iterator[tuple[int, tuple[int, ...]]]) -> list[object]:
    """The calls about which the two programs disagree, with both answers."""
    mine, other, architecture = ours(machine, which), theirs(machine, which), ARCHITECTURE[machine]
    found = []
    for call, arguments in calls:
        answers = decide(mine, call, arguments, architecture), run(other, call, arguments, architecture)
        if answers[0] != answers[1]:
            found.append((call, arguments, *map(hex, answers)))
    return found


@oracle
@machines
@pytest.mark.parametrize("which", FILTERS, ids=str)
def test_every_number(machine, which):
    """On every call number the filter decides as libseccomp's, with empty arguments and with full ones."""
    calls = ((call, (value,) * 6) for call in range(601) for value in (0, 1, FULL))
    assert differences(machine, which, calls) == []


@oracle
@machines
@pytest.mark.parametrize("which", FILTERS, ids=str)
def test_arguments(machine, which):
    """Around every value and on every bit that a rule looks at the filter decides as libseccomp's."""
    calls = ((number(name, machine), case) for name in CASES if name in NUMBERS for case in cases_of(name))
    assert differences(machine, which, calls) == []


@oracle
@machines
@settings(max_examples=60)
@given(
    st.sampled_from(sorted(set(CASES) & set(NUMBERS))),
    st.lists(st.integers(0, FULL), min_size=6, max_size=6),
    st.data(),
)
def test_random_arguments(machine, name, arguments, data):
    """With any six arguments, some of them good, the filters decide as libseccomp's."""
    varied, rest = CASES[name]
    for argument in varied:
        if data.draw(st.booleans()):
            arguments[argument] = rest[argument]
    for which in FILTERS:
        assert differences(machine, which, iter([(number(name, machine), tuple(arguments))])) == []


@oracle
@machines
@pytest.mark.parametrize("child", CHILDREN, ids=str)
def test_combination(machine, child):
    """Both filters together answer what libseccomp's two together answer, as the kernel combines them."""
    architecture = ARCHITECTURE[machine]
    calls = [(call, (0,) * 6) for call in range(601)]
    calls += [
        (number(name, machine), case) for name in ("kill", "prctl", "prlimit64", "clone") for case in cases_of(name)
    ]
    for call, arguments in calls:
        mine = [decide(ours(machine, which), call, arguments, architecture) for which in (child, "zygote")]
        other = [run(theirs(machine, which), call, arguments, architecture) for which in (child, "zygote")]
        assert strictest(mine) == strictest(other), (call, arguments)


@oracle
@machines
@pytest.mark.parametrize("architecture", FOREIGN, ids=hex)
def test_foreign_architectures(machine, architecture):
    """A call under any other architecture's number ends the process, as with libseccomp."""
    if architecture != ARCHITECTURE[machine]:
        for call in (0, 1, 11, 56, 59, 220, 221, X32 + 1):
            answers = (
                decide(ours(machine, "zygote"), call, (), architecture),
                run(theirs(machine, "zygote"), call, (), architecture),
            )
            assert answers == (KILL, KILL), call


@oracle
@pytest.mark.parametrize("call", [X32, X32 + 1, X32 + 56, X32 + 512, X32 + 547, (1 << 31) - 1, -1 << 31, -2, -1])
def test_x32_numbers(call):
    """Numbers with the x32 bit or above pass neither filter; ours answers as if the kernel had no x32."""
    architecture = ARCHITECTURE["x86_64"]
    assert decide(ours("x86_64", "zygote"), call, (), architecture) == ENOSYS
    assert run(theirs("x86_64", "zygote"), call, (), architecture) in (KILL, EPERM)


@machines
@pytest.mark.parametrize("which", FILTERS, ids=str)
def test_programs_are_the_kernels_kind(machine, which):
    """Every jump lands inside the program, every load inside the call's data, and every path ends in a return."""
    code = ours(machine, which)
    assert len(code) <= 4096
    for at, (operation, yes, no, value) in enumerate(code):
        if operation & 7 == 5:
            assert at + 1 + max(yes, no) < len(code)
            assert max(yes, no) < 256
        elif operation & 7 == 0:
            assert operation == 0x20 and value % 4 == 0 and value < 64
    assert code[-1][0] == 6


# --- this machine's kernel --------------------------------------------------------------------------------------------

MACHINE = os.uname().machine
PAGE = 4096
HARMLESS = """
    getpid gettid getppid getuid geteuid getgid getegid sched_yield umask uname sysinfo getcwd getrandom clock_gettime
    getrusage times sigaltstack rt_sigpending getitimer close dup dup3 fstat lseek pread64 pwrite64 readv writev fcntl
    flock fsync fdatasync ftruncate fallocate fadvise64 getdents64 fchdir fstatfs pipe2 ppoll epoll_create1 epoll_ctl
    eventfd2 statx openat faccessat readlinkat munmap madvise msync getsockname getpeername shutdown recvfrom wait4
    getpgid getsid getpriority sched_getaffinity capget getcpu membarrier
"""
UNFILTERED = (
    335,
    336,
)  # uretprobe, uprobe: the kernel asks no filter, and sends SIGILL to any caller but its own probe
real = pytest.mark.skipif(not kernel.supported(), reason="not Linux on x86-64 or aarch64")


@dataclass(frozen=True)
class Answers:
    """What a process under the filters saw: its own id, and for each call its result and errno; how it ended."""

    pid: int
    results: list[tuple[int, int]]
    ending: int


Step = Callable[[], tuple[int, int]]
Prepare = Callable[[int], list[Step]]


def answers(child: Callable[[int], Code] | None, prepare: Prepare) -> Answers:
    """Fork a process, prepare steps there, put it under the zygote's filter and perhaps a child's, take the steps."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        _answer(writing, child, prepare)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        text = pipe.read()
    return Answers(pid, [tuple(pair) for pair in json.loads(text or b"[]")], os.waitpid(pid, 0)[1])


def _answer(writing: int, child: Callable[[int], Code] | None, prepare: Prepare) -> None:
    try:
        faulthandler.disable()  # the process may be meant to die
        ready = prepare(os.getpid())
        filters = [zygote_filter(MACHINE)] + ([] if child is None else [child(os.getpid())])
        entries = [enter(code) for code in filters]
        kernel.make(kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1))
        for entry in entries:
            kernel.make(entry)
        os.write(writing, json.dumps([step() for step in ready]).encode())
    finally:
        os._exit(0)


def raw(call: int, *arguments: int) -> tuple[int, int]:
    """Make a system call: its result and errno."""
    libc = ctypes.PyDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    ctypes.set_errno(0)
    wide = [ctypes.c_ulong(value) for value in (arguments + (0,) * 6)[:6]]
    return libc.syscall(ctypes.c_long(call), *wide), ctypes.get_errno()


def steps(calls: list[tuple[int, ...]]) -> list[Step]:
    return [partial(raw, *call) for call in calls]


def agrees(decision: int, result: int, error: int) -> bool:
    """Whether the kernel's answer is the filter's: its errno, or for an allowed call none that a filter gives."""
    if decision == ALLOW:
        return error not in (errno.EPERM, errno.ENOSYS, errno.ENOTSUP)
    return (result, error) == ((-1, decision & 0xFFFF) if decision & 0xFFFF else (0, 0))


def decided(child: Child, call: tuple[int, ...]) -> int:
    filters = (ours(MACHINE, child), ours(MACHINE, "zygote"))
    return strictest([decide(code, call[0], call[1:], ARCHITECTURE[MACHINE]) for code in filters])


children = pytest.mark.parametrize("child", CHILDREN[:4], ids=str)


def check(child: Child, calls: Callable[[int], list[tuple[int, ...]]]) -> None:
    """In a process of that kind, whatever its id, the kernel answers each call as `decide` says."""
    seen = answers(lambda pid: ours(MACHINE, replace(child, pid=pid)), lambda pid: steps(calls(pid)))
    made = calls(seen.pid)
    assert seen.ending == 0 and len(seen.results) == len(made)
    wrong = [
        (call, result)
        for call, result in zip(made, seen.results, strict=True)
        if not agrees(decided(replace(child, pid=seen.pid), call), *result)
    ]
    assert wrong == []


@real
@children
def test_kernel_refuses(child):
    """Each number that the filters refuse is refused by the kernel with the very errno; none of them is carried out."""
    extra = [X32 + call for call in (0, 1, 39, 59, 520)] if MACHINE == "x86_64" else []
    passed = UNFILTERED if MACHINE == "x86_64" else ()

    def refused(pid: int, call: int) -> bool:
        return decided(replace(child, pid=pid), (call,)) != ALLOW

    def calls(pid: int) -> list[tuple[int, ...]]:
        return [(call,) for call in (*range(601), *extra) if call not in passed and refused(pid, call)]

    check(child, calls)


BAD = 1 << 46  # an address that no process has


def argument_calls(pid: int) -> list[tuple[int, ...]]:
    """Calls that do no harm even if they are let through: bad addresses, bad descriptors, signal 0, unused values."""
    none, own = LOW, pid
    named = [
        *(("mmap", 0, PAGE, protection, kind, none, 0) for protection in range(8) for kind in (0x22, 0x21, 2, 1)),
        ("mmap", 0, PAGE, 1 << 32 | EXEC | WRITE, 0x22, none, 0),
        *(("mprotect", 0, 0, protection) for protection in range(8)),
        ("clone", 0, 0, 0, 0, 0),
        ("clone", 17, 0, 0, 0, 0),
        *(("clone", THREAD | space, 0, 0, 0, 0) for space in NAMESPACES),
        ("clone", THREAD | 1 << 33, 0, 0, 0, 0),
        ("clone", THREAD, 0, 0, 0, 0),  # allowed; the kernel wants CLONE_SIGHAND and CLONE_VM beside it
        ("kill", own, 0),
        ("tgkill", own, own, 0),
        ("tgkill", own, own + 1, 0),
        *((name, target, 0) for name in ("kill", "tgkill") for target in (0, 1, FULL, own | 1 << 32)),
        ("prctl", 15, BAD, 0, 0, 0),
        ("prctl", 16, BAD, 0, 0, 0),
        *(("prctl", option) for option in (2, 3, 21, 23, 39, 15 | 1 << 32, FULL)),
        *(("prlimit64", target, 7, 0, BAD) for target in (0, own, 1, own | 1 << 32)),
        *(("ioctl", none, request, BAD) for request in (*IOCTLS, 0x5412, 0x541D, 0x5421 | 1 << 32)),
        *(("fcntl", none, command, 0) for command in (*FCNTLS, 8, 10, 15, 1024, 1026, 1031, 1033, 3 | 1 << 32)),
        *(("socketpair", family, kind, 0, BAD) for family in (0, 1, 2, 16, 1 | 1 << 32) for kind in (*STREAMS, 2, 5)),
        *(("sendto", none, BAD, 1, 0, address, 16) for address in (0, BAD, 1 << 32)),
        ("truncate", BAD, 0),
    ]
    return [(number(name, MACHINE), *arguments) for name, *arguments in named]


@real
@children
def test_kernel_reads_arguments(child):
    """Where arguments decide, the kernel's answers are those that `decide` computes."""
    check(child, argument_calls)


@real
@children
def test_kernel_allows(child):
    """What the filters allow reaches the kernel: each gives its own answer, not a filter's."""
    check(child, lambda pid: [(number(name, MACHINE), LOW, BAD, BAD, BAD, BAD, BAD) for name in HARMLESS.split()])


@real
def test_kernel_without_a_childs_filter():
    """The zygote's filter alone answers as `decide` says, for what the child's would take away."""
    calls = [(number(name, MACHINE), LOW, BAD, BAD, BAD, BAD) for name in ("pidfd_send_signal", "sendmsg", "recvmsg")]
    seen = answers(None, lambda pid: steps(calls))
    assert [error for _, error in seen.results] == [errno.EBADF] * 3


@real
@pytest.mark.skipif(MACHINE != "x86_64", reason="the 32-bit entry is x86's")
def test_kernel_kills_the_other_entry():
    """int 0x80, which would give a 64-bit program the 32-bit call table, ends the process."""
    seen = answers(None, _thirty_two_bit_getpid)
    if os.WTERMSIG(seen.ending) == signal.SIGSEGV:
        pytest.skip("this kernel has no 32-bit calls")
    assert os.WTERMSIG(seen.ending) == signal.SIGSYS


def _thirty_two_bit_getpid(pid: int) -> list[Step]:
    page = mmap.mmap(-1, PAGE, prot=7)
    page.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")  # mov eax, 20; int 0x80; ret
    entry = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    return [lambda kept=page: (entry(), len(kept))]


def test_oracle_is_there():
    """libseccomp is installed where this runs; without it the comparisons above are skipped."""
    if SECCOMP is None:
        pytest.skip("libseccomp is not installed (Debian: libseccomp2)")
    version = ctypes.cast(SECCOMP.seccomp_version, ctypes.CFUNCTYPE(ctypes.POINTER(ctypes.c_uint * 3)))().contents
    assert tuple(version) >= (2, 5, 0), sys.version
