"""Delayed calls become rows, in the transaction of the caller."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta, timezone
from typing import Any

import psycopg2
import psycopg2.extras
import pytest

from queuejobs import Environment, Job, JobError, Model, NoSuchJobError, job_function
from queuejobs.perform import perform


class Partner(Model):
    _name = "test.enqueue.partner"

    @job_function(channel="export", retry_pattern={1: 10}, timeout=300, cpu=60, memory="1G")
    def export(self, fmt: str, force: bool = False) -> str:
        """Write the partners to a file.

        Second paragraph.
        """
        env = self.env
        return f"{self.ids} {fmt} {force} {env.context['job_uuid']} {env.user_id} {env.company_id}"

    def notify(self, *args: Any) -> Any:
        return args

    def say(self, value: Any) -> Any:
        return value

    def spawn(self) -> str:
        return str(self.with_delay().notify().uuid)


@pytest.fixture
def env(connection: Any) -> Environment:
    return Environment(connection, 4, 2, {"lang": "de", "other": 1})


@pytest.fixture
def partners(env: Environment) -> Any:
    return env["test.enqueue.partner"].browse([1, 2, 3])


def seen_by_others(database: str, sql: str) -> Any:
    other = psycopg2.connect(database)
    try:
        with other.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchone()
    finally:
        other.close()


def test_the_job_is_stored_by_the_callers_commit(database: str, connection: Any, partners: Any) -> None:
    job = partners.with_delay().export("csv", force=True)
    count = "select count(*) from queuemaster.queue_job"
    assert seen_by_others(database, count) == (0,)
    connection.commit()
    assert seen_by_others(database, count) == (1,)

    stored = Job.load(Environment(connection), job.uuid)
    assert stored == job
    assert (stored.state, stored.channel, stored.timeout) == ("pending", "root.export", 300)
    assert (stored.cpu, stored.memory) == (60, 2**30)
    assert (stored.priority, stored.max_retries, stored.retry, stored.eta) == (10, 5, 0, None)
    assert (stored.user_id, stored.company_id) == (4, 2)
    assert stored.description == "Write the partners to a file."
    assert stored.func_string == "test.enqueue.partner(1, 2, 3).export('csv', force=True)"
    assert (stored.model_name, stored.method_name) == ("test.enqueue.partner", "export")
    assert stored.channel_method_name == "<test.enqueue.partner>.export"
    assert (stored.records.ids, stored.args, stored.kwargs) == ([1, 2, 3], ("csv",), {"force": True})
    assert dict(stored.records.env.context) == {"lang": "de"}
    assert (job.id, job.date_created) == (stored.id, stored.date_created)


def test_a_rollback_takes_the_job_along(connection: Any, partners: Any, env: Environment) -> None:
    job = partners.with_delay().notify()
    connection.rollback()
    with pytest.raises(NoSuchJobError, match=job.uuid):
        Job.load(env, job.uuid)


def test_every_property_is_stored(partners: Any, env: Environment) -> None:
    job = partners.with_delay(
        priority=3, max_retries=0, description="Export ü", channel="sale.night", identity_key="k", timeout=0
    ).export("csv")
    stored = Job.load(env, job.uuid)
    assert (stored.priority, stored.max_retries, stored.description) == (3, 0, "Export ü")
    assert (stored.channel, stored.identity_key, stored.timeout) == ("root.sale.night", "k", 0)
    limited = Job.load(env, partners.with_delay(cpu=0.5, memory="512M").export("csv").uuid)
    assert (limited.timeout, limited.cpu, limited.memory) == (300, 0.5, 2**29)
    assert Job.load(env, partners.with_delay(memory=0).notify().uuid).memory == 0
    assert Job.load(env, partners.with_delay(priority=None).notify().uuid).priority == 10
    called = partners.with_delay(identity_key=lambda job: f"{job.method_name}-{job.args[0]}").notify(7)
    assert called.identity_key == "notify-7"


@pytest.mark.parametrize(
    ("eta", "seconds"),
    [
        (60, 60),
        (60.5, 60.5),
        (timedelta(hours=1), 3600),
        (0, None),
        (None, None),
        (-5, None),
        (datetime(2000, 1, 1), None),
        (datetime(2000, 1, 1, tzinfo=timezone.utc), None),
    ],
)
def test_an_eta_to_come_is_stored_by_the_servers_clock(partners: Any, eta: Any, seconds: Any) -> None:
    job = partners.with_delay(eta=eta).notify()
    if seconds is None:
        assert job.eta is None
    else:
        assert abs((job.eta - job.date_created).total_seconds() - seconds) < 5


def test_an_aware_eta_is_converted_to_utc_and_a_naive_one_is_utc(partners: Any) -> None:
    zone = timezone(timedelta(hours=5))
    assert partners.with_delay(eta=datetime(2100, 1, 1, 5, tzinfo=zone)).notify().eta == datetime(2100, 1, 1)
    assert partners.with_delay(scheduled_at=datetime(2100, 1, 1)).notify().eta == datetime(2100, 1, 1)


@pytest.mark.parametrize(
    ("properties", "says"),
    [
        ({"prio": 3}, "unknown job property 'prio'; there are: priority, "),
        ({"priority": "high"}, "priority='high': expected an integer"),
        ({"eta": "tomorrow"}, "eta='tomorrow'"),
        ({"eta": float("nan")}, "eta=nan"),
        ({"eta": 5, "scheduled_at": 6}, "two names of one property"),
        ({"max_retries": -1}, "max_retries=-1"),
        ({"channel": "a,b"}, "channel 'a,b'"),
        ({"timeout": -1}, "timeout=-1"),
        ({"cpu": True}, "cpu=True: expected a number of seconds"),
        ({"memory": -1}, "memory=-1: expected a size"),
        ({"memory": "512 apples"}, "memory='512 apples': expected a size"),
        ({"description": "a\x00"}, "NUL"),
        ({"identity_key": 5}, "identity_key=5: expected a string"),
    ],
)
def test_a_wrong_property_is_refused_before_the_call(partners: Any, properties: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        partners.with_delay(**properties)
    with pytest.raises(ValueError, match=says):
        partners.delayable().set(properties)


def test_what_cannot_be_stored_is_named_and_nothing_is_stored(env: Environment, partners: Any) -> None:
    good, bad = partners.delayable().notify(1), partners.delayable().notify(1, {2})
    with pytest.raises(TypeError, match=r"argument 2 \(\{2\}\) cannot be stored"):
        env.delay_many([good, bad])
    env.cr.execute("select count(*) from queuemaster.queue_job")
    assert env.cr.fetchone() == (0,)


def test_a_delayable_is_built_in_steps(partners: Any, env: Environment) -> None:
    delayable = partners.delayable(priority=1)
    assert delayable.export("csv") is delayable
    assert delayable.set(priority=2, eta=60).set({"description": "x"}) is delayable
    job = delayable.delay()
    assert (job.priority, job.description, job.args) == (2, "x", ("csv",))
    with pytest.raises(ValueError, match="no method to run"):
        partners.delayable().delay()


def test_a_delayable_that_is_dropped_says_so(partners: Any, caplog: Any) -> None:
    partners.delayable().export("csv")
    assert "was prepared but never delayed" in caplog.text


def test_many_jobs_are_one_statement_and_keep_their_order(env: Environment, partners: Any) -> None:
    env.cr.execute(
        "create table statements(rows int); create function counted() returns trigger language plpgsql as $$"
        " begin insert into statements select count(*) from added; return null; end $$;"
        " create trigger counted after insert on queuemaster.queue_job referencing new table as added"
        " for each statement execute function counted()"
    )
    jobs = env.delay_many(partners.delayable(priority=n % 7).notify(n) for n in range(3000))
    env.cr.execute("select rows from statements")
    assert env.cr.fetchall() == [(3000,)]
    assert [job.args for job in jobs] == [(n,) for n in range(3000)]
    env.cr.execute("select args->>0 from queuemaster.queue_job order by id")
    assert [int(number) for (number,) in env.cr.fetchall()] == list(range(3000))
    env.cr.execute("select args->>0 from queuemaster.queue_job order by date_created, id")
    assert [int(number) for (number,) in env.cr.fetchall()] == list(range(3000))
    assert env.delay_many([]) == []


def test_a_live_identity_returns_the_job_that_has_it(env: Environment, partners: Any) -> None:
    first = partners.with_delay(identity_key="one").notify(1)
    second = partners.with_delay(identity_key="one").notify(2)
    assert (second.uuid, second.args) == (first.uuid, (1,))
    env.cr.execute("update queuemaster.queue_job set state = 'started', worker_id = 1")
    third = partners.with_delay(identity_key="one").notify(3)
    assert third != first
    fourth, other, twin = env.delay_many(
        partners.delayable(identity_key=key).notify() for key in ("a", "b", "a")
    )
    assert fourth == twin != other


def test_any_kind_of_cursor_will_do(database: str) -> None:
    connection = psycopg2.connect(database, cursor_factory=psycopg2.extras.RealDictCursor)
    env = Environment(connection.cursor())
    job = env["test.enqueue.partner"].with_delay().notify()
    assert Job.load(env, job.uuid).refresh().state == "pending"
    connection.rollback()
    connection.autocommit = True
    assert Job.load(env, env["test.enqueue.partner"].with_delay().notify().uuid)
    connection.close()


def test_wait_returns_when_the_job_has_ended(database: str, connection: Any, partners: Any) -> None:
    job = partners.with_delay().notify()
    connection.commit()
    with pytest.raises(TimeoutError, match="still pending after 0"):
        job.wait(timeout=0.05)

    def work() -> None:
        other = psycopg2.connect(database)
        with other, other.cursor() as cursor:
            cursor.execute("update queuemaster.queue_job set state = 'done', result = 'yes'")
        other.close()

    worker = threading.Thread(target=work)
    worker.start()
    assert job.wait(timeout=30) is job
    worker.join()
    assert (job.state, job.result) == ("done", "yes")
    assert connection.info.transaction_status == psycopg2.extensions.TRANSACTION_STATUS_IDLE


def test_waiting_leaves_a_guarded_connection_alone(database: str) -> None:
    class Guarded(psycopg2.extensions.connection):
        def rollback(self) -> None:
            raise AssertionError("a job may not end its transaction")

    connection = psycopg2.connect(database, connection_factory=Guarded)
    env = Environment(connection)
    job = env["test.enqueue.partner"].with_delay().notify()
    connection.commit()
    with pytest.raises(TimeoutError):
        job.wait(timeout=0.05)
    connection.close()


@pytest.mark.parametrize("savepoint", [False, True])
def test_waiting_for_an_uncommitted_job_is_an_error(connection: Any, partners: Any, savepoint: bool) -> None:
    if savepoint:
        connection.cursor().execute("savepoint deep")
    job = partners.with_delay().notify()
    with pytest.raises(JobError, match="commit first"):
        job.wait(timeout=30)


def test_waiting_in_a_snapshot_is_an_error(connection: Any, partners: Any) -> None:
    connection.set_session(isolation_level="REPEATABLE READ")
    job = partners.with_delay().notify()
    connection.commit()
    with pytest.raises(TimeoutError):
        job.wait(timeout=0.05)
    connection.cursor().execute("select 1")
    with pytest.raises(JobError, match="repeatable read"):
        job.wait(timeout=30)


def test_a_job_that_is_gone_is_said_to_be(connection: Any, partners: Any) -> None:
    job = partners.with_delay().notify()
    connection.rollback()
    with pytest.raises(NoSuchJobError):
        job.wait(timeout=30)


def run(connection: Any, job: Job) -> Any:
    with connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
        cursor.execute("select * from queuemaster.queue_job where uuid = %s", (job.uuid,))
        row = cursor.fetchone()
    with connection.cursor() as cursor:
        return perform(cursor, row)


def test_a_stored_call_is_made_as_the_one_who_delayed_it(connection: Any, partners: Any) -> None:
    job = partners.with_delay().export("pdf", force=True)
    assert run(connection, job) == f"[1, 2, 3] pdf True {job.uuid} 4 2"


def test_results_are_text(connection: Any, partners: Any) -> None:
    assert run(connection, partners.with_delay().notify()) == "[]"
    assert run(connection, partners.with_delay().notify(1, "x")) == '[1, "x"]'
    assert run(connection, partners.with_delay().say(None)) is None
    assert run(connection, partners.with_delay().say("as it is")) == "as it is"
    assert run(connection, partners.browse(1).with_delay().ensure_one()).startswith(
        '{"_type": "odoo_recordset"'
    )
    long = run(connection, partners.with_delay().notify("ü" * 70_000))
    assert len(long.encode()) <= 65536
    assert long.endswith("(cut)")


def test_a_job_delays_jobs_in_its_own_transaction(database: str, connection: Any, partners: Any) -> None:
    job = partners.with_delay().spawn()
    connection.commit()
    child = run(connection, job)
    assert seen_by_others(database, "select count(*) from queuemaster.queue_job") == (1,)
    connection.commit()
    assert Job.load(Environment(connection), child).state == "pending"
