"""Whether a worker, the dispatcher, the template or the database dies: no job is lost and none runs twice."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg2.extensions import parse_dsn

from queuemaster.config.compiled import ServerPlan
from support.postgres import new_database
from support.supervised import PATIENCE, Queue, Supervised, supervised
from support.waiting import wait_until

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def running(database: str, jobs: Queue, tmp_path: Path) -> Iterator[Supervised]:
    with supervised(database, tmp_path, "root:2") as opened:
        yield opened


def hold(jobs: Queue, key: int) -> None:
    """Take the advisory lock that jobs ``write_and_wait(key)`` wait for."""
    jobs.rows("select pg_advisory_lock(4711, %s)", (key,))


def let_go(jobs: Queue, key: int) -> None:
    jobs.rows("select pg_advisory_unlock(4711, %s)", (key,))


def test_a_worker_killed_from_outside(jobs: Queue, running: Supervised) -> None:
    hold(jobs, 1)
    job = jobs.sample(1).with_delay().write_and_wait(1)
    first = jobs.wait_for(job.uuid, "started")
    running.one("worker", f"[job {first['id']}]").kill()
    let_go(jobs, 1)
    row = jobs.wait_for(job.uuid, "done")
    assert row["attempt"] == 2
    assert row["retry"] == 2, "a crash counts as a try"
    assert f"worker {first['worker_pid']} died: SIGKILL" in row["exc_info"]
    assert jobs.effects() == [1]


@pytest.mark.parametrize(
    ("how", "cause"),
    [("segfault", "died: SIGSEGV"), ("SIGABRT", "died: SIGABRT"), ("exit", "exited while busy: code 0")],
)
def test_a_job_that_takes_its_worker_down(jobs: Queue, running: Supervised, how: str, cause: str) -> None:
    job = jobs.sample(1).with_delay().die(how)
    row = jobs.wait_for(job.uuid, "done")
    assert row["attempt"] == 2
    assert cause in row["exc_info"]
    assert jobs.effects() == [1]


def test_a_job_that_always_does_ends_failed_with_the_cause(jobs: Queue, running: Supervised) -> None:
    job = jobs.sample(1).with_delay(max_retries=2).always_die()
    row = jobs.wait_for(job.uuid, "failed")
    assert row["attempt"] == 2
    assert row["exc_name"] == "WorkerDied"
    assert row["exc_message"].startswith("Max. retries (2) reached: worker ")
    assert row["exc_info"].count("died: SIGKILL") == 2, "the row keeps the diagnosis of each attempt"
    after = jobs.sample(2).with_delay().write()
    jobs.wait_for(after.uuid, "done")


UNLUCKY = """
import os, signal
from queuejobs.worker.runtimes.native import NativeRuntime
from sampleapp import *

def die(self, row):
    os.kill(os.getpid(), signal.SIGKILL)

