"""Which changes of rows notify the dispatcher, and with which payload; claim and done do not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest

from queuejobs.shared.job_state import JobState
from queuejobs.store import claims, recovery
from queuejobs.store.claims import Ending
from support.rows import Session, WorkerSession

FAR = datetime(2999, 1, 1)
DAY = datetime(2026, 1, 2, 3, 4, 5, 60)
KEY = "2026-01-02T03:04:05.000060"


class World:
    """An application, a worker, and a session that listens."""

    def __init__(self, dsn: str) -> None:
        self.app, self.worker, self.listener = Session(dsn), WorkerSession(dsn), Session(dsn)
        self.listener.rows("listen queue_job")

    def close(self) -> None:
        for session in (self.app, self.worker, self.listener):
            session.close()

    def add(self, state: str = "pending", **columns: Any) -> int:
        """Add a job and discard its own notification."""
        job = self.app.add(state, **{"date_created": DAY, **columns})
        self.listener.notified()
        return job

    def notifications_of(self, act: Callable[[], object]) -> list[Any]:
        """The notifications that an action sends once it is committed."""
        act()
        return self.listener.notified()

    def update(self, job: int, assignment: str) -> list[Any]:
        return self.notifications_of(
            lambda: self.app.rows(f"update queuemaster.queue_job set {assignment} where id = %s", job)
        )


@pytest.fixture
def world(database: str) -> Iterator[World]:
    opened = World(database)
    yield opened
    opened.close()


def test_an_insert_tells_the_least_key_of_each_channel(world: World) -> None:
    def insert() -> None:
        world.app.rows(
            "insert into queuemaster.queue_job (uuid, model_name, method_name, records, channel, priority,"
            " date_created, eta, state) select 'x' || n, 'm', 'f', '{}', c, p, %s, e, s from (values"
            " (1, 'root', 9, null::timestamp, 'pending'), (2, 'root', 5, null, 'pending'),"
            " (3, 'root', 5, null, 'pending'), (4, 'root.b', 7, null, 'pending'),"
            " (5, 'root.c', 1, '2999-01-02', 'pending'), (6, 'root.d', 1, '2999-01-01', 'pending'),"
            " (7, 'root.e', 1, null, 'wait_dependencies')) given (n, c, p, e, s) order by n",
            DAY,
        )

    notifications = world.notifications_of(insert)
    second, fourth = world.app.rows(
        "select id from queuemaster.queue_job where uuid in ('x2', 'x4') order by uuid"
    )
    assert sorted(notifications, key=str) == sorted(
        [["root", 5, KEY, second[0]], ["root.b", 7, KEY, fourth[0]], [None, "2999-01-01T00:00:00"]], key=str
    )


def test_nothing_is_told_before_the_commit(world: World) -> None:
    world.app.begin()
    world.app.add()
    assert world.listener.notified() == []
    world.app.commit()
    assert len(world.listener.notified()) == 1


@pytest.mark.parametrize("state", ["wait_dependencies", "done", "failed", "cancelled"])
def test_an_insert_of_what_is_not_ready_tells_nothing(world: World, state: str) -> None:
    assert world.notifications_of(lambda: world.app.add(state)) == []


def test_claim_and_done_tell_nothing(world: World) -> None:
    job = world.add()
    rows: list[dict[str, Any]] = []
    assert world.notifications_of(lambda: rows.append(world.worker.start(job))) == []
    assert world.notifications_of(lambda: world.worker.finish(rows[0])) == []
    assert world.app.state(job) == "done"


def test_done_tells_of_the_children_that_it_released(world: World) -> None:
    parent, child, waiting = world.add(), world.add("wait_dependencies"), world.add("wait_dependencies")
    world.app.depend(child, parent)
    world.app.depend(waiting, parent, world.add())
    row = world.worker.start(parent)
    assert world.notifications_of(lambda: world.worker.finish(row)) == [["root", 10, KEY, child]]


@pytest.mark.parametrize(("delay", "state"), [(None, "pending"), (60.0, "pending"), (None, "failed")])
def test_the_end_of_a_run_that_was_not_good(world: World, delay: float | None, state: str) -> None:
    job = world.add(channel="root.a", priority=3)
    row = world.worker.claim("root.a")
    assert row is not None
    notifications = world.notifications_of(
        lambda: claims.settle(world.worker.cursor, row, Ending(JobState(state), delay, True))
    )
    if state == "failed":
        assert notifications == []
    elif delay is None:
        assert notifications == [["root.a", 3, KEY, job]]
    else:
        eta = world.app.job(job)["eta"]
        assert notifications == [[None, eta]]


def test_recovery_tells_of_the_job_that_it_put_back(world: World) -> None:
    job = world.add()
    world.worker.start(job)
    world.worker.close()

    def recover() -> None:
        while recovery.recover(world.app.cursor, world.worker.id) is None:
            pass

    assert world.notifications_of(recover) == [["root", 10, KEY, job]]


def test_promotion_tells_of_each_job(world: World) -> None:
    job = world.add(eta=DAY, priority=4)
    assert world.notifications_of(lambda: world.app.value("select queuemaster.promote(10)")) == [
        ["root", 4, KEY, job]
    ]


def test_what_unblocks_a_sequential_channel_is_told(world: World) -> None:
    failed, delayed = world.add("failed"), world.add(eta=FAR)
    assert world.update(failed, "state = 'cancelled'") == [["root"]]
    assert world.update(delayed, "state = 'cancelled'") == [["root"]]
    requeued = world.add("failed")
    assert sorted(world.update(requeued, "state = 'pending'"), key=len) == [
        ["root"],
        ["root", 10, KEY, requeued],
    ]


def test_a_ready_job_that_moves_is_told(world: World) -> None:
    job = world.add()
    assert world.update(job, "priority = 1") == [["root", 1, KEY, job]]
    assert world.update(job, "channel = 'root.b'") == [["root.b", 1, KEY, job]]
    assert world.update(job, "eta = '2999-01-01'") == [[None, "2999-01-01T00:00:00"]]
    assert world.update(job, "eta = '2998-01-01'") == [[None, "2998-01-01T00:00:00"]]
    assert world.update(job, "eta = null") == [["root.b", 1, KEY, job]]
    assert world.update(job, "name = 'another'") == []
