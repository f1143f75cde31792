"""What a job may do and how it ends; one supervisor runs all jobs of this module."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from functools import partial
from typing import Any

import pytest

from queuejobs import Environment
from queuemaster.config.compiled import ServerPlan
from support.postgres import new_database
from support.supervised import PATIENCE, Queue, Supervised, queue, supervised
from support.waiting import wait_until

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def running(
    server: ServerPlan, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Queue, Supervised]]:
    with (
        new_database(server, template) as dsn,
        queue(dsn) as opened,
        supervised(dsn, tmp_path_factory.mktemp("run"), "root:4,root.one:1") as supervisor,
    ):
        yield opened, supervisor


@pytest.fixture
def jobs(running: tuple[Queue, Supervised]) -> Queue:
    """The queue that the supervisor serves, emptied."""
    running[0].rows("truncate effect; delete from queuemaster.queue_job")
    return running[0]


def result(jobs: Queue, job: Any) -> Any:
    """What the job returned, as JSON."""
    return json.loads(jobs.wait_for(job.uuid, "done", "failed")["result"])


# the transaction


@pytest.mark.parametrize(
    "how",
    [
        *["commit", "rollback", "connection.commit", "connection.rollback", "connection.reset"],
        *["connection.close", "with connection", "set_session", "first autocommit", "first isolation_level"],
        *["composed", "bytes", "executemany", "own cursor", "COMMIT;", "end", "/* so */ rollback"],
        *["start transaction", "insert into effect values (9); commit"],
    ],
)
def test_a_job_that_ends_its_transaction(jobs: Queue, how: str) -> None:
    job = jobs.sample(1).with_delay().commit(how)
    row = jobs.wait_for(job.uuid, "failed", "done")
    assert row["exc_name"] == "queuejobs.exception.CommitInJobError"
    assert "not allowed inside a job" in row["exc_message"]
    assert "Use a savepoint" in row["exc_message"]
    assert jobs.effects() == []


@pytest.mark.parametrize("how", ["autocommit", "isolation_level"])
def test_nor_in_the_middle(jobs: Queue, how: str) -> None:
    row = jobs.wait_for(jobs.sample(1).with_delay().commit(how).uuid, "failed", "done")
    assert row["state"] == "failed"
    assert jobs.effects() == []


def test_savepoints_are_free(jobs: Queue) -> None:
    assert (
        jobs.wait_for(jobs.sample(1).with_delay().use_savepoints().uuid, "done", "failed")["state"] == "done"
    )
    assert jobs.effects() == [1]


def test_an_error_of_the_database_cannot_be_swallowed(jobs: Queue) -> None:
    """The job swallows a database error. The server would turn a commit of this transaction into a rollback."""
    row = jobs.wait_for(jobs.sample(1).with_delay().break_transaction().uuid, "failed", "done")
    assert row["state"] == "failed"
    assert "current transaction is aborted" in row["exc_message"]


def test_sys_exit_ends_the_job_and_not_the_worker(jobs: Queue) -> None:
    def worker() -> Any:
        return result(jobs, jobs.sample(1).with_delay(channel="root.one").backend())

    before = worker()
    job = jobs.sample(1).with_delay(channel="root.one").leave()
    row = jobs.wait_for(job.uuid, "failed")
    assert (row["exc_name"], row["worker_pid"]) == ("builtins.SystemExit", before)
    assert worker() == before


def test_jobs_that_a_job_delays_are_part_of_its_transaction(jobs: Queue) -> None:
    failed = jobs.sample(1, 2).with_delay().delay_more("crash")
    assert jobs.wait_for(failed.uuid, "failed")["exc_name"] == "builtins.ZeroDivisionError"
    assert jobs.states() == {"failed": 1}
    jobs.sample(1, 2).with_delay().delay_more("well")
    jobs.wait_until_drained()
    assert jobs.states() == {"failed": 1, "done": 3}
    assert jobs.effects() == [1, 2]


# failing and trying again


def test_a_failure_says_what_where_and_how_often(jobs: Queue) -> None:
    row = jobs.wait_for(jobs.sample(1).with_delay().crash().uuid, "failed")
    assert (row["exc_name"], row["exc_message"]) == ("builtins.ZeroDivisionError", "one by zero")
    assert row["exc_info"].startswith("attempt 1: one by zero\nTraceback")
    assert "sampleapp.py" in row["exc_info"]
    assert (row["retry"], jobs.effects()) == (1, [])
    row = jobs.wait_for(jobs.sample(1).with_delay().fail().uuid, "failed")
    assert row["exc_name"] == "queuejobs.exception.FailedJobError"


def test_tries_are_used_up(jobs: Queue) -> None:
    row = jobs.wait_for(jobs.sample(1).with_delay().retry_for_ever().uuid, "failed")
    assert (row["attempt"], row["retry"]) == (5, 5)
    assert row["exc_message"] == "Max. retries (5) reached: never"
    assert row["exc_info"].count("Traceback") == 5
    assert (
        jobs.wait_for(jobs.sample(1).with_delay(max_retries=1).retry_for_ever().uuid, "failed")["retry"] == 1
    )


@pytest.mark.parametrize(
    ("seconds", "ignore", "wait"), [(3600, False, 3600), (60, True, 60), (None, False, 600)]
)
def test_a_retry_when_the_job_says(jobs: Queue, seconds: float | None, ignore: bool, wait: int) -> None:
    job = jobs.sample(1).with_delay(max_retries=2).retry_later(seconds, ignore)
    wait_until(lambda: jobs.job(job.uuid)["eta"] is not None, PATIENCE)
    row = jobs.job(job.uuid)
    assert (row["state"], row["attempt"], row["retry"]) == ("pending", 1, 0 if ignore else 1)
    assert waits(row) == pytest.approx(wait, abs=30)
    assert (row["exc_message"], jobs.effects()) == ("later", [])


def test_a_retry_by_its_pattern(jobs: Queue) -> None:
    job = jobs.sample(1).with_delay().retry_by_pattern()
    for attempt, wait in [(1, 100), (2, 100), (3, 3000)]:
        wait_until(partial(tried, jobs, job.uuid, attempt), PATIENCE)
        assert waits(jobs.job(job.uuid)) == pytest.approx(wait, abs=30)
        jobs.rows("update queuemaster.queue_job set eta = null where uuid = %s", (job.uuid,))


def tried(jobs: Queue, uuid: str, attempt: int) -> bool:
    row = jobs.job(uuid)
    return bool(row["attempt"] == attempt and row["state"] == "pending")


def waits(row: dict[str, Any]) -> float:
    """Seconds from the start of the job's last try to its next try."""
    eta, started = (datetime.fromisoformat(row[name]) for name in ("eta", "date_started"))
    return (eta - started).total_seconds()


