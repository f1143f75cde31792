"""The shutdown of a supervisor, by any signal and in any state of its workers."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from psycopg2.extensions import make_dsn

from support.postgres import connected
from support.processes import end_of
from support.supervised import PATIENCE, Queue, command, environment, queue, supervised
from support.waiting import wait_until

pytestmark = pytest.mark.timeout(300)
SHORT = ["--set", "graceful_timeout=1"]


def test_a_job_that_outlasts_the_grace_goes_back_uncounted(database: str, tmp_path: Path) -> None:
    with queue(database) as jobs, supervised(database, tmp_path, "root:1", SHORT) as running:
        job = jobs.sample(1).with_delay(max_retries=1).run_away("child")
        jobs.wait_for(job.uuid, "started")
        wait_until(lambda: any("600.4711" in p.cmdline() for p in running.everything()), PATIENCE)
        everything = running.everything()
        assert running.stop() == 0
        assert end_of(everything, PATIENCE) == [], "the job's child processes have ended too"
        row = jobs.job(job.uuid)
        assert (row["state"], row["retry"], row["attempt"]) == ("pending", 0, 1)
        assert jobs.effects() == []
        assert "workers killed, their jobs go back" in running.log


@pytest.mark.parametrize("busy", [True, False])
def test_a_worker_that_was_stopped_does_not_hold_up_the_end(
    database: str, tmp_path: Path, busy: bool
) -> None:
    with queue(database) as jobs, supervised(database, tmp_path, "root:1", SHORT) as running:
        job = jobs.sample(1).with_delay(max_retries=1).write_slowly(600 if busy else 0)
        row = jobs.wait_for(job.uuid, "started" if busy else "done")
        worker = psutil.Process(row["worker_pid"])
        worker.suspend()
        wait_until(lambda: worker.status() == psutil.STATUS_STOPPED, PATIENCE)
        everything = running.everything()
        assert running.stop() == 0
        assert end_of(everything, PATIENCE) == []
        row = jobs.job(job.uuid)
        assert (row["state"], row["retry"]) == (("pending", 0) if busy else ("done", 1))


def test_quit_ends_at_once(database: str, tmp_path: Path) -> None:
    with queue(database) as jobs, supervised(database, tmp_path, "root:1") as running:
        job = jobs.sample(1).with_delay(max_retries=1).write_slowly(600)
        jobs.wait_for(job.uuid, "started")
        assert running.stop(signal.SIGQUIT) == 0
        assert (jobs.job(job.uuid)["state"], jobs.job(job.uuid)["retry"]) == ("pending", 0)


def test_the_end_while_the_database_is_away(database: str, tmp_path: Path) -> None:
    """The job cannot be put back while the database is away; the next start does it without counting the try."""
    with queue(database) as jobs, connected(make_dsn(database, dbname="postgres")) as connection:
        elsewhere = Queue(connection)
        name = jobs.value("select current_database()")
        with supervised(database, tmp_path, "root:1", SHORT) as running:
            job = jobs.sample(1).with_delay(max_retries=1).run_away("swallow")
            jobs.wait_for(job.uuid, "started")
            elsewhere.rows(f"alter database {name} allow_connections false")
            elsewhere.rows(
                "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'queuem%'"
            )
            wait_until(lambda: "database is away" in running.log, PATIENCE)
            assert running.stop() == 0
            assert jobs.job(job.uuid)["state"] == "started"
        elsewhere.rows(f"alter database {name} allow_connections true")
        with supervised(database, tmp_path, "root:1", SHORT):
            wait_until(lambda: jobs.job(job.uuid)["attempt"] == 2, PATIENCE, "the job to run again")
            assert jobs.job(job.uuid)["retry"] == 1


def test_a_second_master_is_refused_and_the_first_goes_on(database: str, tmp_path: Path) -> None:
    with queue(database) as jobs, supervised(database, tmp_path, "root:1") as running:
        wait_until((tmp_path / "pid").exists, PATIENCE)
        jobs.wait_for(jobs.sample(1).with_delay().write().uuid, "done")
        argv = command(tmp_path, "--database", database, "--app", "sampleapp")
        result = subprocess.run(
            argv, env=environment(), capture_output=True, text=True, check=False, timeout=60
        )
        assert result.returncode == 1
        assert f"already running as process {running.process.pid}" in result.stderr
        assert (tmp_path / "pid").read_text() == f"{running.process.pid}\n"
        jobs.wait_for(jobs.sample(2).with_delay().write().uuid, "done")
        assert running.stop() == 0
    assert (tmp_path / "pid").read_text() == "", "a later reader of the pid file finds no pid"


def test_a_pid_file_that_was_left_names_nobody(database: str, tmp_path: Path) -> None:
    """The pid in the file belongs to an unrelated process by now, which gets no signal."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as innocent:
        (tmp_path / "pid").write_text(f"{innocent.pid}\n")
        with queue(database) as jobs, supervised(database, tmp_path, "root:1") as running:
            jobs.wait_for(jobs.sample(1).with_delay().write().uuid, "done")
            assert (tmp_path / "pid").read_text() == f"{running.process.pid}\n"
            assert running.stop() == 0
        assert innocent.poll() is None
        innocent.kill()
