"""Whatever the program's process writes, the tests' process gets plain values and handles, or hears that it broke the
protocol.
"""

from __future__ import annotations

import contextlib
import functools
import json
import math
import socket
import struct
import sys
import threading
import tracemalloc
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable, Iterator
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from types import FrameType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox.codec import PLAIN_TYPES, Codec
from sandbox.failures import write_failure
from sandbox.grader import Program
from sandbox.handles import Handle, Handles
from sandbox.link import Link
from sandbox.table import Table
from sandbox.wire import MAX_FRAME, Closed, Frames, ProtocolError, pack, unpack

try:
    import numpy
except ImportError:
    numpy = None

quick = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
SECRET = "swordfish 30217"


# --- the two ends -----------------------------------------------------------------------------------------------------


class Proxy:
    """What the program's end here holds of the tests' objects."""

    def __init__(self, number: int) -> None:
        self._sandbox_number = number


class Lender(Table):
    """The program's end, without a program."""

    def __init__(self) -> None:
        super().__init__(Proxy)

    def make_class(self, number: int, name: str, offers: list[str]) -> type:
        return type(name, (Proxy,), {})

    def make_proxy(self, kind: type | None, number: int) -> Any:
        return (kind or Proxy)(number)


class Asker:
    """The tests' end: handles, codec and link, and a service that gives back what it is given."""

    def __init__(self, descriptor: int) -> None:
        self.weak = False
        handles = Handles()
        handles.asker = self
        self._link = Link(Frames(descriptor), handles, lambda operation, values: values[-1], first=0)

    def ask(self, operation: str, *values: object) -> object:
        return self._link.ask(operation, *values)


def pump(channel: socket.socket, data: bytes, sink: bytearray) -> None:
    """Write all of the script, then read whatever comes until the other end is closed."""
    try:
        channel.sendall(data)
        channel.shutdown(socket.SHUT_WR)
        while part := channel.recv(1 << 16):
            sink += part
    except OSError:
        pass
    finally:
        channel.close()


def against(script: bytes, act: Callable[[int], object]) -> object:
    """The result of `act` on a descriptor whose other end sends the script and closes."""
    near, far = socket.socketpair()
    thread = threading.Thread(target=pump, args=(far, script, bytearray()))
    thread.start()
    try:
        return act(near.fileno())
    finally:
        near.close()
        thread.join()


def callback(value: object) -> object:
    return value


def conversation(descriptor: int) -> object:
    """Two questions, the second after a change, with a function and a shared list in them."""
    asker, shared = Asker(descriptor), [1, [2]]
    asker.ask("call", callback, shared)
    shared.append(shared)
    return asker.ask("call", callback, shared)


def outcome(script: bytes) -> object:
    """What the conversation gives: a value, what came with the exception that it sends, or nothing if it breaks off."""
    try:
        return against(script, conversation)
    except (Closed, ProtocolError):
        return None
    except BaseException as error:
        if "_sandbox_line" not in vars(error):  # it did not come from there
            raise
        return error.args


def check(script: bytes) -> None:
    """The script ends in plain values, in an exception that it sends, or in the end of the conversation."""
    before = set(sys.modules)
    value = outcome(script)
    assert not {name for name in set(sys.modules) - before if not name.startswith("numpy")}
    assert_plain(value)


SIMPLE = (
    int, float, str, bool, bytes, complex, type(None), range, type(...), type(NotImplemented), bytearray, Decimal,
    Fraction, date, datetime, time, timedelta,
)  # fmt: skip
HOLDERS = (list, tuple, set, frozenset, deque, Counter, OrderedDict, defaultdict, dict)


def assert_plain(value: object) -> None:
    """Nothing but exact plain types, named tuples, handles, exceptions and their classes, and the function we lent."""
    todo, seen = [value], set()
    while todo:
        found = todo.pop()
        if id(found) in seen:
            continue
        seen.add(id(found))
        kind = type(found)
        assert _is_known(found, kind), kind
        if isinstance(found, dict):
            todo += [*found.keys(), *found.values()]
        elif isinstance(found, (*HOLDERS, slice)):
            todo += [found.start, found.stop, found.step] if kind is slice else list(found)