@pytest.mark.parametrize(("part", "name"), [("model", "absent"), ("method", "disappear")])
def test_a_deploy_may_be_under_way(jobs: Queue, part: str, name: str) -> None:
    """A job of an unknown model or method waits, uncounted; after the grace it fails and lists the known ones."""
    job = jobs.sample(1).with_delay(max_retries=1).write()
    jobs.wait_for(job.uuid, "done")
    reset = f"""update queuemaster.queue_job set state = 'pending', retry = 0, eta = null, {part}_name = '{name}',
        unknown_since = unknown_since - interval '61 seconds' where uuid = %s"""
    jobs.rows(reset, (job.uuid,))
    wait_until(lambda: jobs.job(job.uuid)["eta"] is not None, PATIENCE)
    row = jobs.job(job.uuid)
    assert (row["state"], row["retry"], row["attempt"]) == ("pending", 0, 2)
    assert row["unknown_since"] is not None
    assert name in row["exc_message"]
    jobs.rows(reset, (job.uuid,))
    row = jobs.wait_for(job.uuid, "failed")
    assert name in row["exc_message"]
    assert ("sample" if part == "model" else "write_slowly") in row["exc_message"], (
        "the message lists the known models or methods"
    )
    assert jobs.effects() == [1]


# arguments and results


