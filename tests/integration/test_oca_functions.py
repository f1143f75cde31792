"""Our functions on the table of Odoo's addon: they keep the promises of the native queue, and the addon's rules.

Each version of Odoo has a database with tables like the addon's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime

import psycopg2
import pytest

from queuejobs.shared.job_state import JobState
from queuejobs.store import claims, oca, odoo_runs, recovery
from queuejobs.store.claims import Ending
from queuejobs.store.recovery import Blame
from queuemaster.config.compiled import ServerPlan
from support.ocaqueue import VERSIONS, OcaSession, OcaWorkerSession, new_oca_database
from support.postgres import connected
from support.waiting import wait_until

CAUSE = "worker 4711 died: SIGKILL"
AGES_AGO = datetime(2026, 1, 1)
LOCKS = [version for version in VERSIONS if version >= 16]


@pytest.fixture
def database(server: ServerPlan, request: pytest.FixtureRequest) -> Iterator[str]:
    """The DSN of a database of the version in the test's parameter, else of the newest."""
    with new_oca_database(server, getattr(request, "param", VERSIONS[-1])) as dsn:
        yield dsn


@pytest.fixture
def odoo(database: str) -> Iterator[OcaSession]:
    """A session that stores and changes jobs as Odoo does."""
    opened = OcaSession(database)
    yield opened
    opened.close()


@pytest.fixture
def worker(database: str) -> Iterator[OcaWorkerSession]:
    opened = OcaWorkerSession(database)
    yield opened
    opened.close()


@pytest.fixture
def other(database: str) -> Iterator[OcaWorkerSession]:
    opened = OcaWorkerSession(database)
    yield opened
    opened.close()


every_version = pytest.mark.parametrize("database", VERSIONS, indirect=True)
with_locks = pytest.mark.parametrize("database", LOCKS, indirect=True)


def recovered(session: OcaSession, worker: OcaWorkerSession, blame: Blame | None = None) -> int:
    """End the worker's session and recover its rows; returns the number of settled rows plus one, so it is never 0."""
    worker.close()
    return int(
        wait_until(
            lambda: (n := recovery.recover(session.cursor, worker.id, blame)) is not None and (n + 1), 30
        )
    )


@every_version
def test_a_good_run(odoo: OcaSession, worker: OcaWorkerSession) -> None:
    late, job = odoo.add(priority=11), odoo.add(arguments=[1, "x"])
    row = worker.claim()
    assert row is not None
    arguments = json.loads(row["args"])  # from Odoo 18 on the column holds a JSON string
    assert (json.loads(arguments) if isinstance(arguments, str) else arguments) == [1, "x"]
    assert (row["id"], row["retry"]) == (job, 0)
    started = odoo.job(job)
    assert {
        "state": "started",
        "worker_id": worker.id,
        "worker_pid": worker.process.pid,
    }.items() <= started.items()
    assert None not in (started["date_enqueued"], started["date_started"]), (
        "the addon's sweep reads both times"
    )
    worker.begin()
    assert worker.value("select queuemaster.begin_run(%s, %s, %s)", job, row["attempt"], worker.id)
    assert worker.finish(row)
    worker.commit()
    done = odoo.job(job)
    assert {"state": "done", "retry": 1, "worker_id": None, "exec_time": 0.1}.items() <= done.items()
    assert odoo.state(late) == "pending"
    assert odoo.rows("select * from queuemaster.run") == []


@with_locks
def test_a_run_holds_the_addons_lock(odoo: OcaSession, worker: OcaWorkerSession) -> None:
    """The addon's own runner takes a started job whose lock is free for dead."""
    row = worker.start(odoo.add())
    free = "select count(*) from (select from public.queue_job_lock for no key update skip locked) free"
    assert odoo.value(free) == 1
    worker.begin()
    assert worker.value("select queuemaster.begin_run(%s, %s, %s)", row["id"], row["attempt"], worker.id)
    assert odoo.value(free) == 0
    worker.rollback()