def _is_known(value: object, kind: type) -> bool:
    if kind in SIMPLE or kind in HOLDERS or kind is slice or issubclass(kind, Handle) or value is callback:
        return True
    if isinstance(value, type):
        return value in PLAIN_TYPES.values() or issubclass(value, BaseException)
    if issubclass(kind, BaseException) or (kind.__base__ is tuple and hasattr(kind, "_fields")):
        return True
    return numpy is not None and isinstance(value, (numpy.ndarray, numpy.generic)) and value.dtype.kind in "biufcSU"


# --- what is sent -----------------------------------------------------------------------------------------------------

Point = namedtuple("Point", "x y")


class Own:
    """A class of the program's."""

    def __init__(self) -> None:
        self.inner = [1]

    def __len__(self) -> int:
        return 1

    def __call__(self) -> int:
        return 1


class OwnError(ValueError):
    """An exception of the program's."""


class Number(int):
    """Plain data in a class of the program's."""


def _samples() -> list[object]:
    cycle: list[object] = [1]
    cycle += [cycle, {"a": cycle}]
    moments = [datetime(2020, 2, 29, 1, 2, 3, 4, timezone(timedelta(hours=-3)), fold=1), time(1, 2), date(1, 1, 1)]
    numbers = [0, -1, 1 << 70, 1.5, float("nan"), -0.0, True, 1j, Decimal("-0.10"), Fraction(1, 3)]
    plain = [None, "text", "\ud83d\ude00", b"\0\xff", bytearray(b"x"), range(3), slice(1, None), ..., NotImplemented]
    holders = [{1: {2: 3}}, {1, 2}, frozenset({1}), (1, (2,)), deque([1], 2), Counter("aab"), OrderedDict(a=1)]
    own = [Own(), Own, callback, OwnError, ValueError, int, Number(3), Point(1, [2]), defaultdict(list, {1: [1]})]
    arrays = [] if numpy is None else [numpy.arange(6).reshape(2, 3), numpy.float64(1.5), numpy.array(["a", "bc"])]
    return [*moments, *numbers, *plain, *holders, *own, *arrays, cycle, timedelta(1, 2, 3), {Own()}, {"k": Own()}]


@functools.cache
def recorded() -> list[str]:
    """Messages that an honest program sends: answers, questions, failures."""
    frames = []
    for value in _samples():
        lender = Lender()
        codec = Codec(lender, 1)
        frames.append(["a", *codec.encode_message([value])])
        frames.append(["q", "call", *codec.encode_message([Own(), (), value])])
        if isinstance(value, list):
            value.append("more")
            frames.append(["a", *codec.encode_message([value])])
        lender = Lender()
        failure = write_failure(OwnError("wrong", value), Codec(lender, 1), lender)
        frames.append(["x", [], failure])
    return [json.dumps(frame) for frame in frames]


TAGS = [
    "q", "Q", "a", "x", "X", "m", "r", "i", "s", "t", "z", "n", "b", "c", "o", "f", "h", "E", "T", "L", "array",
    "range", "slice", "...", "NotImplemented", "decimal", "fraction", "date", "datetime", "time", "timedelta", "list",
    "dict", "set", "deque", "defaultdict", "Counter", "OrderedDict", "bytearray", "int", "object", "ValueError",
    "ExceptionGroup", "SystemExit", "based", "coroutine", "__call__", "__hash__", "__eq__", "<f8", "|b1", "<U1", "O",
    "call", "get", "_x", "__class__", "a\0b", "\ud800", "1e999999999", "0x" + "f" * 40, "-0x1", "nan", "class", "",
]  # fmt: skip
numbers = st.integers(-3, 12) | st.sampled_from([255, 256, 1 << 31, 1 << 32, 1 << 62, 1 << 64, -(1 << 63), 10**30])
leaves = st.sampled_from(TAGS) | numbers | st.none() | st.booleans() | st.floats() | st.text(max_size=6)
junk = st.recursive(leaves, lambda inner: st.lists(inner, max_size=5), max_leaves=10)


def places(node: object, above: tuple[int, ...] = ()) -> Iterator[tuple[int, ...]]:
    """The way to every node below this one."""
    if isinstance(node, list):
        for index, inner in enumerate(node):
            yield (*above, index)
            yield from places(inner, (*above, index))


def _nest(node: Any) -> object:
    return functools.reduce(lambda inner, _: [inner], range(30), node)


