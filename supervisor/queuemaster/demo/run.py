"""Run the demonstration: its own supervisor, jobs of every kind, workers that are killed meanwhile."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from queuejobs.shared.linux import die_with_parent
from queuejobs.store.connection import connect
from queuemaster import embedded
from queuemaster.channels.channel import ChannelConfig

from . import store
from .plan import planned

_POLL = 0.03  # seconds
STALLED = 60.0  # seconds without an ended job after which the demonstration gives up


class DemoFailed(Exception):
    """The supervisor ended, or no job ends any more; the message has the last lines of its log."""


Progress = Callable[[dict[str, int]], None]


def run(
    jobs: int, channels: Sequence[ChannelConfig], configuration: str, kills: int,
    enqueued: Callable[[dict[str, int]], None], progress: Progress,
) -> dict[str, Any]:  # fmt: skip
    """Enqueue, supervise, kill, verify; the document of ``demo --json``.

    ``enqueued`` is called with the jobs by channel, ``progress`` with those that have ended.
    """
    plan = list(planned(jobs, channels))
    with embedded.temporary() as server, tempfile.TemporaryDirectory(prefix="queuemaster-demo-") as directory:
        embedded.ensure_database(server, "demo")
        dsn = embedded.dsn(server, "demo")
        connection = connect(dsn, "queuemaster: demo")
        try:
            store.fill(connection, plan)
            enqueued(Counter(job.channel for job in plan))
            connection.autocommit = True
            began = time.monotonic()
            with (
                _supervisor(dsn, configuration, Path(directory)) as supervisor,
                connection.cursor() as cursor,
            ):
                killed = _follow(cursor, supervisor, jobs, kills, progress)
                seconds = time.monotonic() - began
            with connection.cursor() as cursor:
                verdict = store.verdict(cursor, jobs)
        finally:
            connection.close()
    return {
        "jobs": jobs,
        **verdict._asdict(),
        "killed_workers": killed,
        "seconds": round(seconds, 3),
        "jobs_per_second": round(jobs / seconds, 1),
    }


@contextmanager
def _supervisor(dsn: str, configuration: str, directory: Path) -> Iterator[psutil.Popen]:
    """``queuemaster run`` on the demonstration's database, stopped at the end."""
    log = directory / "log"
    parent = os.getpid()
    process = psutil.Popen(
        [
            sys.executable, "-m", "queuemaster", "run", "--database", dsn, "--app", "queuemaster.demo.jobs",
            "--channels", configuration, "--http", "", "--pidfile", str(directory / "pid"), "--logfile", str(log),
        ],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log.open("w"),
        preexec_fn=lambda: die_with_parent(parent),
    )  # fmt: skip
    try:
        yield process
    except DemoFailed as failure:
        raise DemoFailed(f"{failure}\n{_tail(log)}") from failure
    finally:
        process.terminate()
        process.wait(timeout=STALLED)


def _follow(cursor: Any, supervisor: psutil.Popen, jobs: int, kills: int, progress: Progress) -> int:
    """Wait until all jobs have ended, and kill workers at even distances. Returns how many were killed."""
    killed, ended, moved = 0, 0, time.monotonic()
    while ended < jobs:
        by_channel = store.progress(cursor)
        progress(by_channel)
        now, before, ended = time.monotonic(), ended, sum(by_channel.values())
        if ended > before:
            moved = now
        if supervisor.poll() is not None:
            raise DemoFailed(f"the supervisor ended with code {supervisor.returncode}")
        if now - moved > STALLED:
            raise DemoFailed(f"no job has ended for {STALLED:.0f} s, {jobs - ended} are left")
        if killed < kills and ended < jobs and ended * (kills + 1) >= jobs * killed:
            killed += _kill_worker(supervisor)
        time.sleep(_POLL)
    return killed


def _kill_worker(supervisor: psutil.Popen) -> int:
    """SIGKILL one worker, busy or idle. Returns 1, or 0 when there was none."""
    workers = []
    for child in supervisor.children():
        try:
            if " ".join(child.cmdline()).startswith("queuemaster: worker"):
                workers.append(child)
        except psutil.Error:
            continue  # it ended while we looked
    if not workers:
        return 0
    try:
        random.choice(workers).kill()
    except psutil.NoSuchProcess:
        return 0
    return 1


def _tail(path: Path) -> str:
    return "\n".join(path.read_text().splitlines()[-30:])
