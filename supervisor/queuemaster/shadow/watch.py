"""Look at the databases of Odoo, again and again, and say where the addon's runner does otherwise than we would."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from contextlib import closing
from threading import Event
from typing import Any

import psycopg2

from queuejobs.store import oca
from queuejobs.store.connection import connect
from queuemaster.channels import Key, Tree
from queuemaster.config.compiled import DatabaseConfig, Settings

from .compare import KINDS, Comparison, Look, Seen

INTERVAL = 0.5  # seconds between two looks, at least
LEISURE = 20  # and so many times what the last one took: who compares must not be noticed
FIRST = 50  # ready jobs of each stored channel that are looked at

_JOB = (
    "uuid::text, channel::text, priority, to_char(date_created, 'YYYY-MM-DD\"T\"HH24:MI:SS.US'), id::bigint"
)
_PENDING = "state = 'pending' and (eta is null or eta <= now() at time zone 'utc')"
_READY = f"""
select {_JOB} from (
    select *, row_number() over (partition by channel order by priority, date_created, id) as place
      from public.queue_job where {_PENDING}) ready
 where place <= {FIRST}
"""
_TAKEN = f"select {_JOB} from public.queue_job where state in ('enqueued', 'started')"
_PASSED = f"""
select {_JOB} from public.queue_job
 where state not in ('enqueued', 'started') and date_started > %s at time zone 'utc'
"""
_FAILED = "select distinct channel::text from public.queue_job where state = 'failed' and channel is not null"
_DELAYED = f"""
select distinct on (channel) {_JOB} from public.queue_job
 where state = 'pending' and eta > now() at time zone 'utc' order by channel, priority, date_created, id
"""


def watch(settings: Settings, say: Callable[[str], None]) -> int:
    """Until TERM or INT; returns how many differences were said."""
    stopped = Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda _signum, _frame: stopped.set())
    comparison = Comparison(Tree(settings.channels), time.monotonic())
    names = ", ".join(database.name for database in settings.databases)
    say(f"shadow: watching {names}; nothing is started or written. End with Ctrl-C")
    views = [_View(database, say) for database in settings.databases]
    while not stopped.is_set():
        began = time.monotonic()
        for difference in comparison.look(_joined(began, [view.look() for view in views])):
            job = difference.job
            say(
                f"{difference.kind}: db={job.database} job={job.uuid} channel={job.channel}: {difference.why}"
            )
        stopped.wait(max(INTERVAL, LEISURE * (time.monotonic() - began)))
    counted = ", ".join(f"{comparison.counts[kind]} {meaning}" for kind, meaning in KINDS.items())
    say(f"shadow: the other runner started {comparison.starts} jobs: {counted}")
    return sum(comparison.counts.values())


class _View:
    """A read-only session with one database, opened again when it was lost."""

    def __init__(self, database: DatabaseConfig, say: Callable[[str], None]) -> None:
        self._database = database
        self._say = say
        self._connection: Any = None
        self._last: Any = None  # the server's time of the last look
        self._told = ""

    def look(self) -> Look:
        """What there is; nothing while the database cannot be read, and once why."""
        try:
            found = self._read()
        except psycopg2.Error as error:
            self._tell(str(error).strip())
            if self._connection is not None:
                self._connection.close()
                self._connection = None
            return Look(0.0, (), ())
        return found

    def _read(self) -> Look:
        if self._connection is None:
            self._connection = connect(self._database.dsn, "queuemaster: shadow")
            self._connection.set_session(readonly=True, autocommit=True)
        with closing(self._connection.cursor()) as cursor:
            problem = oca.look(cursor).problem
            if problem:
                self._tell(problem)
                return Look(0.0, (), ())
            self._told = ""
            cursor.execute("select clock_timestamp()")
            last, self._last = self._last, cursor.fetchone()[0]
            passed = self._jobs(cursor, _PASSED, (last,)) if last is not None else ()
            cursor.execute(_FAILED)
            failed = frozenset(channel for (channel,) in cursor.fetchall())
            delayed: dict[str, Key] = {job.channel: job.key for job in self._jobs(cursor, _DELAYED)}
            # what is taken is read last: what was ready a moment before may be among it, and counts there
            ready, taken = self._jobs(cursor, _READY), self._jobs(cursor, _TAKEN)
            numbers = {job.id for job in taken}
            ready = tuple(job for job in ready if job.id not in numbers)
            return Look(0.0, ready, taken, passed, failed, delayed)

    def _jobs(self, cursor: Any, statement: str, parameters: tuple[Any, ...] = ()) -> tuple[Seen, ...]:
        cursor.execute(statement, parameters or None)
        return tuple(
            Seen(self._database.name, uuid, channel or "root", (priority or 0, created, number))
            for uuid, channel, priority, created, number in cursor.fetchall()
        )

    def _tell(self, why: str) -> None:
        if why != self._told:
            self._told = why
            self._say(f"shadow: db={self._database.name} cannot be compared: {why}")


def _joined(now: float, looks: list[Look]) -> Look:
    return Look(
        now,
        tuple(job for look in looks for job in look.ready),
        tuple(job for look in looks for job in look.taken),
        tuple(job for look in looks for job in look.passed),
        frozenset(channel for look in looks for channel in look.failed),
        {
            channel: min(other.delayed[channel] for other in looks if channel in other.delayed)
            for look in looks
            for channel in look.delayed
        },
    )