CHANGES: dict[str, Callable[[Any], object]] = {
    "more": lambda node: node + 1 if isinstance(node, (int, float)) else [node, node],
    "less": lambda node: node - 1 if isinstance(node, (int, float)) else [],
    "text": str,
    "nest": _nest,
    "double": lambda node: node * 2 if isinstance(node, (str, list)) else node,
    "reverse": lambda node: node[::-1] if isinstance(node, (str, list)) else node,
    "first": lambda node: node[0] if node and isinstance(node, (str, list)) else None,
}


@st.composite
def mutated(draw: Callable[..., Any]) -> object:
    """A recorded message with some of its nodes changed, replaced, taken from another message, or dropped."""
    frame = json.loads(draw(st.sampled_from(recorded())))
    for _ in range(draw(st.integers(0, 3))):
        found = list(places(frame))
        *above, last = found[draw(st.integers(0, len(found) - 1))]
        holder = functools.reduce(lambda node, index: node[index], above, frame)
        how = draw(st.sampled_from([*CHANGES, "junk", "junk", "other", "drop"]))
        if how == "drop" and len(frame) > 1:
            del holder[last]
        elif how == "other":
            other = json.loads(draw(st.sampled_from(recorded())))
            holder[last] = other[draw(st.integers(0, len(other) - 1))]
        else:
            holder[last] = draw(junk) if how in ("junk", "drop") else CHANGES[how](holder[last])
    return frame


@settings(quick, max_examples=400)
@given(st.lists(mutated(), min_size=1, max_size=6))
def test_mutated_conversations(frames):
    """Honest messages with something wrong in them give plain values, exceptions of theirs, or the end."""
    check(b"".join(map(pack, frames)))


@settings(quick, max_examples=150)
@given(st.lists(junk.map(pack) | junk.map(lambda node: pack(["a", [], [node]])), max_size=4))
def test_arbitrary_nodes(frames):
    """So does any JSON, bare or in an answer."""
    check(b"".join(frames))


@settings(quick, max_examples=100)
@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda data: len(data).to_bytes(4, "big") + data))
def test_arbitrary_bytes(data):
    """So do any bytes, with a length in front or without."""
    check(data)


@settings(quick, max_examples=60)
@given(st.sampled_from(recorded()), st.integers(0, 400))
def test_truncated_conversations(frame, size):
    """So does a message that ends anywhere."""
    check((pack(json.loads(frame)) * 2)[:size])


@pytest.mark.parametrize(
    "answer",
    [
        ["a", [], []],
        ["a", [], [1, 2]],
        ["a", [], ""],
        ["a", None, [1]],
        ["a", [[0, [[]]]], []],
        ["a", [[7, [[]]]], [1]],
        ["x", [], []],
        ["x", [], ["NoSuchError", [], [], "", None]],
        ["x", [], [[3], [], [], "", None]],
        ["x", [], ["ValueError", [], [["args", 5]], "", None]],
        ["X", []],
        ["a", [], [["o", 1]]],
        ["a", [], [["o", -1]]],
        ["a", [], [["E", [0]]]],
        ["a", [], [["T", "type"]]],
        ["a", [], [["L", "os", "system"]]],
        ["a", [], [["date", "\x07\xe4\x01\xc8"]]],
        ["a", [], [["time", ["\x01\xff\xff\0\0\0"], 0, None]]],
        ["a", [], [["datetime", ["\x07\xe4\x01\xc8\xff\xff\xff\0\0\0", None], 0, None]]],
        ["a", [], [["n", "P", "abc", [1], 0]]],
        ["a", [], [["decimal", [0, [1], 5]]]],
        ["a", [], [["array", "<U1", None, "\xff\xff\xff\xff"]]],
        ["a", [], [["array", ">U1", [1], "\xff\xff\xff\xff"]]],
        ["a", [], [["array", "|b1", [1], "\2"]]],
        ["a", [], [["array", "|O8", [1], "\0" * 8]]],
        ["a", [], [["array", "<f8", -1, "\0" * 8]]],
        ["a", [], [["array", "<f8,|O8", [1], "\0" * 16]]],
    ],
    ids=lambda answer: str(answer)[:40].replace("\0", "0"),
)
def test_answers_that_no_program_gives(answer):
    """What no encoder writes is refused as a whole; it never becomes a value or an exception of the test's."""
    if "array" in str(answer) and numpy is None:
        pytest.skip("numpy is not installed")
    with pytest.raises(ProtocolError):
        against(pack(answer), lambda descriptor: Asker(descriptor).ask("call", callback, [1]))


