"""Which special methods a reference to an object at the other end offers, and how a class that offers just those is
made.

A proxy's class has the name of the original's class and only the special methods that the original has, so that
`callable(x)`, `len(x)` or `isinstance(x, Iterable)` say of the proxy what they would say of the original.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

REFLECTABLE = [
    "add",
    "sub",
    "mul",
    "truediv",
    "floordiv",
    "mod",
    "divmod",
    "pow",
    "matmul",
    "and",
    "or",
    "xor",
    "lshift",
    "rshift",
]
ARITHMETIC = [
    f"__{prefix}{name}__" for name in REFLECTABLE for prefix in ("", "r", "i") if (prefix, name) != ("i", "divmod")
]
ORDERING = ["__lt__", "__le__", "__gt__", "__ge__"]
NUMERIC = [
    "__abs__",
    "__neg__",
    "__pos__",
    "__invert__",
    "__int__",
    "__float__",
    "__index__",
    "__complex__",
    "__round__",
    "__trunc__",
    "__floor__",
    "__ceil__",
]
CONTAINER = [
    "__len__",
    "__iter__",
    "__next__",
    "__getitem__",
    "__setitem__",
    "__delitem__",
    "__reversed__",
    "__length_hint__",
]
OTHER = ["__call__", "__contains__", "__enter__", "__exit__", "__await__", "__copy__", "__deepcopy__"]
OPTIONAL = [*ARITHMETIC, *ORDERING, *NUMERIC, *CONTAINER, *OTHER]
ALWAYS = ["__eq__", "__hash__", "__bool__", "__str__", "__repr__", "__format__", "__instancecheck__", "__dir__"]
FORWARDED = frozenset(OPTIONAL + ALWAYS)

_DEFAULT = {name: getattr(object, name) for name in ORDERING}


def offered(kind: type) -> list[str]:
    """The optional special methods that instances of `kind` have."""
    found = []
    for name in OPTIONAL:
        method = getattr(kind, name, None)
        if method is not None and _DEFAULT.get(name) is not method:
            found.append(name)
    return found


Forwarders = Mapping[str, Callable[..., Any]]


def proxy_class(base: type, name: str, offers: list[str], forwarders: Forwarders, extra: dict[str, Any]) -> type:
    """A subclass of `base` with the original's class name and the forwarders of what the original offers."""
    body = {word: forwarders[word] for word in offers if word in forwarders}
    return type(name, (base,), {"__slots__": (), "__module__": "__candidate__", "__doc__": _DOC, **extra, **body})


_DOC = property(lambda self: self.__getattr__("__doc__"))
"""A class would have one of its own, and not ask."""
