"""The objects that one side has lent to the other, and its proxies for what the other has lent to it."""

from __future__ import annotations

import types
from abc import ABC, abstractmethod
from typing import Any, cast

import sandbox.arrays as arrays
from sandbox.codec import PLAIN_TYPES, has_base
from sandbox.failures import read_class, write_class
from sandbox.proxies import offered
from sandbox.wire import Node, ProtocolError

BASED = "based"
COROUTINE, GENERATOR = "coroutine", "generator"
_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, types.MethodType)
_MARKS: dict[type, list[str]] = {types.CoroutineType: [COROUTINE], types.GeneratorType: [GENERATOR]}
_NAME_LENGTH = 80


class Table(ABC):
    """Numbers objects of this side and resolves numbers of the other: the `Objects` of a codec."""

    def __init__(self, proxy_base: type) -> None:
        self.stand_ins: dict[int, type[BaseException]] = {}
        self._proxy_base = proxy_base
        self._own: list[object] = []
        self._numbers: dict[int, int] = {}
        self._lent: set[int] = set()
        self._described: set[int] = set()
        self._proxies: dict[int, Any] = {}
        self._classes: dict[int, type] = {}

    @abstractmethod
    def make_class(self, number: int, name: str, offers: list[str]) -> type:
        """A class of proxies for instances of the other side's class `number`."""

    @abstractmethod
    def make_proxy(self, kind: type | None, number: int) -> Any:
        """A proxy of class `kind`, or of a function for None."""

    def lend_special(self, value: Any) -> Node:
        """A node for what this side treats differently from other objects, None for the rest."""
        return None

    def member(self, value: object) -> object:
        """The value, as what it is: an attribute."""
        return value

    def number_of(self, value: object) -> int:
        """The number by which the other end knows an object of ours; keeps the object alive."""
        number = self._numbers.setdefault(id(value), len(self._own))
        if number == len(self._own):
            self._own.append(value)
        return number

    def lend(self, value: object) -> Node:
        """The node of a value that does not cross by itself."""
        if issubclass(type(value), self._proxy_base):
            return ["o", cast("Any", value)._sandbox_number]
        if isinstance(value, type) and (node := self._lend_type(value)) is not None:
            return node
        if (special := self.lend_special(value)) is not None:
            return special
        if type(value) in _FUNCTIONS:
            return ["f", self._lend_number(value)]
        if arrays.is_numpy(value):
            return arrays.write(value)
        return self._lend_object(value)

    def take(self, node: list[Any]) -> object:
        """The value for a node of the other end's `lend`."""
        tag = node[0]
        if tag == "o":
            return self._own[self._homecoming(node[1])]
        if tag in ("f", "h"):
            return self._proxy(node)
        if tag == "E":
            return read_class(node[1], self)
        if tag == "T":
            return PLAIN_TYPES[node[1]]
        if tag == "array":
            return arrays.read(node)
        raise ProtocolError("not a value")

    def _lend_number(self, value: object) -> int:
        number = self.number_of(value)
        self._lent.add(number)
        return number

    def _homecoming(self, number: object) -> int:
        """The number of an object that was lent; mentioning an object's class, or an exception's, does not lend it."""
        if number not in self._lent:
            raise ProtocolError("not lent")
        return number

    def has_lent(self, value: object) -> bool:
        """Whether the value is an object that was lent to the other end; never plain data, which crosses by itself."""
        return self._numbers.get(id(value)) in self._lent

    def known(self, number: object) -> object:
        """An object of ours that the other end may mention, if not use."""
        return self._own[_number(number)]

    def exception_class(self, number: object) -> type[BaseException]:
        """An exception class of ours, of which the other end has a stand-in."""
        value = self.known(number)
        if not (isinstance(value, type) and issubclass(value, BaseException)):
            raise ProtocolError("not an exception class")
        return value

    def _lend_type(self, value: type) -> Node:
        if issubclass(value, BaseException):
            return ["E", write_class(value, self)]
        name = next((name for name, kind in PLAIN_TYPES.items() if kind is value), None)
        return None if name is None else ["T", name]

    def _lend_object(self, value: object) -> Node:
        kind = type(value)
        class_number, number = self.number_of(kind), self._lend_number(value)
        if class_number in self._described:
            return ["h", number, class_number]
        self._described.add(class_number)
        marks = [BASED] * has_base(kind) + _MARKS.get(kind, [])
        name = type.__dict__["__name__"].__get__(kind)
        return ["h", number, class_number, name[:_NAME_LENGTH], cast("list[Node]", offered(kind) + marks)]

    def _proxy(self, node: list[Any]) -> object:
        number = _number(node[1])
        known = self._proxies.get(number)
        if known is None:
            known = self._proxies[number] = self.make_proxy(None if node[0] == "f" else self._class(node), number)
        return known

    def _class(self, node: list[Any]) -> type:
        number = _number(node[2])
        if len(node) == 5 and number not in self._classes:
            name, offers = node[3], node[4]
            if type(name) is not str or "\0" in name or not all(type(word) is str for word in offers):
                raise ProtocolError("not a class")
            self._classes[number] = self.make_class(number, name, offers)
        return self._classes[number]


def _number(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ProtocolError("not a number")
    return value