# --- frames -----------------------------------------------------------------------------------------------------------


def receive_all(descriptor: int) -> list[object]:
    frames, received = Frames(descriptor), []
    try:
        while True:
            received.append(frames.receive())
    except Closed:
        return received


def peak(act: Callable[[], object]) -> int:
    """The most bytes of memory in use at a time while `act` runs."""
    tracemalloc.start()
    try:
        act()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", [MAX_FRAME + 1, 1 << 31, (1 << 32) - 1])
def test_hostile_length(size):
    """A length beyond the limit is refused before a byte of the message is awaited or room made for it."""

    def act() -> None:
        with pytest.raises(ProtocolError):
            against(size.to_bytes(4, "big"), lambda descriptor: Frames(descriptor).receive())

    assert peak(act) < 1 << 20


def test_promised_length():
    """A message that is announced and does not come takes little room."""

    def act() -> None:
        with pytest.raises(Closed):
            against(MAX_FRAME.to_bytes(4, "big") + b"[", lambda descriptor: Frames(descriptor).receive())

    assert peak(act) < 4 << 20


@settings(quick, max_examples=25)
@given(st.lists(junk, max_size=6), st.lists(st.integers(1, 9), min_size=1))
def test_slow_drip(nodes, sizes):
    """However the bytes of a stream come in, the messages are the same."""
    data, received = b"".join(map(pack, nodes)), []
    near, far = socket.socketpair()
    thread = threading.Thread(target=lambda: received.extend(receive_all(near.fileno())))
    thread.start()
    at = 0
    for turn in range(len(data)):
        far.send(data[at : at + sizes[turn % len(sizes)]])
        at += sizes[turn % len(sizes)]
    far.close()
    thread.join()
    near.close()
    assert form(received) == form([unpack(pack(node)[4:]) for node in nodes])


def test_tiny_frames():
    """Thousands of small messages at once all arrive, each once, in their order."""
    assert against(b"".join(map(pack, range(20_000))), receive_all) == list(range(20_000))


def test_flood_of_questions():
    """A program that only asks is answered until it ends, and costs no more memory than it sends."""
    script = pack(["q", "call", [], [None]]) * 5000

    def act() -> None:
        with pytest.raises(Closed):
            against(script, conversation)

    assert peak(act) < 8 << 20


def _many(count: int, node: Callable[[int], object]) -> bytes:
    return pack(["a", [], [["t", [node(index) for index in range(count)]]]])


LARGE: dict[str, Callable[[], bytes]] = {
    "empty lists": lambda: _many(1, lambda index: ["t", [[]] * 60_000]),
    "shared lists": lambda: _many(8000, lambda index: ["m", 2 * index + 1, "list", []]),
    "references": lambda: _many(20_000, lambda index: ["r", 1] if index else ["m", 1, "list", []]),
    "named tuples": lambda: _many(6000, lambda index: ["n", f"T{index}", ["a"], [1], index]),
    "one wide named tuple": lambda: _many(1, lambda index: ["n", "T", [f"a{i}" for i in range(20_000)], [1], 0]),
    "classes": lambda: _many(3000, lambda index: ["h", index, index, "T", ["__call__"]]),
    "exception classes": lambda: _many(3000, lambda index: ["E", [index, "T", ["ValueError"]]]),
    "functions": lambda: _many(10_000, lambda index: ["f", index]),
    "huge range": lambda: _many(1, lambda index: ["range", 0, 1 << 60, 1]),
    "huge maxlen": lambda: _many(1, lambda index: ["m", 1, "deque", [], 1 << 60]),
    "huge decimal": lambda: _many(3000, lambda index: ["decimal", f"1e{10**17 + index}"]),
    "huge number": lambda: _many(1, lambda index: ["i", "0x" + "f" * 200_000]),
    "many digits": lambda: _many(1, lambda index: ["fraction", ["i", "0x" + "f" * 9000], ["i", "0x1" + "0" * 9000]]),
    "deep": lambda: b"\0\x01\x86\xa0" + b"[" * 100_000,
    "deep values": lambda: _many(1, lambda index: functools.reduce(lambda inner, _: ["t", [inner]], range(400), 1)),
    "empty array": lambda: _many(1, lambda index: ["array", "<f8", [0, 10**15], ""]),
    "huge items": lambda: _many(1, lambda index: ["array", "<U999999999", None, ""]),
    "many texts": lambda: _many(20_000, lambda index: ""),
    "wide text": lambda: _many(1, lambda index: "\U0001f600" + "a" * 100_000),
}


