"""The log under rotation, and the master's answers to USR2 in it."""

from __future__ import annotations

import logging
import os
import signal
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner

from queuejobs.shared.logfile import LogFile
from queuemaster.cli import main
from support.processes import holders_of
from support.supervised import PATIENCE, Queue, supervised
from support.waiting import wait_until

pytestmark = pytest.mark.timeout(300)


def test_everybody_lets_go_of_the_old_file(jobs: Queue, database: str, tmp_path: Path) -> None:
    with supervised(database, tmp_path, "root:2") as running:
        jobs.wait_for(jobs.sample(1).with_delay().log("first").uuid, "done")
        old = tmp_path / "log.1"
        assert len(holders_of(running.everything(), tmp_path / "log")) == 5, (
            "master, template, dispatcher, workers"
        )
        (tmp_path / "log").rename(old)
        result = CliRunner().invoke(main, ["reopen-logs", "--pidfile", str(tmp_path / "pid")])
        assert result.exit_code == 0, result.stderr
        assert f"pid {running.process.pid}" in result.stdout
        wait_until((tmp_path / "log").exists, PATIENCE)
        wait_until(
            lambda: holders_of(running.everything(), old) == [], PATIENCE, "no process to hold the old file"
        )
        jobs.wait_for(jobs.sample(2).with_delay().log("second").uuid, "done")
        wait_until(lambda: "second" in running.log, PATIENCE)
        assert "second" not in old.read_text()
        assert "logs reopened" in running.log


def test_a_rename_alone_is_enough_for_whoever_logs(jobs: Queue, database: str, tmp_path: Path) -> None:
    with supervised(database, tmp_path, "root:1") as running:
        jobs.wait_for(jobs.sample(1).with_delay().log("first").uuid, "done")
        (tmp_path / "log").rename(tmp_path / "log.1")
        jobs.wait_for(jobs.sample(2).with_delay().log("second").uuid, "done")
        assert "second" in running.log


def test_reopen_logs_without_a_master(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["reopen-logs", "--pidfile", str(tmp_path / "pid")])
    assert result.exit_code == 1
    assert "not running" in result.stderr


def test_a_file_that_cannot_be_opened_again_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = tmp_path / "logs"
    directory.mkdir()
    log = LogFile(str(directory / "log"))
    record = logging.LogRecord("x", logging.INFO, "", 0, "after", None, None)
    moved = directory.rename(tmp_path / "elsewhere")
    for _ in range(2):
        log.emit(record)
    assert (moved / "log").read_text() == "after\nafter\n"
    assert capsys.readouterr().err.count("the old one is kept") == 1
    directory.mkdir()
    log.emit(record)
    assert (directory / "log").read_text() == "after\n"
    log.close()


@pytest.mark.parametrize("trap", ["symbolic", "hard", "fifo"])
def test_root_is_not_led_to_another_file(tmp_path: Path, trap: str) -> None:
    """The user may own the directory and plant a link there, so that root would give away another file."""
    victim = tmp_path / "victim"
    victim.write_text("secret")
    log = tmp_path / "log"
    if trap == "symbolic":
        log.symlink_to(victim)
    elif trap == "hard":
        os.link(victim, log)
    else:
        os.mkfifo(log)
    with pytest.raises(OSError, match=r"log|symbolic|such device"):
        LogFile(str(log), (os.getuid() + 1, os.getgid() + 1))
    assert victim.stat().st_uid == os.getuid()


def has_status_line(log: str, *words: str) -> bool:
    return any(all(word in line for word in words) for line in log.splitlines() if ": status" in line)


def test_usr2_says_who_is_at_what(jobs: Queue, database: str, tmp_path: Path) -> None:
    with supervised(database, tmp_path, "root:2,root.mail:1") as running:
        jobs.rows("select pg_advisory_lock(4711, 1)")
        job = jobs.sample(1).with_delay().write_and_wait(1)
        row = jobs.wait_for(job.uuid, "started")
        # the row shows the start before the worker logs it
        wait_until(lambda: f"job started job_uuid={job.uuid}" in running.log, PATIENCE)
        worker = f"worker={row['worker_pid']} "

        running.process.send_signal(signal.SIGUSR2)
        busy = (worker, "state=busy", f"job={row['id']} ", "attempt=1")
        wait_until(lambda: has_status_line(running.log, *busy), PATIENCE, lambda: running.log)
        reported = partial(has_status_line, running.log)
        assert reported("phase=running", f"dispatcher={running.one('dispatcher').pid}")
        assert reported("standing=leads")
        assert reported("status of pool", "channel=root.mail", "workers=1", "kept_ready=1")
        assert reported("status of worker", "state=idle", "channel=root.mail")
        jobs.rows("select pg_advisory_unlock(4711, 1)")
        jobs.wait_for(job.uuid, "done")
