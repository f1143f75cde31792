"""finish_and_claim(): the end of a run that claims the next job, from real sessions."""

from __future__ import annotations

from typing import Any

from queuejobs.store import claims
from queuejobs.store.claims import SliceBounds
from support.rows import Session, WorkerSession, wait_until_blocked
from support.rows import in_background as background


def go_on(worker: WorkerSession, row: dict[str, Any], **turn: Any) -> tuple[bool, int | None]:
    """Finish the run of ``row`` and claim the next job. Returns whether it was finished, and the claimed job's id."""
    bounds = SliceBounds(turn.pop("epoch", None) or worker.epoch(), turn.pop("channel", "root"), None, None)
    finished, following = claims.finish_and_claim(worker.cursor, row, None, 0.1, bounds._replace(**turn), 1)
    return finished, None if following is None else following.job


def key(session: Session, job: int) -> tuple[int, str, int]:
    row = session.job(job)
    return (row["priority"], row["date_created"], job)


def test_both_or_neither(app: Session, worker: WorkerSession) -> None:
    first, second = app.add(), app.add()
    row = worker.start(first)
    worker.begin()
    assert go_on(worker, row) == (True, second)
    assert (app.state(first), app.state(second)) == ("started", "pending"), (
        "neither the end nor the claim is committed yet"
    )
    worker.rollback()
    assert (app.state(first), app.state(second)) == ("started", "pending")
    worker.begin()
    assert go_on(worker, row) == (True, second)
    assert worker.value("show synchronous_commit") == "on", "the end of a run is durable"
    worker.commit()
    after = app.job(second)
    assert app.state(first) == "done"
    assert (after["state"], after["attempt"], after["retry"]) == ("started", 1, 1)
    assert after["worker_id"] == worker.id


def test_the_row_is_what_claim_gives(app: Session, worker: WorkerSession) -> None:
    first, second = app.add(), app.add()
    claimed = worker.start(first)
    _, following = claims.finish_and_claim(
        worker.cursor, claimed, None, 0.1, SliceBounds(worker.epoch(), "root", None, None), 1
    )
    assert following == (second, 1)
    row = claims.started(worker.cursor, following, worker.id)
    assert row is not None
    assert row["id"] == second
    assert list(row) == list(claimed)
    assert claims.started(worker.cursor, following._replace(attempt=2), worker.id) is None
    assert claims.started(worker.cursor, following, worker.id + 1) is None, (
        "the claim belongs to another worker"
    )


def test_the_least_between_its_bounds(app: Session, worker: WorkerSession) -> None:
    row = worker.start(app.add(priority=1))
    below, within, beyond = app.add(priority=4), app.add(priority=5), app.add(priority=6)
    app.add(priority=5, channel="root.other")
    turn = {"bound": key(app, within), "until": key(app, beyond)}
    assert go_on(worker, row, **turn) == (True, within)
    assert go_on(worker, app.job(within), **turn) == (True, None), (
        "the next job is beyond the bound, so the slice ends"
    )
    row = worker.start(app.add(priority=1))
    assert go_on(worker, row) == (True, below)


def test_a_job_that_somebody_holds_is_passed_over(app: Session, worker: WorkerSession) -> None:
    row = worker.start(app.add(priority=1))
    locked, free = app.add(), app.add()
    app.begin()
    app.rows("select from queuemaster.queue_job where id = %s for update", locked)
    assert go_on(worker, row) == (True, free)
    app.rollback()


def test_a_grant_of_an_earlier_leader_ends_with_the_run(app: Session, worker: WorkerSession) -> None:
    row = worker.start(app.add())
    waiting = app.add()
    assert go_on(worker, row, epoch=worker.epoch() - 1) == (True, None)
    assert app.state(waiting) == "pending"


def test_a_new_leader_that_waits_comes_first(app: Session, worker: WorkerSession, database: str) -> None:
    """The ending run is done all the same, but no job is claimed."""
    row = worker.start(app.add())
    app.add()
    holder, leader = Session(database), Session(database)
    holder.begin()
    holder.rows("select pg_advisory_xact_lock_shared(1363935233, 0)")
    with background(lambda: leader.rows("select pg_advisory_lock(1363935233, 0)")):
        wait_until_blocked(app, leader.pid)
        assert go_on(worker, row) == (True, None)
        holder.rollback()
    leader.close()
    holder.close()


def test_a_run_that_was_taken_away_claims_nothing(app: Session, worker: WorkerSession) -> None:
    first, second = app.add(), app.add()
    row = worker.start(first)
    app.rows("update queuemaster.queue_job set state = 'pending', worker_id = null where id = %s", first)
    assert go_on(worker, row) == (False, None)
    assert app.state(second) == "pending"


def test_a_claim_that_fails_does_not_fail_the_run(app: Session, worker: WorkerSession) -> None:
    app.rows(
        "create function refuse() returns trigger language plpgsql as $$ begin"
        " if new.state = 'started' then raise 'not this one'; end if; return new; end $$"
    )
    first, second = app.add(), app.add()
    row = worker.start(first)
    app.rows(
        "create trigger refuse before update on queuemaster.queue_job for each row execute function refuse()"
    )
    assert go_on(worker, row) == (True, None)
    assert (app.state(first), app.state(second)) == ("done", "pending")


def test_the_end_of_a_parent_may_start_its_child(app: Session, worker: WorkerSession) -> None:
    parent, child = app.add(), app.add("wait_dependencies")
    app.depend(child, parent)
    assert go_on(worker, worker.start(parent)) == (True, child)
    assert app.state(child) == "started"


def test_a_job_that_sees_the_past_claims_nothing(app: Session, worker: WorkerSession) -> None:
    """The job has set its own isolation level, so its snapshot still shows the earlier epoch."""
    row = worker.start(app.add())
    app.add()
    worker.begin()
    worker.rows("set transaction isolation level repeatable read")
    assert go_on(worker, row) == (True, None)
    worker.commit()


def test_it_does_not_wait_for_long(app: Session, worker: WorkerSession) -> None:
    """SKIP LOCKED waits for a row changed after the snapshot, and the other transaction may be waiting for us."""
    limits = "select proconfig::text from pg_proc where proname = 'claim_following'"
    assert "lock_timeout=20ms" in app.value(limits)
    row = worker.start(app.add())
    app.add()
    worker.rows("set lock_timeout = '7s'")
    worker.begin()
    go_on(worker, row)
    assert worker.value("show lock_timeout") == "7s"
    worker.commit()
