"""The exporter: its metrics, its cost, and that jobs run without it."""

from __future__ import annotations

import itertools
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from psycopg2.extensions import parse_dsn

from queuemaster.config.compiled import DatabaseConfig
from queuemaster.exporter import statements
from queuemaster.exporter.job_counts import QueueRows
from support.processes import has_ended
from support.scraping import Exporter, Samples, basic, parsed
from support.supervised import PATIENCE, Queue, Supervised, supervised
from support.waiting import wait_until

pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def exporter() -> Exporter:
    return Exporter()


@pytest.fixture
def running(database: str, jobs: Queue, exporter: Exporter, tmp_path: Path) -> Iterator[Supervised]:
    with supervised(database, tmp_path, "root:2,a:1", http=exporter.address) as opened:
        wait_until(exporter.text, PATIENCE, "metrics")
        wait_until(lambda: exporter.get("/readyz").status == 200, PATIENCE, "readiness")
        yield opened


def test_what_happens_to_jobs_is_counted(running: Supervised, jobs: Queue, exporter: Exporter) -> None:
    for number in (1, 2, 3):
        jobs.wait_for(jobs.sample(number).with_delay(channel="root.a").write().uuid, "done")
    jobs.wait_for(jobs.sample(4).with_delay().fail().uuid, "failed")
    jobs.wait_for(jobs.sample(5).with_delay().write_when_tried_again().uuid, "done")

    def ended(channel: str, outcome: str) -> float | None:
        return exporter.value("jobs_total", channel=channel, outcome=outcome)

    wait_until(lambda: ended("root", "done") == 1, PATIENCE)
    assert ended("root.a", "done") == 3
    assert (ended("root", "failed"), ended("root", "retried")) == (1, 1)
    assert exporter.value("job_duration_seconds_count", channel="root.a") == 3
    assert exporter.value("job_wait_seconds_count", channel="root") == 2, "only a job's first start is a wait"
    name = parse_dsn(jobs.connection.dsn)["dbname"]

    def rows(channel: str, state: str) -> float | None:
        return exporter.value("jobs", database=name, channel=channel, state=state)

    wait_until(lambda: rows("root.a", "done") == 3, PATIENCE)
    assert (rows("root", "done"), rows("root", "failed"), rows("root", "started")) == (1, 1, 0)
    assert exporter.value("leader", database=name) == 1


def test_a_job_that_may_not_start_gets_old(running: Supervised, jobs: Queue, exporter: Exporter) -> None:
    jobs.rows("insert into queuemaster.control (channel, paused) values ('root.a', true)")
    jobs.rows("notify queue_job, '{\"control\": true}'")
    wait_until(lambda: exporter.value("channel_paused", channel="root.a") == 1, PATIENCE)
    jobs.sample(1).with_delay(channel="root.a").write()
    name = parse_dsn(jobs.connection.dsn)["dbname"]
    wait_until(
        lambda: (exporter.value("oldest_ready_seconds", database=name, channel="root.a") or 0) > 1, PATIENCE
    )
    assert exporter.value("jobs", database=name, channel="root.a", state="pending") == 1


def counters(samples: Samples) -> Samples:
    endings = ("_total", "_bucket", "_count", "_sum")
    return {key: value for key, value in samples.items() if key[0].endswith(endings)}


def test_counters_never_go_down_however_many_workers_die(
    running: Supervised, jobs: Queue, exporter: Exporter
) -> None:
    dying = [jobs.sample(n).with_delay().die("SIGKILL") for n in range(1, 31)]
    writing = [jobs.sample(n).with_delay(channel="root.a").write() for n in range(100, 160)]
    before: Samples = {}
    lost = "queuemaster_jobs_total", frozenset({("channel", "root"), ("outcome", "lost")})
    done = "queuemaster_jobs_total", frozenset({("channel", "root"), ("outcome", "done")})

    def all_counted() -> bool:
        nonlocal before
        values = counters(parsed(exporter.text()))
        down = {key: (value, values[key]) for key, value in before.items() if values[key] < value}
        assert not down
        before = values
        return values[lost] == len(dying) == values[done]

    wait_until(all_counted, 4 * PATIENCE, "every job and every death to be counted")
    jobs.wait_until_drained()
    assert exporter.value("jobs_total", channel="root.a", outcome="done") == len(writing)
    assert exporter.value("worker_restarts_total", channel="root", cause="signal") == len(dying)


