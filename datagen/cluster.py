"""A Ray cluster: the connection to it, of which a process has one, and actors as members of a fleet."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from datagen.errors import ClusterUnavailable, DatagenError, MissingDependency, RequestFailed
from datagen.fleet import Lost, Pace
from sandbox.contract import SandboxError

PATIENCE = 10.0
"""Seconds that the head of a cluster may take to accept a connection."""
PACE = Pace(first=1.0, longest=30.0, every=30.0, answer=60.0, patience=900.0)
"""How actors are tended: the patience is for a model that loads anew after its node died, or waits for another node."""

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def connect(address: str) -> None:
    """Connects this process to the cluster, unless it is connected; the connection stays until the process ends.

    `address` is auto, HOST:PORT or ray://HOST:PORT. Raises ClusterUnavailable, or MissingDependency without ray.
    """
    try:
        import ray
    except ImportError as error:
        raise MissingDependency("ray is not installed", hint='Run: pip install "datagen[ray]"') from error
    if ray.is_initialized():
        return
    try:
        _reach(address)
        ray.init(address=address, logging_level="ERROR", log_to_driver=False)
    except (OSError, ValueError, RuntimeError) as error:  # ray tells a malformed address, a dead head, another version
        raise ClusterUnavailable(
            f"no Ray cluster answers ({error})",
            where=address,
            hint="Start one with `ray start --head` (RAY_AUTH_MODE=token if it asks for one), or leave --address out",
        ) from error


@contextmanager
def connected(address: str) -> Iterator[None]:
    """A connection to the cluster, closed afterwards unless it was there before; errors as of `connect`."""
    import ray

    before = ray.is_initialized()
    connect(address)
    try:
        yield
    finally:
        if not before:
            ray.shutdown()


def _reach(address: str) -> None:
    """OSError if nothing listens there: ray itself would wait for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), PATIENCE).close()


class Remote:
    """An actor as a member of a fleet. Its method `ready` returns once it can work, and `said` is what it returned."""

    def __init__(self, name: str, actor: Any) -> None:
        self._name, self._actor = name, actor
        self.said: Any = None

    @property
    def name(self) -> str:
        """What it is called where it is lost."""
        return self._name

    async def check(self) -> None:
        """Returns when the actor can work; it is started, on another node if need be, where it was lost."""
        self.said = await self.call("ready")

    async def call(self, method: str, *arguments: Any) -> Any:
        """The method's result. What it raises comes out as it was raised; Lost if the actor, or its node, is gone."""
        from ray.exceptions import RayError, RayTaskError

        try:
            reference = getattr(self._actor, method).remote(*arguments)
            return await _result(reference)
        except RayTaskError as error:
            if isinstance(error.cause, DatagenError | RequestFailed | SandboxError):
                raise error.cause from None  # as it would have been raised here
            if isinstance(error.cause, ImportError) or "ModuleNotFoundError" in str(error):
                hint = "Install this version of datagen on every node"
                raise ClusterUnavailable(f"a node cannot load what it needs ({error.cause})", hint=hint) from error
            raise
        except RayError as error:
            raise Lost(_reason(error)) from error

    def kill(self) -> None:
        """Ends the actor for good."""
        import ray

        if ray.is_initialized():
            ray.kill(self._actor)


async def _result(reference: Any) -> Any:
    """The object; whoever is cancelled while waiting cancels the work, too.

    The waiting itself is not cancelled: a client (ray://) fails aloud on a future that was.
    """
    import ray

    waiting = asyncio.ensure_future(_object(reference))
    try:
        return await asyncio.shield(waiting)
    except asyncio.CancelledError:
        waiting.add_done_callback(lambda done: done.cancelled() or done.exception())
        ray.cancel(reference)
        raise


async def _object(reference: Any) -> Any:
    return await reference


def _reason(error: Exception) -> str:
    """The first line of Ray's pages, and the error of ours or of Python's at the end of them."""
    lines = [line.strip() for line in _COLOUR.sub("", str(error)).splitlines() if line.strip()]
    first, last = (lines or [type(error).__name__])[0], lines[-1] if lines else ""
    return first[:120] + (f" ... {last[:200]}" if "Error: " in last and last != first else "")
