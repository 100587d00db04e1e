"""The program's process: loads the program, then does with its objects what the tests' process asks.

It holds neither tests nor a way to report a verdict, so nothing that the program does in here can make a test pass;
it can only return the right values.
"""

from __future__ import annotations

import copy
import importlib
import marshal
import operator
import os
import random
import sys
import types
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from sandbox.codec import base_value
from sandbox.failures import PROGRAM
from sandbox.link import Link
from sandbox.loans import call, find, library_claim, special
from sandbox.proxies import OPTIONAL, proxy_class
from sandbox.table import Table
from sandbox.wire import Closed, Frames, ProtocolError, unpack_trusted

MODULE = "__candidate__"
CODE, SOURCE = b"c", b"s"
SEEDED = 0
"""The seed that the zygote leaves `random` with."""
LIVE, STABLE, LIBRARY = "live", "stable", "library"
Claim = tuple[str, str, object]
_BY_VALUE = (int, float, str, bytes, bool, complex, list, dict, set, tuple, frozenset, type(None))


class Remote:
    """An object of the tests, seen from the program: a callback, a stub, an iterator."""

    __slots__ = ("_sandbox_link", "_sandbox_number")

    _sandbox_link: Link
    _sandbox_number: int

    def __init__(self, number: int, link: Link) -> None:
        object.__setattr__(self, "_sandbox_number", number)
        object.__setattr__(self, "_sandbox_link", link)

    def __getattr__(self, name: str) -> object:
        return self._sandbox_link.ask("get", self, name)

    def __setattr__(self, name: str, value: object) -> None:
        self._sandbox_link.ask("set", self, name, value)

    def __repr__(self) -> Any:
        return self._sandbox_link.ask("special", "__repr__", self)

    def __str__(self) -> Any:
        return self._sandbox_link.ask("special", "__str__", self)

    def __eq__(self, other: object) -> Any:
        return self is other or self._sandbox_link.ask("special", "__eq__", self, other)

    def __hash__(self) -> Any:
        return self._sandbox_link.ask("special", "__hash__", self)


def _special(name: str) -> Callable[..., object]:
    def forward(self: Remote, *operands: object) -> object:
        return self._sandbox_link.ask("special", name, self, *operands)

    return forward


def _call(self: Remote, /, *arguments: object, **named: object) -> object:
    return self._sandbox_link.ask("call", self, tuple(named), *arguments, *named.values())


def _signature(self: Remote) -> object:
    """What a function that is told apart by its parameters looks at; defaults are hidden."""
    import inspect  # most programs need it not

    asked: Any = self._sandbox_link.ask("parameters", self)
    one = inspect.Parameter
    kinds = (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD, one.VAR_POSITIONAL, one.KEYWORD_ONLY, one.VAR_KEYWORD)
    return inspect.Signature([one(name, kinds[kind], default=... if has else one.empty) for name, kind, has in asked])


def _code(self: Remote) -> object:
    """The old way to count parameters."""
    asked: Any = self._sandbox_link.ask("parameters", self)
    names = [name for name, kind, _ in asked if kind <= 1]  # those that may be given by their place
    return types.SimpleNamespace(co_argcount=len(names), co_varnames=tuple(names))


_FORWARDERS = {**{name: _special(name) for name in OPTIONAL}, "__call__": _call}
_FUNCTION = proxy_class(
    Remote, "function", ["__call__"], _FORWARDERS, {"__signature__": property(_signature), "__code__": property(_code)}
)


class Remotes(Table):
    """Lends the program's objects without restriction and makes proxies for the tests'."""

    def __init__(self) -> None:
        super().__init__(Remote)
        self.link: Link

    def make_class(self, number: int, name: str, offers: list[str]) -> type:
        return proxy_class(Remote, name, offers, _FORWARDERS, {})

    def make_proxy(self, kind: type | None, number: int) -> Any:
        return (kind or _FUNCTION)(number, self.link)

    def take(self, node: list[Any]) -> object:
        if node[0] != "L":
            return super().take(node)
        importlib.import_module(node[1])
        return find(node[1], node[2])


def ready(descriptor: int) -> Link:
    """A server on a descriptor, made ahead of the process that it is for: making it there would copy more memory."""
    remotes, program = Remotes(), types.ModuleType(MODULE)
    remotes.link = Link(Frames(descriptor, decode=unpack_trusted), remotes, partial(_serve, program), first=1)
    return remotes.link


def main(link: Link) -> None:
    """Serve until the other process closes the connection."""
    with suppress(Closed, ProtocolError):
        link.serve_forever()
    os._exit(0)


def _serve(program: types.ModuleType, operation: str, values: list[Any]) -> object:
    own = _OWN_OPERATIONS.get(operation)
    return _OPERATIONS[operation](*values) if own is None else own(program, *values)


def _load(program: types.ModuleType, part: bytes, seed: int, names: tuple[str, ...]) -> tuple[Claim, ...]:
    """Run the program as a module, so that pickle and dataclasses find it and a `__main__` guard does not run."""
    set_seed(seed)
    sys.modules[MODULE] = program
    exec(loaded(part), program.__dict__)
    return tuple(_claim(name, program.__dict__[name]) for name in names if name in program.__dict__)


def set_seed(seed: int, *, anew: bool = False) -> None:
    """Seed `random`, unless the zygote has done it with the same seed: it copies memory."""
    if seed != SEEDED or anew:
        random.seed(seed)


def compiled(source: str) -> types.CodeType:
    """The program's code; SyntaxError, ValueError, RecursionError, MemoryError or OverflowError if it is no Python."""
    return compile(clean(source), PROGRAM, "exec", dont_inherit=True)


def loaded(part: bytes) -> types.CodeType:
    """The code of a program as it was handed over: compiled before (after CODE), or its source (after SOURCE), which
    raises as `compiled` does.
    """
    if part.startswith(CODE):
        code: types.CodeType = marshal.loads(memoryview(part)[1:])
        return code
    return compiled(part[1:].decode("utf-8", "surrogatepass"))


def clean(source: str) -> str:
    """The source without byte order mark and with lone surrogates escaped, as a file in UTF-8 would have it."""
    return source.removeprefix("\ufeff").encode("utf-8", "backslashreplace").decode()


def _claim(name: str, value: object) -> Claim:
    """A global of the program: plain data is asked for at each use, for it may change; the rest is lent once."""
    if (claim := library_claim(name, value)) is not None:
        return name, LIBRARY, claim
    return (name, LIVE, None) if isinstance(value, _BY_VALUE) else (name, STABLE, value)


def _global(program: types.ModuleType, name: str) -> object:
    if name not in program.__dict__:
        raise NameError(f"name {name!r} is not defined")
    return program.__dict__[name]


def _await(coroutine: Any) -> object:
    import asyncio  # a quarter of the zygote's memory, which every fork would pay for

    async def finish() -> object:
        return await coroutine

    return asyncio.run(finish())


_OWN_OPERATIONS: dict[str, Callable[..., object]] = {"load": _load, "global": _global}
_OPERATIONS: dict[str, Callable[..., object]] = {
    "call": call,
    "special": special,
    "next": next,
    "get": getattr,
    "set": setattr,
    "delete": delattr,
    "equal": operator.eq,
    "base": base_value,
    "hash": hash,
    "bool": bool,
    "str": str,
    "repr": repr,
    "format": format,
    "dir": dir,
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "isinstance": isinstance,
    "issubclass": issubclass,
    "await": _await,
}
