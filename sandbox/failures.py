"""Exceptions between the two processes.

A builtin exception arrives as the same class, and so does one of the library that changes nothing but the control flow
of who catches it. A class that the program defines arrives as a stand-in of the same name under the nearest builtin
classes, so that `except` clauses of a test match as they would in one process.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

from sandbox.codec import MALFORMED, Codec, Objects
from sandbox.loans import find, library_name
from sandbox.wire import Node, ProtocolError, TooLarge

PROGRAM = "<program>"
TEXT_LENGTH = 300
_ATTRIBUTES = 16
_LIBRARY = frozenset({
    "_csv", "_pickle", "_queue", "argparse", "asyncio.queues", "binascii", "configparser", "copy", "dataclasses",
    "decimal", "graphlib", "ipaddress", "json.decoder", "pickle", "queue", "re", "shutil", "statistics", "struct",
    "threading", "xml.etree.ElementTree", "zipfile", "zlib", "zoneinfo._common",
})  # fmt: skip
"""Modules whose exceptions cross as themselves."""

_QUIET = frozenset({"asyncio.exceptions", "concurrent.futures._base", "unittest.case"})
"""Whose exceptions do not, and do not come home either: by cancelling or skipping a test, a program would have it pass.
"""
_NEVER_SET = ("_", "name_from")
"""How attributes begin that stay out: Python 3.12 imports the `name` of an ImportError with a name_from to print it."""
_LINE, _TEXT, _HOME = "_sandbox_line", "_sandbox_text", "_sandbox_home"

BUILTIN: dict[str, type[BaseException]] = {
    name: kind for name, kind in vars(builtins).items() if isinstance(kind, type) and issubclass(kind, BaseException)
}


def write_failure(error: BaseException, codec: Codec | None, objects: Objects) -> Node:
    """The node of a raised exception: class, arguments, attributes, its own text, the program's line. Without codec, no
    values.
    """
    kind = write_class(type(error), objects)
    text, line = _text_of(error), line_of(error)
    if codec is None:
        return [kind, [], [], text, line]
    try:
        arguments = [codec.encode(value) for value in error.args]
        return [kind, arguments, _attributes(error, codec), text, line]
    except (TooLarge, RecursionError, MemoryError):
        return [kind, [], [], text, line]


def read_failure(node: Any, codec: Codec, objects: Objects) -> BaseException:
    """The exception to raise for a node of `write_failure`; ProtocolError for anything else."""
    try:
        kind, arguments, attributes, text, line = node
        values = [codec.decode(argument) for argument in arguments]
        error = _build(read_class(kind, objects), values, str(text)[:TEXT_LENGTH])
        for name, value in attributes[:_ATTRIBUTES]:
            if type(name) is str and name.isidentifier() and not name.startswith(_NEVER_SET):
                setattr(error, name, objects.member(codec.decode(value)))
        setattr(error, _LINE, line if type(line) is int else None)
    except MALFORMED as problem:
        raise ProtocolError("not a failure") from problem
    return error


def write_class(kind: type, objects: Objects) -> Node:
    """The node of an exception class: a builtin's name; number, name, bases and module of another; for a stand-in, the
    number that it has at home.
    """
    name = type.__dict__["__name__"].__get__(kind)
    if BUILTIN.get(name) is kind:
        return cast("str", name)
    if (home := vars(kind).get(_HOME)) is not None:
        return [home]
    bases = [write_class(base, objects) for base in kind.__bases__ if issubclass(base, BaseException)]
    module, _ = library_name(kind) or ("", "")
    return [objects.number_of(kind), name[:TEXT_LENGTH], bases, module]


def read_class(node: Any, objects: Objects) -> type[BaseException]:
    """The exception class for a node of `write_class`."""
    if type(node) is str:
        return BUILTIN[node]
    if len(node) == 1:
        own = objects.exception_class(node[0])
        return Exception if own.__module__ in _QUIET else own
    number, name, bases, module = node
    if type(number) is not int:
        raise ProtocolError("not a class")
    if module in _LIBRARY and _is_exception(own := find(module, name), module):
        return own
    known = objects.stand_ins
    if number not in known:
        known[number] = _stand_in(str(name), tuple(read_class(base, objects) for base in bases) or (Exception,), number)
    return known[number]


def _is_exception(found: object, module: str) -> bool:
    """Whether it is an exception of that very module, and none that the module has from another."""
    return isinstance(found, type) and issubclass(found, Exception) and found.__module__ == module


def line_of(error: BaseException) -> int | None:
    """The innermost line of the program in the exception's traceback."""
    line, trace = getattr(error, _LINE, None), error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == PROGRAM:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line if type(line) is int else None


def text_of(error: BaseException) -> str:
    """ "ValueError: too small (line 3)", from what arrived; asks nobody."""
    text, line = getattr(error, _TEXT, None), line_of(error)
    name = type(error).__name__
    words = f"{name}: {_text_of(error) if text is None else text}".rstrip(": ")
    return words if line is None else f"{words} (line {line})"


def _text_of(error: BaseException) -> str:
    return guarded(lambda: str(error)[:TEXT_LENGTH])


def guarded(text: Callable[[], str]) -> str:
    """Text that somebody else's `__str__` or `__repr__` makes, or a note that it failed."""
    try:
        made = text()
    except BaseException as error:  # the method is the program's and may raise anything
        return f"<no text: {type(error).__name__}>"
    return made if type(made) is str else "<no text>"


def _attributes(error: BaseException, codec: Codec) -> list[Node]:
    """What a handler may look at: attributes of the exception, and what its own classes define."""
    names = [name for holder in (error, *_own_classes(type(error))) for name in vars(holder)]
    public = [name for name in dict.fromkeys(names) if type(name) is str and not name.startswith("_")]
    found: list[Node] = []
    for name in public[:_ATTRIBUTES]:
        with suppress(Exception):  # a property is the program's and may raise anything
            found.append([name, codec.encode(getattr(error, name))])
    return found


def _own_classes(kind: type) -> list[type]:
    return [base for base in kind.__mro__ if str(base.__module__).partition(".")[0] not in sys.stdlib_module_names]


def _build(kind: type[BaseException], values: list[Any], text: str) -> BaseException:
    try:
        error = kind.__new__(kind, *values) if kind.__module__ in _LIBRARY else kind(*values)
    except Exception:
        error = _stand_in(kind.__name__, (Exception,), None)()
    setattr(error, _TEXT, text)
    return error


def _stand_in(name: str, bases: tuple[type[BaseException], ...], number: int | None) -> type[BaseException]:
    body = {"__str__": _stand_in_text, "__module__": "__candidate__", _HOME: number}
    try:
        return type(name, bases, body)
    except TypeError:  # bases that cannot be combined
        return type(name, bases[:1], body)


def _stand_in_text(error: BaseException) -> str:
    text = vars(error).get(_TEXT)
    return text if type(text) is str else Exception.__str__(error)
