"""The SQL functions claim, finish, settle, recover and promote, called from real sessions."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import psycopg2
import pytest

from queuejobs.shared.job_state import JobState
from queuejobs.store import claims, recovery
from queuejobs.store.claims import Ending
from support.rows import Session, WorkerSession
from support.waiting import wait_until

AGAIN = Ending(JobState.PENDING, None, True, "E", "again", "attempt 1: again")
CAUSE = "worker 4711 died: SIGKILL"


@pytest.fixture
def other(database: str) -> Iterator[WorkerSession]:
    opened = WorkerSession(database)
    yield opened
    opened.close()


def lock(session: Session, job: int) -> None:
    """Begin a transaction that locks a job's row, as an application may."""
    session.begin()
    session.rows("select 1 from queuemaster.queue_job where id = %s for update", job)


# claim


def test_the_least_key_of_the_channel_is_claimed(app: Session, worker: WorkerSession) -> None:
    app.add(channel="root.other", priority=1)
    app.add(priority=1, eta=datetime(2999, 1, 1))
    app.add("wait_dependencies", priority=1)
    late = app.add(priority=10, date_created=datetime(2026, 1, 2))
    early = app.add(priority=10, date_created=datetime(2026, 1, 1))
    urgent = app.add(priority=2)
    claimed = [row["id"] if (row := worker.claim()) else None for _ in range(4)]
    assert claimed == [urgent, early, late, None]


def test_a_claim_counts_the_try_and_names_the_worker(app: Session, worker: WorkerSession) -> None:
    job = app.add(retry=1, attempt=7)
    row = worker.claim()
    assert row is not None
    assert {"retry": 2, "attempt": 8, "state": "started", "worker_id": worker.id}.items() <= row.items()
    assert app.job(job)["worker_pid"] == worker.process.pid


def test_a_claim_from_a_bound_passes_over_what_lies_before(app: Session, worker: WorkerSession) -> None:
    day = datetime(2026, 1, 1)
    before = app.add(priority=5, date_created=day)
    at = app.add(priority=5, date_created=day)
    row = worker.claim(bound=(5, "2026-01-01T00:00:00.000000", at))
    assert row is not None
    assert row["id"] == at
    assert worker.claim(bound=(5, "2026-01-01T00:00:00.000000", at)) is None
    assert app.state(before) == "pending"


def test_a_claim_outlives_what_happens_to_its_statement(app: Session, worker: WorkerSession) -> None:
    jobs = [app.add() for _ in range(3)]
    assert worker.start(jobs[0])
    worker.rows("deallocate all")
    assert worker.start(jobs[1])
    app.rows("alter table queuemaster.queue_job add column colour text default 'red'")
    assert worker.start(jobs[2])


def test_a_row_that_somebody_locks_is_passed_over(app: Session, worker: WorkerSession) -> None:
    first, second = app.add(), app.add()
    lock(app, first)
    row = worker.claim()
    assert row is not None
    assert row["id"] == second
    app.rollback()


def test_a_named_row_that_somebody_locks_makes_the_grant_go_back_at_once(
    app: Session, worker: WorkerSession
) -> None:
    first = app.add()
    app.add()
    lock(app, first)
    worker.rows("set statement_timeout = '10s'")
    assert worker.claim(job=first) is None, (
        "claim(job=first) neither waits for the locked job nor takes the second"
    )
    app.rollback()
    assert worker.start(first)["id"] == first


@pytest.mark.parametrize("state", ["done", "failed", "cancelled", "wait_dependencies"])
def test_a_named_row_that_is_not_ready(app: Session, worker: WorkerSession, state: str) -> None:
    job = app.add(state)
    assert worker.claim(job=job) is None
    assert app.state(job) == state
    assert worker.claim(job=app.add(eta=datetime(2999, 1, 1))) is None


def test_two_claims_never_start_the_same_job(
    app: Session, worker: WorkerSession, other: WorkerSession
) -> None:
    job = app.add()
    worker.begin()
    assert worker.claim() is not None
    assert other.claim() is None, "the first claim is not committed yet, but its job is taken"
    worker.rollback()
    next_row = other.claim()
    assert next_row is not None
    assert (next_row["id"], next_row["attempt"]) == (job, 1), (
        "a claim that was rolled back does not count as an attempt"
    )


# finish and settle


def test_finish_marks_the_run_done_and_forgets_the_error(app: Session, worker: WorkerSession) -> None:
    job = app.add(exc_name="E", exc_message="earlier", exc_info="attempt 1: earlier")
    row = worker.start(job)
    assert claims.finish(worker.cursor, row, "42", 1.5)
    after = app.job(job)
    assert (after["state"], after["result"], after["exec_time"]) == ("done", "42", 1.5)
    assert (after["exc_name"], after["exc_info"], after["worker_id"]) == (None, "attempt 1: earlier", None)


