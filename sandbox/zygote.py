"""The process that every program is forked from: warm, fenced in, and never a reader of anything untrusted.

Started by worker.py as a fresh interpreter with an empty environment. It enters the isolation once, then, for each
round, forks the processes of that kind of round, watches their limits, ends them, and reports what they used. Tests
and program travel past it, inside descriptors: its memory, which every child inherits, holds nothing of any job.
"""

from __future__ import annotations

import _socket
import gc
import json
import marshal
import os
import select
import struct
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import sandbox.candidate as candidate
import sandbox.child as child
import sandbox.compiler as compiler
import sandbox.folders as folders
import sandbox.grader as grader
import sandbox.hotpages as hotpages
import sandbox.limits as limits
import sandbox.rehearsal as rehearsal
import sandbox.screen as screen
import sandbox.script as script
import sandbox.trials as trials
from sandbox.enclosure import Enclosure, Settings, kept
from sandbox.watch import Watch

_MANY_ORDERS = 100
_DOORS = {size: struct.Struct(f"{size // 4}i").unpack for size in (4, 8)}
"""How descriptors that came along are read, by how many bytes they take."""
Pair = tuple[int, int]
"""The process ids of the program and of the tests, which are one where they share a process."""
_COMPILER = limits.Quota(cpu_seconds=3600, wall_seconds=0, memory_mb=1024, threads=None, output_bytes=0, file_mb=0)
_TRIAL = limits.Quota(cpu_seconds=10, wall_seconds=0, memory_mb=512, threads=None, output_bytes=0, file_mb=1)


@dataclass(frozen=True, slots=True)
class Order:
    """What the coordinator wants: a kind of round, or the compile server of a name; with what limits."""

    kind: str
    quota: limits.Quota
    limited: child.Calls
    server: str


def main(control: int, text: str) -> None:
    """Enter the sandbox, say so, serve rounds until the coordinator is gone."""
    settings = Settings(**json.loads(text))
    channel = _socket.socket(fileno=kept(control))
    try:
        # a descriptor, and not the parent-death signal, which comes when the thread that started this process ends
        coordinator = kept(os.pidfd_open(settings.coordinator))
        if os.getppid() != settings.coordinator:
            raise ProcessLookupError("the user's process has ended")
        zygote = Zygote(channel, coordinator, settings)
        _send(channel, {"level": settings.level})
    except OSError as error:
        with suppress(OSError):
            _send(channel, {"broken": f"{error}"})
        folders.remove(settings.folder)
        os._exit(1)
    while True:
        zygote.serve()


