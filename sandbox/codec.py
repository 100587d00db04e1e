"""Values between the program and its tests, as JSON nodes.

What crosses by value: exact plain builtins and the standard containers, rebuilt at the other end. Everything else
stays where it is and crosses as a reference, which `Objects` of either side makes and resolves.

Mutable containers are shared: each gets a number known to both sides, and every message carries those that changed
since the last one, so that arguments mutated in place, aliases and cycles look as they would in one process. What
nobody at this end can reach any more is not watched, until the other end mentions it: a test that calls a function ten
thousand times would else look through twenty thousand lists at every call.
"""

from __future__ import annotations

import operator
import re
import sys
import weakref
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable, Iterable
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Any, Protocol, cast

from sandbox.wire import Node, ProtocolError

_SMALL = 1 << 62
_COMMON = (int, float, str, bool, list, dict, set, tuple, bytes, frozenset)
_FACTORIES: dict[str, type] = {kind.__name__: kind for kind in _COMMON}
PLAIN_TYPES: dict[str, type] = {**_FACTORIES, **{kind.__name__: kind for kind in (complex, object, type(None), range)}}
_MAX_FIELDS, _MAX_NAMEDTUPLES = 255, 1000
MALFORMED = (
    TypeError, ValueError, LookupError, ArithmeticError, AttributeError, RecursionError, BufferError, ImportError,
)  # fmt: skip
"""What building a value raises for a node that no encoder wrote."""

Shareable = list[Any] | dict[Any, Any] | set[Any] | deque[Any] | bytearray

_NAMEDTUPLE_OWN = frozenset(dir(namedtuple("Pair", "left right"))) | {
    "__orig_bases__", "__annotations__", "__annotate__", "__annotate_func__", "__annotations_cache__",
    "__static_attributes__", "__firstlineno__", "__slotnames__",
}  # fmt: skip


class Objects(Protocol):
    """What one side does with values that do not cross by value."""

    stand_ins: dict[int, type[BaseException]]

    def number_of(self, value: object) -> int:
        """The number by which the other end knows an object of ours; the same every time."""

    def lend(self, value: object) -> Node:
        """A node that stands for the value at the other end."""

    def known(self, number: object) -> object:
        """The object of ours that the other end knows by the number; ProtocolError or LookupError if there is none."""

    def exception_class(self, number: object) -> type[BaseException]:
        """The exception class of ours that the other end knows by the number; ProtocolError if it is none."""

    def member(self, value: object) -> object:
        """A value of the other end's that is an attribute of something."""

    def take(self, node: list[Node]) -> object:
        """The value that a node of the other end's `lend`, or of an object of ours coming home, stands for."""


