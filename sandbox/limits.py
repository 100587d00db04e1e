"""Resource limits that the kernel keeps for a child, set before anything of the program runs."""

from __future__ import annotations

import resource
import struct
from dataclasses import dataclass
from functools import lru_cache

import sandbox.kernel as kernel

_MB = 1 << 20
_STACK = 64 * _MB
_FILES = 256
_CPU_MARGIN = 5


@dataclass(frozen=True, slots=True)
class Quota:
    """A job's limits in the zygote's units; `threads` is None where the kernel would count the user's other processes
    too.
    """

    cpu_seconds: float
    wall_seconds: float
    memory_mb: int
    threads: int | None
    output_bytes: int
    file_mb: int


def address_space() -> int:
    """Bytes of address space that this process uses before any program runs."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


@lru_cache(maxsize=64)
def calls(quota: Quota, base: int) -> tuple[kernel.Call, ...]:
    """The calls that limit the process which makes them; `base` is what it uses already. It cannot raise the limits
    again.
    """
    values = {
        resource.RLIMIT_AS: base + quota.memory_mb * _MB,
        resource.RLIMIT_FSIZE: quota.file_mb * _MB,
        resource.RLIMIT_CPU: int(quota.cpu_seconds) + _CPU_MARGIN,  # behind the zygote, which looks at the clock itself
    }
    if quota.threads is not None:
        values[resource.RLIMIT_NPROC] = quota.threads
    return tuple(_set(kind, value) for kind, value in values.items())


def common() -> tuple[kernel.Call, ...]:
    """The calls that limit the zygote as much as any child, which inherits them."""
    values = {
        resource.RLIMIT_NOFILE: _FILES,
        resource.RLIMIT_STACK: _STACK,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
    }
    return tuple(_set(kind, value) for kind, value in values.items())


def _set(kind: int, value: int) -> kernel.Call:
    _, hard = resource.getrlimit(kind)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    return kernel.prepare("prlimit64", 0, kind, struct.pack("=QQ", value, value), None)
