"""Old finished jobs are removed in batches, except those that waiting jobs depend on."""

from __future__ import annotations

from pathlib import Path

import pytest

from queuejobs.store import retention as store
from queuemaster.channels import parse_channels
from queuemaster.config.compiled import Settings
from queuemaster.dispatcher.retention import CHECK, PAUSE, Ages, Retention
from support.rows import Session
from support.supervised import PATIENCE, queue, supervised
from support.waiting import wait_until

AGES = (0.01, 2, 20, 4000)  # days


def remaining(session: Session) -> set[int]:
    return {row[0] for row in session.rows("select id from queuemaster.queue_job")}


def ages(channels: str = "", retention: float = 30 * 86400, failed_retention: float = 0) -> Ages:
    channel_configs = parse_channels(channels).channels
    return Ages(Settings(channel_configs, (), retention=retention, failed_retention=failed_retention))


def purge(session: Session, state: str) -> store.Purged:
    return store.purge(session.cursor, state, "root", 86400)


def old(session: Session, state: str = "done", days: float = 40, channel: str = "root") -> int:
    job = session.add(state, channel=channel)
    session.rows(
        "update queuemaster.queue_job set date_done = queuemaster.utc_now() - make_interval(secs => %s)"
        " where id = %s",
        *(days * 86400, job),
    )
    return job


def test_only_finished_jobs_and_only_after_their_time(session: Session) -> None:
    expected = {old(session, days=20), *(old(session, state) for state in ("failed", "pending"))}
    for state in store.FINISHED:
        old(session, state)
    assert Retention("db", ages()).work(session.cursor) == CHECK
    assert expected == remaining(session)
    kept_too = old(session, "failed", days=0.5)
    assert Retention("db", ages(retention=0, failed_retention=86400)).work(session.cursor) == CHECK
    assert len(expected & remaining(session)) == 2
    assert kept_too in remaining(session)


def test_what_is_kept_for_ever_is_not_looked_at() -> None:
    assert ages(retention=0).states == []
    assert ages().states == ["done", "cancelled"]
    assert ages("a:1:failed_retention=1d", retention=0).states == ["failed"]
    assert ages(retention=5, failed_retention=7).states == ["done", "cancelled", "failed"]


def test_each_channel_its_own_time_or_that_of_the_nearest_above(session: Session) -> None:
    configured = ages(
        "root:4,audit:1:retention=0,mail:1:retention=7d:failed_retention=1d,mail.bulk:1:retention=1h"
    )
    days = {
        ("done", "root"): 30, ("failed", "root"): None, ("cancelled", "root.other"): 30,
        ("done", "root.audit"): None, ("done", "root.audit.deep"): None, ("done", "root.mail"): 7,
        ("done", "root.mail.bulk.x"): 1 / 24, ("failed", "root.mail.bulk.x"): 1,
    }  # fmt: skip
    for (state, channel), expected in days.items():
        assert configured.age(state, channel) == (None if expected is None else expected * 86400)
        for age in AGES:
            old(session, state, age, channel)
    rounds = Retention("db", configured)
    assert rounds.work(session.cursor) == CHECK
    lasting = "extract(epoch from queuemaster.utc_now() - date_done)::float"
    rows = session.rows(f"select state, channel, {lasting} from queuemaster.queue_job")
    limits = {key: float("inf") if value is None else value * 86400 for key, value in days.items()}
    assert all(age < limits[state, channel] for state, channel, age in rows)
    assert len(rows) == sum(age * 86400 < limit for limit in limits.values() for age in AGES)


def test_channels_are_looked_through_page_by_page(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "CHANNELS", 2)
    names = [f"root.{name}" for name in ("a", "a.b", "a-b", "B", "é", "z")]
    for name in names:
        old(session, channel=name)
    names_read, after = [], ""
    while page := store.channels(session.cursor, "done", after):
        assert len(page) <= 2
        names_read += [entry.channel for entry in page]
        after = names_read[-1]
    assert sorted(names_read) == sorted(names), (
        "each channel is read once, in whatever order the database sorts"
    )
    assert Retention("db", ages()).work(session.cursor) == CHECK
    assert remaining(session) == set()