class Codec:
    """Encodes and decodes for one side; `first` is 0 on one side and 1 on the other, so that their numbers differ."""

    def __init__(self, objects: Objects, first: int) -> None:
        self._objects = objects
        self._first = self._next = first
        self._shared: dict[int, Shareable] = {}
        self._numbers: dict[int, int] = {}
        self._snapshots: dict[int, list[Any]] = {}  # of those that are watched
        self._held: Counter[int] = Counter()  # by id: how often the others hold it
        self._named: dict[int, Any] = {}  # classes of named tuples, by their numbers at the other end
        self._homes: dict[Any, int] = {}

    def forget(self) -> None:
        """Share nothing any more; both sides do it at the same message."""
        self._shared.clear()
        self._numbers.clear()
        self._snapshots.clear()
        self._held.clear()

    def encode_message(self, values: Iterable[object]) -> tuple[Node, list[Node]]:
        """The changes to what is shared, and the nodes of the values."""
        return self._changes(), self._nodes(values)

    def decode_message(self, changes: Node, nodes: list[Node]) -> list[object]:
        """Apply the changes, then build the values; ProtocolError for anything that `encode_message` does not write."""
        entries: Any = changes
        try:
            for number, content in entries:
                self._update(number, content)
            return self._values(nodes)
        except MALFORMED as error:
            raise ProtocolError(f"not a value: {type(error).__name__}") from error

    def encode(self, value: Any) -> Node:
        """The node of one value."""
        kind = type(value)
        same: Node = value  # where JSON has it
        if kind is str:
            return same if value.isascii() else _write_text(value)
        if kind is float or kind is bool or value is None:
            return same
        if kind is int:
            return same if -_SMALL < value < _SMALL else ["i", hex(value)]
        if (content := _CONTENT.get(kind)) is not None:
            return self._share(value, content)
        if (write := _WRITERS.get(kind)) is not None:
            return write(self, value)
        if _is_namedtuple(kind):
            return _write_namedtuple(self, value, kind)
        return self._objects.lend(value)

    def decode(self, node: Any) -> Any:
        """The value of one node."""
        if type(node) is not list:
            return node
        reader = _READERS.get(node[0])
        return self._objects.take(node) if reader is None else reader(self, node)

    def _nodes(self, values: Iterable[Any]) -> list[Node]:
        # most are small numbers, which stand for themselves: a call for each would be a good part of the work
        return [value if type(value) is int and -_SMALL < value < _SMALL else self.encode(value) for value in values]

    def _values(self, nodes: Iterable[Any]) -> list[Any]:
        return [self.decode(node) if type(node) is list else node for node in nodes]

    def _share(self, value: Shareable, content: Callable[[Codec, Any], list[Node]]) -> Node:
        known = self._numbers.get(id(value))
        if known is not None:
            return ["r", known]
        number = self._next
        self._next += 2
        self._enrol(number, value)
        return ["m", number, _NAMES[type(value)], *content(self, value)]

    def _enrol(self, number: int, value: Shareable) -> None:
        self._shared[number] = value
        self._numbers[id(value)] = number
        self._snapshots[number] = _snapshot(value)

    def _changes(self) -> Node:
        if not self._snapshots:
            return []
        changed = [number for number, before in self._snapshots.items() if _differs(self._shared[number], before)]
        for number in changed:
            self._snapshots[number] = _snapshot(self._shared[number])
        contents: Node = [[number, self._content(self._shared[number])] for number in changed]
        for number in [number for number in self._snapshots if self._out_of_reach(number)]:
            self._held.update(id(inner) for inner in self._snapshots.pop(number) if id(inner) in self._numbers)
        return contents

    def _out_of_reach(self, number: int) -> bool:
        """Whether all references to the container are this codec's, or come from others that are out of reach."""
        references = _references(self._shared, number) - self._held[id(self._shared[number])]
        return references == _ALONE and not weakref.getweakrefcount(self._shared[number])

    def _watched(self, number: int) -> Shareable:
        """A container that the other end mentions, and with it what it holds, is within reach again."""
        found = [number] if type(number) is int else []
        while found:
            if (back := found.pop()) not in self._snapshots:
                inside = self._snapshots[back] = _snapshot(self._shared[back])
                inner = [id(value) for value in inside if id(value) in self._numbers]
                self._held.subtract(inner)
                found += [self._numbers[known] for known in inner]
        return self._shared[number]

    def _content(self, value: Shareable) -> Node:
        return _CONTENT[type(value)](self, value)

    def _update(self, number: int, content: list[Node]) -> None:
        value = self._watched(number)
        _FILLERS[type(value)](self, value, content)
        self._snapshots[number] = _snapshot(value)

    def _receive(self, node: list[Any]) -> Shareable:
        number: Any = node[1]
        if type(number) is not int or number in self._shared or number % 2 == self._first:
            raise ProtocolError("a number that is taken")
        value: Shareable = _EMPTY[node[2]](node)
        self._enrol(number, value)
        _FILLERS[type(value)](self, value, node[3:])
        self._snapshots[number] = _snapshot(value)
        return value


def base_value(value: object) -> object:
    """The plain value in an instance of a subclass of a plain type, by that type's own methods; else LookupError."""
    for kind, extract in BASES.items():
        if isinstance(value, kind):
            return extract(value)
    raise LookupError(type(value).__name__)


def has_base(kind: type) -> bool:
    """Whether instances of `kind` contain a plain value."""
    return any(base in BASES for base in kind.__mro__)


def _is_namedtuple(kind: Any) -> bool:
    if not isinstance(kind, type) or kind.__base__ is not tuple:
        return False
    own = vars(kind)
    return "_fields" in own and all(name in _NAMEDTUPLE_OWN or name in own["_fields"] for name in own)


def _references(shared: dict[int, Shareable], number: int) -> int:
    return sys.getrefcount(shared[number])


_ALONE = _references({0: []}, 0)


