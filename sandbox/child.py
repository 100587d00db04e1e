"""From the zygote's clone to the first line of a role: locks every door behind it, in the order in which they still
have keys.
"""

from __future__ import annotations

import os
import select
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, lru_cache

import sandbox.kernel as kernel
import sandbox.landlock as landlock
import sandbox.seccomp as seccomp
from sandbox.kernel import make_all

SIGKILL = 9
_PAUSES = (0.01, 0.05, 0.2, 0.5, 1.0)
OUTPUT, LINK, VERDICT, COMPLAINTS = 1, 3, 4, 5
"""Descriptors of a child; the zygote keeps 3 and 4 occupied so that nothing else gets these numbers. On COMPLAINTS a
child says what went wrong while it fenced itself in; it is closed before anything of the program runs.
"""


@dataclass(frozen=True, slots=True)
class Layers:
    """Which layers a child puts around itself."""

    new_pids: bool
    identity: int | None  # the user to become
    rules: int | None  # descriptor of Landlock rules
    filtered: bool
    host_files: bool  # the host's files are within reach
    opens: bool  # it may open files at all


@dataclass(frozen=True, slots=True)
class Fence:
    """The layers as calls, made ready once by the zygote."""

    clone: kernel.Call
    rights: tuple[kernel.Call, ...]
    parent_gone: kernel.Call
    filters: tuple[kernel.Call, ...]  # last, for they forbid what the others do
    layers: Layers


_HANG_UP = kernel.prepare("close", COMPLAINTS)
Calls = tuple[kernel.Call, ...]
Doors = tuple[int, int | None, int]
"""Descriptors of one child: its end of the link, the verdict's channel (grader only), where its output goes."""


def fence(layers: Layers, parent: int) -> Fence:
    """The calls for these layers; `parent` is a descriptor of the zygote's process."""
    rights = [kernel.drop_capabilities(), kernel.prctl(kernel.PR_SET_DUMPABLE, 0)]
    if layers.identity is not None:  # a change of user drops capabilities and dumps by itself
        ids = (layers.identity, layers.identity, layers.identity)
        rights = [
            kernel.prepare("setgroups", 0, None),
            kernel.prepare("setresgid", *ids),
            kernel.prepare("setresuid", *ids),
        ]
    files = [] if layers.rules is None else [landlock.restrict(layers.rules)]
    # the filter of a process that is not the first of its namespace needs its process id
    ready = layers.filtered and layers.new_pids and not layers.host_files
    return Fence(
        clone=kernel.clone(kernel.CLONE_NEWPID if layers.new_pids else 0),
        rights=(kernel.prepare("setsid"), *rights, *files, kernel.prctl(kernel.PR_SET_PDEATHSIG, SIGKILL)),
        parent_gone=kernel.prepare("ppoll", struct.pack("=iHH", parent, select.POLLIN, 0), 1, bytes(16), None, 0),
        filters=(_first_process_filter(),) if ready else (),
        layers=layers,
    )


def start(role: Callable[[], None], fence: Fence, limited: Calls, doors: Doors, *, only: str = "") -> int:
    """Clone a child that fences itself in and then plays `role`; returns its process id.

    `limited` are the calls that limit it, from limits.py.
    `only`: the calls that it may make from then on, instead of what a program may.
    """
    last = _arrange(*doors)
    layers = fence.layers
    filters = (_narrow_filter(only),) if only and layers.filtered else fence.filters
    try:
        pid = kernel.make(fence.clone)
    except BlockingIOError:
        pid = _clone_later(fence.clone)
    if pid:
        return pid
    try:
        make_all(limited)
        make_all(fence.rights)
        if kernel.make(fence.parent_gone):  # before the kernel was told to kill this process with its parent
            os._exit(1)
        make_all(last)
        make_all(filters)
        if layers.filtered and not filters:
            kernel.make(seccomp.enter(_own_filter(layers)))
        kernel.make(_HANG_UP)
    except BaseException as error:  # nothing may return into the zygote's loop
        os.write(COMPLAINTS, f"{type(error).__name__}: {error}"[:512].encode("utf-8", "replace"))
        os._exit(1)
    try:
        role()
    finally:
        os._exit(1)


def _clone_later(call: kernel.Call) -> int:
    """The child's process id, 0 in the child; waits a little, since the machine has no room for a process just now."""
    for pause in _PAUSES:
        time.sleep(pause)
        with suppress(BlockingIOError):
            return kernel.make(call)
    return kernel.make(call)


def _own_filter(layers: Layers) -> seccomp.Filter:
    pid = 1 if layers.new_pids else os.getpid()
    return seccomp.child_filter(seccomp.machine(), pid, host_files=layers.host_files, opens=layers.opens)


@cache
def _narrow_filter(names: str) -> kernel.Call:
    return seccomp.enter(seccomp.narrow_filter(seccomp.machine(), names.split()))


@cache
def _first_process_filter() -> kernel.Call:
    return seccomp.enter(seccomp.child_filter(seccomp.machine(), 1))


@lru_cache(maxsize=64)
def _arrange(link: int, verdict: int | None, output: int) -> Calls:
    """0: nothing; 1 and 2: output; 3: the link; 4: the verdict's channel, in the grader only; 5: complaints."""
    fourth = ("close", VERDICT) if verdict is None else ("dup3", verdict, VERDICT, 0)
    return (
        kernel.prepare("dup3", output, OUTPUT, 0),
        kernel.prepare("dup3", output, 2, 0),
        kernel.prepare("dup3", link, LINK, 0),
        kernel.prepare(*fourth),
        kernel.prepare("close_range", COMPLAINTS + 1, 0x7FFFFFFF, 0),
    )
