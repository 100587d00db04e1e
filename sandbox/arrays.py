"""numpy arrays and scalars between the program and its tests: plain numbers and text only, by their bytes.

numpy is never imported here for its own sake: a value of it can only exist where the program or a test has imported it.
"""

from __future__ import annotations

import sys
from typing import Any

from sandbox.wire import Node, ProtocolError

_KINDS = "biufcSU"


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
    """The array or scalar of a node; ProtocolError for a dtype with anything but plain numbers or text."""
    import numpy

    _, kind, shape, data = node
    if type(kind) is not str or kind.lstrip("<>|=")[:1] not in _KINDS or "," in kind:
        raise ProtocolError("not an array")
    flat = numpy.frombuffer(data.encode("latin-1"), dtype=numpy.dtype(kind))
    return flat[0] if shape is None else flat.reshape(shape).copy()
