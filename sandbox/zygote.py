"""The process that every program is forked from: warm, fenced in, and never a reader of anything untrusted.

Started by worker.py as a fresh interpreter with an empty environment. It enters the isolation once, then, for each
round, forks the program's process and the tests' process, watches their limits, ends both, and reports what they
used. Tests and program travel past it, inside a descriptor: its memory, which every child inherits, holds nothing of
any job.
"""

from __future__ import annotations

import _socket
import fcntl
import gc
import importlib
import json
import os
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import sandbox.candidate as candidate
import sandbox.child as child
import sandbox.grader as grader
import sandbox.kernel as kernel
import sandbox.landlock as landlock
import sandbox.limits as limits
import sandbox.namespaces as namespaces
import sandbox.seccomp as seccomp
import sandbox.snippets as snippets
from sandbox.watch import Pair, watch

if TYPE_CHECKING:
    import io

_HIGH = 10
THREAD_STACK = 4 << 20
SYSTEM_PATHS = ("/usr/lib", "/usr/lib64", "/usr/lib32", "/lib", "/lib64", "/usr/share/zoneinfo")
PRELOADED = [
    "abc",
    "bisect",
    "cmath",
    "collections.abc",
    "contextlib",
    "copy",
    "dataclasses",
    "datetime",
    "decimal",
    "enum",
    "fractions",
    "functools",
    "heapq",
    "io",
    "itertools",
    "json",
    "math",
    "operator",
    "random",
    "re",
    "string",
    "struct",
    "time",
    "types",
    "typing",
]


@dataclass(frozen=True, slots=True)
class Settings:
    """How a zygote is started: the level to reach, a folder of its own for levels without mounts, packages to offer."""

    level: str
    folder: str
    packages: tuple[str, ...]
    coordinator: int


def main(control: int, text: str) -> None:
    """Enter the sandbox, say so, serve rounds until the coordinator is gone."""
    settings = Settings(**{**json.loads(text), "packages": tuple(json.loads(text)["packages"])})
    channel = _socket.socket(fileno=fcntl.fcntl(control, fcntl.F_DUPFD_CLOEXEC, _HIGH))
    os.close(control)
    try:
        zygote = Zygote(channel, settings)
    except OSError as error:
        _send(channel, {"broken": f"{error}"})
        os._exit(1)
    # after the last change of rights, which would undo it
    kernel.make(kernel.prctl(kernel.PR_SET_PDEATHSIG, child.SIGKILL))
    if os.getppid() != settings.coordinator:
        os._exit(1)
    _send(channel, {"level": settings.level})
    while True:
        zygote.serve()


class Zygote:
    """Holds the fence and the temporary folder between rounds."""

    def __init__(self, channel: _socket.socket, settings: Settings) -> None:
        self._channel = channel
        self._settings = settings
        _warm_up()
        self._base = limits.address_space()
        self._complaints = _keep_numbers()
        self._tmp = namespaces.TMP if settings.level == "L0" else os.path.join(settings.folder, "tmp")
        self._site = namespaces.SITE if settings.level == "L0" else os.path.join(settings.folder, "site")
        self._tmp_mb = 16
        self._rules: int | None = None
        self._others = _counted(settings)
        self._layers = self._isolate()
        self._own = os.pidfd_open(os.getpid())
        self._fence = child.fence(self._layers, self._own, self._base)
        self._clean = _fingerprint(self._tmp)
        gc.collect()
        gc.freeze()

    def serve(self) -> None:
        """One round: a header with limits and one descriptor in, a report out."""
        data, ancillary, _, _ = self._channel.recvmsg(4096, _socket.CMSG_SPACE(4))
        if not data:
            os._exit(0)
        verdict = int.from_bytes(ancillary[0][2], sys.byteorder)
        try:
            report = self._round(_quota(json.loads(data), self._others), verdict)
        except OSError as error:
            report = {"broken": str(error)}
        _send(self._channel, report)

    def _isolate(self) -> child.Layers:
        level = self._settings.level
        identity = _identity(self._settings)
        with suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write("1000")  # a wish: when memory runs out, programs go first
        readable = [*SYSTEM_PATHS, os.path.dirname(os.path.dirname(os.__file__))]
        if level == "L0":
            namespaces.enter_namespaces()
            namespaces.build_root(_outermost(readable), self._settings.packages, _hidden(), self._tmp_mb)
        else:
            self._prepare_folder(identity)
        kernel.make(kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1))
        self._readable = ["/"] if level == "L0" else [*readable, *self._settings.packages, self._site]
        self._make_rules(required=level == "L1")
        os.chdir(self._tmp)
        sys.path[:] = [*sys.path, self._site]
        filtered = self._filter(required=level != "unsafe")
        return child.Layers(level == "L0", identity, self._rules, filtered)

    def _filter(self, *, required: bool) -> bool:
        try:
            kernel.make(seccomp.enter(seccomp.zygote_filter(seccomp.machine())))
        except OSError:
            if required:
                raise
            return False
        return True

    def _prepare_folder(self, owner: int | None) -> None:
        for path in (self._tmp, self._site):
            os.makedirs(path, exist_ok=True)
        for package in self._settings.packages:
            os.symlink(package, os.path.join(self._site, os.path.basename(package)))
        if owner is not None:
            os.chmod(self._settings.folder, 0o711)
            os.chown(self._tmp, owner, owner)
        os.environ["TMPDIR"] = os.environ["HOME"] = self._tmp

    def _make_rules(self, *, required: bool) -> None:
        if self._rules is not None:
            os.close(self._rules)
        if landlock.version():
            self._rules = landlock.ruleset(self._readable, [self._tmp], list(namespaces.DEVICES))
        elif required:
            raise OSError("this kernel has no Landlock (Linux 5.13 or later, enabled at boot)")

    def _round(self, quota: limits.Quota, verdict: int) -> dict[str, Any]:
        self._resize(quota.file_mb)
        program_end, grader_end = _socket.socketpair()
        output, feed = os.pipe()
        program_doors = child.Doors(program_end.fileno(), None, feed)
        grader_doors = child.Doors(grader_end.fileno(), verdict, feed)
        try:
            pair = self._start(quota, program_doors, grader_doors)
        finally:
            program_end.close()
            grader_end.close()
            os.close(feed)
            os.close(verdict)
        report = watch(pair, quota, output, self._channel.fileno())
        os.close(output)
        self._wipe()
        complaint = _complaint(self._complaints)
        return {**report, "broken": complaint} if complaint else report

    def _start(self, quota: limits.Quota, program_doors: child.Doors, grader_doors: child.Doors) -> Pair:
        layers, fence = self._layers, self._fence
        program = child.start(lambda: candidate.main(child.LINK), layers, fence, quota, program_doors)
        try:
            tests = child.start(lambda: grader.main(child.LINK, child.VERDICT), layers, fence, quota, grader_doors)
        except OSError:
            os.kill(program, child.SIGKILL)
            os.waitpid(program, 0)
            raise
        return Pair(program, tests)

    def _resize(self, size_mb: int) -> None:
        if self._settings.level == "L0" and size_mb != self._tmp_mb:
            self._tmp_mb = size_mb
            self._remount()

    def _wipe(self) -> None:
        """Empty the temporary folder if anything was done to it: a change of entries or mode shows in its times."""
        if _fingerprint(self._tmp) == self._clean:
            return
        if self._settings.level == "L0":
            self._remount()
        else:
            _empty(self._tmp)
            self._clean = _fingerprint(self._tmp)

    def _remount(self) -> None:
        os.chdir("/")
        namespaces.unmount_tmp()
        namespaces.mount_tmp(self._tmp_mb)
        os.chdir(self._tmp)
        self._clean = _fingerprint(self._tmp)
        self._make_rules(required=False)
        self._layers = replace(self._layers, rules=self._rules)
        self._fence = child.fence(self._layers, self._own, self._base)