@pytest.mark.parametrize("kind", LARGE)
def test_memory_is_bounded_by_the_frame(kind):
    """No message takes more than a hundred times its own size, and 8 MB for the classes that it names."""
    script = LARGE[kind]()

    def act() -> None:
        with contextlib.suppress(ProtocolError):
            against(script, lambda descriptor: Asker(descriptor).ask("call"))

    assert peak(act) < (8 << 20) + 100 * len(script)


# --- round trips ------------------------------------------------------------------------------------------------------


def form(value: Any, seen: dict[int, int] | None = None) -> object:
    """All that makes a value up, as something that compares exactly: types, bits of floats (any NaN is alike), aliases,
    cycles.
    """
    seen = {} if seen is None else seen
    kind = type(value)
    if kind in (float, complex):
        return kind, [struct.pack("d", math.nan if part != part else part) for part in (value.real, value.imag)]
    if kind in (datetime, time):
        return kind, value.replace(tzinfo=None), value.fold, value.utcoffset()
    if kind is Decimal:
        return kind, value.as_tuple()
    if kind is slice:
        return kind, form((value.start, value.stop, value.step), seen)
    if numpy is not None and isinstance(value, (numpy.ndarray, numpy.generic)):
        return kind, value.dtype.str, value.shape, value.tobytes()
    if not isinstance(value, HOLDERS):
        return kind, value
    return _form_of_holder(value, kind, seen)


def _form_of_holder(value: Any, kind: type, seen: dict[int, int]) -> object:
    if not isinstance(value, (tuple, frozenset)):
        if id(value) in seen:
            return "again", seen[id(value)]
        seen[id(value)] = len(seen)
    extra = (getattr(value, "maxlen", None), getattr(value, "default_factory", None), getattr(value, "_fields", None))
    name = kind.__name__ if extra[2] else kind
    if isinstance(value, dict):
        return name, extra, [(form(key, seen), form(item, seen)) for key, item in value.items()]
    if isinstance(value, (set, frozenset)):
        return name, sorted(map(repr, (form(item, seen) for item in value)))
    return name, extra, [form(item, seen) for item in value]


def over(sender: Codec, receiver: Codec, *values: object) -> list[object]:
    message = unpack(pack(["a", *sender.encode_message(values)])[4:])
    return receiver.decode_message(*message[1:])


def ends() -> tuple[Codec, Codec]:
    near = Handles()
    near.asker = SimpleNamespace(weak=False)
    return Codec(near, 0), Codec(Lender(), 1)


any_text = st.text(st.characters(min_codepoint=0, max_codepoint=0x10FFFF, exclude_categories=()), max_size=8)
surrogates = st.text(st.sampled_from("a\ud800\udbff\udc00\udfff\U0001f600"), max_size=6)
zones = st.none() | st.builds(timezone, st.timedeltas(timedelta(hours=-23), timedelta(hours=23)))
hashable = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers().map(lambda number: number << 300),
    st.floats(),
    st.complex_numbers(),
    any_text,
    surrogates,
    st.binary(max_size=8),
    st.decimals(allow_nan=False),
    st.fractions(),
    st.dates(),
    st.times(timezones=zones),
    st.builds(datetime.replace, st.datetimes(timezones=zones), fold=st.integers(0, 1)),
    st.timedeltas(),
    st.builds(range, st.integers(), st.integers(), st.integers(1, 1 << 70)),
    st.sampled_from([..., NotImplemented, int, list, object, range, type(None), ValueError, KeyboardInterrupt]),
)
special_decimals = st.sampled_from(["NaN", "-NaN", "sNaN", "NaN123", "-sNaN7", "Infinity", "-0", "1E+999999"]).map(
    Decimal
)
scalars = hashable | special_decimals | st.builds(slice, st.integers(), hashable, st.none())
inner_keys = hashable | st.tuples(hashable, hashable) | st.builds(Point, st.integers(), any_text)


def _holders(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner, inner),
        st.builds(Point, inner, inner),
        st.builds(deque, st.lists(inner, max_size=4), st.none() | st.integers(0, 5)),
        st.dictionaries(inner_keys, inner, max_size=4),
        st.dictionaries(inner_keys, inner, max_size=4).map(OrderedDict),
        st.builds(defaultdict, st.sampled_from([None, int, list]), st.dictionaries(inner_keys, inner, max_size=3)),
        st.dictionaries(inner_keys, st.integers(), max_size=4).map(Counter),
        st.sets(inner_keys, max_size=4),
        st.frozensets(inner_keys, max_size=4),
        st.binary(max_size=8).map(bytearray),
    )


