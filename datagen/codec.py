"""Dataclasses from JSON and to Arrow schemas, both read off the type hints, so that a record is defined once.

Understood: str, int, float, bool, `X | None`, `tuple[X, ...]`, `dict`, enums of str and nested dataclasses.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable
from enum import Enum
from functools import cache
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import pyarrow as pa

from datagen.models import Outcome

Kept = TypeVar("Kept")
Record = TypeVar("Record")
Decoder = Callable[[Any], Any]

_ARROW = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}


def outcome_from_json(data: dict[str, Any], kept_type: type[Kept]) -> Outcome[Kept]:
    """The Outcome whose `to_plain` gave `data`, its kept things as `kept_type` (dict: left as they are).

    Raises TypeError, KeyError, ValueError or AttributeError for data of another shape.
    """
    outcome = from_json(data | {"kept": []}, Outcome)
    decode: Decoder = _decoder(cast(Any, kept_type))
    return dataclasses.replace(outcome, kept=tuple(decode(item) for item in data["kept"]))


def to_plain(value: Any) -> Any:
    """Dataclasses as dicts, tuples as lists, all else as it is: `dataclasses.asdict` without its copies."""
    if isinstance(value, tuple | list):
        return [to_plain(item) for item in value]
    names = _field_names(cast(Any, type(value)))
    return value if names is None else {name: to_plain(getattr(value, name)) for name in names}


@cache
def _field_names(kind: Any) -> tuple[str, ...] | None:
    """The fields of a dataclass, None for any other type."""
    return tuple(field.name for field in dataclasses.fields(kind)) if dataclasses.is_dataclass(kind) else None


def from_json(data: dict[str, Any], record: type[Record]) -> Record:
    """The dataclass `record` from plain data; a missing key takes the field's default."""
    return cast(Record, _decoder(cast(Any, record))(data))


@cache
def _decoder(hint: Any) -> Decoder:
    """What turns JSON data into a value of the annotated type; made once per type."""
    hint = _inner(hint)
    if dataclasses.is_dataclass(hint):
        return _record_decoder(hint)
    if get_origin(hint) is tuple:
        decode = _decoder(get_args(hint)[0])
        return lambda items: tuple(decode(item) for item in items)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint
    return lambda value: value


def _record_decoder(record: Any) -> Decoder:
    hints = get_type_hints(record)
    decoders = {f.name: _optional(_decoder(hints[f.name])) for f in dataclasses.fields(record)}
    return lambda data: record(**{key: decoders[key](value) for key, value in data.items()})


def _optional(decode: Decoder) -> Decoder:
    return lambda value: None if value is None else decode(value)


def _inner(hint: Any) -> Any:
    """X of `X | None`; every other hint as it is."""
    if get_origin(hint) in (Union, types.UnionType):
        (inner,) = [kind for kind in get_args(hint) if kind is not type(None)]
        return inner
    return hint


def schema_of(record: Any) -> pa.Schema:
    """The Arrow schema of a dataclass: one column per field, nested ones as structs, tuples as lists."""
    hints = get_type_hints(record)
    return pa.schema([(f.name, _arrow_type(hints[f.name])) for f in dataclasses.fields(record)])


def _arrow_type(hint: Any) -> pa.DataType:
    hint = _inner(hint)
    if dataclasses.is_dataclass(hint):
        return pa.struct(list(schema_of(hint)))
    if get_origin(hint) is tuple:
        return pa.list_(_arrow_type(get_args(hint)[0]))
    if isinstance(hint, type) and issubclass(hint, str):
        return pa.string()
    if hint in _ARROW:
        return _ARROW[hint]
    raise TypeError(f"no Arrow type for {hint}")
