"""What of a test the program may hold and touch: a function to call back, an object to use through its public face.

The program must not find its way from such a loan to the test's frames and constants, where the expected values are.
"""

from __future__ import annotations

import importlib
import sys
import types
from contextlib import suppress
from typing import Any

from sandbox.library import PRELOADED
from sandbox.proxies import FORWARDED

_UNLENDABLE = (types.ModuleType, types.FrameType, types.CodeType, types.TracebackType, types.CellType)
_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, types.MethodType)
_MACHINERY = frozenset({
    "_cffi_backend", "_ctypes", "_socket", "asyncio.base_events", "asyncio.events", "asyncio.runners",
    "asyncio.transports", "ctypes", "mmap", "multiprocessing.pool", "selectors", "select", "socket", "subprocess",
})  # fmt: skip
"""Modules of what reaches past a test: an event loop takes any descriptor, a C function any address."""
_LOADERS = frozenset({"enable_load_extension", "load_extension", "setconfig"})
"""What makes a connection of sqlite3 load a library."""
_FORMATS = frozenset({"format", "format_map", "vformat", "get_field", "get_value"})
"""What reads attributes by names in a text, of a text that may be the program's."""
_FRAME_PREFIXES = ("_", "f_", "gi_", "cr_", "ag_", "tb_", "co_", "func_")
_LABELS = frozenset({"__name__", "__qualname__", "__module__", "__doc__"})
"""What a decorator copies of a function."""
_GENUINE = frozenset(
    [
        "math",
        "cmath",
        "collections",
        "itertools",
        "functools",
        "operator",
        "datetime",
        "decimal",
        "fractions",
        "copy",
        "random",
        "re",
        "string",
        "statistics",
        "heapq",
        "bisect",
        "time",
        "json",
        "dataclasses",
        "enum",
    ]
)
_IMPORTABLE = _GENUINE | {name for name in PRELOADED.split() if not name.startswith("_")} | {"numpy"}
_MOCKS_OWN = frozenset(
    {
        *("assert_any_call", "assert_any_await", "assert_awaited", "assert_awaited_once", "assert_awaited_once_with"),
        *("assert_awaited_with", "assert_called", "assert_called_once", "assert_called_once_with"),
        *("assert_called_with", "assert_has_awaits", "assert_has_calls", "assert_not_awaited", "assert_not_called"),
        *("attach_mock", "await_args", "await_args_list", "await_count", "call_args", "call_args_list", "call_count"),
        *("called", "configure_mock", "method_calls", "mock_add_spec", "mock_calls", "reset_mock", "return_value"),
        "side_effect",
    }
)
"""What a mock tells a test, or is told by it: none of it is the program's to read or change."""
_NAMED = (type, types.BuiltinFunctionType, types.FunctionType, types.MethodDescriptorType, types.WrapperDescriptorType)


def lendable(value: object) -> bool:
    """Whether the program may hold a reference to the value."""
    return not isinstance(value, _UNLENDABLE) and not any(map(_is_machinery, type(value).__mro__))


def _is_machinery(kind: type) -> bool:
    module = kind.__module__
    return module in _MACHINERY or kind.__name__ == "PyCapsule"


def library_name(value: Any) -> tuple[str, str] | None:
    """Module and qualified name of a function or class of the standard library, which the program's side has too."""
    if not isinstance(value, _NAMED):
        return None
    owner = getattr(value, "__objclass__", None)
    module = getattr(value if owner is None else owner, "__module__", None)
    name = getattr(value, "__qualname__", None)
    if type(module) is not str or type(name) is not str or module.partition(".")[0] not in sys.stdlib_module_names:
        return None
    return (module, name) if find(module, name) is value else None


def find(module: str, name: str) -> Any:
    """The object of that qualified name in a loaded module, None if there is none."""
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def library_claim(name: str, value: Any) -> str | None:
    """ "math" for a module, "math:isclose" for what a program imported from one under its own name; None for anything
    else.
    """
    if isinstance(value, types.ModuleType):
        return value.__name__
    home = library_name(value)
    module = home[0].lstrip("_") if home is not None else ""
    return f"{module}:{name}" if module in _GENUINE and find(module, name) is value else None


def genuine(name: str, claim: str) -> Any:
    """This process's own module, or function or class of one, for what the program says it imported; None if it cannot
    be.

    Whatever the program did to its copy stays with it. Only a few modules, and only under the name that they give: a
    claim that the function under test is something else of the library is not believed. Nor is a module imported here
    for a claim unless importing it does nothing: `unittest.__main__` would run what the program left in its folder.
    """
    if type(claim) is not str:  # a handle would change its answers
        return None
    module, _, member = claim.partition(":")
    if member and (member != name or module not in _GENUINE):
        return None
    loaded = sys.modules.get(module) if module.partition(".")[0] in sys.stdlib_module_names else None
    if loaded is None and module in _IMPORTABLE:
        with suppress(ImportError):
            loaded = importlib.import_module(module)
    return getattr(loaded, member, None) if member else loaded


def attribute(value: object, name: str) -> object:
    """An attribute that the program asks for; AttributeError for everything private or leading to frames."""
    if name in _LABELS and isinstance(value, (type, *_FUNCTIONS)):
        return getattr(value, name)
    _check_public(name)
    if (name in _MOCKS_OWN and _is_mock(value)) or (name in _FORMATS and _is_librarys(value, name)):
        raise AttributeError(f"{name} is for the test")
    return getattr(value, name)


def _is_librarys(value: object, name: str) -> bool:
    """Whether a method is not the test's own."""
    method = getattr(type(value), name, None)
    return method is not None and getattr(method, "__module__", None) != "__test__"


def parameters(value: Any) -> list[tuple[str, int, bool]]:
    """Name and kind of each parameter, and whether it has a default, which stays here. TypeError or ValueError if the
    value has none to show.
    """
    import inspect  # most tests need it not

    found = inspect.signature(value).parameters.values()
    return [(each.name, int(each.kind), each.default is not each.empty) for each in found]


def set_attribute(value: object, name: str, content: object) -> None:
    """An attribute that the program sets: on an object, not on a class or function, and not in the place of a method,
    which the test may still use.
    """
    _check_public(name)
    if isinstance(value, (type, *_FUNCTIONS)) or callable(getattr(type(value), name, None)):
        raise AttributeError(f"{name} is not the program's to change")  # noqa: TRY004  # what a read-only name raises
    if name in _MOCKS_OWN and _is_mock(value):
        raise AttributeError(f"{name} is for the test")
    setattr(value, name, content)


def _is_mock(value: object) -> bool:
    mock = sys.modules.get("unittest.mock")
    return mock is not None and isinstance(value, mock.NonCallableMock)


def special(name: str, value: Any, *operands: Any) -> object:
    """A special method that the other end calls."""
    if name not in FORWARDED:
        raise AttributeError(name)
    return getattr(type(value), name)(value, *operands)


def call(value: Any, names: tuple[str, ...], *arguments: Any) -> object:
    """A call by the other end; the last arguments are those named."""
    if not names:  # as most are
        return value(*arguments)
    count = len(arguments) - len(names)
    return value(*arguments[:count], **dict(zip(names, arguments[count:], strict=True)))


def _check_public(name: object) -> None:
    if type(name) is not str or name.startswith(_FRAME_PREFIXES) or name in _LOADERS:
        raise AttributeError(f"{name} is not the program's to use")