values = st.recursive(scalars, _holders, max_leaves=12)


@settings(quick, max_examples=200)
@given(values)
def test_everything_that_crosses_crosses_exactly(value):
    """Each type arrives as it was: the bits of floats, sign and payload of decimals, surrogates, offsets, folds."""
    near, far = ends()
    assert form(over(near, far, value)) == form([value])
    near, far = ends()
    assert form(over(far, near, value)) == form([value])


@pytest.mark.skipif(numpy is None, reason="numpy is not installed")
@settings(quick, max_examples=60)
@given(
    st.sampled_from(["?", "i1", "<u2", ">i4", "<i8", "<f2", ">f4", "<f8", "<f16", "<c8", "<c16", "S3", "<U2", ">U2"]),
    st.lists(st.integers(0, 3), max_size=3),
    st.binary(min_size=27 * 32, max_size=27 * 32),
)
def test_arrays_cross_exactly(dtype, shape, data):
    """Arrays and scalars of numpy arrive with their dtype, shape and bytes."""
    kind = numpy.dtype(dtype)
    raw = bytes(byte % 2 if kind.kind == "b" else byte * (index % 4 < 2) for index, byte in enumerate(data))
    raw = raw if kind.kind != "U" else numpy.arange(27 * 8, dtype=kind.str[0] + "u4").tobytes()
    array = numpy.frombuffer(raw[: math.prod(shape) * kind.itemsize], kind).reshape(shape)
    near, far = ends()
    assert form(over(near, far, array)) == form([array])
    if array.size:
        near, far = ends()
        assert form(over(near, far, array.flat[0])) == form([array.flat[0]])


@pytest.mark.skipif(numpy is None, reason="numpy is not installed")
def test_empty_texts_of_numpy_cross():
    """So do texts without a character, whose items have no size."""
    near, far = ends()
    back = over(near, far, numpy.str_(""), numpy.bytes_(b""))
    assert back == ["", b""]
    assert [type(value) for value in back] == [numpy.str_, numpy.bytes_]


@st.composite
def graphs(draw: Callable[..., Any]) -> list[Any]:
    """Containers that hold each other in any way, themselves included."""
    made: list[Any] = [
        make() for make in draw(st.lists(st.sampled_from([list, dict, deque, OrderedDict]), min_size=1, max_size=6))
    ]
    for _ in range(draw(st.integers(0, 12))):
        link(draw, made)
    return made


def link(draw: Callable[..., Any], made: list[Any]) -> None:
    """Put one of the containers, bare or in a tuple, or a number, into one of them; or empty one."""
    holder, held = (made[draw(st.integers(0, len(made) - 1))] for _ in range(2))
    held = draw(st.sampled_from([held, (held, held), [held], 5]))
    if draw(st.integers(0, 5)) == 0:
        holder.clear()
    elif isinstance(holder, dict):
        holder[draw(st.integers(0, 3))] = held
    else:
        holder.append(held)


@settings(quick, max_examples=80)
@given(graphs(), st.data())
def test_graphs_stay_the_same_at_both_ends(nodes, data):
    """Aliases and cycles arrive as such, and what either end changes is changed at the other by the next message."""
    near, far = ends()
    (there,) = over(near, far, nodes)
    assert form(there) == form(nodes)
    for turn in range(data.draw(st.integers(0, 4))):
        own, sender, receiver = (nodes, near, far) if turn % 2 else (there, far, near)
        link(data.draw, own)
        over(sender, receiver)
        assert form(there) == form(nodes)


def inside(holder: Any) -> list[Any]:
    """The containers directly in one."""
    items = list(holder.values()) if isinstance(holder, dict) else list(holder)
    return [item for item in items if isinstance(item, (list, dict, deque))]


