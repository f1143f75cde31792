"""The answers to health and readiness probes."""

from __future__ import annotations

from collections import Counter

import pytest

from queuemaster.exporter.health import ailing, unready
from queuemaster.exporter.snapshot import STALE, Snapshot
from queuemaster.status_board import DatabaseStatus, DispatcherStatus, MasterStatus


def snapshot(
    age: float = 0.0, phase: str = "running", up: bool = True, **database: bool | str
) -> Snapshot:  # fmt: skip
    status: DatabaseStatus = {
        "up": True,
        "leader": True,
        "standing_by": False,
        "standing": "leads",
        "epoch": 1,
    }
    status.update(database)  # type: ignore[typeddict-item]
    dispatcher: DispatcherStatus = {
        "pid": 7, "draining": False, "channels": {}, "databases": {"one": status}, "links": {}
    }  # fmt: skip
    document: MasterStatus = {
        "pid": 1, "version": "1", "phase": phase, "started": 0.0, "pools": {}, "workers": [], "children": {},
        "restarts": {}, "counters": {},
    }  # fmt: skip
    return Snapshot(document, age, dispatcher, up, {}, Counter())


def test_well() -> None:
    assert ailing(0.1) == []
    assert unready(snapshot(), ["one"]) == []
    assert unready(snapshot(leader=False, standing_by=True), ["one"]) == [], (
        "another dispatcher leads, so standing by is ready"
    )
    without_queue = snapshot(up=True, leader=False, standing="not served")
    assert unready(without_queue, ["one"]) == [], "a database of Odoo without the addon is ready"


@pytest.mark.parametrize(
    ("shown", "reason"),
    [
        (None, "the master is starting"),
        (snapshot(age=STALE + 1), "the master's loop has not turned for 11 s"),
        (snapshot(phase="draining"), "the service is draining"),
        (snapshot(up=False), "the dispatcher does not run"),
        (snapshot(leader=False), "database one: nobody leads"),
        (snapshot(), "database two: no connection"),
    ],
)
def test_not_well(shown: Snapshot | None, reason: str) -> None:
    assert reason in unready(shown, ["one", "two"])


def test_a_database_is_no_reason_to_restart_the_service() -> None:
    assert ailing(STALE - 1) == []
    assert ailing(float("inf"))
