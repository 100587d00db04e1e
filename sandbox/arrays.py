"""numpy arrays and scalars between the program and its tests: plain numbers and text only, by their bytes.

numpy is never imported here for its own sake: a value of it can only exist where the program or a test has imported it.
"""

from __future__ import annotations

import re
import sys
from typing import Any

from sandbox.wire import Node, ProtocolError

_KINDS = "biufcSU"
_DTYPE = re.compile(rf"([<>|])([{_KINDS}])(\d{{1,9}})").fullmatch
_NARROW = {"f2": "f8", "f4": "f8", "c8": "c16"}
_LARGEST = {"b": 1, "U": 0x10FFFF}  # what an item of these kinds may hold at most; numpy believes its bytes


def is_numpy(value: object) -> bool:
    """Whether the value is exactly an array or scalar of numpy with plain contents."""
    numpy = sys.modules.get("numpy")
    if numpy is None or type(value).__module__ != "numpy":
        return False
    return isinstance(value, (numpy.ndarray, numpy.generic)) and value.dtype.kind in _KINDS


def write(value: Any) -> Node:
    """The node of an array (with its shape) or a scalar (without)."""
    shape = list(value.shape) if isinstance(value, sys.modules["numpy"].ndarray) else None
    return ["array", value.dtype.str, shape, value.tobytes().decode("latin-1")]


def read(node: list[Any]) -> object:
    """The array or scalar of a node; ProtocolError for a dtype with anything but plain numbers or text, and for bytes
    that are not of its kind.
    """
    import numpy

    _, dtype, shape, data = node
    parts = _DTYPE(dtype)
    if parts is None:
        raise ProtocolError("not an array")
    order, kind, width = parts.groups()
    if shape is None and int(width) == 0:
        return numpy.str_() if kind == "U" else numpy.bytes_()
    flat = numpy.frombuffer(data.encode("latin-1"), dtype)
    limit = _LARGEST.get(kind)
    if limit is not None and flat.size and flat.view("u1" if kind == "b" else f"{order}u4").max() > limit:
        raise ProtocolError("not the items of an array")
    if shape is not None and type(shape) is not list:
        raise ProtocolError("not a shape")
    return flat.reshape(1)[0] if shape is None else flat.reshape(shape).copy()


def wide(value: Any) -> object:
    """The array or scalar, in a wider type where it holds an infinity of few bits.

    numpy takes a plain number beside few bits as one of those: a large one is infinite then, and equals that infinity.
    """
    import numpy

    kind = _NARROW.get(value.dtype.str[1:])
    return value if kind is None or not numpy.isinf(value).any() else value.astype(kind)
