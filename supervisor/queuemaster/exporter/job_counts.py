"""What the exporter asks a database: one statement, rarely, however often somebody asks the exporter.

A query begins at the earliest INTERVAL after the last one, and after LEISURE times what the last one took: on a large
table it takes a bounded share of one processor, not more. Whoever comes meanwhile gets the last answer.
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

INTERVAL = 5.0  # seconds
RARELY = 30.0  # seconds, where there is no queue
LEISURE = 20
PATIENCE = 2.0  # seconds that a scrape waits for a query under way
_TIMEOUT = 4000  # ms; a long statement would hold back vacuum
_SAMPLE = 4 << 20  # bytes of the table that finished jobs are estimated from

# One processor is enough. The planner may choose: the statement is planned each time, on the size of now, and of a
# million rows that VACUUM has not seen yet it reads the table eight times as fast in order as by an index.
_SESSION = f"set statement_timeout = {_TIMEOUT}; set jit = off; set max_parallel_workers_per_gather = 0"

# Beside Odoo the queue is a view on its table; without either there is nothing to count, yet.
_TABLE = """
select case relkind when 'v' then 'public.queue_job' else 'queuemaster.queue_job' end
  from pg_class where oid = to_regclass('queuemaster.queue_job')
"""

# The same blocks each time, all of them while the table is small; and by what to multiply what is found there.
_SHARE = "greatest(pg_relation_size('{table}'), 1)"
_SAMPLED = f"{{table}} tablesample system (least(100.0, 100.0 * {_SAMPLE} / {_SHARE})) repeatable (1)"
_TIMES = f"greatest({_SHARE} / {_SAMPLE}.0, 1)"

# Live states and failed: counted; where they are few, or vacuumed, by their partial indexes (queue_job_ready and
# _eta_order index-only and in order, queue_job_started, _waiting, _failed). Done and cancelled: from the sample.
_ROWS = f"""
select channel, 'pending', count(*),
       extract(epoch from queuemaster.utc_now() - min(date_created))::double precision
  from queuemaster.queue_job where state = 'pending' and eta is null group by channel
union all
select channel, 'pending', count(*), null
  from queuemaster.queue_job where state = 'pending' and eta is not null group by channel
union all
select channel, 'started', count(*), null
  from queuemaster.queue_job where state = 'started' group by channel
union all
select channel, state, count(*), null
  from queuemaster.queue_job where state in ('wait_dependencies', 'enqueued') group by channel, state
union all
select channel, 'failed', count(*), null
  from queuemaster.queue_job where state = 'failed' group by channel
union all
select channel, state, round(count(*) * {_TIMES})::bigint, null
  from {_SAMPLED} where state in ('done', 'cancelled') group by channel, state
"""

# When counting takes too long: a million rows that VACUUM has not seen yet are a million visits to the table.
_ESTIMATE = f"""
select channel, state, round(count(*) * {_TIMES})::bigint,
       extract(epoch from queuemaster.utc_now()
                        - min(date_created) filter (where state = 'pending' and eta is null))::double precision
  from {_SAMPLED} group by channel, state
"""
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
        self._told = False  # that it does not answer
        self._table = ""
        self.rows: list[Rows] | None = None  # None: not known, or there is no queue
        self.took = 0.0
        self.estimated = False  # all of them, the live ones too

    def refresh(self) -> gevent.Greenlet | None:
        """Ask, if it is time; the query under way, if there is one."""
        if self._running is not None and not self._running.dead:
            return self._running
        if time.monotonic() < self._next:
            return None
        self._next = time.monotonic() + INTERVAL
        self._running = gevent.spawn(self.ask)
        return self._running

    def ask(self) -> None:
        """Now, whoever else has asked."""
        began = time.monotonic()
        try:
            if self._connection is None:
                self._connect()
            self.rows = self._counted() if self._table else None
            if not self._table:
                self._disconnect()  # no session for ever where nothing is served
            self._told = False
        except psycopg2.Error as error:
            if not self._told:  # once an outage
                event(_log, logging.WARNING, "jobs are not counted", db=self.name, error=str(error).strip())
            self.rows, self._told = None, True
            self._disconnect()
        self.took = time.monotonic() - began
        self._next = began + max(INTERVAL if self._table else RARELY, self.took * LEISURE)

    def _connect(self) -> None:
        self._connection = connect(self._dsn, "queuemaster: exporter")
        self._connection.autocommit = True
        self._execute(_SESSION)
        found = self._execute(_TABLE)
        self._table = found[0][0] if found else ""

    def _counted(self) -> list[Rows]:
        try:
            rows, self.estimated = self._execute(_ROWS.format(table=self._table)), False
        except QueryCanceledError:
            # a guess is better than a gap while the queue is longest
            event(
                _log, logging.WARNING, "jobs could not be counted in time", db=self.name,
                limit=_TIMEOUT / 1000,
            )  # fmt: skip
            rows, self.estimated = self._execute(_ESTIMATE.format(table=self._table)), True
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
    """All at once, and none of them keeps the others waiting, nor us for long."""
    under_way = [greenlet for database in databases if (greenlet := database.refresh()) is not None]
    gevent.joinall(under_way, timeout=PATIENCE)