def _warm_up() -> None:
    """Pay once, here, for what every child would otherwise import, compile or build anew."""
    for name in PRELOADED:
        importlib.import_module(name)
    threading.stack_size(THREAD_STACK)
    for stream in (sys.stdout, sys.stderr):
        cast("io.TextIOWrapper", stream).reconfigure(errors="backslashreplace")
    exec(snippets.prepare("assert 1 == 1").code, {snippets.COMPARE: lambda *_: True})


def _keep_numbers() -> int:
    """Occupy the descriptors that children use for themselves; returns where complaints can be read."""
    reading, writing = os.pipe2(os.O_NONBLOCK)
    high = fcntl.fcntl(reading, fcntl.F_DUPFD_CLOEXEC, _HIGH)
    os.dup2(writing, child.COMPLAINTS)
    for number in (child.LINK, child.VERDICT):
        os.dup2(0, number)
    return high


def _complaint(descriptor: int) -> str:
    try:
        return os.read(descriptor, 1024).decode("utf-8", "replace")
    except BlockingIOError:
        return ""


def _fingerprint(path: str) -> tuple[int, int, int, int]:
    state = os.stat(path)
    return state.st_mtime_ns, state.st_ctime_ns, state.st_mode, state.st_nlink


def _empty(folder: str) -> None:
    """Delete what a program left behind: any depth, for what lies deeper is first moved up, and folders that it made
    unreadable.
    """
    moved = 0
    while entries := list(os.scandir(folder)):
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.path)
                continue
            os.chmod(entry.path, 0o700)
            for child_entry in list(os.scandir(entry.path)):
                if child_entry.is_dir(follow_symlinks=False):
                    os.chmod(child_entry.path, 0o700)
                moved += 1
                os.rename(child_entry.path, os.path.join(folder, f".{moved}"))
            os.rmdir(entry.path)


def _outermost(paths: list[str]) -> list[str]:
    """Without those that lie below another."""
    return [path for path in paths if not any(path != other and path.startswith(f"{other}/") for other in paths)]


def _hidden() -> list[str]:
    """Folders of other people's packages inside the standard library's."""
    library = os.path.dirname(os.__file__)
    return [os.path.join(library, name) for name in ("site-packages", "dist-packages")]


def _quota(header: dict[str, Any], others: int | None) -> limits.Quota:
    """The header's limits; the two processes of a round count among the threads."""
    threads = None if others is None else header["processes"] + others
    output = header["output_kb"] << 10
    return limits.Quota(
        header["cpu_seconds"], header["wall_seconds"], header["memory_mb"], threads, output, header["file_mb"]
    )


def _identity(settings: Settings) -> int | None:
    """The user that children become: needs a root's zygote, and a library and a folder that others can reach."""
    if os.geteuid() != 0:
        return None
    if settings.level == "L0":
        return namespaces.INSIDE_ID
    reachable = _open_to_all(os.path.dirname(os.__file__)) and _open_to_all(os.path.dirname(settings.folder))
    return namespaces.outside_id(os.getpid()) if reachable else None


def _open_to_all(path: str) -> bool:
    above = [path[:end] for end in range(1, len(path) + 1) if path[end : end + 1] in ("/", "")]
    return all(os.stat(folder).st_mode & 0o001 for folder in above)


def _counted(settings: Settings) -> int | None:
    """How many processes of a round the kernel counts against the program's limit; None where it counts all of the
    user's.
    """
    if _identity(settings) is not None:
        return 2
    return 3 if settings.level == "L0" else None


def _send(channel: _socket.socket, message: dict[str, Any]) -> None:
    channel.send(json.dumps(message).encode())