def test_the_addon_may_start_a_job_itself(odoo: OcaSession, worker: OcaWorkerSession) -> None:
    job = odoo.add()
    row = odoo_runs.claim(worker.cursor, odoo.epoch(), "root", worker.id, 1, None, None, start=False)
    assert row is not None
    assert (odoo.state(job), odoo.job(job)["worker_id"]) == ("enqueued", worker.id)


def test_a_run_that_was_taken_away_finishes_nothing(odoo: OcaSession, worker: OcaWorkerSession) -> None:
    job = odoo.add()
    row = worker.start(job)
    odoo.rows("update public.queue_job set state = 'pending' where id = %s", job)
    assert not worker.finish(row)
    assert odoo.state(job) == "pending"


def test_a_cancelled_job_is_not_revived(odoo: OcaSession, worker: OcaWorkerSession) -> None:
    job = odoo.add()
    odoo.rows("update public.queue_job set state = 'cancelled' where id = %s", job)
    assert worker.claim(job=job) is None
    assert worker.claim() is None
    assert odoo.state(job) == "cancelled"


# recovery of a dead worker's rows


@every_version
def test_an_interrupted_job_goes_back_uncounted(odoo: OcaSession, worker: OcaWorkerSession) -> None:
    job = odoo.add()
    worker.start(job)
    assert recovered(odoo, worker) == 2
    assert {"state": "pending", "retry": 0, "worker_id": None, "date_started": None}.items() <= odoo.job(
        job
    ).items()
    assert odoo.rows("select * from queuemaster.run") == []


@every_version
def test_a_death_counts_and_says_why(
    odoo: OcaSession, worker: OcaWorkerSession, other: OcaWorkerSession
) -> None:
    job = odoo.add()
    row = worker.start(job)
    recovered(odoo, worker, Blame(job, row["attempt"], CAUSE))
    after = odoo.job(job)
    assert {"state": "pending", "retry": 1, "exc_message": CAUSE, "deaths": 1}.items() <= after.items()
    next_row = other.start(job)
    assert next_row["attempt"] > row["attempt"]


def test_a_worker_that_died_while_it_claimed(odoo: OcaSession, worker: OcaWorkerSession) -> None:
    job = odoo.add()
    worker.start(job)
    recovered(odoo, worker, Blame(0, 0, CAUSE))
    assert {"state": "pending", "retry": 1, "exc_message": CAUSE, "deaths": 1}.items() <= odoo.job(
        job
    ).items()


def test_a_job_that_used_up_its_tries_is_left_to_odoo_to_fail(
    odoo: OcaSession, worker: OcaWorkerSession, other: OcaWorkerSession
) -> None:
    """Only Odoo notifies managers and calls on_fail, so the next worker gets the job with the error and stores it."""
    job = odoo.add(retry=4)
    row = worker.start(job)
    recovered(odoo, worker, Blame(job, row["attempt"], CAUSE))
    assert odoo.job(job)["retry"] == 5
    doomed = other.start(job)
    assert doomed["doom_name"] == "WorkerDied"
    assert doomed["doom_message"] == f"Max. retries (5) reached: {CAUSE}"


def test_a_job_that_kills_its_workers_is_doomed(odoo: OcaSession, database: str) -> None:
    job = odoo.add(max_retries=0)
    for _ in range(3):
        worker = OcaWorkerSession(database)
        row = worker.start(job)
        assert row["doom_name"] is None
        recovered(odoo, worker, Blame(job, row["attempt"], CAUSE, poison_after=3))
    last = OcaWorkerSession(database)
    assert "died 3 times" in last.start(job)["doom_message"]
    last.close()


def test_what_the_addon_ended_stays_ended(odoo: OcaSession, worker: OcaWorkerSession) -> None:
    """A worker may die between Odoo's commit and the removal of our row of the run."""
    job = odoo.add()
    worker.start(job)
    odoo.rows("update public.queue_job set state = 'done' where id = %s", job)
    assert recovered(odoo, worker) == 1
    assert odoo.state(job) == "done"
    assert odoo.rows("select * from queuemaster.run") == []


