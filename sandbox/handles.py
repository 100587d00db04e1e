"""The tests' side: handles, which stand for the program's objects.

What a handle answers is the program's word. Three rules keep that word from deciding a test:

- a handle never equals plain data, and is never ordered against it; two handles compare in the program, which marks
  the test weak;
- arithmetic with plain data may only give another handle, and neither a number nor elements can be drawn from that one:
  `abs(f(x) - 1.5) < 1e-6` would otherwise be answered by an object that knows what is expected of it;
- truth, membership and `isinstance` are the program's opinion: they mark the test weak.

An object that contains plain data (an instance of a subclass of int, list ...) is compared and computed with by that
data.
"""

from __future__ import annotations

import collections.abc
import operator
import types
from collections.abc import Callable, Generator
from typing import Any, Protocol, cast

import sandbox.arrays as arrays
from sandbox.codec import BASES
from sandbox.proxies import ARITHMETIC, CONTAINER, NUMERIC, ORDERING, proxy_class
from sandbox.table import BASED, COROUTINE, GENERATOR, Table
from sandbox.wire import Node

_CONTAINERS = frozenset({list, dict, set})
_NUMPYS = frozenset({
    "__array_interface__", "__array_struct__", "__cuda_array_interface__", "__array_wrap__", "__array_prepare__",
    "__array_priority__", "__array_finalize__",
})  # fmt: skip
"""What numpy asks an object for: where in this process it has its data, and what a result shall be instead."""


class Asker(Protocol):
    """Who carries a question to the program."""

    weak: bool

    def ask(self, operation: str, *values: object) -> Any:
        """Have the program's process do something; see candidate.py for the operations."""


class Handle:
    """An object of the program, seen from a test."""

    __slots__ = ("_sandbox_asker", "_sandbox_method", "_sandbox_number", "_sandbox_tainted", "_sandbox_value")
    _sandbox_based = False
    _sandbox_class = -1

    _sandbox_asker: Asker
    _sandbox_number: int
    _sandbox_tainted: bool
    _sandbox_method: bool
    _sandbox_value: Any

    def __init__(self, number: int, asker: Asker) -> None:
        _mark(self, "_sandbox_number", number)
        _mark(self, "_sandbox_asker", asker)
        _mark(self, "_sandbox_tainted", False)
        _mark(self, "_sandbox_method", False)
        _mark(self, "_sandbox_value", None)

    def __getattr__(self, name: str) -> Any:
        if name in _NUMPYS:
            raise AttributeError(name)
        result = _member(self._sandbox_asker.ask("get", self, name))
        self._sandbox_asker.weak |= self._sandbox_tainted
        return result

    def __setattr__(self, name: str, value: object) -> None:
        self._sandbox_asker.ask("set", self, name, value)

    def __delattr__(self, name: str) -> None:
        self._sandbox_asker.ask("delete", self, name)

    def __eq__(self, other: object) -> Any:
        asker = self._sandbox_asker
        if isinstance(other, Handle):
            asker.weak = True
            return asker.ask("equal", self, other)
        if self._sandbox_based:
            return _base(self) == other
        asker.weak = True
        return isinstance(other, type) and getattr(other, "_sandbox_class", None) == self._sandbox_number

    def __ne__(self, other: object) -> Any:
        return not self == other

    def __hash__(self) -> int:
        return hash(_base(self)) if self._sandbox_based else cast("int", self._sandbox_asker.ask("hash", self))

    def __bool__(self) -> bool:
        if self._sandbox_based:
            return bool(_base(self))
        _refuse_tainted(self, "bool")
        self._sandbox_asker.weak = True
        return cast("bool", self._sandbox_asker.ask("bool", self))

    def __str__(self) -> str:
        self._sandbox_asker.weak |= self._sandbox_tainted
        return cast("str", self._sandbox_asker.ask("str", self))

    def __repr__(self) -> str:
        self._sandbox_asker.weak |= self._sandbox_tainted
        return cast("str", self._sandbox_asker.ask("repr", self))

    def __format__(self, specification: str) -> str:
        self._sandbox_asker.weak |= self._sandbox_tainted
        return cast("str", self._sandbox_asker.ask("format", self, specification))

    def __dir__(self) -> Any:
        return self._sandbox_asker.ask("dir", self)

    def __copy__(self) -> Any:
        return self._sandbox_asker.ask("copy", self)

    def __deepcopy__(self, memo: object) -> Any:
        return self._sandbox_asker.ask("deepcopy", self)

    def __reduce_ex__(self, protocol: object) -> Any:
        raise TypeError("an object of the program cannot be pickled outside it")

    def __instancecheck__(self, value: object) -> bool:
        self._sandbox_asker.weak = True
        return cast("bool", self._sandbox_asker.ask("isinstance", value, self))

    def __subclasscheck__(self, value: object) -> bool:
        self._sandbox_asker.weak = True
        return cast("bool", self._sandbox_asker.ask("issubclass", value, self))