def test_finish_and_settle_are_fenced_by_attempt_and_worker(
    app: Session, worker: WorkerSession, other: WorkerSession
) -> None:
    job = app.add()
    row = worker.start(job)
    for stale in ({**row, "attempt": 0}, {**row, "attempt": 2}, {**row, "worker_id": other.id}):
        assert not worker.finish(stale)
        assert not claims.settle(worker.cursor, stale, AGAIN)
    assert app.state(job) == "started"
    assert claims.settle(worker.cursor, row, AGAIN)
    newer = other.start(job)
    assert not worker.finish(row)
    assert not claims.settle(worker.cursor, row, AGAIN)
    assert other.finish(newer)
    assert not other.finish(newer)


@pytest.mark.parametrize(("counted", "retry"), [(True, 3), (False, 2)])
def test_settle_counts_or_gives_the_try_back(
    app: Session, worker: WorkerSession, counted: bool, retry: int
) -> None:
    job = app.add(retry=2)
    row = worker.start(job)
    assert claims.settle(worker.cursor, row, AGAIN._replace(counted=counted, delay=0.0))
    after = app.job(job)
    assert (after["state"], after["retry"], after["attempt"], after["eta"]) == ("pending", retry, 1, None)


def test_the_diagnoses_of_all_attempts_are_kept(app: Session, worker: WorkerSession) -> None:
    job = app.add()
    for number in (1, 2):
        assert claims.settle(
            worker.cursor, worker.start(job), AGAIN._replace(exc_info=f"attempt {number}: x")
        )
    assert app.job(job)["exc_info"] == "attempt 1: x\n\nattempt 2: x"
    huge = "y" * 300_000
    assert claims.settle(worker.cursor, worker.start(job), AGAIN._replace(exc_info=f"{huge}the end"))
    diagnosis = app.job(job)["exc_info"]
    assert len(diagnosis) == 262_144
    assert diagnosis.endswith("the end")


def test_a_run_gives_up_an_identity_that_was_taken_meanwhile(app: Session, worker: WorkerSession) -> None:
    job = app.add(identity_key="only one")
    row = worker.start(job)
    taker = app.add(identity_key="only one")
    assert claims.settle(worker.cursor, row, AGAIN)
    assert (app.state(job), app.job(job)["identity_key"]) == ("pending", None)
    assert app.job(taker)["identity_key"] == "only one"


def test_marks(app: Session, worker: WorkerSession) -> None:
    job = app.add()
    first = worker.start(job)
    claims.settle(worker.cursor, first, AGAIN._replace(mark="unknown"))
    since = app.job(job)["unknown_since"]
    assert since is not None
    claims.settle(worker.cursor, worker.start(job), AGAIN._replace(mark="unknown"))
    assert app.job(job)["unknown_since"] == since, "unknown_since keeps the first time"
    claims.settle(worker.cursor, worker.start(job), AGAIN._replace(mark="concurrency"))
    after = app.job(job)
    assert (after["unknown_since"], after["concurrency_retries"]) == (None, 1)


# recover


def test_nothing_is_recovered_while_the_session_lives(app: Session, worker: WorkerSession) -> None:
    job = app.add()
    row = worker.start(job)
    assert app.value("select queuemaster.recover(%s, %s, 1, %s)", worker.id, job, CAUSE) is None
    assert worker.finish(row)


def test_a_dead_workers_job_goes_back_with_the_cause(app: Session, worker: WorkerSession) -> None:
    job = app.add()
    row = worker.start(job)
    worker.begin()
    worker.rows("create table effect (number integer)")
    assert worker.finish(row)
    assert recover(app, worker, job, 1) == 1
    with pytest.raises(psycopg2.Error):
        worker.commit()
    after = app.job(job)
    assert (after["state"], after["retry"], after["worker_id"]) == ("pending", 1, None)
    assert (after["exc_name"], after["exc_message"]) == ("WorkerDied", CAUSE)
    assert after["exc_info"] == f"attempt 1: {CAUSE}"
    assert app.value("select to_regclass('effect')") is None
    assert app.value("select count(*) from queuemaster.worker where id = %s", worker.id) == 0


def recover(
    session: Session, worker: WorkerSession, job: int | None = None, attempt: int | None = None
) -> int:
    """End the worker's session and recover its rows; returns how many were settled."""
    session.value("select pg_terminate_backend(%s)", worker.pid)
    statement = "select queuemaster.recover(%s, %s, %s, %s)"
    settled: int = wait_until(lambda: session.value(statement, worker.id, job, attempt, CAUSE), 20)
    return settled


def test_a_session_that_outlives_its_worker_is_ended(app: Session, worker: WorkerSession) -> None:
    """The session is found by its lock, and its transaction is rolled back before its job is put back."""
    job = app.add()
    worker.start(job)
    worker.begin()
    worker.rows("create table effect (number integer)")
    assert wait_until(lambda: recovery.recover(app.cursor, worker.id), 20) == 1
    with pytest.raises(psycopg2.Error):
        worker.commit()
    after = app.job(job)
    assert (after["state"], after["retry"], after["exc_name"]) == ("pending", 0, None)