def test_the_session_that_ran_the_job_is_gone_before_it_goes_back(
    odoo: OcaSession, worker: OcaWorkerSession, database: str
) -> None:
    """The dead session keeps its locks until the server notices that the client has gone."""
    worker.start(odoo.add())
    abandoned = psycopg2.connect(database, application_name=f"queuemaster: job {worker.id}")
    with abandoned.cursor() as cursor:
        cursor.execute("select 1")
    recovered(odoo, worker)
    with pytest.raises(psycopg2.OperationalError), abandoned.cursor() as cursor:
        cursor.execute("select 1")


# graphs


@every_version
def test_children_wait_for_all_their_parents(odoo: OcaSession, worker: OcaWorkerSession) -> None:
    first, second, child = odoo.add(), odoo.add(), odoo.add()
    odoo.depend(child, first, second)
    for parent, expected in ((first, "wait_dependencies"), (second, "pending")):
        row = worker.start(parent)
        assert row["has_dependents"]
        assert worker.finish(row)
        assert odoo.state(child) == expected


@every_version
def test_the_sweep_frees_a_stranded_child(odoo: OcaSession) -> None:
    """Without the sweep, children would wait for ever after a crash between the end of a parent and their release."""
    parent, stranded, waiting, orphan = (
        odoo.add("done"),
        odoo.add(),
        odoo.add(),
        odoo.add("wait_dependencies"),
    )
    odoo.depend(stranded, parent)
    odoo.depend(waiting, odoo.add("failed"))
    assert odoo.value("select released from queuemaster.sweep()") == 2
    assert [odoo.state(job) for job in (stranded, waiting, orphan)] == [
        "pending",
        "wait_dependencies",
        "pending",
    ]


# rows that our workers did not write


@with_locks
def test_a_job_that_odoos_own_worker_left_is_put_back(odoo: OcaSession, database: str) -> None:
    running, abandoned, spent = (
        odoo.add("started", retry=retry, date_enqueued=AGES_AGO, date_started=AGES_AGO) for retry in (0, 0, 4)
    )
    odoo.rows("insert into public.queue_job_lock (id, queue_job_id) select id, id from public.queue_job")
    rival = OcaSession(database)
    rival.begin()
    rival.rows("select from public.queue_job_lock where queue_job_id = %s for no key update", running)
    fresh = odoo.add("enqueued", date_enqueued=odoo.value("select clock_timestamp() at time zone 'utc'"))
    old = odoo.add("enqueued", date_enqueued=AGES_AGO)
    assert odoo.rows("select requeued, doomed from queuemaster.sweep()") == [(2, 1)]
    states = {
        job: (odoo.state(job), odoo.job(job)["retry"]) for job in (running, abandoned, spent, fresh, old)
    }
    assert states == {
        running: ("started", 0), abandoned: ("pending", 1), spent: ("pending", 5), fresh: ("enqueued", 0),
        old: ("pending", 0),
    }  # fmt: skip
    rival.close()


@pytest.mark.parametrize("database", [14, 15], indirect=True)
def test_without_locks_a_started_job_is_left_alone(odoo: OcaSession) -> None:
    started = odoo.add("started", date_enqueued=AGES_AGO, date_started=AGES_AGO)
    old = odoo.add("enqueued", date_enqueued=AGES_AGO)
    odoo.rows("select queuemaster.sweep()")
    assert [odoo.state(started), odoo.state(old)] == ["started", "pending"]


def test_the_sweep_leaves_our_own_runs_alone(odoo: OcaSession, worker: OcaWorkerSession) -> None:
    job = odoo.add()
    worker.start(job)
    odoo.rows("update public.queue_job set date_enqueued = %s, date_started = %s", AGES_AGO, AGES_AGO)
    odoo.rows("select queuemaster.sweep()")
    assert odoo.state(job) == "started"


# by hand, and by time