class Zygote:
    """Serves orders: rounds, one at a time, and compile servers."""

    def __init__(self, channel: _socket.socket, coordinator: int, settings: Settings) -> None:
        self._channel = channel
        self._coordinator = coordinator
        if settings.processor is not None:
            with suppress(OSError):  # it may have been taken away meanwhile
                os.sched_setaffinity(0, {settings.processor})
        self._enclosure = Enclosure(settings)
        rehearsal.prepare()
        self._enclosure.preload()
        self._base = limits.address_space()
        self._complaints = _keep_numbers()
        screen_seat, tests_seat = screen.ready(child.LINK), grader.ready(child.LINK, child.VERDICT)
        link = candidate.ready(child.LINK)
        self._play_screen = partial(screen.main, screen_seat)
        self._play_script = partial(script.main, child.LINK, child.VERDICT)
        self._play_program = partial(candidate.main, link)
        self._play_tests = partial(grader.main, tests_seat)
        self._without = settings.without
        self._compilers: dict[str, int] = {}
        self._known: dict[bytes, Order] = {}
        self._kinds: dict[str, Callable[..., dict[str, Any]]] = {
            "screen": self._screen,
            "split": self._split,
            "script": self._script,
            "compiler": self._start_compiler,
        }
        play = trials.Play(
            partial(screen.judge, screen_seat), link.serve_forever, partial(grader.judge, tests_seat), *rehearsal.job()
        )
        tools = hotpages.tools()
        self._pair_pins: AbstractContextManager[object] = nullcontext()
        self._enclosure.enter()
        self._wakers = select.poll()
        for descriptor in (channel.fileno(), self._coordinator):
            self._wakers.register(descriptor, select.POLLIN)
        gc.collect()
        gc.freeze()
        if tools is not None:
            self._pin(tools, play)
        self._enclosure.lock()

    def _pin(self, tools: hotpages.Tools, play: trials.Play) -> None:
        """Have every fork copy what all children write to, and the forks of a pair what both of them do besides."""
        with suppress(OSError):  # without it everything works, if slower
            pages = trials.shared(tools, self._enclosure.fence, limits.calls(_TRIAL, self._base), play)
            hotpages.Pins(tools.rings[0], pages.every).hold()
            self._pair_pins = hotpages.Pins(tools.rings[1], pages.pair)
        os.close(tools.processes)

    def serve(self) -> None:
        """One order: a header with a kind and limits, and descriptors, in; a report out."""
        if len(self._wakers.poll()) > 1:
            self._enclosure.leave()
        data, ancillary, _, _ = self._channel.recvmsg(4096, _socket.CMSG_SPACE(8))
        if not data:
            self._enclosure.leave()
        order, descriptors = self._known.get(data) or self._understood(data), ancillary[0][2]
        doors = _DOORS[len(descriptors)](descriptors)
        try:
            report = self._kinds[order.kind](order, *doors)
        except OSError as error:
            report = {"broken": str(error)}
        finally:
            for descriptor in doors:
                os.close(descriptor)
        _send(self._channel, report)

    def _understood(self, data: bytes) -> Order:
        """An order that was not given before."""
        header = marshal.loads(data)
        quota = _quota(header, self._enclosure.others)
        limited = () if "rlimits" in self._without else limits.calls(quota, self._base)
        if len(self._known) == _MANY_ORDERS:
            self._known.clear()
        return self._known.setdefault(data, Order(header["kind"], quota, limited, header.get("server", "")))

    def _screen(self, order: Order, job: int) -> dict[str, Any]:
        return self._alone(order, self._play_screen, job, None)

    def _script(self, order: Order, stream: int, errors: int) -> dict[str, Any]:
        return self._alone(order, self._play_script, stream, errors)

    def _alone(self, order: Order, role: Callable[[], None], link: int, second: int | None) -> dict[str, Any]:
        """A round of one process."""
        self._enclosure.resize(order.quota.file_mb)
        output, feed = os.pipe()
        try:
            pid = child.start(role, self._enclosure.fence, order.limited, (link, second, feed))
        except OSError:
            os.close(output)
            raise
        finally:
            os.close(feed)
        return self._follow(order, (pid, pid), output, () if second is None else (link, second))

    def _split(self, order: Order, verdict: int) -> dict[str, Any]:
        """A round of two: the program's and the tests'."""
        self._enclosure.resize(order.quota.file_mb)
        output, feed = os.pipe()
        program_end, grader_end = _socket.socketpair()
        try:
            doors = (program_end.fileno(), None, feed), (grader_end.fileno(), verdict, feed)
            processes = self._start_pair(order, *doors)
        except OSError:
            os.close(output)
            raise
        finally:
            os.close(feed)
            program_end.close()
            grader_end.close()
        return self._follow(order, processes, output)

    def _start_pair(self, order: Order, program_doors: child.Doors, tests_doors: child.Doors) -> Pair:
        """The tests' process first: the program's then finds its first question waiting."""
        fence = self._enclosure.fence
        with self._pair_pins:
            tests = child.start(self._play_tests, fence, order.limited, tests_doors)
            try:
                return child.start(self._play_program, fence, order.limited, program_doors), tests
            except OSError:
                os.kill(tests, child.SIGKILL)
                os.waitpid(tests, 0)
                raise

    def _follow(self, order: Order, processes: Pair, output: int, readers: tuple[int, ...] = ()) -> dict[str, Any]:
        """Until the round is over; its report."""
        watch = Watch(*processes, order.quota, self._without)
        try:
            followed = watch.follow(output, (self._channel.fileno(), self._coordinator), readers)
            report = watch.end()
        finally:
            os.close(output)
        if not followed:
            self._enclosure.leave()
        self._enclosure.wipe()
        if report["tests"] or report["program"]:  # no child that complains ends well
            report["broken"] = _complaint(self._complaints)
        return report

    def _start_compiler(self, order: Order, link: int) -> dict[str, Any]:
        """A compile server of that name in the place of the one before."""
        name = order.server
        self._end_compiler(name)
        self._compilers[name] = child.start(
            lambda: compiler.main(child.LINK, name),
            self._enclosure.fence,
            limits.calls(_COMPILER, self._base),
            (link, None, 0),
            only=compiler.CALLS,
        )
        return {"started": name}

    def _end_compiler(self, name: str) -> None:
        pid = self._compilers.pop(name, None)
        if pid is not None:
            os.kill(pid, child.SIGKILL)
            os.waitpid(pid, 0)


def _keep_numbers() -> int:
    """Occupy the descriptors that children use for themselves; returns where complaints can be read."""
    reading, writing = os.pipe2(os.O_NONBLOCK)
    high = kept(reading)
    os.dup2(writing, child.COMPLAINTS)
    for number in (child.LINK, child.VERDICT):
        os.dup2(0, number)
    return high


def _complaint(descriptor: int) -> str:
    try:
        return os.read(descriptor, 1024).decode("utf-8", "replace")
    except BlockingIOError:
        return ""


def _quota(header: dict[str, Any], others: int | None) -> limits.Quota:
    """The header's limits; the two processes of a round count among the threads."""
    threads = None if others is None else header["processes"] + others
    output = header["output_kb"] << 10
    return limits.Quota(
        header["cpu_seconds"], header["wall_seconds"], header["memory_mb"], threads, output, header["file_mb"]
    )


def _send(channel: _socket.socket, message: dict[str, Any]) -> None:
    channel.send(marshal.dumps(message))
