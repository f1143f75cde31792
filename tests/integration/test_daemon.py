"""``queuemaster run --daemon`` returns when the supervisor is ready, or reports why it is not."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from queuemaster.cli.start.daemon import telling_lines
from queuemaster.master.pidfile import owner
from support.supervised import PATIENCE, command, environment, queue
from support.waiting import wait_until

pytestmark = pytest.mark.timeout(300)


def start(directory: Path, dsn: str, app: str = "sampleapp", *more: str) -> subprocess.CompletedProcess[str]:
    """Run the command. Both streams are read to their ends, so the daemon must not keep them open."""
    argv = command(directory, "--daemon", "--database", dsn, "--app", app, "--channels", "root:1", *more)
    return subprocess.run(
        argv, capture_output=True, text=True, timeout=PATIENCE, check=False, cwd=directory, env=environment()
    )


@pytest.fixture
def ended(tmp_path: Path, database: str) -> Iterator[None]:
    """Stop what still runs in the background after the test, before its database is dropped."""
    yield
    pid = owner(tmp_path / "pid")
    if pid is not None:
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            process.send_signal(signal.SIGINT)
            process.wait(PATIENCE)


@pytest.mark.usefixtures("ended")
def test_it_is_ready_when_the_command_returns(database: str, tmp_path: Path) -> None:
    first = start(tmp_path, database)
    assert first.returncode == 0, first.stderr
    pid = owner(tmp_path / "pid")
    assert pid is not None
    assert first.stdout == f"started (pid {pid})\n"
    assert " leads " in (tmp_path / "log").read_text(), "the command returned before the database was served"
    assert os.getsid(pid) not in (pid, os.getsid(0)), "the master is in a new session and is not its leader"
    assert {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in range(3)} == {"/dev/null"}
    with queue(database) as jobs:
        jobs.wait_for(jobs.sample(1).with_delay().write().uuid, "done")
    second = start(tmp_path, database)
    assert second.returncode == 1
    assert f"already running as process {pid}" in second.stderr
    assert owner(tmp_path / "pid") == pid


@pytest.mark.usefixtures("ended")
def test_an_application_that_cannot_be_imported_is_told_to_the_caller(database: str, tmp_path: Path) -> None:
    result = start(tmp_path, database, "no_such_app")
    assert result.returncode == 2, result.stderr
    assert "not started: it ended before it was ready, exit code 2" in result.stderr
    assert "the application cannot be imported" in result.stderr
    assert result.stdout == ""
    assert owner(tmp_path / "pid") is None


def test_what_went_wrong_is_shown_though_others_have_logged_since() -> None:
    ending = [f"2026-11-22T12:47:55.765Z INFO 18681 queuemaster.master: {n}" for n in range(9)]
    text = "2026-11-22T12:47:55.765Z ERROR 18681 queuemaster.master: the application cannot be imported"
    document = '{"time": "2026-11-22T12:47:55.765Z", "level": "ERROR", "message": "why"}'
    assert telling_lines([ending[0], text, document, *ending]) == [text, document, *ending[-5:]]
    assert telling_lines([ending[0], text]) == [ending[0], text]


def test_what_is_wrong_beforehand_is_refused_as_in_the_foreground(database: str, tmp_path: Path) -> None:
    result = start(tmp_path, database, "sampleapp", "--logfile", "")
    assert result.returncode == 2
    assert "--daemon has no terminal to log to; expected the option logfile" in result.stderr
    result = start(tmp_path, database, "sampleapp", "--set", "max_workers=0")
    assert result.returncode == 2
    assert "max_workers" in result.stderr
    assert not (tmp_path / "pid").exists()


@pytest.mark.usefixtures("ended")
def test_one_that_is_killed_while_it_starts(database: str, tmp_path: Path) -> None:
    (tmp_path / "slowapp.py").write_text("import time\ntime.sleep(600)\n")
    argv = command(tmp_path, "--daemon", "--database", database, "--app", "slowapp")
    with subprocess.Popen(
        argv, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment()
    ) as waiting:
        wait_until(
            lambda: (tmp_path / "log").exists() and "template started" in (tmp_path / "log").read_text()
        )
        assert waiting.poll() is None, "the command must not return before the supervisor is ready"
        pid = owner(tmp_path / "pid")
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        assert waiting.wait(PATIENCE) == 1
        assert waiting.stderr is not None
        assert "not started: it ended before it was ready, SIGKILL" in waiting.stderr.read()
