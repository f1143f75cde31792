"""A supervisor under test: the real command, its processes by role, and what happened to its jobs."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import sampleapp
from psycopg2.extensions import connection as Connection

from queuejobs import Environment
from queuemaster.master import register
from support.postgres import connected
from support.waiting import wait_until

PATIENCE = 60.0  # seconds: far beyond what anything here takes, for a machine that is busy
APPS = Path(__file__).parents[1] / "apps"
LIVE = ("wait_dependencies", "pending", "enqueued", "started")


class Supervised:
    """A running ``queuemaster run`` on one database."""

    def __init__(self, process: psutil.Popen, directory: Path) -> None:
        self.process = process
        self.directory = directory

    @property
    def log(self) -> str:
        """Everything that any of its processes logged."""
        return (self.directory / "log").read_text()

    def children(self, role: str, title: str = "") -> list[psutil.Process]:
        """Its processes of a role, by the register file; ``title`` is part of what ps shows."""
        listed = register.survivors(self.directory / "pid.children")
        processes = []
        for child in listed:
            with contextlib.suppress(psutil.NoSuchProcess):
                process = psutil.Process(child.pid)
                if child.role == role and title in " ".join(process.cmdline()):
                    processes.append(process)
        return processes

    def one(self, role: str, title: str = "") -> psutil.Process:
        """Wait for a process of this role."""
        return wait_until(
            lambda: next(iter(self.children(role, title)), None),
            PATIENCE,
            lambda: f"a {role} {title!r}; log:\n{self.log}",
        )

    def everything(self) -> list[psutil.Process]:
        """The master and all below it."""
        return [self.process, *self.process.children(recursive=True)]

    def stop(self, signum: int = signal.SIGTERM) -> int:
        """End it with a signal; its exit status."""
        self.process.send_signal(signum)
        return int(self.process.wait(timeout=PATIENCE))


def command(directory: Path, *options: str, http: str | None = "") -> list[str]:
    """``queuemaster run`` with files of its own in ``directory``.

    ``http``: where its exporter listens, "" for none, since tests run side by side; None leaves it to a file.
    """
    files = ["--pidfile", str(directory / "pid"), "--logfile", str(directory / "log")]
    listening = () if http is None else ("--http", http)
    return [sys.executable, "-m", "queuemaster", "run", *files, *listening, *options]


def environment() -> dict[str, str]:
    """Where the command finds the service and the sample application, from anywhere."""
    root = APPS.parents[1]
    paths = [root / "supervisor", root / "workers", APPS]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}


@contextlib.contextmanager
def supervised(
    dsn: str,
    directory: Path,
    channels: str = "root:4",
    options: Sequence[str] = (),
    app: str = "sampleapp",
    http: str | None = "",
    through: Sequence[str] = (),
) -> Iterator[Supervised]:
    """Run the supervisor on ``dsn``; it is ended at the end, however the test went.

    ``through``: a program that executes the command it is given.
    """
    arguments = ["--database", dsn, "--app", app, "--log-level", "DEBUG", *options]
    arguments += ["--channels", channels] if channels else []
    (directory / "log").touch()
    with (directory / "log").open("a") as stream:
        process = psutil.Popen(
            [*through, *command(directory, *arguments, http=http)],
            stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, env=environment(), cwd=directory,
        )  # fmt: skip
    running = Supervised(process, directory)
    try:
        yield running
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=PATIENCE)


class Queue:
    """The database as a test sees it."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.env = Environment(connection)

    def sample(self, *numbers: int) -> Any:
        """The sample model's records."""
        return self.env["sample"].browse(numbers)

    def rows(self, statement: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """What a query returns."""
        with self.connection.cursor() as cursor:
            cursor.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []

    def value(self, statement: str, parameters: Sequence[Any] = ()) -> Any:
        """The first value of the first row."""
        return self.rows(statement, parameters)[0][0]

    def job(self, uuid: str) -> dict[str, Any]:
        """A job's row."""
        text = self.value(
            "select row_to_json(job)::text from queuemaster.queue_job job where uuid = %s", (uuid,)
        )
        row: dict[str, Any] = json.loads(text)
        return row

    def states(self) -> dict[str, int]:
        """How many jobs are in each state."""
        return dict(self.rows("select state, count(*) from queuemaster.queue_job group by 1"))

    def wait_for(self, uuid: str, *states: str) -> dict[str, Any]:
        """Wait until a job is in one of the states; its row."""
        return wait_until(
            lambda: (row := self.job(uuid))["state"] in states and row,
            PATIENCE, lambda: f"job {uuid} {' or '.join(states)}, but: {self.job(uuid)}",
        )  # fmt: skip

    def wait_until_drained(self, timeout: float = PATIENCE) -> None:
        """Wait until no job is live."""
        statement = "select not exists (select from queuemaster.queue_job where state = any(%s))"
        wait_until(
            lambda: self.value(statement, (list(LIVE),)),
            timeout,
            lambda: f"an empty queue, but: {self.states()}",
        )

    def effects(self) -> list[int]:
        """The numbers that jobs have written, sorted."""
        return [row[0] for row in self.rows("select number from effect order by number")]


@contextlib.contextmanager
def queue(dsn: str) -> Iterator[Queue]:
    """The queue of a database, with the sample application's table."""
    with connected(dsn) as connection:
        opened = Queue(connection)
        if opened.value("select to_regclass('effect') is null"):
            opened.rows(sampleapp.EFFECTS)
        yield opened