class CoroutineHandle(Handle):
    """A coroutine of the program: awaiting it runs it to its end there. It equals only itself, as coroutines do."""

    __slots__ = ()
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __bool__(self) -> bool:
        return True

    def __getattr__(self, name: str) -> Any:
        if name.startswith(("cr_", "gi_")):  # an event loop describes its tasks by their frames
            raise AttributeError(name)
        return super().__getattr__(name)

    def __await__(self) -> Generator[None, None, Any]:
        return self._sandbox_asker.ask("await", self)
        yield

    def send(self, value: object) -> None:
        """Run the whole coroutine; its result ends the iteration, as with any coroutine."""
        raise StopIteration(self._sandbox_asker.ask("await", self))

    def throw(self, kind: Any, value: object = None, trace: object = None) -> None:
        """End the coroutine with an exception of the test's event loop."""
        raise kind

    def close(self) -> None:
        """Nothing to do: it has not been started or it is over."""


collections.abc.Coroutine.register(CoroutineHandle)


class Handles(Table):
    """Handles for what the program lends; lends it the tests' functions and objects in turn."""

    def __init__(self) -> None:
        super().__init__(Handle)
        self.asker: Asker

    def make_class(self, number: int, name: str, offers: list[str]) -> type:
        base = CoroutineHandle if COROUTINE in offers else Handle
        extra: dict[str, Any] = {"_sandbox_based": BASED in offers, "_sandbox_class": number}
        if GENERATOR in offers:
            extra["__class__"] = _GENERATORS
        return proxy_class(base, name, offers, FORWARDERS if base is Handle else {}, extra)

    def make_proxy(self, kind: type | None, number: int) -> Any:
        return (kind or _FUNCTION)(number, self.asker)

    def member(self, value: object) -> object:
        return _member(value)

    def take(self, node: list[Any]) -> object:
        value = super().take(node)
        if covers_assertions(value):
            self.asker.weak = True
        return arrays.wide(value) if node[0] == "array" else value

    def lend_special(self, value: Any) -> Node:
        from sandbox.loans import lendable, library_name

        home = library_name(value)
        if home is not None:
            return ["L", *home]
        if not lendable(value):
            raise TypeError(f"a test cannot pass a {type(value).__name__} to the program")
        return None


def covers_assertions(value: object) -> bool:
    """Whether `except value` in a test would catch the test's own failed assertion."""
    return type(value) is type and issubclass(AssertionError, value)


def describe(handle: Handle) -> str:
    """A handle in words, without asking the program."""
    return f"<{type(handle).__name__} object>"


def _mark(handle: Handle, name: str, value: object) -> None:
    object.__setattr__(handle, name, value)


def _member(value: Any) -> Any:
    """The value of an attribute: what can be called is a method, whose truth is its object's opinion."""
    if isinstance(value, Handle):
        _mark(value, "_sandbox_method", True)
    return value


def _base(handle: Handle) -> Any:
    """The plain data inside the object; nothing of the test's goes to the program for it. What cannot change is asked
    for once: an answer of its own to each question would be another way to judge itself.
    """
    _refuse_tainted(handle, "value")
    if handle._sandbox_value is not None:
        return handle._sandbox_value
    value = handle._sandbox_asker.ask("base", handle)
    if type(value) not in BASES:
        raise TypeError("not plain data")
    if type(value) not in _CONTAINERS:
        _mark(handle, "_sandbox_value", value)
    return value


