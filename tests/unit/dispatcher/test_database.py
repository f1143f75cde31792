"""How a database follows its grants, and the duties of each kind of queue."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from queuejobs.shared.job_key import Key
from queuemaster.channels import Head, Tree, parse_channels
from queuemaster.config.compiled import DatabaseConfig, Settings
from queuemaster.dispatcher.database import QueueDatabase
from queuemaster.dispatcher.duties import Duties
from queuemaster.dispatcher.oca_database import OcaDatabase
from queuemaster.dispatcher.retention import Ages, Retention

EPOCH = 5


def key(number: int) -> Key:
    return (10, f"2026-01-01T00:00:00.{number:06d}", number)


def retention() -> Retention:
    return Retention("sales", Ages(Settings(parse_channels("root:4").channels, ())))


def opened(kind: type[QueueDatabase] = QueueDatabase) -> QueueDatabase:
    """A database that is never connected to, with two ready jobs in root."""
    hub: Any = SimpleNamespace(tree=Tree(parse_channels("root:4").channels), sequential=lambda _stored: False)
    database = kind(DatabaseConfig("sales", "dbname=sales", 3), hub, 30.0, retention())
    database.epoch = EPOCH
    head = database.heads["root"] = Head()
    head.read([key(1), key(2)], False, None, False)
    head.grant()
    return database


def grant(**changes: Any) -> Any:
    """An outstanding grant of root."""
    values = {"channel": "root", "epoch": EPOCH, "slice": None, "sequential": False, "batch": 1, **changes}
    return SimpleNamespace(**values)


def test_a_claim_takes_the_job_out_of_its_head() -> None:
    database = opened()
    database.claimed(grant(), 1, first=True)
    head = database.heads["root"]
    assert (head.ready, head.granted, head.dirty) == ([key(2)], 0, False)


def test_a_slice_goes_on_with_another_job() -> None:
    database = opened()
    database.claimed(grant(slice="slice"), 1, first=True)
    database.claimed(grant(slice="slice"), 2, first=False)
    assert database.heads["root"].ready == []


def test_a_grant_that_came_back_makes_its_head_dirty() -> None:
    database = opened()
    database.came_back(grant())
    assert database.heads["root"].dirty


@pytest.mark.parametrize(
    ("changes", "lost", "dirty"),
    [
        ({}, False, False),
        ({}, True, False),
        ({"sequential": True}, False, True),
        ({"batch": 5}, False, True),
        ({"slice": "slice"}, False, False),
        ({"slice": "slice"}, True, True),
    ],
)
def test_what_may_have_changed_more_than_its_own_job_is_read_again(
    changes: dict[str, Any], lost: bool, dirty: bool
) -> None:
    database = opened()
    database.ended(grant(**changes), lost)
    assert database.heads["root"].dirty is dirty


@pytest.mark.parametrize("changes", [{"epoch": EPOCH - 1}, {"channel": "root.unknown"}])
def test_a_grant_of_an_older_leadership_changes_nothing(changes: dict[str, Any]) -> None:
    database = opened()
    database.claimed(grant(**changes), 1, first=True)
    database.came_back(grant(**changes))
    database.ended(grant(sequential=True, **changes), lost=True)
    head = database.heads["root"]
    assert (set(database.heads), head.ready, head.granted, head.dirty) == (
        {"root"},
        [key(1), key(2)],
        1,
        False,
    )


def test_another_tree_makes_all_heads_dirty() -> None:
    database = opened()
    database.look_again()
    assert database.heads["root"].dirty


def names(duties: Duties) -> list[str]:
    return [duty.name for duty in duties._duties]


def test_the_duties_of_a_native_queue() -> None:
    database = opened()
    assert names(database._steady) == ["beat", "recover"]
    assert names(database._duties) == [
        "orphans", "control", "sweep", "cancel", "promote", "poll", "heads", "purge",
    ]  # fmt: skip


def test_the_duties_beside_odoo() -> None:
    """The gate comes first; while it is closed, only leadership and recovery go on."""
    database = opened(OcaDatabase)
    assert names(database._steady) == ["gate", "beat", "recover"]
    assert names(database._duties) == [
        "signal", "changes", "orphans", "control", "sweep", "cancel", "promote", "poll", "heads",
    ]  # fmt: skip


def test_a_reload_changes_how_often_it_is_polled() -> None:
    database = opened()
    other = retention()
    database.configure(7.0, other)
    intervals = {duty.name: duty.interval for duty in database._duties._duties}
    assert {intervals[name] for name in ("poll", "promote", "control")} == {7.0}
    assert database._purge.retention is other
