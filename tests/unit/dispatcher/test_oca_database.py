"""A database of Odoo while modules change: what waits, and what comes first when jobs may start again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from queuejobs.store import oca
from queuejobs.store.schema import SchemaError
from queuemaster.config.compiled import DatabaseConfig
from queuemaster.dispatcher import database, oca_database
from queuemaster.dispatcher.notifications import AddonJobChanged, ControlChanged, Notification
from queuemaster.dispatcher.odoo_leadership import OdooLeadership
from queuemaster.dispatcher.standing import NotServed

UUID = "3f0e7a52-98a1-4f51-9f0a-1b2c3d4e5f60"


class World:
    """A database whose duties only record that they ran."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.busy = "sale to upgrade"
        self.done: list[str] = []
        clock = SimpleNamespace(monotonic=lambda: self.now)
        for module in (database, oca_database):
            monkeypatch.setattr(module, "time", clock)
        monkeypatch.setattr(oca, "look", lambda _cursor: SimpleNamespace(problem="", busy=self.busy))
        monkeypatch.setattr(oca, "install", lambda _connection: False)
        self.database = oca_database.OcaDatabase(DatabaseConfig("db", "dbname=db", 0), Mock(), 30.0, Mock())
        for duties in (self.database._steady, self.database._duties):
            for duty in duties._duties:
                if duty.name != "gate":
                    monkeypatch.setattr(duty, "run", lambda _cursor, name=duty.name: self.done.append(name))
        self.database._begin_duties()

    def turn(self, now: float) -> list[str]:
        """Take a turn at this time; return the names of the duties that ran."""
        self.now, self.done = now, []
        self.database._turn(Mock())
        return self.done

    def hears(self, notification: Notification) -> None:
        self.database._listener._acted_on(notification)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def test_a_pause_during_the_change_counts_before_any_job_starts(world: World) -> None:
    world.turn(100.0)
    world.hears(ControlChanged())
    world.turn(101.9)
    world.busy = ""
    done = world.turn(102.0)
    assert done.index("control") < min(done.index("promote"), done.index("poll"))


def test_a_job_that_comes_just_after_the_change_is_looked_at_at_once(world: World) -> None:
    world.turn(100.0)
    world.turn(101.9)
    world.busy = ""
    world.turn(102.0)
    world.hears(AddonJobChanged(UUID))
    assert "changes" in world.turn(102.01)


def test_a_standby_that_finds_a_newer_schema_serves_no_more_and_does_not_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A newer program has led meanwhile."""

    def refuse(_connection: Any) -> bool:
        raise SchemaError("its schema (version 2) is newer than this program")

    monkeypatch.setattr(oca, "install", refuse)
    with pytest.raises(NotServed, match="newer than this program"):
        OdooLeadership("db", Mock()).install(Mock())
