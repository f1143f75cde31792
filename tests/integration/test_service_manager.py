"""As a service of systemd: which messages arrive at the notify socket, and when."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from support.supervised import PATIENCE, queue, supervised
from support.waiting import wait_until

pytestmark = pytest.mark.timeout(300)


class Manager:
    """The service manager's end of the notify socket."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self.messages: list[str] = []

    def has_received(self, words: str) -> bool:
        """Whether a message with this line has arrived by now."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self.messages += self._end.recv(4096).decode().splitlines()
        return words in self.messages

    def forget(self) -> None:
        self.has_received("")
        self.messages.clear()


@pytest.fixture
def kind() -> str:
    """The kind of the socket's address: "path" or "abstract"."""
    return "path"


@pytest.fixture
def manager(kind: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    name = f"queuemaster-test-{os.getpid()}"
    # a socket's path must be short, and tmp_path may be too long
    with (
        tempfile.TemporaryDirectory(prefix="qm-", dir="/tmp") as short,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end,
    ):
        address = f"{short}/notify" if kind == "path" else f"@{name}"
        end.bind(address.replace("@", "\0"))
        end.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        monkeypatch.setenv("WATCHDOG_USEC", "400000")
        monkeypatch.delenv("WATCHDOG_PID", raising=False)
        yield Manager(end)


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_ready_alive_stopping(manager: Manager, database: str, tmp_path: Path) -> None:
    with queue(database) as jobs, supervised(database, tmp_path, "root:1") as running:
        wait_until(partial(manager.has_received, "READY=1"), PATIENCE, lambda: running.log)
        assert f"MAINPID={running.process.pid}" in manager.messages
        assert " leads " in running.log, "READY=1 was sent before the database was served"
        assert "template=none" not in running.log
        jobs.rows("select pg_advisory_lock(4711, 1)")
        reporter = jobs.sample(1).with_delay().environment("PATH", "NOTIFY_SOCKET", "WATCHDOG_USEC")
        assert list(json.loads(jobs.wait_for(reporter.uuid, "done")["result"])) == ["PATH"]
        job = jobs.sample(1).with_delay().write_and_wait(1)
        jobs.wait_for(job.uuid, "started")
        name = jobs.value("select current_database()")
        wait_until(
            partial(manager.has_received, f"STATUS=running, 1 workers, 1 busy; {name}: leads"), PATIENCE
        )
        manager.forget()
        wait_until(partial(manager.has_received, "WATCHDOG=1"), PATIENCE)
        assert "READY=1" not in manager.messages, "READY=1 is sent only once"
        running.process.send_signal(signal.SIGTERM)
        wait_until(partial(manager.has_received, "STOPPING=1"), PATIENCE)
        manager.forget()
        wait_until(
            partial(manager.has_received, "WATCHDOG=1"), PATIENCE, "watchdog messages while the job finishes"
        )
        jobs.rows("select pg_advisory_unlock(4711, 1)")
        assert running.process.wait(PATIENCE) == 0
        assert jobs.job(job.uuid)["state"] == "done"


def test_a_master_that_stands_still_gives_no_sign_of_life(
    manager: Manager, database: str, tmp_path: Path
) -> None:
    with supervised(database, tmp_path, "root:1") as running:
        wait_until(partial(manager.has_received, "READY=1"), PATIENCE, lambda: running.log)
        running.process.suspend()
        wait_until(lambda: running.process.status() == psutil.STATUS_STOPPED, PATIENCE)
        manager.forget()
        with pytest.raises(AssertionError, match="still not"):
            wait_until(partial(manager.has_received, "WATCHDOG=1"), 2.0)
        running.process.resume()
        wait_until(partial(manager.has_received, "WATCHDOG=1"), PATIENCE)


def test_ready_waits_for_the_application(manager: Manager, database: str, tmp_path: Path) -> None:
    (tmp_path / "slowapp.py").write_text(
        "import os, time\nwhile not os.path.exists('go'):\n    time.sleep(0.01)\nfrom sampleapp import *\n"
    )
    with supervised(database, tmp_path, "root:1", app="slowapp") as running:
        wait_until(lambda: " leads " in running.log, PATIENCE)
        manager.forget()
        wait_until(partial(manager.has_received, "WATCHDOG=1"), PATIENCE, "a later turn of the master's loop")
        assert not manager.has_received("READY=1")
        (tmp_path / "go").touch()
        wait_until(partial(manager.has_received, "READY=1"), PATIENCE)


def test_a_manager_that_is_gone_stops_nothing(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    with queue(database) as jobs, supervised(database, tmp_path, "root:1") as running:
        jobs.wait_for(jobs.sample(1).with_delay().write().uuid, "done")
        assert running.stop() == 0


def test_a_reload_is_told_from_its_begin_to_its_end(manager: Manager, database: str, tmp_path: Path) -> None:
    with supervised(database, tmp_path, "root:1") as running:
        wait_until(partial(manager.has_received, "READY=1"), PATIENCE, lambda: running.log)
        manager.forget()
        running.process.send_signal(signal.SIGHUP)
        wait_until(partial(manager.has_received, "READY=1"), PATIENCE, lambda: running.log)
        begin = manager.messages.index("RELOADING=1")
        assert manager.messages[begin + 1].startswith("MONOTONIC_USEC=")
        assert begin < manager.messages.index("READY=1")
        assert "reloaded" in running.log
