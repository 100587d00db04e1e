"""Records from JSON and to Arrow, read off their type hints."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import pyarrow as pa
import pytest

from datagen.codec import from_json, outcome_from_json, schema_of, to_plain
from datagen.models import Candidate, Drop, Outcome, Question, Row
from sandbox.contract import Status


@dataclass(frozen=True)
class Everything:
    name: str
    count: int
    share: float
    yes: bool
    maybe: float | None = None
    status: Status = Status.PASS
    parts: tuple[Candidate, ...] = ()


def test_record_comes_back_from_its_plain_data():
    """asdict and from_json are inverse: nested records, tuples, enums and None included."""
    record = Everything("a", 1, 0.5, True, None, Status.FAIL, (Candidate(0, "c", "pass", ("pass",)),))
    back = from_json(asdict(record), Everything)
    assert back == record and isinstance(back.status, Status)


def test_missing_key_takes_the_default():
    """A record written before a field existed is still read."""
    assert from_json({"name": "a", "count": 1, "share": 0.5, "yes": True}, Everything).maybe is None


def test_unknown_key_is_an_error():
    """A field that the record lacks is never dropped in silence."""
    with pytest.raises(KeyError):
        from_json({"reason": "empty", "colour": "red"}, Drop)


def test_kept_things_may_stay_plain():
    """Whoever does not care about the kept type reads dicts."""
    data = to_plain(Outcome("a", kept=(Drop("empty"),)))
    assert outcome_from_json(data, dict).kept == ({"reason": "empty", "detail": "", "text": ""},)


def test_schema_of_a_row_has_chat_messages():
    """messages are a list of structs of role and content, as chat templates and trainers read them."""
    schema = schema_of(Row)
    assert schema.field("messages").type == pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
    assert schema.field("tests").type == pa.list_(pa.string())
    assert schema.field("pass_rate").type == pa.float64()


def test_schema_names_every_field_in_order():
    """Columns are the record's fields, in their order."""
    assert schema_of(Question).names == list(Question.__dataclass_fields__)


def test_schema_of_enums_and_optionals():
    """An enum of str is a string column; `X | None` is the column of X."""
    schema = schema_of(Everything)
    assert schema.field("status").type == pa.string() and schema.field("maybe").type == pa.float64()


def test_type_without_column_is_named():
    """A field that no column can hold is refused by its type."""

    @dataclass
    class Odd:
        thing: object

    with pytest.raises(TypeError, match="object"):
        schema_of(Odd)
