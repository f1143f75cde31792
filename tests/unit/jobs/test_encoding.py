"""Arguments come back from the database unchanged, or are refused with their name."""

from __future__ import annotations

import json
from datetime import date, datetime, timezone
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuejobs import Environment, Model
from queuejobs.encoding import decode, encode, encode_call


class Thing(Model):
    _name = "test.encoding.thing"


ENV = Environment(None, user_id=7, context={"lang": "de_DE", "secret": "x"})

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(),
    st.datetimes(timezones=st.none() | st.just(timezone.utc)),
    st.dates(),
    st.lists(st.integers(1, 9)).map(ENV["test.encoding.thing"].browse),
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text().filter(lambda k: k != "_type"), inner)
)


@given(values)
def test_what_goes_in_comes_out(value: Any) -> None:
    text = encode(value)
    assert decode(text, ENV) == value
    # psycopg2 has parsed a jsonb column already
    assert decode(json.loads(text), ENV) == value if not isinstance(value, str) else True


def test_a_recordset_keeps_its_user_and_the_allowed_part_of_its_context() -> None:
    records = ENV["test.encoding.thing"].browse([1, 2])
    stored = json.loads(encode([{"deep": records}]))
    assert stored[0]["deep"] == {
        "_type": "odoo_recordset",
        "model": "test.encoding.thing",
        "ids": [1, 2],
        "uid": 7,
        "su": False,
        "context": {"lang": "de_DE"},
    }
    decoded = decode(encode(records), Environment(None, user_id=1, context={"job_uuid": "u"}))
    assert (decoded.env.user_id, decoded.env.context) == (7, {"lang": "de_DE", "job_uuid": "u"})


@pytest.mark.parametrize(
    ("args", "kwargs", "named"),
    [
        ((1, object()), {}, "argument 2 "),
        ((), {"x": {1, 2}}, "argument 'x' "),
        ((float("nan"),), {}, "argument 1 "),
        ((), {"y": [float("inf")]}, "argument 'y' "),
        (({"_type": "odoo_recordset", "model": "x"},), {}, "argument 1 "),
        ((), {"z": {("a", "b"): 1}}, "argument 'z' "),
    ],
)
def test_the_argument_that_cannot_be_encoded_is_named(args: Any, kwargs: Any, named: str) -> None:
    with pytest.raises(TypeError) as refused:
        encode_call(args, kwargs)
    assert str(refused.value).startswith(named)


def test_a_value_that_contains_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(TypeError, match="argument 1"):
        encode_call((endless,), {})


def test_a_string_that_only_mentions_a_tag_is_a_string() -> None:
    assert decode(encode(['say "_type"', {"_type": "mine"}]), ENV) == ['say "_type"', {"_type": "mine"}]


def test_elements_come_back_as_elements() -> None:
    element = decode(encode(ElementTree.fromstring("<a b='1'><c/>ü</a>")), ENV)
    assert isinstance(element, ElementTree.Element)
    assert ElementTree.tostring(element, "unicode") == '<a b="1"><c />ü</a>'


def test_elements_of_lxml_come_back_as_such() -> None:
    lxml = pytest.importorskip("lxml.etree")
    element = decode(encode([lxml.fromstring("<a><b/>ü</a>")]), ENV)[0]
    assert lxml.tostring(element, encoding="unicode") == "<a><b/>ü</a>"


def test_rows_written_by_the_addon_are_read() -> None:
    stored = (
        '[{"_type": "datetime_isoformat", "value": "2024-05-06T07:08:09"},'
        ' {"_type": "date_isoformat", "value": "2024-05-06"},'
        ' {"_type": "odoo_recordset", "model": "test.encoding.thing", "ids": [4], "uid": 2}]'
    )
    moment, day, records = decode(stored, ENV)
    assert (moment, day, records.ids) == (datetime(2024, 5, 6, 7, 8, 9), date(2024, 5, 6), [4])
