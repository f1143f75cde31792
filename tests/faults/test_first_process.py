"""The supervisor as process 1 of a container without init: it reaps orphans, obeys signals and leaves no process."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from support.processes import end_of
from support.supervised import PATIENCE, Queue, command, environment
from support.waiting import wait_until

UNSHARE = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")


def possible() -> str:
    """Why this machine cannot make a PID namespace; empty if it can."""
    if shutil.which("unshare") is None:
        return "there is no unshare"
    result = subprocess.run([*UNSHARE, "true"], capture_output=True, text=True, check=False)
    return result.stderr.strip()


pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(bool(possible()), reason=f"no PID namespace: {possible()}"),
]


class Container:
    """A supervisor that is process 1 of its namespace."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.directory = directory
        (directory / "log").touch()
        with (directory / "log").open("a") as stream:
            self.unshare = psutil.Popen(
                [*UNSHARE, *command(directory, *options)], stdin=subprocess.DEVNULL, stdout=stream,
                stderr=stream, env=environment(), cwd=directory,
            )  # fmt: skip
        self.first = wait_until(lambda: next(iter(self.unshare.children()), None), PATIENCE, "process 1")

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text()

    def below(self) -> list[psutil.Process]:
        return self.first.children(recursive=True)

    def zombies(self) -> list[psutil.Process]:
        processes = []
        for process in self.below():
            try:
                if process.status() == psutil.STATUS_ZOMBIE:
                    processes.append(process)
            except psutil.NoSuchProcess:
                pass  # it was a zombie and has just been reaped
        return processes

    def end(self) -> None:
        if self.unshare.poll() is None:
            self.unshare.kill()
            self.unshare.wait(PATIENCE)


@pytest.fixture
def container(database: str, tmp_path: Path) -> Iterator[Container]:
    options = ["--database", database, "--app", "sampleapp", "--channels", "root:2", "--log-level", "DEBUG"]
    running = Container(tmp_path, *options, "--set", "heartbeat_timeout=3")
    yield running
    running.end()


def test_the_orphans_of_jobs_are_reaped(container: Container, jobs: Queue) -> None:
    marker = container.directory / "orphans"
    for number in range(3):
        jobs.wait_for(jobs.sample(number).with_delay().leave_an_orphan(str(marker)).uuid, "done")

    def adopted() -> list[psutil.Process]:
        return [p for p in container.first.children() if "600.4712" in " ".join(p.cmdline())]

    orphans = wait_until(lambda: len(pids := adopted()) == 3 and pids, PATIENCE, lambda: container.log)
    for orphan in orphans:
        assert orphan.ppid() == container.first.pid, "process 1 has adopted it"
        orphan.kill()
    assert end_of(orphans, PATIENCE) == []
    wait_until(
        lambda: not any(orphan.is_running() for orphan in orphans), PATIENCE, "the orphans to be reaped"
    )
    assert container.zombies() == []
    jobs.wait_for(jobs.sample(9).with_delay().write().uuid, "done")
    assert "ERROR" not in container.log


def test_a_worker_that_dies_is_replaced_there_too(container: Container, jobs: Queue) -> None:
    assert jobs.wait_for(jobs.sample(1).with_delay().die("SIGKILL").uuid, "done")["attempt"] == 2
    assert container.zombies() == []


def test_term_drains_beyond_the_heartbeat_and_takes_everything_along(
    container: Container, jobs: Queue
) -> None:
    """Workers that finish their jobs still send heartbeats, so none of them is killed as hung."""
    job = jobs.sample(1).with_delay().write_slowly(5)
    jobs.wait_for(job.uuid, "started")
    everything = container.below()
    container.first.send_signal(signal.SIGTERM)
    assert container.unshare.wait(PATIENCE) == 0
    row = jobs.job(job.uuid)
    assert (row["state"], row["attempt"]) == ("done", 1)
    assert "hung" not in container.log
    assert end_of(everything, PATIENCE) == []


def test_term_before_the_master_is_up(database: str, tmp_path: Path) -> None:
    """The kernel drops signals to process 1 that have no handler, so the command must install one early."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        # the command waits for this server, which never answers
        dsn = f"host=127.0.0.1 port={silent.getsockname()[1]} dbname=silent user=nobody"
        container = Container(tmp_path, "--database", dsn)
        try:
            accepted, _ = silent.accept()
            with accepted:
                container.first.send_signal(signal.SIGTERM)
                accepted.recv(1024)
                container.first.send_signal(signal.SIGTERM)
            assert container.unshare.wait(PATIENCE) == 128 + signal.SIGTERM, container.log
        finally:
            container.end()
