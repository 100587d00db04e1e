"""Ctrl-C in two steps, by real signals to this process."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from datagen.errors import Interrupted
from datagen.interrupt import Interrupt


async def send(number=signal.SIGINT):
    """A signal to this process, and time for the loop to see it."""
    os.kill(os.getpid(), number)
    await asyncio.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_first_signal_only_asks_to_drain(number):
    """The first signal raises a flag and tells the user what a second one does; nothing is cancelled."""
    said = []
    interrupt = Interrupt(said.append)
    with interrupt.installed():
        await send(number)
    assert interrupt.draining and not interrupt.stopped and "again" in said[0] and len(said) == 1


async def test_second_signal_stops_at_once():
    """The second signal ends whatever is awaited as Interrupted, with what to do next."""
    interrupt = Interrupt()

    async def body():
        with interrupt.installed():
            await send()
            await send()
            await asyncio.sleep(60)

    with pytest.raises(Interrupted, match="run the same command to go on"):
        await asyncio.create_task(body())
    assert interrupt.stopped


async def test_second_signal_stops_a_stage_that_never_awaits():
    """A whole-set stage holds the loop for as long as it computes; the second signal ends it all the same."""

    def compute():
        for number in range(10**10):
            if number in (1000, 2000):
                os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted), Interrupt().installed():
        compute()


async def test_third_signal_meets_the_handlers_of_before():
    """Work that does not let itself be cancelled can still be ended: the handlers of before are back at once."""
    before = signal.getsignal(signal.SIGINT)

    async def body():
        with Interrupt().installed():
            await send()
            await send()
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                assert signal.getsignal(signal.SIGINT) is before
                raise

    with pytest.raises(Interrupted):
        await asyncio.create_task(body())


async def test_handlers_are_given_back():
    """Afterwards the signals do what they did before."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with Interrupt().installed():
        pass
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


async def test_other_cancellations_stay_cancellations():
    """Only a second signal becomes Interrupted: a task cancelled by its owner ends cancelled."""

    async def body():
        with Interrupt().installed():
            await asyncio.sleep(60)

    task = asyncio.create_task(body())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