def test_a_hundred_scrapes_cost_one_query_in_five_seconds(
    running: Supervised, jobs: Queue, exporter: Exporter
) -> None:
    """``query_start`` of the exporter's session changes with each query that it makes.

    However fast the scrapes come, two queries are at least five seconds apart.
    """
    statement = (
        "select query_start::text, clock_timestamp()::text from pg_stat_activity"
        " where application_name = 'queuemaster: exporter' and datname = current_database()"
    )
    first_seen: dict[str, str] = {}
    scrapes = 0
    while len(first_seen) < 3 or scrapes < 100:
        exporter.text()
        scrapes += 1
        rows = jobs.rows(statement)
        assert len(rows) == 1, "the exporter has one session"
        first_seen.setdefault(*rows[0])
    starts = sorted(first_seen)[1:]  # the first query may have begun before this test
    for earlier, later in itertools.pairwise(starts):
        gap = jobs.value("select extract(epoch from %s::timestamptz - %s::timestamptz)", (later, earlier))
        assert float(gap) >= 4.9, f"{scrapes} scrapes, queries at {starts}"


def test_it_is_killed_and_started_again_and_jobs_do_not_notice(
    running: Supervised, jobs: Queue, exporter: Exporter
) -> None:
    jobs.rows("select pg_advisory_lock(4711, 1)")
    held_job = jobs.sample(1).with_delay().write_and_wait(1)
    jobs.wait_for(held_job.uuid, "started")
    for number in range(2, 5):
        before = running.one("exporter")
        before.kill()
        jobs.wait_for(jobs.sample(number).with_delay(channel="root.a").write().uuid, "done")
        wait_until(lambda: has_ended(before.pid) and running.children("exporter"), PATIENCE)  # noqa: B023
    jobs.rows("select pg_advisory_unlock(4711, 1)")
    assert jobs.wait_for(held_job.uuid, "done")["attempt"] == 1
    wait_until(lambda: exporter.value("jobs_total", channel="root", outcome="done") == 1, PATIENCE)
    assert exporter.value("jobs_total", channel="root.a", outcome="done") == 3, (
        "the counters survive the exporter's death"
    )


def test_one_that_stands_still_does_not_keep_the_service_from_ending(running: Supervised) -> None:
    running.one("exporter").suspend()
    assert running.stop() == 0


def test_a_port_that_is_taken_is_tried_again(
    database: str, jobs: Queue, exporter: Exporter, tmp_path: Path
) -> None:
    with socket.socket() as occupant:
        occupant.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        occupant.bind(("127.0.0.1", exporter.port))
        occupant.listen()
        with supervised(database, tmp_path, http=exporter.address) as running:
            line = f"cannot listen for HTTP: no metrics until that works http={exporter.address}"
            wait_until(lambda: line in running.log, PATIENCE, "a line in the log")
            jobs.wait_for(jobs.sample(1).with_delay().write().uuid, "done")
            occupant.close()
            wait_until(exporter.text, PATIENCE, lambda: f"metrics; log:\n{running.log}")
            assert running.log.count("exporter started") == 1


def test_the_login(database: str, tmp_path: Path) -> None:
    exporter = Exporter("0.0.0.0")
    file = tmp_path / "queuemaster.conf"
    file.write_text("[queue_job]\nhttp_user = me\nhttp_password = hunter2\nhttp_token = c0ffee\n")
    with supervised(database, tmp_path, options=["-c", str(file)], http=exporter.address) as running:
        wait_until(lambda: exporter.get("/readyz").status == 200, PATIENCE, "an answer")
        assert exporter.get("/metrics").status == 401
        for wrong in (
            basic("me", "hunter3"),
            basic("you", "hunter2"),
            basic("", ""),
            "Bearer c0ffe",
            "Bearer ",
        ):
            assert exporter.get("/metrics", wrong).status == 401, wrong
        for right in (basic("me", "hunter2"), "Bearer c0ffee"):
            assert "queuemaster_dispatcher_up 1.0" in exporter.get("/metrics", right).body
        assert exporter.get("/healthz").document == {"healthy": True}
        assert exporter.get("/healthz", "Bearer c0ffee").document == {"healthy": True, "reasons": []}
        titles = [" ".join(process.cmdline()) for process in running.everything()]
        assert not any("hunter2" in title or "c0ffee" in title for title in titles)
        assert "hunter2" not in running.log
        assert "c0ffee" not in running.log