@settings(quick, max_examples=150)
@given(graphs(), st.data())
def test_what_was_dropped_comes_back(nodes, data):
    """A container that one end let go of, and everything in it, is the same again when the other end mentions it."""
    near, far = ends()
    kept = []
    for _ in range(data.draw(st.integers(1, 6))):
        own = nodes[data.draw(st.integers(0, len(nodes) - 1))]
        (there,) = over(near, far, own)
        assert form(there) == form(own)
        if data.draw(st.booleans()):
            link(data.draw, [there, *inside(there), *kept])
        (back,) = over(far, near, there)
        assert back is own
        assert form(own) == form(there)
        if data.draw(st.booleans()):
            kept.append(there)
        del there, back
        over(far, near)
        link(data.draw, nodes)
        over(near, far)
        over(far, near)


def test_what_was_inside_comes_back():
    """So is what lies in it: changed after its return, it is changed at the other end."""
    near, far = ends()
    rows = [[[1]]]
    over(near, far, rows)
    for _ in range(3):
        over(far, near)
    (there,) = over(near, far, rows)
    (row,), there = there, None
    row[0].append(2)
    over(far, near)
    assert rows == [[[1, 2]]]


def steps(call: Callable[..., object], *arguments: object) -> int:
    """How many instructions of Python's a call executes."""
    executed = 0

    def count(frame: FrameType, event: str, argument: object) -> Callable:
        nonlocal executed
        frame.f_trace_opcodes = True
        executed += event == "opcode"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        call(*arguments)
    finally:
        sys.settrace(before)
    return executed


def test_later_calls_cost_no_more():
    """What no one holds any more is not looked through: a test's 200th call takes as many steps as its tenth."""
    near, far = ends()

    def exchange(number: int) -> None:
        over(near, far, [[number], [[3, number]]])
        over(far, near, {number: [number]})

    work = [steps(exchange, number) for number in range(200)]
    assert max(work[10:]) < 2 * work[9]  # not equal: what others have hung on a garbage collection is counted too


@settings(quick, max_examples=60)
@given(
    st.lists(values, max_size=3),
    st.sampled_from([OwnError, ValueError, KeyError, OSError, StopIteration, KeyboardInterrupt]),
)
def test_exceptions_cross(arguments, kind):
    """An exception arrives with its class's name and arguments, in a class that the same `except` catches."""
    lender = Lender()
    error = kind(*arguments)
    node = unpack(pack(["x", [], write_failure(error, Codec(lender, 1), lender)])[4:])
    with pytest.raises(kind.__mro__[1] if kind is OwnError else type(error)) as caught:
        against(pack(node), lambda descriptor: Asker(descriptor).ask("call"))
    assert type(caught.value).__name__ == type(error).__name__
    assert form(caught.value.args) == form(error.args)


def test_exception_classes_come_home():
    """A class that one end defines is itself again when it comes back: bare, raised, or as the base of another."""
    near, far = Handles(), Lender()
    there, back = Codec(near, 0), Codec(far, 1)
    (stand_in,) = over(there, back, OwnError)
    assert stand_in is not OwnError
    assert over(back, there, stand_in, type("Sub", (stand_in,), {}))[0] is OwnError
    node = unpack(pack(write_failure(stand_in("x"), back, far))[4:])
    with pytest.raises(OwnError):
        against(pack(["x", [], node]), lambda descriptor: _ask_with(descriptor, near))


def _ask_with(descriptor: int, handles: Handles) -> object:
    return Link(Frames(descriptor), handles, lambda operation, values: None, first=0).ask("call")


# --- what the program may reach ---------------------------------------------------------------------------------------


class Keeper:
    """An object of a test, with what the program must not see in its methods' code and globals."""

    open = "to all"

    def __init__(self) -> None:
        self._hidden = SECRET

    def method(self, value: object) -> bool:
        return value == "swordfish 30217"


def keeping_function(value: object, expected: object = None) -> bool:
    return value == "swordfish 30217" and expected is None


def keeping_generator() -> Iterator[int]:
    hidden = "swordfish 30217"
    yield len(hidden)


def raised_error() -> Exception:
    hidden = SECRET
    try:
        raise ValueError(len(hidden))
    except ValueError as error:
        return error


TEMPLATES = [
    "{0.__globals__}", "{0.__code__.co_consts}", "{0.__self__.__dict__}", "{0.__class__.__dict__}", "{0.__dict__}",
    "{0.method.__code__.co_consts}", "{0.func.__code__.co_consts}", "{0.gi_frame.f_globals}",
    "{0.__func__.__globals__}",
    "{0.__traceback__.tb_frame.f_globals}", "{0.method.__globals__[SECRET]}", "{0._hidden}", "{0!r:>9}",
]  # fmt: skip
NAMES = [
    "__globals__", "__code__", "__dict__", "__self__", "__func__", "__closure__", "__defaults__", "__class__",
    "__init__", "__subclasses__", "__reduce_ex__", "__getattribute__", "__traceback__", "__builtins__", "_hidden",
    "gi_frame", "gi_code", "method", "func", "args", "keywords", "open", "mro", "with_traceback", "format",
    "format_map", "throw",
]  # fmt: skip


