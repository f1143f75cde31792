"""A doomed job: failed for good by recovery, pending until a worker calls its on_fail_method."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner

from queuejobs.shared.job_state import JobState
from queuejobs.shared.stop_causes import DeathKind
from queuejobs.store import actions, claims, recovery
from queuejobs.store.claims import Ending
from queuejobs.store.recovery import Blame
from queuemaster.cli import main
from support.rows import Session, WorkerSession
from support.waiting import wait_until

CAUSE = "worker 7 died: SIGSEGV"


def fail_for_good(database: str, app: Session, kind: str = "death", **columns: Any) -> int:
    """Store a job whose worker dies in the last try; return its id."""
    job = app.add(**{"on_fail": True, "max_retries": 1, "identity_key": "it", **columns})
    die(database, app, job, kind)
    return job


def die(database: str, app: Session, job: int, kind: str = "death") -> None:
    worker = WorkerSession(database)
    attempt = worker.start(job)["attempt"]
    worker.close()
    blame = Blame(job, attempt, CAUSE, "a traceback", DeathKind(kind), 3, 3600.0)
    wait_until(lambda: recovery.recover(app.cursor, worker.id, blame), 20)


@pytest.mark.parametrize("kind", ["death", "limit"])
def test_it_waits_for_no_time_and_keeps_its_error(database: str, app: Session, kind: str) -> None:
    row = app.job(fail_for_good(database, app, kind))
    assert (row["state"], row["doomed"], row["eta"], row["retry"]) == ("pending", True, None, 1)
    assert row["exc_message"] == f"Max. retries (1) reached: {CAUSE}"
    assert row["exc_info"] == f"attempt 1: {CAUSE}\na traceback"
    assert row["deaths"] == (kind == "death")


def test_without_an_on_fail_method_it_fails_at_once(database: str, app: Session) -> None:
    row = app.job(fail_for_good(database, app, on_fail=False))
    assert (row["state"], row["doomed"]) == ("failed", False)


def test_one_with_tries_left_is_not_doomed(database: str, app: Session) -> None:
    row = app.job(fail_for_good(database, app, max_retries=2))
    assert (row["state"], row["doomed"]) == ("pending", False)


def test_the_death_of_who_ends_it_changes_nothing(database: str, app: Session) -> None:
    job = fail_for_good(database, app)
    before = app.job(job)
    for _ in range(3):  # as many deaths as make a job poison
        die(database, app, job)
    after = app.job(job)
    unchanged = ("state", "doomed", "retry", "deaths", "eta", "exc_name", "exc_message", "identity_key")
    assert {name: after[name] for name in unchanged} == {name: before[name] for name in unchanged}
    assert after["attempt"] == 4
    assert "interrupted" in after["exc_info"]


def test_it_is_settled_without_counting_another_try(database: str, app: Session) -> None:
    job = fail_for_good(database, app)
    worker = WorkerSession(database)
    row = worker.start(job)
    assert row["doomed"]
    assert claims.settle(worker.cursor, row, Ending(JobState.FAILED, None, False, mark="interrupted"))
    worker.close()
    after = app.job(job)
    assert (after["state"], after["doomed"], after["retry"], after["deaths"]) == ("failed", False, 1, 1)
    assert after["exc_info"] == f"attempt 1: {CAUSE}\na traceback"


def test_who_had_asked_to_cancel_it_gets_it_cancelled(database: str, app: Session) -> None:
    job = app.add(on_fail=True, max_retries=1)
    worker = WorkerSession(database)
    worker.start(job)
    assert actions.act(app.cursor, "cancel", app.job(job)["uuid"]) == "started"
    worker.close()
    blame = Blame(job, 1, CAUSE)
    wait_until(lambda: recovery.recover(app.cursor, worker.id, blame), 20)
    assert (app.state(job), app.job(job)["doomed"]) == ("cancelled", False)


@pytest.mark.parametrize(
    ("action", "state"), [("cancel", "cancelled"), ("requeue", "pending"), ("done", "done")]
)
def test_a_person_may_lift_the_mark(database: str, app: Session, action: str, state: str) -> None:
    job = fail_for_good(database, app)
    assert actions.act(app.cursor, action, app.job(job)["uuid"]) == state
    row = app.job(job)
    assert (row["state"], row["doomed"]) == (state, False)
    if action == "requeue":
        assert (row["retry"], row["deaths"], row["exc_message"]) == (0, 0, None)


def test_a_pending_job_that_is_not_doomed_is_not_started_over(app: Session) -> None:
    job = app.add(retry=3)
    assert actions.act(app.cursor, "requeue", app.job(job)["uuid"]) == "pending"
    assert app.job(job)["retry"] == 3


def test_people_are_told(database: str, app: Session) -> None:
    fail_for_good(database, app, uuid="doomed")
    result = CliRunner().invoke(main, ["jobs", "show", "doomed", "--database", database, "--json"])
    assert json.loads(result.stdout)["doomed"] is True
    arguments = ["why", "doomed", "--database", database, "--channels", "root:1", "--json"]
    why = CliRunner().invoke(main, [*arguments, "--pidfile", "/nonexistent/pid"])
    says = next(gate["says"] for gate in json.loads(why.stdout)["gates"] if gate["gate"] == "state")
    assert says.startswith(
        f"it has failed for good, WorkerDied: Max. retries (1) reached: {CAUSE}; it is not run"
    )
