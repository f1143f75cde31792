"""The running service: start, several databases, more channels than workers, logs, policies, shutdown."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from psycopg2.extensions import parse_dsn

from queuemaster.config.compiled import ServerPlan
from support.postgres import new_database
from support.processes import end_of
from support.supervised import PATIENCE, Queue, command, environment, queue, supervised
from support.waiting import wait_until

pytestmark = pytest.mark.timeout(300)
SHORT = 8.0  # seconds within which at least one more job must get done


@pytest.fixture
def second(server: ServerPlan, template: str) -> Iterator[str]:
    with new_database(server, template) as dsn:
        yield dsn


def hold(jobs: Queue) -> None:
    jobs.rows("select pg_advisory_lock(4711, 1)")


def let_go(jobs: Queue) -> None:
    jobs.rows("select pg_advisory_unlock(4711, 1)")


def lines(text: str, message: str) -> list[dict[str, Any]]:
    """The log lines of an event, parsed from JSON."""
    parsed = [json.loads(line) for line in text.splitlines() if line]
    return [line for line in parsed if line["message"] == message]


# the start


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (None, "ModuleNotFoundError: No module named 'nosuch'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("raise SystemExit(0)", "SystemExit: 0"),
    ],
)
def test_an_application_that_cannot_be_imported(
    database: str, tmp_path: Path, source: str | None, reason: str
) -> None:
    if source is not None:
        (tmp_path / "nosuch.py").write_text(source)
    with supervised(database, tmp_path, app="nosuch") as running:
        assert running.process.wait(timeout=PATIENCE) == 2
        assert "the application cannot be imported" in running.log
        assert f"module nosuch: {reason}" in running.log
    assert psutil.pid_exists(running.process.pid) is False


def test_an_application_that_starts_a_thread(jobs: Queue, database: str, tmp_path: Path) -> None:
    (tmp_path / "threaded.py").write_text(
        "import threading\nfrom sampleapp import *\n"
        "threading.Thread(target=threading.Event().wait, name='poller', daemon=True).start()\n"
    )
    with supervised(database, tmp_path, app="threaded") as running:
        jobs.wait_for(jobs.sample(1).with_delay().write().uuid, "done")
        assert "starts threads at import" in running.log
        assert "threads=poller" in running.log


# policies, logs


def test_policy_retry_no_grace_and_json(jobs: Queue, database: str, tmp_path: Path) -> None:
    options = ["--set", "on_error=retry", "--set", "unknown_model_grace=0", "--log-format", "json"]
    with supervised(database, tmp_path, options=options) as running:
        crashing = jobs.sample(1).with_delay(max_retries=2).crash()
        wait_until(lambda: jobs.job(crashing.uuid)["eta"] is not None, PATIENCE)
        row = jobs.job(crashing.uuid)
        assert (row["state"], row["retry"]) == ("pending", 1)
        jobs.rows("update queuemaster.queue_job set eta = null")
        row = jobs.wait_for(crashing.uuid, "failed")
        assert row["exc_message"] == "Max. retries (2) reached: one by zero"
        assert jobs.wait_for(jobs.sample(1).with_delay().fail().uuid, "failed")["retry"] == 1
        unknown = jobs.sample(1).with_delay(eta=3600).write()
        jobs.rows(
            "update queuemaster.queue_job set model_name = 'absent', eta = null where uuid = %s",
            (unknown.uuid,),
        )
        wait_until(lambda: jobs.job(unknown.uuid)["attempt"] == 1, PATIENCE)
        jobs.wait_for(jobs.sample(1).with_delay().log('a "quoted" line').uuid, "done")
        assert running.stop() == 0
    postponed = lines(running.log, "job postponed")[0]
    assert postponed["job_uuid"] == crashing.uuid
    assert postponed["delay"] == 10
    assert (postponed["level"], postponed["method"], postponed["attempt"]) == ("INFO", "crash", 1)
    assert "ZeroDivisionError: one by zero" in postponed["error"]
    assert lines(running.log, "leads")[0]["epoch"] == 1
    entry = lines(running.log, 'a "quoted" line')[0]
    assert (entry["logger"], entry["level"]) == ("sampleapp", "WARNING")
    assert (entry["model"], entry["method"], entry["channel"]) == ("sample", "log", "root")


def test_log_lines_as_text(jobs: Queue, database: str, tmp_path: Path) -> None:
    with supervised(database, tmp_path) as running:
        job = jobs.sample(1).with_delay().crash()
        row = jobs.wait_for(job.uuid, "failed")
        wait_until(lambda: "job failed" in running.log, PATIENCE)
    line = next(line for line in running.log.splitlines() if "job failed" in line)
    assert (
        f"Z ERROR {row['worker_pid']} queuemaster.worker: job failed job_uuid={job.uuid} model=sample" in line
    )
    assert 'error="builtins.ZeroDivisionError: one by zero"' in line
    assert "password" not in running.log


def test_levels_of_single_loggers(jobs: Queue, database: str, tmp_path: Path) -> None:
    levels = ["queuemaster.dispatcher:INFO", "sampleapp:ERROR"]
    options = ["--log-level", "WARNING", *(word for level in levels for word in ("--log-handler", level))]
    with supervised(database, tmp_path, options=options) as running:
        jobs.wait_for(jobs.sample(1).with_delay().log("not an error").uuid, "done")
        jobs.wait_for(jobs.sample(1).with_delay().crash().uuid, "failed")
        wait_until(lambda: "job failed" in running.log, PATIENCE)
    assert "queuemaster.dispatcher: leads" in running.log, "this logger has a lower level than the others"
    assert " INFO " not in "\n".join(line for line in running.log.splitlines() if "dispatcher:" not in line)
    assert "not an error" not in running.log, "this logger has a higher level than the others"


# databases


def test_two_databases_share_the_channels(jobs: Queue, database: str, second: str, tmp_path: Path) -> None:
    with (
        queue(second) as other_jobs,
        supervised(database, tmp_path, "root:1", ["--database", second]) as running,
    ):
        wait_until(lambda: running.log.count("dispatcher: leads") == 2, PATIENCE)
        hold(jobs)
        held_job = jobs.sample(1).with_delay().write_and_wait(1)
        jobs.wait_for(held_job.uuid, "started")
        waiting = other_jobs.sample(2).with_delay(priority=1).write()
        assert other_jobs.job(waiting.uuid)["state"] == "pending", (
            "the only slot is in use in the other database"
        )
        let_go(jobs)
        other_jobs.wait_for(waiting.uuid, "done")
        assert jobs.job(held_job.uuid)["state"] == "done"
        assert (jobs.effects(), other_jobs.effects()) == ([1], [2])


def test_a_database_that_goes_away_does_not_stop_the_other(
    jobs: Queue, database: str, second: str, tmp_path: Path
) -> None:
    name = parse_dsn(second)["dbname"]
    with supervised(database, tmp_path, "root:2", ["--database", second]) as running:
        with queue(second) as other_jobs:
            other_jobs.wait_for(other_jobs.sample(1).with_delay().write().uuid, "done")
            job = other_jobs.sample(2).with_delay().write_slowly(600)
            other_jobs.wait_for(job.uuid, "started")
        jobs.rows(f"alter database {name} allow_connections false")
        jobs.rows("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", (name,))
        wait_until(lambda: "database is away" in running.log, PATIENCE)
        own_jobs = [jobs.sample(number).with_delay().write() for number in range(20)]
        for own_job in own_jobs:
            jobs.wait_for(own_job.uuid, "done")
        jobs.rows(f"alter database {name} allow_connections true")
        with queue(second) as other_jobs:
            wait_until(
                lambda: other_jobs.job(job.uuid)["attempt"] == 2,
                PATIENCE,
                "the other database to be served again",
            )
            assert other_jobs.job(job.uuid)["retry"] == 1, (
                "a lost database does not count as a try of the job"
            )
            # write_slowly(600) keeps one slot; the second is enough
            other_jobs.wait_for(other_jobs.sample(3).with_delay().write().uuid, "done")


# workers on demand


def test_more_channels_than_workers(jobs: Queue, database: str, tmp_path: Path) -> None:
    """Workers are forked for channels with work, and idle workers of other channels make room for them."""
    names = [f"root.c{number}" for number in range(30)]
    channels = ",".join(["root:8", *(f"{name}:1" for name in names)])
    with supervised(database, tmp_path, channels, ["--set", "max_workers=4"]) as running:
        most = 0
        for _ in range(2):
            jobs.rows("truncate effect")
            jobs.env.delay_many(
                [jobs.sample(n).delayable(channel=name).write() for n, name in enumerate(names)]
            )
            while (count := len(jobs.effects())) < 30:
                most = max(most, len(running.children("worker")))
                wait_until(
                    partial(grew, jobs, count),
                    SHORT,
                    lambda: f"more than {count} jobs to be done; log:\n{running.log}",
                )
            jobs.wait_until_drained()
        assert most <= 4
        assert jobs.states() == {"done": 60}
        # four jobs at once, in channels that have no worker yet
        hold(jobs)
        held_jobs = [jobs.sample(1).with_delay(channel=name).write_and_wait(1) for name in names[:4]]
        for job in held_jobs:
            jobs.wait_for(job.uuid, "started")
        let_go(jobs)
        jobs.wait_until_drained()


def grew(jobs: Queue, count: int) -> bool:
    return len(jobs.effects()) > count


# the end


@pytest.mark.parametrize("options", [[], ["--now"]])
def test_the_stop_command(jobs: Queue, database: str, tmp_path: Path, options: list[str]) -> None:
    with supervised(database, tmp_path, "root:1") as running:
        hold(jobs)
        job = jobs.sample(1).with_delay().write_and_wait(1)
        jobs.wait_for(job.uuid, "started")
        children = running.process.children(recursive=True)
        assert len(children) >= 3
        stop = subprocess.Popen(
            [sys.executable, "-m", "queuemaster", "stop", "--pidfile", str(tmp_path / "pid"), *options],
            env=environment(), stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        if not options:
            wait_until(lambda: "shutting down" in running.log, PATIENCE)
            assert stop.poll() is None, "stop waits for the running job"
            let_go(jobs)
        output, _ = stop.communicate(timeout=PATIENCE)
        assert (stop.returncode, output) == (0, f"stopped (pid {running.process.pid})\n")
        assert running.process.wait(timeout=PATIENCE) == 0
        assert end_of(children, 0) == []
    row = jobs.job(job.uuid)
    assert (row["state"], row["retry"]) == (("pending", 0) if options else ("done", 1))


def test_a_second_supervisor_with_the_same_pid_file(database: str, tmp_path: Path) -> None:
    with supervised(database, tmp_path) as running:
        running.one("dispatcher")
        result = subprocess.run(
            command(tmp_path, "--database", database, "--app", "sampleapp"),
            env=environment(), capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        assert result.returncode != 0
        assert f"already running as process {running.process.pid}" in result.stderr
        assert running.process.poll() is None
