"""Ctrl-C, in two steps: the first lets what is in flight finish, the second stops at once."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from datagen.errors import Interrupted
from datagen.models import Say

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_STOPPED = "Stopped at once. What was finished is kept; run the same command to go on"


class Interrupt:
    """Two flags, raised by the first and the second signal: `draining` (take nothing new), `stopped` (give up now).

    `say` gets a line for the user at the first signal.
    """

    def __init__(self, say: Say = lambda line: None) -> None:
        self.draining = self.stopped = False
        self._say = say

    @contextmanager
    def installed(self, signals: tuple[signal.Signals, ...] = SIGNALS) -> Iterator[None]:
        """Takes the signals over while the body runs in the current task; gives the old handlers back afterwards.

        The second signal ends the body as `Interrupted`, also in the middle of a whole-set stage, which never awaits:
        hence plain signal handlers, which Python runs between any two instructions, and not the event loop's. A third
        signal meets the handlers of before.
        """
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        previous = {number: signal.getsignal(number) for number in signals}

        def received(number: int, frame: FrameType | None) -> None:
            if not self.draining:
                self.draining = True
                self._say("Interrupted: finishing what is in flight; press Ctrl-C again to stop at once")
                return
            self.stopped = True
            _restore(previous)
            if task is None or asyncio.current_task(loop) is task:
                raise Interrupted(_STOPPED)
            loop.call_soon_threadsafe(task.cancel)

        for number in signals:
            signal.signal(number, received)
        try:
            yield
        except asyncio.CancelledError as error:
            if not self.stopped:
                raise
            raise Interrupted(_STOPPED) from error
        finally:
            _restore(previous)


def _restore(handlers: dict[signal.Signals, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)
