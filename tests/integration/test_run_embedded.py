"""``queuemaster run`` with its own PostgreSQL, which it starts, restarts and stops; the data stays."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import psycopg2
import pytest

from queuemaster import embedded
from queuemaster.embedded.server import postmaster
from support.processes import end_of
from support.supervised import PATIENCE, Queue, Supervised, command, environment, queue
from support.waiting import wait_until

pytestmark = pytest.mark.timeout(300)


@contextlib.contextmanager
def running_embedded(place: Path, *options: str) -> Iterator[Supervised]:
    """Run the supervisor without a database."""
    arguments = ["--app", "sampleapp", "--channels", "root:2", "--log-level", "DEBUG", *options]
    with (place / "log").open("a") as stream:
        process = psutil.Popen(
            command(place, *arguments), stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, cwd=place,
            env={**environment(), "QUEUEMASTER_DATA_DIR": str(place / "data")},
        )  # fmt: skip
    try:
        yield Supervised(process, place)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=PATIENCE)


@contextlib.contextmanager
def jobs_of(place: Path, running: Supervised) -> Iterator[Queue]:
    """The queue of the embedded server, once it is served."""

    def dsn() -> str | None:
        plan = embedded.attached(place / "data") if (place / "data").exists() else None
        return None if plan is None else embedded.dsn(plan, "queuemaster")

    def served() -> bool:
        assert running.process.poll() is None, running.log
        return "leads" in running.log

    wait_until(served, PATIENCE, "the queue to be served")
    with queue(wait_until(dsn, PATIENCE, "a server that can be attached to")) as opened:
        yield opened


def is_lost(jobs: Queue) -> bool:
    try:
        jobs.value("select 1")
    except psycopg2.Error:
        return True
    return False


def server_of(place: Path) -> psutil.Process:
    server = postmaster(place / "data")
    assert server is not None
    return psutil.Process(server.pid)


def test_jobs_run_and_stop_leaves_no_process(place: Path) -> None:
    with running_embedded(place) as running:
        with jobs_of(place, running) as jobs:
            job = jobs.sample(1).with_delay().write()
            jobs.wait_for(job.uuid, "done")
            assert jobs.effects() == [1]
        assert server_of(place).ppid() == running.process.pid
        everything = running.everything()
        assert running.stop() == 0
        assert end_of(everything, 0) == []
    assert postmaster(place / "data") is None
    assert (place / "pid.children").exists() is False or '"children": []' in (
        place / "pid.children"
    ).read_text()


def test_a_killed_server_is_restarted_and_the_jobs_go_on(place: Path) -> None:
    with running_embedded(place) as running:
        with jobs_of(place, running) as jobs:
            job = jobs.sample(1).with_delay().write()
            jobs.wait_for(job.uuid, "done")
            slow = jobs.sample(2).with_delay(max_retries=1).write_slowly(2)
            jobs.wait_for(slow.uuid, "started")
            late = jobs.sample(3).with_delay(priority=20).write()
            first = server_of(place)
            first.kill()
            wait_until(partial(is_lost, jobs), PATIENCE, "the session to end with its server")
        wait_until(lambda: (server := postmaster(place / "data")) and server.pid != first.pid, PATIENCE)
        with jobs_of(place, running) as jobs:
            wait_until(
                lambda: jobs.states() == {"done": 3}, PATIENCE, lambda: f"all done; log:\n{running.log}"
            )
            assert jobs.job(job.uuid)["attempt"] == 1
            row = jobs.job(slow.uuid)
            assert (row["retry"], row["attempt"] >= 2) == (1, True), (
                "the death of the server does not count as a try of the job"
            )
            assert jobs.job(late.uuid)["state"] == "done"
            assert jobs.effects() == [1, 2, 3]
        assert server_of(place).ppid() == running.process.pid
        assert running.stop() == 0


def test_the_server_goes_with_a_killed_master_and_the_next_run_finds_the_data(place: Path) -> None:
    with running_embedded(place, "--set", "graceful_timeout=20") as running:
        with jobs_of(place, running) as jobs:
            jobs.wait_for(jobs.sample(1).with_delay().write().uuid, "done")
            slow = jobs.sample(2).with_delay(max_retries=1).write_slowly(1)
            jobs.wait_for(slow.uuid, "started")
        orphans = running.process.children(recursive=True)
        running.process.kill()
        assert end_of(orphans, PATIENCE) == []
    assert postmaster(place / "data") is None
    before = os.stat(place / "data").st_ino
    (place / "log").write_text("")
    with running_embedded(place) as running:
        with jobs_of(place, running) as jobs:
            jobs.wait_until_drained()
            assert jobs.states() == {"done": 2}
            assert jobs.job(slow.uuid)["retry"] == 1
            assert jobs.effects() == [1, 2]
        assert running.stop() == 0
    assert os.stat(place / "data").st_ino == before