def _refuse_tainted(handle: Handle, name: str) -> None:
    if handle._sandbox_tainted:
        raise TypeError(f"{name.strip('_')} of what the program computed with a value of the test")


def _taint(result: Any, name: str) -> Any:
    if result is NotImplemented:
        return result
    if not isinstance(result, Handle):
        raise TypeError(f"{name.strip('_')} of an object of the program and a value of the test gave plain data")
    _mark(result, "_sandbox_tainted", True)
    return result


def _arithmetic(name: str) -> Callable[..., Any]:
    def forward(self: Handle, other: Any, *rest: Any) -> Any:
        if isinstance(other, Handle):
            result = self._sandbox_asker.ask("special", name, self, other, *rest)
            tainted = self._sandbox_tainted or other._sandbox_tainted
            return _taint(result, name) if tainted else result
        if self._sandbox_based:
            return _of_base(self, name, other, *rest)
        return _taint(self._sandbox_asker.ask("special", name, self, other, *rest), name)

    return forward


def _of_base(handle: Handle, name: str, *operands: Any) -> Any:
    method = getattr(type(base := _base(handle)), name, None)
    return NotImplemented if method is None else method(base, *operands)


def _ordering(name: str) -> Callable[..., Any]:
    def forward(self: Handle, other: Any) -> Any:
        if isinstance(other, Handle):
            _refuse_tainted(self, name)
            _refuse_tainted(other, name)
            self._sandbox_asker.weak = True
            return self._sandbox_asker.ask("special", name, self, other)
        return _of_base(self, name, other) if self._sandbox_based else NotImplemented

    return forward


def _untainted(name: str) -> Callable[..., Any]:
    def forward(self: Handle, *rest: Any) -> Any:
        _refuse_tainted(self, name)
        return self._sandbox_asker.ask("special", name, self, *rest)

    return forward


def _plain(name: str) -> Callable[..., Any]:
    def forward(self: Handle, *operands: Any) -> Any:
        return self._sandbox_asker.ask("special", name, self, *operands)

    return forward


def _next(self: Handle) -> Any:
    _refuse_tainted(self, "next")
    return self._sandbox_asker.ask("next", self)


def _contains(self: Handle, value: object) -> bool:
    if self._sandbox_based:
        return operator.contains(_base(self), value)
    self._sandbox_asker.weak = True
    return cast("bool", self._sandbox_asker.ask("special", "__contains__", self, value))


def _call(self: Handle, /, *arguments: Any, **named: Any) -> Any:
    asker = self._sandbox_asker
    result = asker.ask("call", self, tuple(named), *arguments, *named.values())
    if type(result) is bool and self._sandbox_method and (arguments or named):
        asker.weak = True
    return result


def _exit(self: Handle, kind: object, value: object, trace: object) -> Any:
    """The program may swallow what it raised, not an assertion of the test's, and nothing unnoticed: what the test has
    yet to assert is left out with it.
    """
    swallows = self._sandbox_asker.ask("special", "__exit__", self, kind, None, None)
    if not swallows or value is None:
        return swallows
    self._sandbox_asker.weak = True
    return hasattr(value, "_sandbox_line") or not isinstance(value, AssertionError)


FORWARDERS: dict[str, Callable[..., Any]] = {
    **{name: _arithmetic(name) for name in ARITHMETIC},
    **{name: _ordering(name) for name in ORDERING},
    **{name: _untainted(name) for name in NUMERIC},
    **{name: _untainted(name) for name in CONTAINER},
    "__next__": _next,
    "__contains__": _contains,
    "__call__": _call,
    "__enter__": _plain("__enter__"),
    "__exit__": _exit,
}
_GENERATORS = property(lambda self: types.GeneratorType)
"""What `isinstance` asks last, as inspect.isgenerator does."""
_FUNCTION = proxy_class(Handle, "function", ["__call__"], FORWARDERS, {})
