"""Take snapshots of Odoo's databases, and report where the addon's runner decides otherwise than we would."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from contextlib import closing
from threading import Event
from typing import Any

import psycopg2

from queuejobs.shared.job_key import Key
from queuejobs.store import oca
from queuejobs.store.connection import connect
from queuemaster.channels import Tree
from queuemaster.config.compiled import DatabaseConfig, Settings

from . import statements
from .compare import KINDS, Comparison, SeenJob, Snapshot

INTERVAL = 0.5  # seconds between two snapshots, at least
PAUSE_FACTOR = 20  # the pause is also so many times what a snapshot took: the load must go unnoticed


def watch(settings: Settings, say: Callable[[str], None]) -> int:
    """Compare until TERM or INT. ``say``: called with each line. Returns the number of differences."""
    stopped = Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda _signum, _frame: stopped.set())
    comparison = Comparison(Tree(settings.channels), time.monotonic())
    names = ", ".join(database.name for database in settings.databases)
    say(f"shadow: watching {names}; nothing is started or written. End with Ctrl-C")
    views = [_View(database, say) for database in settings.databases]
    while not stopped.is_set():
        began = time.monotonic()
        for difference in comparison.compare(_joined(began, [view.snapshot() for view in views])):
            job = difference.job
            say(
                f"{difference.kind}: db={job.database} job={job.uuid} channel={job.channel}: {difference.why}"
            )
        stopped.wait(max(INTERVAL, PAUSE_FACTOR * (time.monotonic() - began)))
    counted = ", ".join(f"{comparison.counts[kind]} {meaning}" for kind, meaning in KINDS.items())
    say(f"shadow: the other runner started {comparison.starts} jobs: {counted}")
    return sum(comparison.counts.values())


class _View:
    """A read-only session with one database, opened again when it is lost."""

    def __init__(self, database: DatabaseConfig, say: Callable[[str], None]) -> None:
        self._database = database
        self._say = say
        self._connection: Any = None
        self._last: Any = None  # the server's time of the last snapshot
        self._said = ""  # the last problem that was reported

    def snapshot(self) -> Snapshot:
        """The queue now; an empty one while the database cannot be read. A new problem is reported once."""
        try:
            return self._read()
        except psycopg2.Error as error:
            self._report(str(error).strip())
            if self._connection is not None:
                self._connection.close()
                self._connection = None
            return Snapshot(0.0, (), ())

    def _read(self) -> Snapshot:
        if self._connection is None:
            self._connection = connect(self._database.dsn, "queuemaster: shadow")
            self._connection.set_session(readonly=True, autocommit=True)
        with closing(self._connection.cursor()) as cursor:
            problem = oca.look(cursor).problem
            if problem:
                self._report(problem)
                return Snapshot(0.0, (), ())
            self._said = ""
            cursor.execute(statements.NOW)
            last, self._last = self._last, cursor.fetchone()[0]
            passed = self._jobs(cursor, statements.PASSED, (last,)) if last is not None else ()
            cursor.execute(statements.FAILED)
            failed = frozenset(channel for (channel,) in cursor.fetchall())
            delayed: dict[str, Key] = {job.channel: job.key for job in self._jobs(cursor, statements.DELAYED)}
            # taken jobs are read last: a job that was ready a moment before may be among them, and counts as taken
            ready, taken = self._jobs(cursor, statements.READY), self._jobs(cursor, statements.TAKEN)
            numbers = {job.id for job in taken}
            ready = tuple(job for job in ready if job.id not in numbers)
            return Snapshot(0.0, ready, taken, passed, failed, delayed)

    def _jobs(self, cursor: Any, statement: str, parameters: tuple[Any, ...] = ()) -> tuple[SeenJob, ...]:
        cursor.execute(statement, parameters or None)
        return tuple(
            SeenJob(self._database.name, uuid, channel or "root", (priority or 0, created, number))
            for uuid, channel, priority, created, number in cursor.fetchall()
        )

    def _report(self, problem: str) -> None:
        if problem != self._said:
            self._said = problem
            self._say(f"shadow: db={self._database.name} cannot be compared: {problem}")


def _joined(now: float, snapshots: list[Snapshot]) -> Snapshot:
    """One snapshot of all databases, at a moment of our clock."""
    return Snapshot(
        now,
        tuple(job for snapshot in snapshots for job in snapshot.ready),
        tuple(job for snapshot in snapshots for job in snapshot.taken),
        tuple(job for snapshot in snapshots for job in snapshot.passed),
        frozenset(channel for snapshot in snapshots for channel in snapshot.failed),
        {
            channel: min(other.delayed[channel] for other in snapshots if channel in other.delayed)
            for snapshot in snapshots
            for channel in snapshot.delayed
        },
    )
