"""What a notification makes due, and how often an unknown one is logged."""

from __future__ import annotations

import logging
import math
from types import SimpleNamespace
from typing import Any

import pytest

from queuemaster.channels import Head
from queuemaster.dispatcher.duties import Duty
from queuemaster.dispatcher.head_table import HeadTable
from queuemaster.dispatcher.listener import LOG_AGAIN, Listener, OddPayloads
from queuemaster.dispatcher.odoo_duties import TOO_MANY, LookAtChanges
from queuemaster.dispatcher.odoo_listener import OdooListener
from support.payloads import ODD_PAYLOADS

UUID = "c8c0d125-a7e9-4c47-a5e0-b1781ba41473"
KEY_TIME = "2026-01-02T03:04:05.000060"


class Something(Duty):
    name = "something"

    def run(self, cursor: Any) -> None:
        """Does nothing; only its moment matters."""


class World:
    """A listener of a database with the sequential channel root.seq and empty heads."""

    def __init__(self, odoo: bool = False) -> None:
        self.control, self.cancel, self.promote, self.poll = (Something() for _ in range(4))
        self.heads = HeadTable()
        for channel in ("root", "root.seq"):
            self.heads[channel] = Head()
            self.heads[channel].read([], False, None, False)
        arguments = ("db", self.heads, self.control, self.cancel, self.promote, "root.seq".__eq__)
        hub: Any = None
        self.changes = LookAtChanges(0, hub, self.heads, self.poll, self.promote)
        self.changes.due = 5.0
        self.listener = OdooListener(*arguments, self.changes) if odoo else Listener(*arguments)

    def due(self) -> set[str]:
        """What the notifications have made due."""
        names = {"control": self.control, "cancel": self.cancel, "promote": self.promote, "poll": self.poll}
        due = {name for name, duty in names.items() if duty.moment() == -math.inf}
        return due | {channel for channel, head in self.heads.items() if head.dirty}


@pytest.mark.parametrize(
    ("payload", "due"),
    [
        (f'["root", 10, "{KEY_TIME}", 7]', {"root"}),
        ('["root"]', {"root"}),
        ('["root.new"]', {"root.new"}),
        ('[null, "2999-01-01T00:00:00"]', {"promote", "root.seq"}),
        ('{"control" : true}', {"control"}),
        ('{"cancel" : 7}', {"cancel"}),
    ],
)
@pytest.mark.parametrize("odoo", [False, True])
def test_what_is_due(payload: str, due: set[str], odoo: bool, caplog: pytest.LogCaptureFixture) -> None:
    world = World(odoo)
    world.listener.notified(payload, 0.0)
    assert world.due() == due
    assert caplog.messages == []


def test_beside_odoo_a_uuid_is_a_job_to_look_at(caplog: pytest.LogCaptureFixture) -> None:
    world = World(odoo=True)
    assert world.changes.moment() == math.inf
    world.listener.notified(UUID, 0.0)
    assert world.changes.moment() == 5.0
    world.listener.notified("reload", 0.0)
    assert (world.due(), caplog.messages) == (set(), [])


@pytest.mark.parametrize("payload", [UUID, "reload"])
def test_in_a_native_queue_they_mean_nothing(payload: str, caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    world.listener.notified(payload, 0.0)
    assert (world.due(), caplog.messages) == (set(), ["not our notification"])


def test_after_very_many_uuids_all_channels_are_looked_at() -> None:
    world = World(odoo=True)
    for number in range(2 * TOO_MANY):
        world.listener.notified(f"c8c0d125-a7e9-4c47-a5e0-{number:012}", 0.0)
    world.changes.run(None)
    assert world.due() == {"poll", "promote"}
    assert world.changes.moment() == math.inf


def test_odd_payloads_make_nothing_due_and_are_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    for payload in ODD_PAYLOADS:
        world.listener.notified(payload, 1.0)
    assert world.due() == set()
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    world.listener.notified("[]", 1.0 + LOG_AGAIN)
    contexts = [vars(record)["ctx"] for record in caplog.records]
    assert [context["count"] for context in contexts] == [1, len(ODD_PAYLOADS)]
    assert all(len(context["payload"]) <= 100 for context in contexts)


def test_each_odd_payload_is_counted_once() -> None:
    odd = OddPayloads()
    counts = [odd.add(moment) for moment in (0.0, 1.0, LOG_AGAIN - 0.1, LOG_AGAIN, LOG_AGAIN, 3 * LOG_AGAIN)]
    assert counts == [1, None, None, 3, None, 2]


@pytest.mark.parametrize(
    ("client", "server", "believed"),
    [
        ("UTF8", "UTF8", True),
        ("UTF8", "SQL_ASCII", True),  # which keeps any bytes
        ("UTF8", "EUC_TW", True),  # which Python does not know
        ("UTF8", "LATIN2", False),
        ("LATIN2", "UTF8", False),
    ],
)
def test_names_are_those_that_the_database_can_spell(client: str, server: str, believed: bool) -> None:
    info = SimpleNamespace(parameter_status=lambda name: server)
    connection: Any = SimpleNamespace(encoding=client, info=info)
    heads = HeadTable()
    listener = Listener("db", heads, Something(), Something(), Something(), "root.seq".__eq__)
    listener.begin(connection)
    listener.notified('["root.smørrebrød☃"]', 0.0)
    assert ("root.smørrebrød☃" in heads) is believed


def test_every_encoding_of_a_server_can_be_begun_with() -> None:
    names = (
        "BIG5 EUC_CN EUC_JIS_2004 EUC_JP EUC_KR EUC_TW GB18030 GBK ISO_8859_5 ISO_8859_6 ISO_8859_7 ISO_8859_8 JOHAB"
        " KOI8R KOI8U LATIN1 LATIN2 LATIN3 LATIN4 LATIN5 LATIN6 LATIN7 LATIN8 LATIN9 LATIN10 MULE_INTERNAL SJIS"
        " SHIFT_JIS_2004 SQL_ASCII UHC UTF8 WIN866 WIN874 WIN1250 WIN1251 WIN1252 WIN1253 WIN1254 WIN1255 WIN1256"
        " WIN1257 WIN1258"
    )
    for name in names.split():
        info = SimpleNamespace(parameter_status=lambda _, name=name: name)
        connection: Any = SimpleNamespace(encoding="UTF8", info=info)
        heads = HeadTable()
        listener = Listener("db", heads, Something(), Something(), Something(), "root.seq".__eq__)
        listener.begin(connection)
        listener.notified('["root"]', 0.0)
        assert "root" in heads, name
