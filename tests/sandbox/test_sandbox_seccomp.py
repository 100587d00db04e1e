"""The system call filters decide as intended: both architectures, every number, both halves of an argument."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.seccomp import ARCHITECTURE, child_filter, decide, zygote_filter
from sandbox.syscalls import ALLOWED, MACHINES, NUMBERS, ZYGOTE_ONLY, number

ALLOW, KILL = 0x7FFF0000, 0x80000000
EPERM, ENOSYS, ENOTSUP = (0x00050000 | error for error in (1, 38, 95))
PID = 1

machines = pytest.mark.parametrize("machine", MACHINES)


def verdict(machine: str, call: int, *arguments: int) -> int:
    """What a child's two filters answer together: the stricter of both."""
    answers = [
        decide(code, call, arguments, ARCHITECTURE[machine])
        for code in (zygote_filter(machine), child_filter(machine, PID))
    ]
    return KILL if KILL in answers else next((answer for answer in answers if answer != ALLOW), ALLOW)


@machines
def test_only_listed_calls_pass(machine):
    """No number outside the allow-list passes, whatever its arguments are."""
    checked = {
        number(name, machine)
        for name in (
            "mmap",
            "mprotect",
            "ioctl",
            "fcntl",
            "socketpair",
            "sendto",
            "recvfrom",
            "preadv2",
            "pwritev2",
            "getsockopt",
            "fallocate",
            "futex",
            "prlimit64",
            "clone",
            "kill",
            "tgkill",
            "prctl",
        )
    }
    listed = {number(name, machine) for name in ALLOWED}
    for call in range(1200):
        passes = verdict(machine, call, 0, 0, 0, 0, 0, 0) == ALLOW
        assert not passes or call in listed | checked, call
        assert call not in listed or passes, call


@machines
def test_foreign_architecture_is_killed(machine):
    """A call through another architecture's entry ends the process."""
    assert decide(zygote_filter(machine), 1, (), 0x40000003) == KILL


def test_x32_calls_do_not_exist():
    """The x32 numbers of x86-64 are answered as if the kernel did not know them."""
    assert verdict("x86_64", 0x40000000 + 1) == ENOSYS


@machines
def test_zygote_keeps_what_it_needs(machine):
    """What only the zygote may do passes the first filter and not the second."""
    for name in ZYGOTE_ONLY:
        call = number(name, machine)
        assert decide(zygote_filter(machine), call, (), ARCHITECTURE[machine]) == ALLOW
        assert verdict(machine, call) == EPERM


@machines
def test_clone_makes_threads_only(machine):
    """clone passes with the flags of a thread, not without CLONE_THREAD, not with a new namespace."""
    call, thread = number("clone", machine), 0x003D0F00
    assert verdict(machine, call, thread) == ALLOW
    assert verdict(machine, call, 17) == EPERM
    for namespace in (1 << 17, 1 << 25, 1 << 26, 1 << 27, 1 << 28, 1 << 29, 1 << 30):
        assert verdict(machine, call, thread | namespace) == EPERM
    assert verdict(machine, number("clone3", machine)) == ENOSYS


@machines
def test_signals_stay_at_home(machine):
    """kill and tgkill reach the process itself only: no group, no parent, nobody else."""
    for name in ("kill", "tgkill"):
        call = number(name, machine)
        assert verdict(machine, call, PID, 9) == ALLOW
        for target in (0, 2, (1 << 64) - 1, (1 << 32) - 1, (1 << 32) | PID):
            assert verdict(machine, call, target, 9) == EPERM


@machines
def test_memory_is_never_writable_and_executable(machine):
    """mmap gives executable memory only from a file and read-only; mprotect never."""
    call = number("mmap", machine)
    private, anonymous = 2, 0x22
    assert verdict(machine, call, 0, 4096, 3, anonymous) == ALLOW
    assert verdict(machine, call, 0, 4096, 5, private) == ALLOW
    assert verdict(machine, call, 0, 4096, 5, anonymous) == EPERM
    assert verdict(machine, call, 0, 4096, 7, private) == EPERM
    assert verdict(machine, number("mprotect", machine), 0, 4096, 3) == ALLOW
    assert verdict(machine, number("mprotect", machine), 0, 4096, 5) == EPERM


@machines
def test_attributes_are_unsupported(machine):
    """Extended attributes look as on a file system without them."""
    assert verdict(machine, number("listxattr", machine)) == ENOTSUP


ONE_OF = {
    "ioctl": (1, 0x5421),
    "fcntl": (1, 3),
    "sendto": (4, 0),
    "preadv2": (5, 0),
    "pwritev2": (5, 0),
    "prctl": (0, 15),
    "prlimit64": (0, 0),
    "kill": (0, PID),
}


@machines
@given(st.sampled_from(sorted(ONE_OF)), st.integers(0, 5), st.integers(1, (1 << 32) - 1))
def test_high_words_are_compared(machine, name, position, high):
    """An argument that is right in its low half and not zero in its high half is refused."""
    index, good = ONE_OF[name]
    arguments = [0] * 6
    arguments[index] = good
    assert verdict(machine, number(name, machine), *arguments) == ALLOW
    arguments[index] = good | high << 32
    assert verdict(machine, number(name, machine), *arguments) == EPERM


@pytest.mark.parametrize(
    ("machine", "header"),
    [
        ("x86_64", "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
        ("aarch64", "/usr/include/aarch64-linux-gnu/asm/unistd_64.h"),
    ],
)
def test_numbers_are_the_kernels(machine, header):
    """The table agrees with the kernel's own header, where it is installed."""
    if not Path(header).exists():
        pytest.skip("the kernel's headers are not installed")
    defined = dict(re.findall(r"#define __NR_(\w+)\s+(\d+)", Path(header).read_text()))
    for name, numbers in NUMBERS.items():
        mine = numbers[MACHINES.index(machine)]
        assert mine == int(defined.get(name, -1)), name


def test_generic_numbers_are_the_kernels():
    """The aarch64 column agrees with the header of the generic table."""
    header = Path("/usr/include/asm-generic/unistd.h")
    if not header.exists():
        pytest.skip("the kernel's headers are not installed")
    defined = dict(re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", header.read_text()))
    for name, (_, mine) in NUMBERS.items():
        assert mine == -1 or name not in defined or mine == int(defined[name]), name