class Explorer:
    """A program that tries everything on everything it is lent, and keeps what it is told."""

    def __init__(self, channel: socket.socket) -> None:
        self._frames = Frames(channel.fileno())
        self.told: list[str] = []
        self._known: list[list[object]] = []

    def run(self) -> None:
        """Take the test's question, ask everything in turn, answer it."""
        self._learn(self._frames.receive())
        for turn in range(8):
            if turn < len(self._known):
                self._try_all(self._known[turn])
        for template in TEMPLATES:
            self._format(template)
        self._frames.send(["a", [], [None]])

    def _try_all(self, target: list[object]) -> None:
        for name in NAMES:
            self._ask("get", target, name)
            self._ask("special", name, target)
            self._ask("set", target, name, 1)
        for name in ("__str__", "__repr__", "__dir__", "__copy__", "__next__", "__call__", "__iter__"):
            self._ask("special", name, target)
        self._ask("call", target, ["t", []])
        self._ask("call", target, ["t", []], 1)

    def _format(self, template: str) -> None:
        for name in ("format", "format_map"):
            before = len(self._known)
            self._ask("get", template, name)
            self._ask("call", ["T", "str"], ["t", []], template)
            for method in self._known[before:]:
                for target in self._known[:8]:
                    self._ask("call", method, ["t", []], target)

    def _ask(self, operation: str, *nodes: object) -> None:
        self._frames.send(["q", operation, [], list(nodes)])
        self._learn(self._frames.receive())

    def _learn(self, message: Any) -> None:
        self.told.append(json.dumps(message))
        for place in places(message):
            node = functools.reduce(lambda found, index: found[index], place, message)
            if isinstance(node, list) and node[:1] in (["f"], ["h"]) and ["o", node[1]] not in self._known:
                self._known.append(["o", node[1]])


LENT: dict[str, Callable[[], object]] = {
    "function": lambda: keeping_function,
    "instance": Keeper,
    "class": lambda: Keeper,
    "bound method": lambda: Keeper().method,
    "generator": keeping_generator,
    "partial": lambda: functools.partial(keeping_function, 1),
    "exception": raised_error,
    "callback in a list": lambda: [keeping_function],
}


@pytest.mark.parametrize("kind", LENT)
def test_a_loan_leads_nowhere(kind):
    """From nothing that a test lends does the program reach code, globals, frames or private attributes."""
    near, far = socket.socketpair()
    explorer = Explorer(far)
    thread = threading.Thread(target=explorer.run)
    thread.start()
    Program(Frames(near.fileno())).ask("call", LENT[kind]())
    thread.join()
    near.close()
    far.close()
    assert len(explorer.told) > 50
    assert [told for told in explorer.told if "30217" in told] == []


@pytest.mark.parametrize("operation", ["get", "special", "call", "set"])
def test_only_loans_are_served(operation):
    """A program's question about anything that it was not lent, such as data of its own, is refused."""
    target = {
        "get": ["{0.x}", "format"],
        "special": ["__len__", "abc"],
        "call": [["T", "list"], ["t", []]],
        "set": [["t", []], "x", 1],
    }
    near, far = socket.socketpair()
    far.sendall(pack(["q", operation, [], target[operation]]) + pack(["a", [], [None]]))
    Program(Frames(near.fileno())).ask("call", callback)
    replies = Frames(far.fileno())
    replies.receive()
    assert replies.receive()[0] == "x"
    near.close()
    far.close()


@pytest.mark.parametrize("name", ["__array_interface__", "__array_struct__", "__cuda_array_interface__"])
def test_a_program_gives_no_addresses(name):
    """A handle does not ask the program for where in memory its data lies, which numpy would believe."""
    with pytest.raises(AttributeError):
        against(
            pack(["a", [], [["h", 1, 0, "Fake", []]]]) + pack(["a", [], [5]]),
            lambda at: getattr(Asker(at).ask("call"), name),
        )