@every_version
def test_manual_actions(odoo: OcaSession) -> None:
    parent, child, grandchild = odoo.add(), odoo.add(), odoo.add()
    odoo.depend(child, parent)
    odoo.depend(grandchild, child)
    assert odoo.value("select queuemaster.cancel_job(%s)", odoo.uuid(parent)) == "cancelled"
    assert [odoo.state(job) for job in (child, grandchild)] == ["cancelled", "cancelled"]
    assert odoo.value("select queuemaster.requeue_job(%s)", odoo.uuid(child)) == "wait_dependencies"
    assert odoo.value("select queuemaster.requeue_job(%s)", odoo.uuid(parent)) == "pending"
    assert odoo.value("select queuemaster.set_job_done(%s, 'by hand')", odoo.uuid(parent)) == "done"
    assert odoo.state(child) == "pending"


def test_a_cancelled_run_ends_cancelled(odoo: OcaSession, worker: OcaWorkerSession) -> None:
    job, child = odoo.add(), odoo.add()
    odoo.depend(child, job)
    row = worker.start(job)
    assert odoo.value("select queuemaster.cancel_job(%s)", odoo.uuid(job)) == "started"
    assert odoo.job(job)["cancel_requested"]
    assert claims.settle(worker.cursor, row, Ending(JobState.PENDING, None, False))
    assert [odoo.state(job), odoo.state(child)] == ["cancelled", "cancelled"]


def test_due_jobs_are_promoted(odoo: OcaSession, worker: OcaWorkerSession) -> None:
    due = odoo.add(eta=AGES_AGO)
    odoo.add(eta=datetime(2999, 1, 1), priority=1)
    assert worker.claim() is None
    assert odoo.value("select queuemaster.promote(10)") == 1
    assert worker.start(due)["id"] == due


# the schema


@every_version
def test_it_is_made_once_and_leaves_nothing(server: ServerPlan, odoo: OcaSession, database: str) -> None:
    odoo.add()
    epoch = odoo.value("select queuemaster.lead('here')")
    with connected(database) as connection:
        connection.autocommit = False
        assert not oca.install(connection)
        odoo.rows("update queuemaster.beside_odoo set checksum = 'older'")
        assert oca.install(connection)
        assert odoo.epoch() == epoch, "the epoch never decreases"
        odoo.rows(f"create index queuemaster_ready on queue_job {oca.INDEXES['queuemaster_ready']}")
        assert oca.uninstall(connection)
        assert not oca.uninstall(connection)
    assert odoo.rows("select 1 from pg_namespace where nspname = 'queuemaster'") == []
    assert odoo.rows("select 1 from pg_class where relname like 'queuemaster%%'") == []
    assert odoo.value("select count(*) from queue_job") == 1


def test_the_view_has_every_column_of_the_native_queue(
    odoo: OcaSession, template: str, server: ServerPlan
) -> None:
    columns = (
        "select attname from pg_attribute where attrelid = 'queuemaster.queue_job'::regclass and attnum > 0"
    )
    beside = {name for (name,) in odoo.rows(columns)}
    native = OcaSession(odoo.connection.dsn.replace(odoo.connection.info.dbname, template))
    assert {name for (name,) in native.rows(columns)} <= beside
    native.close()


def test_what_is_installed_is_looked_at(odoo: OcaSession) -> None:
    assert oca.look(odoo.cursor) == oca.Installed("", "")
    odoo.rows("insert into ir_module_module (name, state) values ('sale', 'to upgrade')")
    assert oca.look(odoo.cursor).busy == "sale to upgrade"
    odoo.rows("drop trigger queue_job_notify on queue_job")
    assert "trigger queue_job_notify is missing" in oca.look(odoo.cursor).busy
    odoo.rows("update ir_module_module set state = 'uninstalled' where name = 'queue_job'")
    assert "not installed" in oca.look(odoo.cursor).problem
    odoo.rows("drop table ir_module_module")
    assert "no database of Odoo" in oca.look(odoo.cursor).problem


@every_version
def test_the_signal_of_a_changed_registry(odoo: OcaSession) -> None:
    before = oca.registry_signal(odoo.cursor)
    table = odoo.value("select to_regclass('orm_signaling_registry') is not null")
    odoo.rows(
        "insert into orm_signaling_registry (date) values (now())"
        if table
        else "select nextval('base_registry_signaling')"
    )
    odoo.rows("select 1")
    assert oca.registry_signal(odoo.cursor) != before or not table
