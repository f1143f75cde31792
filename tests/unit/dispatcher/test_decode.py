"""Payloads of our triggers and the addon's are decoded; anything else that a role may send is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuemaster.dispatcher.notifications import (
    AddonJobChanged,
    AddonReload,
    CancelRequested,
    ChannelChanged,
    ControlChanged,
    EtaChanged,
    JobReady,
    Notification,
    decode,
)
from support.payloads import ODD_PAYLOADS

KEY_TIME = "2026-01-02T03:04:05.000060"
UUID = "c8c0d125-a7e9-4c47-a5e0-b1781ba41473"


@pytest.mark.parametrize(
    ("payload", "meaning"),
    [
        (f'["root", 10, "{KEY_TIME}", 7]', JobReady("root", (10, KEY_TIME, 7))),
        (f'["root.späť", -2147483648, "{KEY_TIME}", 9223372036854775807]',
         JobReady("root.späť", (-(2**31), KEY_TIME, 2**63 - 1))),
        ('["root.a"]', ChannelChanged("root.a")),
        ('[""]', ChannelChanged("")),
        ('[null, "2999-01-02T00:00:00"]', EtaChanged()),
        ('[null, "2999-01-02T00:00:00.25"]', EtaChanged()),
        ('[null, "12999-01-02T00:00:00"]', EtaChanged()),
        ('[null, "0044-03-15T00:00:00 BC"]', EtaChanged()),
        ('[null, "infinity"]', EtaChanged()),
        # dates that no key can hold
        ('["root", 10, null, 7]', ChannelChanged("root")),
        ('["root", 10, "10000-01-01T00:00:00.000000", 7]', ChannelChanged("root")),
        ('["root", 10, "0044-03-15T00:00:00.000000 BC", 7]', ChannelChanged("root")),
        ('{"control" : true}', ControlChanged()),
        ('{"cancel" : 7}', CancelRequested()),
        (UUID, AddonJobChanged(UUID)),
        ("reload", AddonReload()),
    ],
)  # fmt: skip
def test_what_the_triggers_send(payload: str, meaning: Notification) -> None:
    assert decode(payload) == meaning


@pytest.mark.parametrize("payload", ODD_PAYLOADS, ids=range(len(ODD_PAYLOADS)))
def test_all_else_means_nothing(payload: str) -> None:
    assert decode(payload) is None


def test_a_channel_that_the_database_cannot_spell_is_none() -> None:
    assert decode('["root.ä"]', ("utf-8", "iso8859_1")) == ChannelChanged("root.ä")
    assert decode('["root.日"]', ("utf-8", "iso8859_1")) is None
    assert decode('["root.ä"]', ("ascii",)) is None


names = st.text() | st.sampled_from(["control", "cancel"])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([KEY_TIME, "root"]),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(names, inner),
    max_leaves=8,
)
near_keys = st.tuples(
    st.sampled_from(["root", "\ud800", "a\0b", None, 1]) | st.text(),
    st.integers() | st.booleans() | st.none(),
    st.sampled_from([KEY_TIME, "2026-02-30T00:00:00.000000"])
    | st.text(max_size=30)
    | st.datetimes().map(str),
    st.integers() | st.floats() | st.booleans(),
).map(list)


def assert_can_be_used(meaning: Notification | None) -> None:
    """A decoded payload must not break a query or the table of heads."""
    if isinstance(meaning, (JobReady, ChannelChanged)):
        assert "\0" not in meaning.channel
        meaning.channel.encode()
    if isinstance(meaning, JobReady):
        priority, created, job = meaning.key
        assert (type(priority), type(created), type(job)) == (int, str, int)
        assert -(2**31) <= priority < 2**31
        assert -(2**63) <= job < 2**63
        assert min(meaning.key, (0, KEY_TIME, 0)) is not None


@given(json_values | near_keys)
def test_any_json(value: Any) -> None:
    assert_can_be_used(decode(json.dumps(value)))


@given(st.text(max_size=200))
def test_any_text(payload: str) -> None:
    assert_can_be_used(decode(payload))


@given(st.text(alphabet='[]{}",:0123456789.-+eEnulltrefasINy \\ud', max_size=60))
def test_any_text_that_looks_like_json(payload: str) -> None:
    assert_can_be_used(decode(payload))