def test_what_others_keep_for_ever_is_not_read(session: Session) -> None:
    """Looking for jobs to remove reads a few pages of each channel, however many and old its jobs are."""
    session.rows(
        "insert into queuemaster.queue_job (uuid, model_name, method_name, records, state, channel, date_done)"
        " select n::text, 'm', 'm', '{}', 'done', 'root.' || case when n <= 20000 then 'kept' else 'c' || n %% 40"
        " end, queuemaster.utc_now() - make_interval(days => case when n <= 20000 then 4000 else 1 end)"
        " from generate_series(1, 20400) n where %s",
        True,
    )
    session.rows("vacuum analyze queuemaster.queue_job")
    oldest = old(session, channel="root.c7")
    rounds = Retention("db", ages("root:1,kept:1:retention=0"))
    query = (
        "select pg_stat_force_next_flush(), idx_tup_read from pg_stat_user_indexes"
        " where indexrelname = 'queue_job_ended'"
    )
    before = session.rows(query)[0][1]
    assert rounds.work(session.cursor) == CHECK
    session.rows(query)
    entries = session.rows(query)[0][1] - before
    assert 40 < entries < 500, "the scans read one or two index entries for each channel"
    assert oldest not in remaining(session)


def test_ancestors_of_a_waiting_job_stay_however_far_above(session: Session) -> None:
    top, middle, failed = old(session), old(session), old(session, "failed")
    waiting = session.add("wait_dependencies")
    session.depend(middle, top)
    session.depend(waiting, middle, failed)
    other, below = old(session), old(session)
    session.depend(below, other)
    side = old(session)  # a side branch that no waiting job depends on
    session.depend(side, top)
    for state in ("done", "failed"):
        assert purge(session, state).looked_at > 0
    assert remaining(session) == {top, middle, failed, waiting}
    session.rows("update queuemaster.queue_job set state = 'cancelled' where id = %s", waiting)
    for state in ("done", "failed"):
        purge(session, state)
    assert remaining(session) == {waiting}


def test_a_locked_job_is_left_for_the_next_round(database: str, session: Session) -> None:
    locked, free = old(session), old(session)
    holder = Session(database)
    holder.begin()
    holder.rows("select 1 from queuemaster.queue_job where id = %s for update", locked)
    assert purge(session, "done").removed == 1
    assert remaining(session) == {locked}
    assert free not in remaining(session)
    holder.rollback()
    holder.connection.close()
    assert purge(session, "done").removed == 1


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
    rounds = Retention("db", ages())
    answers = [rounds.work(session.cursor) for _ in range(3)]
    assert answers == [PAUSE, PAUSE, CHECK]
    assert len(remaining(session)) == 1501


def test_what_the_database_refuses_is_said_and_tried_again_later(
    session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    job = old(session)
    session.rows("create table note (job bigint references queuemaster.queue_job)")
    session.rows("insert into note values (%s)", job)
    old(session, channel="root.b")
    rounds = Retention("db", ages())
    assert rounds.work(session.cursor) == CHECK
    assert "old jobs cannot be removed" in caplog.text
    assert remaining(session) == {job}, "the jobs of other channels are removed all the same"
    session.rows("drop table note")
    assert rounds.work(session.cursor) == CHECK
    assert remaining(session) == set()


def test_the_service_removes_them(database: str, tmp_path: Path, session: Session) -> None:
    finished, failed = old(session), old(session, "failed")
    with (
        queue(database) as jobs,
        supervised(database, tmp_path, options=["--set", "retention=1d"]) as running,
    ):
        fresh = jobs.sample(1).with_delay().write()
        wait_until(lambda: finished not in remaining(session), PATIENCE, lambda: running.log)
        assert failed in remaining(session)
        jobs.wait_for(fresh.uuid, "done")
        wait_until(lambda: "old jobs removed db=" in running.log, PATIENCE)
