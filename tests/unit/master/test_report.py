"""The service's status in the words of the service manager and the log."""

from __future__ import annotations

import pytest

from queuejobs.shared.scoreboard import Scoreboard, State
from queuemaster.master import measure
from queuemaster.master.core import events as ev
from queuemaster.master.core.events import Limits, Plan, Reading, Role
from queuemaster.master.core.supervision import Supervision
from queuemaster.master.report import is_ready, report, summary

NOW = 100.0
DATABASES = {0: "sales", 1: "stock"}
LEADS = {0: "leads", 1: "stands by"}


@pytest.fixture
def core() -> Supervision:
    """A master with two workers of root: the first has said hello, the second has not started yet."""
    running = Supervision((Role.TEMPLATE, Role.DISPATCHER), Plan({"root": 2}, 4, Limits(30.0, 20.0, 5.0)), 8)
    for event in (
        ev.Tick(), ev.Started(Role.TEMPLATE, 11), ev.Started(Role.DISPATCHER, 12),
        ev.Ready(Role.TEMPLATE), ev.Ready(Role.DISPATCHER), ev.Hello(0, 1, 50, 1),
    ):  # fmt: skip
        running.handle(event, NOW)
    return running


@pytest.fixture
def board() -> Scoreboard:
    return Scoreboard.create()


def readings(core: Supervision, board: Scoreboard) -> tuple[Reading, ...]:
    return measure.read_all(board, core.pools.alive())


def busy(board: Scoreboard, database: int = 0) -> None:
    """The first worker has run its job for four and a half seconds."""
    board.entry(0).change(State.BUSY, int((NOW - 4.5) * 1e9), database, job=7, attempt=2)


def test_it_is_ready_when_every_database_is_known(core: Supervision) -> None:
    assert not is_ready(core, DATABASES, {})
    assert not is_ready(core, DATABASES, {0: "leads"})
    assert is_ready(core, DATABASES, LEADS)
    assert is_ready(core, DATABASES, {0: "leads", 1: "away"}), (
        "ready although a database is away, since a restart would not bring it back"
    )


@pytest.mark.parametrize("role", [Role.TEMPLATE, Role.DISPATCHER])
def test_it_is_not_ready_without_template_or_dispatcher(core: Supervision, role: Role) -> None:
    core.handle(ev.Reaped(core.children[role].pid, 9), NOW)
    assert not is_ready(core, DATABASES, LEADS)


def test_it_is_not_ready_once_it_ends(core: Supervision) -> None:
    core.handle(ev.EndSoon(), NOW)
    assert not is_ready(core, DATABASES, LEADS)


def test_the_summary(core: Supervision, board: Scoreboard) -> None:
    idle = readings(core, board)
    assert (
        summary(core, idle, DATABASES, {0: "leads"})
        == "running, 2 workers, 0 busy; sales: leads; stock: unknown"
    )
    busy(board)
    assert summary(core, readings(core, board), {}, {}) == "running, 2 workers, 1 busy"
    core.handle(ev.EndSoon(), NOW)
    assert summary(core, (), {}, {}).startswith("draining, ")


def test_the_report(core: Supervision, board: Scoreboard) -> None:
    busy(board)
    assert report(core, readings(core, board), DATABASES, {0: "leads"}, NOW) == [
        ("status", {"phase": "running", "template": 11, "dispatcher": 12}),
        ("status of database", {"db": "sales", "standing": "leads"}),
        ("status of database", {"db": "stock", "standing": "unknown"}),
        ("status of pool", {"channel": "root", "workers": 2, "kept_ready": 2}),
        (
            "status of worker",
            {
                "worker": 50,
                "channel": "root",
                "state": "busy",
                "seconds": "4.5",
                "db": "sales",
                "job": 7,
                "attempt": 2,
            },
        ),
        ("status of worker", {"worker": "none", "channel": "root", "state": "asked"}),
    ]


def test_an_idle_worker_has_no_job(core: Supervision, board: Scoreboard) -> None:
    board.entry(0).change(State.IDLE, int((NOW - 1) * 1e9))
    lines = report(core, readings(core, board), {}, {}, NOW)
    assert ("status of worker", {"worker": 50, "channel": "root", "state": "idle", "seconds": "1.0"}) in lines


def test_a_database_that_is_not_served_any_more_has_a_number(core: Supervision, board: Scoreboard) -> None:
    busy(board, database=9)
    (line,) = [context for _, context in report(core, readings(core, board), {}, {}, NOW) if "job" in context]
    assert line["db"] == "9"


def test_a_pool_whose_workers_die_and_a_process_that_does_not_run(core: Supervision) -> None:
    backoff = core.pools.backoff("root")
    while backoff.until <= NOW:
        backoff.died(NOW, useful=False)
    core.handle(ev.Reaped(12, 9), NOW)
    (_, processes), (_, pool) = report(core, (), {}, {}, NOW)[:2]
    assert processes["dispatcher"] == "none"
    assert pool == {
        "channel": "root", "workers": 2, "kept_ready": 2, "backoff": f"{backoff.until - NOW:.1f}",
    }  # fmt: skip
    assert "backoff" not in report(core, (), {}, {}, backoff.until)[1][1]