NativeRuntime._declared = die
"""


def test_a_job_whose_worker_dies_before_it_is_known(jobs: Queue, database: str, tmp_path: Path) -> None:
    """The worker dies after it commits the start and before it names the job on the scoreboard; the try counts."""
    (tmp_path / "unlucky.py").write_text(UNLUCKY)
    job = jobs.sample(1).with_delay(max_retries=2).write()
    with supervised(database, tmp_path, "root:1", app="unlucky"):
        row = jobs.wait_for(job.uuid, "failed")
    assert (row["attempt"], row["exc_name"]) == (2, "WorkerDied")
    assert row["exc_info"].count("died: SIGKILL") == 2


def test_the_dispatcher_killed_while_a_job_runs(jobs: Queue, database: str, tmp_path: Path) -> None:
    with supervised(database, tmp_path, "root:3,mail:2,free:1") as running:
        hold(jobs, 1)
        held_jobs = [jobs.sample(n).with_delay(channel="root.mail").write_and_wait(1) for n in (1, 2)]
        for job in held_jobs:
            jobs.wait_for(job.uuid, "started")
        epoch = jobs.value("select epoch from queuemaster.leader")
        waiting = jobs.sample(3).with_delay(channel="root.mail").write()
        dispatcher = running.one("dispatcher")
        dispatcher.kill()
        wait_until(
            lambda: jobs.value("select epoch from queuemaster.leader") > epoch, PATIENCE, "a new leader"
        )
        wait_until(lambda: running.one("dispatcher").pid != dispatcher.pid, PATIENCE, "a new dispatcher")
        # when a job of another channel is done, the new dispatcher has looked at all channels
        jobs.wait_for(jobs.sample(4).with_delay(channel="root.free").write().uuid, "done")
        assert jobs.job(waiting.uuid)["state"] == "pending", (
            "runs granted by the old dispatcher use both slots"
        )
        let_go(jobs, 1)
        for job in (*held_jobs, waiting):
            assert jobs.wait_for(job.uuid, "done")["attempt"] == 1
        assert jobs.effects() == [1, 2, 3, 4]


def test_the_template_killed(jobs: Queue, running: Supervised) -> None:
    hold(jobs, 1)
    held_job = jobs.sample(1).with_delay().write_and_wait(1)
    jobs.wait_for(held_job.uuid, "started")
    template = running.one("template")
    template.kill()
    wait_until(lambda: running.one("template").pid != template.pid, PATIENCE, "a new template")
    worker = running.one("worker", "[idle]")
    worker.kill()
    wait_until(
        lambda: worker not in running.children("worker") and len(running.children("worker")) == 2, PATIENCE
    )
    let_go(jobs, 1)
    assert jobs.wait_for(held_job.uuid, "done")["attempt"] == 1


def test_a_lost_session_gives_the_try_back(jobs: Queue, running: Supervised) -> None:
    hold(jobs, 1)
    job = jobs.sample(1).with_delay(max_retries=1).write_and_wait(1)
    jobs.wait_for(job.uuid, "started")
    # the start is committed before the job's query begins, so the query may not be there yet
    wait_until(
        lambda: jobs.rows(
            "select pg_terminate_backend(pid) from pg_stat_activity where query like '%pg_advisory_xact%'"
            " and application_name like 'queuemaster: worker%' and datname = current_database()"
        ),
        PATIENCE,
    )
    wait_until(lambda: jobs.job(job.uuid)["attempt"] == 2, PATIENCE, "a second attempt")
    let_go(jobs, 1)
    row = jobs.wait_for(job.uuid, "done")
    assert row["retry"] == 1, "an interruption that the job did not cause does not count as a try"
    assert jobs.effects() == [1]


def test_the_dispatcher_loses_its_session(jobs: Queue, running: Supervised) -> None:
    jobs.wait_for(jobs.sample(1).with_delay().write().uuid, "done")
    epoch = jobs.value("select epoch from queuemaster.leader")
    jobs.rows(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'queuemaster: dispatcher'"
        " and datname = current_database()"
    )
    jobs.wait_for(jobs.sample(2).with_delay().write().uuid, "done")
    assert jobs.value("select epoch from queuemaster.leader") == epoch + 1


def test_term_lets_the_running_job_finish(jobs: Queue, running: Supervised) -> None:
    hold(jobs, 1)
    job = jobs.sample(1).with_delay().write_and_wait(1)
    jobs.wait_for(job.uuid, "started")
    running.process.send_signal(signal.SIGTERM)
    wait_until(lambda: "shutting down" in running.log, PATIENCE)
    late = jobs.sample(2).with_delay().write()
    wait_until(lambda: len(running.children("worker")) == 1, PATIENCE, "the idle worker to leave")
    let_go(jobs, 1)
    assert running.process.wait(timeout=PATIENCE) == 0
    assert jobs.job(job.uuid)["state"] == "done"
    assert jobs.job(late.uuid)["state"] == "pending"


@pytest.mark.parametrize("signals", [[signal.SIGINT], [signal.SIGTERM, signal.SIGTERM]])
def test_int_or_a_second_term_ends_at_once_and_gives_the_try_back(
    jobs: Queue, running: Supervised, signals: list[int]
) -> None:
    hold(jobs, 1)
    job = jobs.sample(1).with_delay().write_and_wait(1)
    jobs.wait_for(job.uuid, "started")
    for signum in signals:
        running.process.send_signal(signum)
        # the kernel merges two pending signals of the same number
        wait_until(lambda: running.process.poll() is not None or "shutting down" in running.log, PATIENCE)
    assert running.process.wait(timeout=PATIENCE) == 0
    row = jobs.job(job.uuid)
    assert (row["state"], row["retry"], row["attempt"]) == ("pending", 0, 1)
    assert jobs.effects() == []


def test_a_database_that_is_away_keeps_no_slot_of_another(
    database: str, jobs: Queue, server: ServerPlan, template: str, tmp_path: Path
) -> None:
    """The slot of a dead worker waits only for the database that the worker worked for."""
    with new_database(server, template) as far:
        with supervised(database, tmp_path, "root:1", options=["--database", far]) as running:
            wait_until(lambda: "all databases ready" in running.log, PATIENCE, lambda: running.log)
            name = str(parse_dsn(far)["dbname"])
            jobs.rows(f"alter database {name} allow_connections false")
            jobs.rows("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", (name,))
            wait_until(lambda: "database is away" in running.log, PATIENCE, lambda: running.log)
            first = jobs.sample(1).with_delay().write_slowly(600)
            jobs.wait_for(first.uuid, "started")
            running.one("worker", "root [").kill()
            jobs.wait_for(first.uuid, "pending", "started")
            assert jobs.rows("select queuemaster.cancel_job(%s)", (first.uuid,))
            jobs.wait_for(jobs.sample(2).with_delay().write().uuid, "done")
        jobs.rows(f"alter database {name} allow_connections true")