def _snapshot(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    return [bytes(value)] if type(value) is bytearray else list(value)


def _differs(value: Any, snapshot: list[Any]) -> bool:
    now = _snapshot(value)
    if type(value) is bytearray:
        return now != snapshot
    return len(now) != len(snapshot) or not all(map(operator.is_, now, snapshot))


def _sequence(codec: Codec, value: Iterable[Any]) -> list[Node]:
    return [codec._nodes(value)]


def _pairs(codec: Codec, value: dict[Any, Any]) -> list[Node]:
    return [[[codec.encode(key), codec.encode(item)] for key, item in value.items()]]


def _deque(codec: Codec, value: deque[Any]) -> list[Node]:
    return [codec._nodes(value), value.maxlen]


def _defaultdict(codec: Codec, value: defaultdict[Any, Any]) -> list[Node]:
    name = getattr(value.default_factory, "__name__", None)
    known = type(name) is str and _FACTORIES.get(name) is value.default_factory
    return [*_pairs(codec, value), name if known else None]


def _bytearray(codec: Codec, value: bytearray) -> list[Node]:
    return [value.decode("latin-1")]


def _fill_list(codec: Codec, value: list[Any] | deque[Any], content: list[Any]) -> None:
    items = codec._values(content[0])
    value.clear()
    value.extend(items)


def _fill_set(codec: Codec, value: set[Any], content: list[Any]) -> None:
    items = codec._values(content[0])
    value.clear()
    value.update(items)


def _fill_dict(codec: Codec, value: dict[Any, Any], content: list[Any]) -> None:
    items = [(codec.decode(key), codec.decode(item)) for key, item in content[0]]
    value.clear()
    for key, item in items:
        value[key] = item  # noqa: PERF403  # update() means something else to a Counter


def _fill_bytes(codec: Codec, value: bytearray, content: list[Any]) -> None:
    value[:] = content[0].encode("latin-1")


def _empty(kind: Callable[[], Any]) -> Callable[[list[Any]], Any]:
    return lambda node: kind()


def _empty_deque(node: list[Any]) -> deque[Any]:
    return deque(maxlen=node[4])


def _empty_defaultdict(node: list[Any]) -> defaultdict[Any, Any]:
    return defaultdict(None if node[4] is None else _FACTORIES[node[4]])


_CONTENT: dict[type, Callable[[Codec, Any], list[Node]]] = {
    list: _sequence, dict: _pairs, set: _sequence, deque: _deque, defaultdict: _defaultdict, Counter: _pairs,
    OrderedDict: _pairs, bytearray: _bytearray,
}  # fmt: skip
_NAMES = {kind: kind.__name__ for kind in _CONTENT}
_EMPTY: dict[str, Callable[[list[Any]], Any]] = {
    **{kind.__name__: _empty(kind) for kind in (list, dict, set, Counter, OrderedDict, bytearray)},
    "deque": _empty_deque,
    "defaultdict": _empty_defaultdict,
}
_FILLERS: dict[type, Callable[[Codec, Any, list[Any]], None]] = {
    list: _fill_list, deque: _fill_list, set: _fill_set, dict: _fill_dict, defaultdict: _fill_dict, Counter: _fill_dict,
    OrderedDict: _fill_dict, bytearray: _fill_bytes,
}  # fmt: skip


def _write_text(value: str) -> Node:
    """JSON would make one character of two surrogates that stand side by side."""
    parts = _BETWEEN_SURROGATES.split(value)
    return value if len(parts) == 1 else ["s", *parts]


_BETWEEN_SURROGATES = re.compile("(?<=[\ud800-\udbff])(?=[\udc00-\udfff])")


def _write_tuple(codec: Codec, value: tuple[Any, ...]) -> Node:
    return ["t", codec._nodes(value)]


def _write_frozenset(codec: Codec, value: frozenset[Any]) -> Node:
    return ["z", codec._nodes(value)]


def _write_span(codec: Codec, value: range | slice) -> Node:
    return ["range" if type(value) is range else "slice", *codec._nodes((value.start, value.stop, value.step))]


def _write_moment(codec: Codec, value: datetime | time) -> Node:
    zone = value.tzinfo
    if zone is not None and type(zone) is not timezone:
        return codec._objects.lend(value)
    offset = value.utcoffset()
    seconds = None if offset is None else offset.total_seconds()
    day = [value.year, value.month, value.day] if isinstance(value, datetime) else []
    fields: list[Node] = [*day, value.hour, value.minute, value.second, value.microsecond]
    return [type(value).__name__, fields, value.fold, seconds]


_WRITERS: dict[type, Callable[[Codec, Any], Node]] = {
    tuple: _write_tuple,
    frozenset: _write_frozenset,
    bytes: lambda codec, value: ["b", value.decode("latin-1")],
    complex: lambda codec, value: ["c", value.real, value.imag],
    range: _write_span,
    slice: _write_span,
    type(...): lambda codec, value: ["..."],
    type(NotImplemented): lambda codec, value: ["NotImplemented"],
    Decimal: lambda codec, value: ["decimal", str(value)],
    Fraction: lambda codec, value: ["fraction", codec.encode(value.numerator), codec.encode(value.denominator)],
    date: lambda codec, value: ["date", value.year, value.month, value.day],
    timedelta: lambda codec, value: ["timedelta", value.days, value.seconds, value.microseconds],
    datetime: _write_moment,
    time: _write_moment,
}


def _write_namedtuple(codec: Codec, value: Any, kind: Any) -> Node:
    """With the number of its class, so that it comes home as an instance of it."""
    items, home = codec._nodes(tuple(value)), codec._homes.get(kind)
    if home is not None:
        return ["n", home, items]
    return ["n", kind.__name__, list(kind._fields), items, codec._objects.number_of(kind)]


def _read_namedtuple(codec: Codec, node: list[Any]) -> object:
    if len(node) == 3:
        kind: Any = codec._objects.known(node[1])
        items = codec._values(node[2])
        if not _is_namedtuple(kind) or len(items) != len(kind._fields):
            raise ProtocolError("not a named tuple of ours")
        return tuple.__new__(kind, items)
    _, name, fields, content, number = node
    if type(fields) is not list or not all(type(word) is str for word in (name, *fields)) or type(number) is not int:
        raise ProtocolError("not a named tuple")
    return _namedtuple(codec, number, name, fields)(*codec._values(content))


def _namedtuple(codec: Codec, number: int, name: str, fields: list[str]) -> Any:
    known = codec._named.get(number)
    if known is None:
        if len(fields) > _MAX_FIELDS or len(codec._named) >= _MAX_NAMEDTUPLES:
            raise ProtocolError("too many named tuples")
        known = codec._named[number] = namedtuple(name, fields)
        codec._homes[known] = number
    return known


def _read_moment(codec: Codec, node: list[Any]) -> datetime | time:
    name, fields, fold, seconds = node
    zone = None if seconds is None else timezone(timedelta(seconds=seconds))
    kind: Any = datetime if name == "datetime" else time
    return cast("datetime | time", kind(*_whole(fields), fold=fold, tzinfo=zone))


def _read_span(codec: Codec, node: list[Any]) -> range | slice:
    parts = [codec.decode(part) for part in node[1:4]]
    return range(*_whole(parts)) if node[0] == "range" else slice(*parts)


def _whole(numbers: list[Any]) -> list[int]:
    """These classes take other things than numbers too: pickled state, or objects that have to be asked."""
    if not all(type(number) is int for number in numbers):
        raise ProtocolError("not whole numbers")
    return numbers


def _text(value: Any) -> str:
    if type(value) is not str:
        raise ProtocolError("not text")
    return value


_READERS: dict[str, Callable[[Codec, list[Any]], Any]] = {
    "i": lambda codec, node: int(node[1], 16),
    "s": lambda codec, node: "".join(node[1:]),
    "t": lambda codec, node: tuple(codec._values(node[1])),
    "z": lambda codec, node: frozenset(codec._values(node[1])),
    "m": lambda codec, node: codec._receive(node),
    "r": lambda codec, node: codec._watched(node[1]),
    "n": _read_namedtuple,
    "b": lambda codec, node: node[1].encode("latin-1"),
    "c": lambda codec, node: complex(node[1], node[2]),
    "range": _read_span,
    "slice": _read_span,
    "...": lambda codec, node: ...,
    "NotImplemented": lambda codec, node: NotImplemented,
    "decimal": lambda codec, node: Decimal(_text(node[1])),
    "fraction": lambda codec, node: Fraction(*_whole([codec.decode(part) for part in node[1:3]])),
    "date": lambda codec, node: date(*_whole(node[1:4])),
    "timedelta": lambda codec, node: timedelta(*_whole(node[1:4])),
    "datetime": _read_moment,
    "time": _read_moment,
}

BASES: dict[type, Callable[[Any], Any]] = {
    int: int.__index__,
    float: float.__float__,
    str: str.__str__,
    bytes: lambda value: bytes.__getitem__(value, slice(None)),
    complex: complex.__complex__,
    tuple: lambda value: tuple.__getitem__(value, slice(None)),
    list: lambda value: list.__getitem__(value, slice(None)),
    dict: lambda value: dict(dict.items(value)),
    set: lambda value: set(set.__iter__(value)),
    frozenset: lambda value: frozenset(frozenset.__iter__(value)),
}
