"""Old finished jobs go, in batches; what waiting jobs depend on stays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from queuejobs.store import retention as store
from queuemaster.config.compiled import Settings
from queuemaster.dispatcher.retention import CHECK, PAUSE, Retention, ages
from rows import Session
from supervised import PATIENCE, queue, supervised
from waiting import wait_until


@pytest.fixture
def session(database: str) -> Iterator[Session]:
    opened = Session(database)
    yield opened
    opened.connection.close()


def left(session: Session) -> set[int]:
    return {row[0] for row in session.rows("select id from queuemaster.queue_job")}


def old(session: Session, state: str = "done", days: float = 40) -> int:
    job = session.add(state)
    session.rows(
        "update queuemaster.queue_job set date_done = queuemaster.utc_now() - make_interval(secs => %s)"
        " where id = %s",
        *(days * 86400, job),
    )
    return job


def test_only_finished_jobs_and_only_after_their_time(session: Session) -> None:
    kept = {old(session, days=20), *(old(session, state) for state in ("failed", "pending"))}
    for state in store.FINISHED:
        old(session, state)
    assert Retention("db", ages(Settings((), ()))).work(session.cursor) == PAUSE
    by_name = Retention("db", {"failed": 86400.0})
    kept_too = old(session, "failed", days=0.5)
    assert by_name.work(session.cursor) == PAUSE
    assert by_name.work(session.cursor) == CHECK
    assert len(kept & left(session)) == 2
    assert kept_too in left(session)


def test_what_is_kept_for_ever_is_not_looked_at() -> None:
    assert ages(Settings((), (), retention=0, failed_retention=0)) == {}
    assert set(ages(Settings((), (), retention=5, failed_retention=7))) == {"done", "cancelled", "failed"}


def test_ancestors_of_a_waiting_job_stay_however_far_above(session: Session) -> None:
    top, middle, failed = old(session), old(session), old(session, "failed")
    waiting = session.add("wait_dependencies")
    session.depend(middle, top)
    session.depend(waiting, middle, failed)
    other, below = old(session), old(session)
    session.depend(below, other)
    side = old(session)  # a descendant of an ancestor, which nobody waits for
    session.depend(side, top)
    for state in ("done", "failed"):
        assert store.purge(session.cursor, state, 86400).place is not None
    assert left(session) == {top, middle, failed, waiting}
    session.rows("update queuemaster.queue_job set state = 'cancelled' where id = %s", waiting)
    for state in ("done", "failed"):
        store.purge(session.cursor, state, 86400)
    assert left(session) == {waiting}


def test_a_locked_job_is_left_for_the_next_round(database: str, session: Session) -> None:
    locked, free = old(session), old(session)
    holder = Session(database)
    holder.begin()
    holder.rows("select 1 from queuemaster.queue_job where id = %s for update", locked)
    assert store.purge(session.cursor, "done", 86400).removed == 1
    assert left(session) == {locked}
    assert free not in left(session)
    holder.rollback()
    holder.connection.close()
    assert store.purge(session.cursor, "done", 86400).removed == 1


def test_batches_of_a_thousand_pass_over_what_stays(session: Session) -> None:
    session.rows(
        "insert into queuemaster.queue_job (uuid, model_name, method_name, records, state, date_done)"
        " select n::text, 'm', 'm', '{}', 'done', queuemaster.utc_now() - interval '40 days'"
        " from generate_series(1, 2500) n"
    )
    waiting = session.add("wait_dependencies")
    session.rows(
        "insert into queuemaster.queue_job_edge select id, %s from queuemaster.queue_job"
        " where state = 'done' and uuid::integer <= 1500",
        waiting,
    )
    rounds = Retention("db", {"done": 86400.0})
    answers = [rounds.work(session.cursor) for _ in range(4)]
    assert answers == [PAUSE, PAUSE, PAUSE, CHECK]
    assert len(left(session)) == 1501


def test_what_the_database_refuses_is_said_and_tried_again_later(
    session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    job = old(session)
    session.rows("create table note (job bigint references queuemaster.queue_job)")
    session.rows("insert into note values (%s)", job)
    rounds = Retention("db", {"done": 86400.0})
    assert rounds.work(session.cursor) == CHECK
    assert "old jobs cannot be removed" in caplog.text
    session.rows("drop table note")
    assert rounds.work(session.cursor) == PAUSE
    assert left(session) == set()


def test_the_service_removes_them(database: str, tmp_path: Path, session: Session) -> None:
    finished, failed = old(session), old(session, "failed")
    with (
        queue(database) as jobs,
        supervised(database, tmp_path, options=["--set", "retention=1d"]) as running,
    ):
        fresh = jobs.sample(1).with_delay().write()
        wait_until(lambda: finished not in left(session), PATIENCE, running.log)
        assert failed in left(session)
        jobs.wait_for(fresh.uuid, "done")
        wait_until(lambda: "old jobs removed db=" in running.log, PATIENCE)
