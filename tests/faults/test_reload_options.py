"""HUP applies the file's limits and log levels from the next job on, unless the command line overrides them."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from support.supervised import PATIENCE, Queue, Supervised, command, environment
from support.waiting import wait_until

pytestmark = pytest.mark.timeout(400)


def write(path: Path, database: str, **options: str) -> None:
    options = {"database": database, "app": "sampleapp", "channels": "root:1", "kill_grace": "0.5", **options}
    path.write_text("\n".join(["[queue_job]", *(f"{name} = {value}" for name, value in options.items()), ""]))


class Served:
    """A supervisor with a configuration file; only the paths of its own files are on the command line."""

    def __init__(self, running: Supervised, database: str) -> None:
        self.running = running
        self._database = database

    def reload(self, **options: str) -> None:
        """Rewrite the whole file, send HUP, and wait until it is in force."""
        write(self.running.directory / "queuemaster.conf", self._database, **options)
        before = self._reloads()
        self.running.process.send_signal(signal.SIGHUP)
        wait_until(lambda: self._reloads() > before, PATIENCE, lambda: f"a reload; log:\n{self.running.log}")

    def _reloads(self) -> int:
        return self.running.log.count("queuemaster.master: reloaded")


@pytest.fixture
def served(database: str, tmp_path: Path) -> Iterator[Served]:
    file = tmp_path / "queuemaster.conf"
    write(file, database)
    (tmp_path / "log").touch()
    process = psutil.Popen(
        command(tmp_path, "-c", str(file)), stdin=subprocess.DEVNULL,
        env=environment(), cwd=tmp_path,
    )  # fmt: skip
    opened = Served(Supervised(process, tmp_path), database)
    try:
        yield opened
    finally:
        process.terminate()
        process.wait(timeout=PATIENCE)


def run(jobs: Queue, number: int) -> str:
    job = jobs.sample(number).with_delay().write()
    jobs.wait_for(job.uuid, "done")
    uuid: str = job.uuid
    return uuid


def test_the_level_of_the_log(jobs: Queue, served: Served) -> None:
    def is_logged(uuid: str, event: str = "job started") -> bool:
        return any(event in line and uuid in line for line in served.running.log.splitlines())

    quiet = run(jobs, 1)
    served.reload(log_level="DEBUG")
    loud = run(jobs, 2)
    wait_until(lambda: is_logged(loud), PATIENCE, lambda: f"DEBUG lines; log:\n{served.running.log}")
    assert not is_logged(quiet)
    served.reload(log_level="INFO")
    quiet_again = run(jobs, 3)
    served.reload(log_level="INFO", log_handler="queuemaster.worker:DEBUG")
    # a start is logged before the job's effect, so by now every line about the previous job is in the log
    single = run(jobs, 4)
    wait_until(
        lambda: is_logged(single),
        PATIENCE,
        lambda: f"DEBUG lines of the one logger; log:\n{served.running.log}",
    )
    assert not is_logged(quiet_again)


def test_the_limits_of_jobs(jobs: Queue, served: Served) -> None:
    first = jobs.sample(1).with_delay(max_retries=1).run_away("sleep")
    jobs.wait_for(first.uuid, "started")
    served.reload(timeout="1", channels="root:2")
    second = jobs.sample(2).with_delay(max_retries=1).run_away("sleep")
    assert "timeout after 1 s" in jobs.wait_for(second.uuid, "failed")["exc_message"]
    assert jobs.job(first.uuid)["state"] == "started", "it began under the old limits"
    assert jobs.value("select queuemaster.cancel_job(%s)", (first.uuid,)) == "started"
    jobs.wait_for(first.uuid, "cancelled")
    served.reload(limit_memory_hard="300M")
    third = jobs.sample(3).with_delay(max_retries=1).run_away("memory")
    assert "> 300 MiB" in jobs.wait_for(third.uuid, "failed")["exc_message"]