def test_user_company_and_context_arrive(jobs: Queue) -> None:
    context = {"lang": "fr_FR", "tz": "UTC", "not_for_jobs": 1}
    env = Environment(jobs.connection, user_id=7, company_id=3, context=context)
    job = env["sample"].browse([4, 5]).with_delay().context()
    arrived = result(jobs, job)
    assert arrived == {
        "user": 7, "company": 3, "ids": [4, 5], "context": {"lang": "fr_FR", "tz": "UTC", "job_uuid": job.uuid},
    }  # fmt: skip


def test_arguments_arrive_as_they_were(jobs: Queue) -> None:
    records = jobs.sample(8, 9)
    moment = datetime(2026, 1, 2, 3, 4, 5, 6, timezone.utc)
    job = (
        jobs.sample(1)
        .with_delay()
        .echo("é\U0001f600", records, 1.5, None, day=date(2026, 1, 2), at=moment, s=records)
    )
    row = jobs.wait_for(job.uuid, "done")
    expected = ("é\U0001f600", records, 1.5, None), {"day": date(2026, 1, 2), "at": moment, "s": records}
    assert row["result"] == repr(expected)


@pytest.mark.parametrize(
    ("value", "stored"), [("text", "text"), (None, None), ({"a": [1, None]}, '{"a": [1, null]}'), (0, "0")]
)
def test_results_are_kept(jobs: Queue, value: object, stored: str | None) -> None:
    assert jobs.wait_for(jobs.sample(1).with_delay().returns(value).uuid, "done")["result"] == stored


def test_a_long_result_is_cut_at_64_kib(jobs: Queue) -> None:
    result = jobs.wait_for(jobs.sample(1).with_delay().returns_much("x", 65536).uuid, "done")["result"]
    assert result == "x" * 65536
    cut = jobs.wait_for(jobs.sample(1).with_delay().returns_much("é", 65536).uuid, "done")["result"]
    assert len(cut.encode()) <= 65536
    assert cut.startswith("é" * 32_000)
    assert cut.endswith("… (cut)")


# order


def test_priority_first_then_age(jobs: Queue) -> None:
    jobs.rows("select pg_advisory_lock(4711, 1)")
    first = jobs.sample(0).with_delay(channel="root.one").write_and_wait(1)
    jobs.wait_for(first.uuid, "started")
    expected = [
        jobs.sample(1).with_delay(channel="root.one", priority=priority).write() for priority in (5, 10, 1, 5)
    ]
    jobs.rows("select pg_advisory_unlock(4711, 1)")
    jobs.wait_until_drained()
    order = jobs.rows(
        "select uuid from queuemaster.queue_job where method_name = 'write' order by date_started"
    )
    assert [uuid for (uuid,) in order] == [expected[index].uuid for index in (2, 0, 3, 1)]


def test_not_before_its_time(jobs: Queue) -> None:
    later = jobs.sample(1).with_delay(eta=timedelta(seconds=1.2)).write()
    never = jobs.sample(2).with_delay(eta=datetime(2999, 1, 1)).write()
    eta = datetime.fromisoformat(jobs.job(later.uuid)["eta"])
    row = jobs.wait_for(later.uuid, "done")
    assert datetime.fromisoformat(row["date_started"]) >= eta
    assert jobs.job(never.uuid)["attempt"] == 0


# what an operator sees of a running job


def test_titles(jobs: Queue, running: tuple[Queue, Supervised]) -> None:
    supervisor = running[1]
    assert " ".join(supervisor.process.cmdline()).strip() == "queuemaster: master"
    assert " ".join(supervisor.one("dispatcher").cmdline()).strip() == "queuemaster: dispatcher"
    assert " ".join(supervisor.one("template").cmdline()).strip() == "queuemaster: template"
    jobs.rows("select pg_advisory_lock(4711, 1)")
    job = jobs.sample(0).with_delay(channel="root.one").write_and_wait(1)
    row = jobs.wait_for(job.uuid, "started")
    busy = supervisor.one("worker", "queuemaster: worker root.one [job")
    assert busy.pid == row["worker_pid"]
    wait_until(lambda: f"[job {row['id']}]" in " ".join(busy.cmdline()), PATIENCE)
    jobs.rows("select pg_advisory_unlock(4711, 1)")
    wait_until(lambda: " ".join(busy.cmdline()).strip() == "queuemaster: worker root.one [idle]", PATIENCE)
