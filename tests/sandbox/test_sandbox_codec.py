"""Values survive the way to the other process; anything else that arrives is refused."""

from __future__ import annotations

import json
import pickle
from collections import Counter, OrderedDict, defaultdict, deque
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.codec import Codec
from sandbox.wire import ProtocolError, pack, unpack


class Nobody:
    """Lends and takes nothing."""

    def __init__(self):
        self.stand_ins = {}

    def number_of(self, value):
        raise AssertionError(value)

    def lend(self, value):
        raise TypeError(type(value).__name__)

    def take(self, node):
        raise ProtocolError(str(node)[:50])


def pair() -> tuple[Codec, Codec]:
    return Codec(Nobody(), 0), Codec(Nobody(), 1)


def over(sender: Codec, receiver: Codec, *values):
    changes, nodes = sender.encode_message(values)
    changes, nodes = unpack(pack([changes, nodes])[4:])
    return receiver.decode_message(changes, nodes)


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.complex_numbers(allow_nan=False)
    | st.decimals(allow_nan=False)
    | st.fractions()
    | st.dates()
    | st.datetimes()
    | st.timedeltas()
    | st.integers().map(lambda n: n << 200)
)
keys = st.none() | st.booleans() | st.integers() | st.text() | st.binary() | st.tuples(st.integers(), st.text())
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(keys, inner)
        | st.tuples(inner, inner)
        | st.sets(keys)
        | st.frozensets(keys)
        | st.lists(inner).map(deque)
        | st.dictionaries(keys, st.integers()).map(Counter)
        | st.dictionaries(keys, inner).map(OrderedDict)
    ),
    max_leaves=20,
)


@settings(max_examples=60)
@given(values)
def test_round_trip(value):
    """Plain data and standard containers arrive equal and of the same type."""
    (back,) = over(*pair(), value)
    assert back == value
    assert type(back) is type(value)


@pytest.mark.parametrize(
    "value",
    [
        float("inf"),
        -0.0,
        10**5000,
        "\ud800",
        range(3, 9, 2),
        slice(1, None),
        ...,
        NotImplemented,
        bytearray(b"\xff"),
        defaultdict(list, {1: [2]}),
        deque([1], 3),
        date(2020, 1, 1),
        datetime(2020, 1, 1, tzinfo=timezone(timedelta(hours=2))),
        Decimal("1.10"),
        Fraction(-1, 3),
        [True, 1, 1.0],
    ],
    ids=lambda value: type(value).__name__,
)
def test_exact_round_trip(value):
    """The odd ones arrive with all that makes them up."""
    (back,) = over(*pair(), value)
    assert (back, pickle.dumps(back)) == (value, pickle.dumps(value))


def test_cycles_and_aliases():
    """What refers to itself, or twice to the same, does so at the other end."""
    value = [[1]]
    value += [value, value[0]]
    (back,) = over(*pair(), value)
    assert back[1] is back
    assert back[2] is back[0]


@given(st.lists(st.lists(st.integers()), min_size=1), st.integers())
def test_changes_travel_back(rows, number):
    """A container changed at one end changes at the other with the next message, as the same object."""
    left, right = pair()
    (there,) = over(left, right, rows)
    there.append([number])
    there[0].append(number)
    over(right, left)
    assert rows == there
    rows[0].clear()
    (again,) = over(left, right, rows)
    assert again is there
    assert there == rows


junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(
        [
            "m",
            "r",
            "t",
            "z",
            "n",
            "b",
            "i",
            "c",
            "range",
            "slice",
            "decimal",
            "fraction",
            "date",
            "datetime",
            "time",
            "timedelta",
            "list",
            "dict",
            "set",
            "deque",
            "defaultdict",
            "Counter",
            "bytearray",
            "o",
            "h",
            "f",
            "E",
        ]
    ),
    lambda inner: st.lists(inner, max_size=5),
    max_leaves=12,
)


@given(junk, st.lists(junk, max_size=3))
def test_junk_is_refused_or_plain(changes, nodes):
    """Whatever arrives either is the protocol's or is refused as a whole; nothing else is ever raised."""
    try:
        back = Codec(Nobody(), 0).decode_message(changes, nodes)
    except ProtocolError:
        return
    assert len(back) == len(nodes)


@given(st.binary() | st.text().map(str.encode) | junk.map(lambda value: json.dumps(value).encode()))
def test_frames_hold_json_without_objects(data):
    """A frame is JSON of lists and scalars, or refused."""
    try:
        unpack(data)
    except ProtocolError:
        return
    assert b"{" not in data or b'"' in data


@pytest.mark.parametrize(
    "data", [b"[" * 100_000, b'{"a":1}', b"1" * 5000, b"", b"[1", b"\xff"], ids=lambda data: repr(data[:9])
)
def test_malformed_frames(data):
    """Too deep, an object, an endless number, nothing, half a message, no text: refused."""
    with pytest.raises(ProtocolError):
        unpack(data)


@pytest.mark.parametrize(
    "node",
    [
        ["m", 0, "list", []],
        ["m", 1, "list"],
        ["m", 1, "object", []],
        ["r", 7],
        ["n", "x y", [], [], 0],
        ["n", "P", ["__class__"], [1], 0],
        ["n", "P", ["a", "a"], [1, 2], 0],
        ["n", "P", ["a"], [1], "0"],
        ["n", 7, []],
        ["i", 5],
        [["t"], []],
        ["defaultdict"],
        ["date", 1, 99, 1],
        ["m", True, "list", []],
    ],
    ids=str,
)
def test_malformed_nodes(node):
    """A number that is not the sender's, an unknown type, a bad name: refused."""
    with pytest.raises(ProtocolError):
        Codec(Nobody(), 0).decode_message([], [node])