def test_a_worker_that_died_while_it_claimed(app: Session, worker: WorkerSession) -> None:
    """Job 0 means the job that the worker has started; jobs that ended before are not charged."""
    before, job = app.add(), app.add()
    assert worker.finish(worker.start(before))
    worker.start(job)
    assert recover(app, worker, 0, 0) == 1
    assert app.state(before) == "done"
    after = app.job(job)
    assert (after["state"], after["retry"], after["exc_name"]) == ("pending", 1, "WorkerDied")


@pytest.mark.parametrize("named", [(0, 1), (None, None), (1, 2)], ids=["job", "none", "attempt"])
def test_a_cause_is_charged_only_to_the_job_and_attempt_that_it_names(
    app: Session, worker: WorkerSession, named: tuple[int | None, int | None]
) -> None:
    job = app.add()
    worker.start(job)
    charged = None if named[0] is None else job if named[0] else job + 1
    assert recover(app, worker, charged, named[1]) == 1
    after = app.job(job)
    assert (after["state"], after["retry"], after["exc_name"]) == ("pending", 0, None)
    assert "interrupted: the session of worker" in after["exc_info"]


@pytest.mark.parametrize(("most", "state"), [(1, "failed"), (2, "pending"), (0, "pending")])
def test_tries_used_up_by_deaths(app: Session, worker: WorkerSession, most: int, state: str) -> None:
    job = app.add(max_retries=most)
    worker.start(job)
    recover(app, worker, job, 1)
    after = app.job(job)
    assert after["state"] == state
    if state == "failed":
        assert after["exc_message"] == f"Max. retries (1) reached: {CAUSE}"


def test_recovery_does_not_wait_for_an_application(
    app: Session, worker: WorkerSession, database: str
) -> None:
    locked, free = app.add(), app.add()
    for job in (locked, free):
        worker.start(job)
    worker.close()
    lock(app, locked)
    leader = Session(database)
    leader.rows("set statement_timeout = '20s'")
    assert leader.value("select queuemaster.recover(%s, %s, 1, %s)", worker.id, locked, CAUSE) is None
    assert leader.state(free) == "pending", "the rows that are not locked are settled"
    assert leader.state(locked) == "started"
    app.rollback()
    assert leader.value("select queuemaster.recover(%s, %s, 1, %s)", worker.id, locked, CAUSE) == 1
    assert leader.job(locked)["exc_message"] == CAUSE
    leader.close()


def test_recovery_gives_up_an_identity_that_was_taken(app: Session, worker: WorkerSession) -> None:
    jobs = [app.add(identity_key=key) for key in "ab"]
    for job in jobs:
        worker.start(job)
    app.add(identity_key="a")
    assert recover(app, worker) == 2
    assert [(app.state(job), app.job(job)["identity_key"]) for job in jobs] == [
        ("pending", None),
        ("pending", "b"),
    ]


def test_worker_ids_are_never_shared(worker: WorkerSession, other: WorkerSession, app: Session) -> None:
    assert worker.id != other.id
    assert recovery.sessions_of(app.cursor, worker.process) == [worker.id]
    assert recovery.sessions_of(app.cursor, worker.process._replace(start_time=2)) == []


# promote


def test_due_jobs_are_promoted_in_batches(app: Session, other: WorkerSession) -> None:
    past = [app.add(eta=datetime(2026, 1, day)) for day in (1, 2, 3)]
    future = app.add(eta=datetime(2999, 1, 1))
    assert app.value("select queuemaster.promote(2)") == 2
    assert [app.job(job)["eta"] is None for job in (*past, future)] == [True, True, False, False]
    lock(other, past[2])
    app.rows("set statement_timeout = '20s'")
    assert app.value("select queuemaster.promote(2)") == 0, "a locked row is left for the next call"
    other.rollback()
    assert app.value("select queuemaster.promote(2)") == 1
    assert app.job(future)["eta"] is not None


# times


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/Los_Angeles"])
def test_times_are_utc_whatever_the_session_says(database: str, zone: str) -> None:
    session = Session(database)
    session.rows("set timezone = %s", zone)
    worker = WorkerSession(database)
    worker.rows("set timezone = %s", zone)
    done, again = session.add(), session.add(identity_key="again")
    session.value("select queuemaster.lead('here')")
    assert worker.finish(worker.start(done))
    assert claims.settle(worker.cursor, worker.start(again), AGAIN._replace(delay=60.0))
    moments = session.rows(
        "select date_created, date_started, date_done, queuemaster.utc_now(), beat, since"
        " from queuemaster.queue_job job, queuemaster.leader, queuemaster.worker where job.id = %s", done
    )[0]  # fmt: skip
    moments += session.rows("select date_created, eta from queuemaster.queue_job where id = %s", again)[0]
    now = datetime.now(timezone.utc).replace(tzinfo=None)
    # a wrong time zone would shift the times by at least 7 hours
    assert all(abs(moment - now) < timedelta(hours=1) for moment in moments), moments
    for opened in (session, worker):
        opened.close()