def test_probes_tell_a_lost_database_and_a_master_that_stands_still(
    running: Supervised, jobs: Queue, exporter: Exporter
) -> None:
    name = parse_dsn(jobs.connection.dsn)["dbname"]
    running.one("dispatcher").suspend()
    wait_until(lambda: exporter.get("/readyz").status == 503, PATIENCE, "readiness to be denied")
    assert exporter.get("/readyz").document["reasons"] == ["the dispatcher does not run"]
    assert exporter.value("dispatcher_up") == 0
    assert exporter.value("database_up", database=name) == 0
    assert exporter.get("/healthz").status == 200
    running.process.suspend()
    try:
        wait_until(lambda: exporter.get("/healthz").status == 503, PATIENCE, "health to be denied")
    finally:
        running.process.resume()
        for process in running.children("dispatcher"):
            process.resume()
    wait_until(lambda: exporter.get("/readyz").status == 200, PATIENCE, "readiness")


def test_a_reload_moves_it_and_switches_it_off(database: str, tmp_path: Path) -> None:
    file = tmp_path / "queuemaster.conf"
    first, second = Exporter(), Exporter()
    file.write_text(f"[queue_job]\nhttp = {first.address}\n")
    with supervised(database, tmp_path, "root:1", ["-c", str(file)], http=None) as running:
        wait_until(first.text, PATIENCE, "metrics")
        file.write_text(f"[queue_job]\nhttp = {second.address}\n")
        running.process.send_signal(signal.SIGHUP)
        wait_until(second.text, PATIENCE, lambda: f"metrics at the new address; log:\n{running.log}")
        assert first.get("/metrics").status == 0
        file.write_text("[queue_job]\nhttp =\n")
        running.process.send_signal(signal.SIGHUP)
        wait_until(lambda: not running.children("exporter"), PATIENCE, "the exporter to end")
        assert second.get("/metrics").status == 0
        file.write_text(f"[queue_job]\nhttp = {second.address}\n")
        running.process.send_signal(signal.SIGHUP)
        wait_until(second.text, PATIENCE, "metrics again")


def test_it_leaves_with_the_master(running: Supervised) -> None:
    exporter = running.one("exporter")
    processes = running.everything()
    running.process.kill()
    gone, alive = psutil.wait_procs([exporter], timeout=PATIENCE)
    assert (gone, alive) == ([exporter], [])
    psutil.wait_procs(processes, timeout=PATIENCE)


def test_when_counting_takes_too_long_it_is_estimated(database: str, jobs: Queue) -> None:
    jobs.rows("insert into queuemaster.control (channel, paused) values ('root', true)")
    for number in range(5):
        jobs.sample(number).with_delay().write()
    queue_rows = QueueRows(DatabaseConfig("one", database))
    queue_rows.ask()
    assert queue_rows.rows is not None
    (counted,) = queue_rows.rows
    assert (counted[:3], queue_rows.estimated) == (("root", "pending", 5), False)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(statements, "COUNT_JOBS", "select pg_sleep(60)")
        queue_rows.ask()
    assert queue_rows.rows is not None
    (estimate,) = queue_rows.rows
    assert (estimate[:3], queue_rows.estimated) == (("root", "pending", 5), True)
    assert estimate.oldest is not None
    queue_rows.ask()
    assert not queue_rows.estimated


def test_what_cannot_be_asked_is_not_known(database: str, jobs: Queue) -> None:
    queue_rows = QueueRows(DatabaseConfig("one", database))
    queue_rows.ask()
    assert queue_rows.rows == []
    jobs.rows(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'queuemaster: exporter'"
    )
    queue_rows.ask()
    assert queue_rows.rows is None
    queue_rows.ask()
    assert queue_rows.rows == []
