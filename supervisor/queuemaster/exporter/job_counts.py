"""How many jobs each database has, by channel and state: one statement, rarely, however often the exporter is asked.

A query begins INTERVAL after the last one at the earliest, and LEISURE times what the last one took: on a large table
counting takes a bounded share of one processor. Requests in between get the last answer.
"""

from __future__ import annotations

import logging
import time
from typing import Any, NamedTuple

import gevent
import psycopg2
from psycopg2.extensions import QueryCanceledError

from queuejobs.shared.log import event
from queuejobs.store.connection import connect
from queuemaster.config.compiled import DatabaseConfig

from . import statements

INTERVAL = 5.0  # seconds
INTERVAL_WITHOUT_QUEUE = 30.0  # seconds
LEISURE = 20
PATIENCE = 2.0  # seconds that a scrape waits for a query under way
_log = logging.getLogger("queuemaster.exporter")


class Rows(NamedTuple):
    """Some jobs of one stored channel in one state."""

    channel: str
    state: str
    jobs: int
    oldest: float | None  # seconds since the oldest of them was created, of ready jobs only


class QueueRows:
    """The jobs of one database."""

    def __init__(self, config: DatabaseConfig) -> None:
        self.name = config.name
        self._dsn = config.dsn
        self._connection: Any = None
        self._running: gevent.Greenlet | None = None
        self._next = 0.0
        self._failure_is_logged = False
        self._table = ""
        self.rows: list[Rows] | None = None  # None: not known, or there is no queue
        self.took = 0.0
        self.estimated = False  # all of them, the live ones too

    def refresh(self) -> gevent.Greenlet | None:
        """Begin a query if it is time. Returns the query under way, None without one."""
        if self._running is not None and not self._running.dead:
            return self._running
        if time.monotonic() < self._next:
            return None
        self._next = time.monotonic() + INTERVAL
        self._running = gevent.spawn(self.ask)
        return self._running

    def ask(self) -> None:
        """Query the database now, whenever it was queried last."""
        began = time.monotonic()
        try:
            if self._connection is None:
                self._connect()
            self.rows = self._count() if self._table else None
            if not self._table:
                self._disconnect()  # no session for ever where nothing is served
            self._failure_is_logged = False
        except psycopg2.Error as error:
            if not self._failure_is_logged:  # once an outage
                event(_log, logging.WARNING, "jobs are not counted", db=self.name, error=str(error).strip())
            self.rows, self._failure_is_logged = None, True
            self._disconnect()
        self.took = time.monotonic() - began
        interval = INTERVAL if self._table else INTERVAL_WITHOUT_QUEUE
        self._next = began + max(interval, self.took * LEISURE)

    def _connect(self) -> None:
        self._connection = connect(self._dsn, "queuemaster: exporter")
        self._connection.autocommit = True
        self._execute(statements.CONFIGURE_SESSION)
        tables = self._execute(statements.FIND_TABLE)
        self._table = tables[0][0] if tables else ""

    def _count(self) -> list[Rows]:
        try:
            rows = self._execute(statements.COUNT_JOBS.format(table=self._table))
            self.estimated = False
        except QueryCanceledError:
            # it is while the queue is longest that counting takes too long: an estimate is better than a gap
            event(
                _log, logging.WARNING, "jobs could not be counted in time", db=self.name,
                limit=statements.TIMEOUT / 1000,
            )  # fmt: skip
            rows = self._execute(statements.ESTIMATE_JOBS.format(table=self._table))
            self.estimated = True
        return [Rows._make(row) for row in rows]

    def _execute(self, statement: str) -> list[Any]:
        with self._connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def refresh_all(databases: list[QueueRows]) -> None:
    """Query all databases at once, and return after PATIENCE: a slow one keeps neither the others nor us waiting."""
    under_way = [greenlet for database in databases if (greenlet := database.refresh()) is not None]
    gevent.joinall(under_way, timeout=PATIENCE)
