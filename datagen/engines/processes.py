"""What it takes to start another library's processes: in a thread, deaf to Ctrl-C, and with their output kept apart."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import BinaryIO, TypeVar

T = TypeVar("T")


def in_thread(function: Callable[[], T]) -> asyncio.Future[T]:
    """Runs it in a daemon thread: an executor's thread would keep a cancelled program waiting for its end."""
    result: Future[T] = Future()

    def run() -> None:
        result.set_running_or_notify_cancel()
        try:
            result.set_result(function())
        except BaseException as error:  # handed to whoever awaits the future
            result.set_exception(error)

    threading.Thread(target=run, daemon=True, name=function.__qualname__).start()
    return asyncio.wrap_future(result)


@contextmanager
def without_sigint() -> Iterator[None]:
    """Blocks Ctrl-C in this thread, and so in every process that it starts."""
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def captured(log: BinaryIO | None) -> Iterator[None]:
    """stdout and stderr go to `log`, for good in processes started meanwhile. Without a log, stdout goes to stderr."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    target = saved[1] if log is None else log.fileno()
    os.dup2(target, 1)
    os.dup2(target, 2)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, copy in enumerate(saved, start=1):
            os.dup2(copy, number)
            os.close(copy)


def printed(log: BinaryIO) -> str:
    """The last MB of a log. Read by position: the processes that write it share its open file, and so its offset."""
    end = os.fstat(log.fileno()).st_size
    return os.pread(log.fileno(), 1 << 20, max(0, end - (1 << 20))).decode(errors="replace")
