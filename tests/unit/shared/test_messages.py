"""Every message survives encode and decode, and decode returns nothing but messages."""

from __future__ import annotations

import enum
import json
import re
import typing
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuejobs.shared import messages
from queuejobs.shared.job_key import Key
from queuejobs.shared.messages import LONGEST, MESSAGES, BadMessage, Message, decode, encode
from queuejobs.shared.typed_json import WrongType, reader_of

INTEGERS = st.integers(-(2**63), 2**64 - 1)
TEXTS = st.text(st.characters(codec=None), max_size=40)  # lone surrogates too: a log may hold them
KEYS = st.tuples(INTEGERS, TEXTS, INTEGERS)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
BY_ANNOTATION: dict[Any, st.SearchStrategy[Any]] = {
    int: INTEGERS,
    float: NUMBERS,
    str: TEXTS,
    bool: st.booleans(),
    Key: KEYS,
    dict[str, int]: st.dictionaries(TEXTS, INTEGERS, max_size=5),
    typing.Dict[str, int]: st.dictionaries(TEXTS, INTEGERS, max_size=5),  # noqa: UP006  (as the module spells it)
}


def values(annotation: Any) -> st.SearchStrategy[Any]:
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return st.sampled_from(annotation)
    options = typing.get_args(annotation) if typing.get_origin(annotation) is typing.Union else ()
    if options:
        return st.none() | values(options[0])
    return of_type(annotation) if is_dataclass(annotation) else BY_ANNOTATION[annotation]


def of_type(kind: Any) -> st.SearchStrategy[Any]:
    hints = typing.get_type_hints(kind)
    return st.builds(kind, **{field.name: values(hints[field.name]) for field in fields(kind)})


def every_message() -> st.SearchStrategy[Message]:
    return st.one_of([of_type(kind) for kind in MESSAGES.values()])


@given(every_message())
def test_every_type_survives(message: Message) -> None:
    assert decode(encode(message)) == message


@given(st.data(), every_message())
def test_a_truncated_message_is_refused(data: st.DataObject, message: Message) -> None:
    packet = encode(message)
    end = data.draw(st.integers(0, len(packet) - 1))
    with pytest.raises(BadMessage):
        decode(packet[:end])


@given(st.binary(max_size=200))
def test_random_bytes_are_refused(packet: bytes) -> None:
    with pytest.raises(BadMessage):
        decode(packet)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)


@given(every_message(), st.data())
def test_a_field_of_another_type_gives_a_message_or_is_refused(message: Message, data: st.DataObject) -> None:
    """Whatever a field contains, decode raises only its own error, and every field has its declared type."""
    document = json.loads(encode(message))
    name = data.draw(st.sampled_from(sorted(document)))
    document[name] = data.draw(JSON)
    try:
        decoded = decode(json.dumps(document).encode())
    except BadMessage:
        return
    assert decode(encode(decoded)) == decoded


@given(every_message(), st.data())
def test_a_field_that_is_missing_is_an_error_and_one_too_many_is_not(
    message: Message, data: st.DataObject
) -> None:
    document = json.loads(encode(message))
    assert decode(json.dumps({**document, "news of a later version": 1}).encode()) == message
    del document[data.draw(st.sampled_from(sorted(document)))]
    with pytest.raises(BadMessage):
        decode(json.dumps(document).encode())


def test_a_field_with_a_default_may_be_missing() -> None:
    """A sender of older code does not know it."""

    @dataclass(frozen=True)
    class Newer:
        old: int
        new: str = "as before"

    read = reader_of(Newer)
    assert read({"old": 1}) == Newer(1)
    assert read({"old": 1, "new": "otherwise"}) == Newer(1, "otherwise")
    with pytest.raises(WrongType, match=r"Newer\.new: expected a text"):
        read({"old": 1, "new": None})


def test_what_is_too_long_is_not_sent() -> None:
    with pytest.raises(BadMessage, match="at most 65536 can be sent"):
        encode(messages.CannotImport("app", "x" * LONGEST))


@pytest.mark.parametrize("name", ["root.channel", 'root."\\\x01', "root.ü€😀"])
def test_more_channels_than_one_message_holds(name: str) -> None:
    counts = {f"{name}{number}": number for number in range(20_000)}
    message = messages.WorkersWanted.fitting(counts)
    assert LONGEST * 0.99 < len(encode(message)) <= LONGEST
    assert list(message.channels) == list(counts)[: len(message.channels)], (
        "the message holds the first channels, in their order"
    )
    assert messages.WorkersWanted.fitting({"root": 2}) == messages.WorkersWanted({"root": 2})


@pytest.mark.parametrize("kind", MESSAGES.values(), ids=MESSAGES)
def test_each_is_frozen_and_says_who_tells_whom(kind: type[Message]) -> None:
    assert " to " in (kind.__doc__ or "").partition(":")[0]
    assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]


READERS = {
    "master": messages.MASTER_READS | messages.MASTER_READS_OF_WORKERS,
    "template": messages.TEMPLATE_READS,
    "dispatcher": messages.DISPATCHER_READS | messages.DISPATCHER_READS_OF_WORKERS,
    "worker": messages.WORKER_READS,
    "exporter": messages.EXPORTER_READS,
}


@pytest.mark.parametrize("kind", MESSAGES.values(), ids=MESSAGES)
def test_each_is_read_by_whom_its_docstring_names(kind: type[Message]) -> None:
    words = re.findall(r"\w+", (kind.__doc__ or "").partition(" to ")[2].partition(":")[0])
    assert {word for word in words if word in READERS} == {
        name for name, reads in READERS.items() if kind in reads
    }
