"""The init script, called as init calls it: its actions, and the exit codes of the LSB."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from support.initscript import SCRIPT, InitScript
from support.supervised import PATIENCE, queue
from support.waiting import wait_until

pytestmark = pytest.mark.timeout(300)

RUNNING, DEAD_WITH_PIDFILE, NOT_RUNNING = 0, 1, 3  # exit codes of status
USAGE, NOT_ALLOWED, NOT_INSTALLED, NOT_CONFIGURED, NOT_RUNNING_NOW = 2, 4, 5, 6, 7
NOBODY = 65534


@pytest.fixture
def script(tmp_path: Path, database: str) -> Iterator[InitScript]:
    init_script = InitScript(tmp_path, database)
    with contextlib.ExitStack() as ending:
        ending.callback(init_script.end)
        yield init_script


def test_start_and_stop_may_be_said_twice(script: InitScript) -> None:
    assert script.code("status") == NOT_RUNNING
    assert script.code("stop") == 0
    assert script.code("try-restart") == 0
    assert script.pid() is None
    first = script("start")
    assert first.returncode == 0, first.stderr
    assert script.code("status") == RUNNING
    pid = script.pid()
    second = script("start")
    assert (second.returncode, script.pid()) == (0, pid)
    assert "already running" in second.stdout
    assert script.code("try-restart") == 0
    assert script.code("status") == RUNNING
    assert script.pid() not in (None, pid)
    assert script.code("stop") == 0
    assert script.code("status") == NOT_RUNNING


def test_stop_waits_for_the_job_that_runs(script: InitScript, database: str) -> None:
    assert script.code("start") == 0
    with queue(database) as jobs, ThreadPoolExecutor(1) as beside:
        jobs.rows("select pg_advisory_lock(4711, 1)")
        job = jobs.sample(1).with_delay().write_and_wait(1)
        jobs.wait_for(job.uuid, "started")
        stopping = beside.submit(script.code, "stop")
        wait_until(lambda: "shutting down" in script.running().log, PATIENCE)
        assert not stopping.done()
        assert script.code("status") == RUNNING
        jobs.rows("select pg_advisory_unlock(4711, 1)")
        assert stopping.result(PATIENCE) == 0
        assert jobs.job(job.uuid)["state"] == "done"
    assert script.code("status") == NOT_RUNNING


@pytest.mark.parametrize("word", ["reload", "force-reload"])
def test_reload(script: InitScript, word: str) -> None:
    assert script.code(word) == NOT_RUNNING_NOW
    assert script.code("start") == 0
    pid = script.pid()
    script.configure("root:3")
    assert script.code(word) == 0
    wait_until(lambda: "reloaded workers=3" in script.running().log, PATIENCE, lambda: script.running().log)
    assert script.pid() == pid


def test_a_wrong_configuration_stops_nothing_that_runs(script: InitScript) -> None:
    script.configure("root:no")
    refused = script("start")
    assert refused.returncode == NOT_CONFIGURED
    assert "root:no" in refused.stderr
    script.configure("root:1")
    assert script.code("start") == 0
    pid = script.pid()
    script.configure("root:no")
    for word in ("reload", "restart", "try-restart"):
        assert script.code(word) == NOT_CONFIGURED, word
        assert script.pid() == pid
    assert script.code("stop") == 0, "stop works without a valid configuration"


def test_an_application_that_cannot_be_imported(script: InitScript) -> None:
    script.configure("root:1", app="no_such_app")
    refused = script("start")
    assert refused.returncode == NOT_CONFIGURED
    assert "the application cannot be imported" in refused.stderr
    assert script.code("status") == NOT_RUNNING


def test_a_master_that_was_killed(script: InitScript) -> None:
    assert script.code("start") == 0
    everything = script.running().everything()
    everything[0].kill()
    psutil.wait_procs(everything[:1], PATIENCE)
    assert script.code("status") == DEAD_WITH_PIDFILE
    assert script.code("reload") == NOT_RUNNING_NOW
    assert script.code("stop") == 0
    assert script.code("start") == 0
    assert script.code("status") == RUNNING


def test_what_is_not_there(script: InitScript) -> None:
    for arguments in ([], ["no-such-word"]):
        result = script(*arguments)
        assert result.returncode == USAGE
        assert "start|stop|restart|try-restart|reload|force-reload|status" in result.stderr
    script.program.rename(script.directory / "elsewhere")
    for word in ("start", "restart", "reload"):
        assert script.code(word) == NOT_INSTALLED
    assert script.code("status") == NOT_RUNNING
    (script.directory / "elsewhere").rename(script.program)
    script.config.unlink()
    assert script.code("start") == NOT_CONFIGURED


def test_who_may_not(database: str) -> None:
    """An ordinary user calls the script: the user nobody, if root runs the tests."""
    user = NOBODY if os.geteuid() == 0 else None
    place = Path(tempfile.mkdtemp(prefix="qm-", dir="/tmp"))
    try:
        script = InitScript(place, database)
        place.chmod(0o555)
        result = subprocess.run(
            [script.script, "start"], capture_output=True, text=True, user=user, check=False, cwd="/"
        )
        assert result.returncode == NOT_ALLOWED, result.stderr
        assert "try as root" in result.stderr
        assert script.pid() is None
    finally:
        place.chmod(0o755)
        shutil.rmtree(place)


def test_its_header_is_that_of_the_lsb() -> None:
    text = SCRIPT.read_text()
    header = text.partition("### BEGIN INIT INFO\n")[2].partition("### END INIT INFO")[0]
    names = [line[2:].partition(":")[0] for line in header.splitlines()]
    assert names == [
        "Provides", "Required-Start", "Required-Stop", "Should-Start", "Should-Stop", "Default-Start",
        "Default-Stop", "Short-Description", "Description",
    ]  # fmt: skip
    assert SCRIPT.stat().st_mode & stat.S_IXUSR
