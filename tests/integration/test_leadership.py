"""Leadership and epochs: a new leader refuses old claims and lets running jobs finish; a silent leader is deposed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from queuejobs.store import locks
from support.rows import Session, WorkerSession, in_background, wait_until_blocked
from support.waiting import wait_until


@pytest.fixture
def leader(database: str) -> Iterator[Session]:
    """A session that leads."""
    opened = Session(database)
    lead(opened)
    yield opened
    opened.close()


def lead(session: Session) -> int:
    assert session.value("select pg_try_advisory_lock(%s, 0)", locks.LEADER)
    return int(session.value("select queuemaster.lead('here')"))


def test_each_leader_has_an_epoch_of_its_own(app: Session, leader: Session, database: str) -> None:
    first = app.epoch()
    named = app.rows("select host, session_pid from queuemaster.leader")[0]
    assert named == ("here", leader.pid)
    leader.close()
    successor = Session(database)
    wait_until(lambda: bool(successor.value("select pg_try_advisory_lock(%s, 0)", locks.LEADER)), 20)
    assert successor.value("select queuemaster.lead('there')") == first + 1
    successor.close()


def test_a_grant_of_an_older_epoch_claims_nothing(app: Session, leader: Session, database: str) -> None:
    worker = WorkerSession(database)
    job, epoch = app.add(), app.epoch()
    for stale in (epoch - 1, epoch + 1):
        assert worker.claim(epoch=stale) is None
        assert worker.claim(epoch=stale, job=job) is None
    assert worker.claim(epoch=epoch) is not None
    worker.close()


def test_a_new_leader_turns_claims_away_and_waits_for_what_is_under_way(app: Session, database: str) -> None:
    """A new leader waits for a claim in flight. Meanwhile a job may still finish, but no job starts."""
    claiming, finishing, late = (WorkerSession(database) for _ in range(3))
    jobs = [app.add() for _ in range(3)]
    epoch = app.epoch()
    running = finishing.start(jobs[0])
    claiming.begin()
    assert claiming.claim(job=jobs[1], epoch=epoch) is not None
    successor = Session(database)
    with in_background(lambda: lead(successor)) as answer:
        wait_until_blocked(app, successor.pid)
        late.rows("set statement_timeout = '10s'")
        assert late.claim(epoch=epoch) is None, "a late claim is refused at once and does not wait"
        finishing.begin()
        assert finishing.finish(running)
        finishing.commit()
        assert app.state(jobs[0]) == "done"
        assert answer == []
        claiming.commit()
    assert answer == [epoch + 1]
    assert app.state(jobs[1]) == "started", (
        "the claim in flight was committed, so the new leader sees the job"
    )
    assert late.claim(epoch=epoch) is None
    assert late.claim(epoch=epoch + 1) is not None
    for opened in (claiming, finishing, late, successor):
        opened.close()


def test_a_leader_that_does_not_beat_is_deposed(app: Session, leader: Session) -> None:
    assert not app.value("select queuemaster.depose(30)"), "a leader with a heartbeat is not deposed"
    app.rows("update queuemaster.leader set beat = beat - interval '31 seconds'")
    assert not leader.value("select queuemaster.depose(30)"), "a leader does not depose itself"
    assert app.value("select queuemaster.depose(30)")
    wait_until(lambda: bool(app.value("select pg_try_advisory_lock(%s, 0)", locks.LEADER)), 20)
    assert not app.value("select queuemaster.depose(30)")


def test_only_the_session_that_the_row_names_is_ended(app: Session, leader: Session, database: str) -> None:
    """A backend of the same pid that began at another time, or one that does not hold the lock, is a stranger."""
    app.rows("update queuemaster.leader set beat = beat - interval '1 hour'")
    session_started = app.value("select session_started from queuemaster.leader")
    app.rows("update queuemaster.leader set session_started = session_started - interval '1 second'")
    assert not app.value("select queuemaster.depose(30)")
    app.rows("update queuemaster.leader set session_started = %s", session_started)
    leader.value("select pg_advisory_unlock(%s, 0)", locks.LEADER)
    assert not app.value("select queuemaster.depose(30)")
    other_session = Session(database)
    assert other_session.value("select pg_try_advisory_lock(%s, 0)", locks.LEADER)
    assert not app.value("select queuemaster.depose(30)"), (
        "another program holds the lock, and the row does not name its session"
    )
    assert other_session.value("select 1") == leader.value("select 1") == 1
    other_session.close()
