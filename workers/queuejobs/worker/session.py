"""A worker's session in one database: the connection that runs its jobs and proves that it lives.

A worker id belongs to one session. After a lost connection the worker takes a new id, but first has the
old session ended, its lock acquired and its row settled: else two sessions could run one job.
"""

from __future__ import annotations

import logging
import random
import re
import threading
from typing import Any, Optional

import psycopg2
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from ..exception import CommitInJobError
from ..store import claims
from ..store.connection import connect
from .log import event

_log = logging.getLogger("queuemaster.worker")
_TRANSACTION_CONTROL = re.compile(
    r"\s*(commit|end|abort|begin|start\s+transaction|prepare\s+transaction|"
    r"rollback(?!\s+((work|transaction)\s+)?to\b))\b",
    re.IGNORECASE,
)


class JobConnection(Connection):
    """A connection that refuses to end its transaction while a job runs in it.

    The job's writes and its "done" are one commit; a commit in the middle would end exactly-once.
    """

    in_job = False

    def refuse(self, what: str) -> None:
        if self.in_job:
            raise CommitInJobError(
                f"{what} is not allowed inside a job: its writes are committed together with its end."
                " Use a savepoint, or split the work into several jobs"
            )

    def commit(self) -> None:
        self.refuse("commit()")
        super().commit()

    def rollback(self) -> None:
        self.refuse("rollback()")
        super().rollback()

    def set_session(self, *args: Any, **kwargs: Any) -> None:
        self.refuse("set_session()")
        super().set_session(*args, **kwargs)

    def set_isolation_level(self, level: Optional[int]) -> None:
        self.refuse("set_isolation_level()")
        super().set_isolation_level(level)

    def cursor(self, *args: Any, **kwargs: Any) -> Any:
        kwargs.setdefault("cursor_factory", JobCursor)
        return super().cursor(*args, **kwargs)


class JobCursor(Cursor):
    """What a job sees as ``env.cr``: a psycopg2 cursor that guards the transaction."""

    def commit(self) -> None:
        """Commit, except inside a job."""
        self.connection.commit()

    def rollback(self) -> None:
        """Roll back, except inside a job."""
        self.connection.rollback()

    def execute(self, query: Any, vars: Any = None) -> None:
        found = _TRANSACTION_CONTROL.match(query) if isinstance(query, str) else None
        if found and isinstance(self.connection, JobConnection):
            self.connection.refuse(found.group(1).upper())
        super().execute(query, vars)


class Session:
    """The connection to one database, replaced when it is lost."""

    def __init__(self, dsn: str, database: str, channel: str, process: claims.Process) -> None:
        self._dsn = dsn
        self._database = database
        self._channel = channel
        self._process = process
        self._pause = threading.Event()  # never set: a wait that reads like one
        self.connection: Optional[JobConnection] = None
        self.worker_id = 0

    def ready(self) -> JobConnection:
        """The connection, opened when there is none. Raises psycopg2.Error when the database is away."""
        if self.connection is None or self.connection.closed:
            self._open()
        assert self.connection is not None
        return self.connection

    def recovered(self, stop: Any) -> None:
        """After a loss: try until the old session is settled, or ``stop()`` says that we must go."""
        delay = 0.05
        while not stop():
            try:
                self.ready()
                return
            except psycopg2.Error as error:
                event(_log, logging.WARNING, "database is away", db=self._database, error=str(error).strip())
                self._pause.wait(delay * random.uniform(0.5, 1.0))
                delay = min(delay * 2, 10.0)

    def _open(self) -> None:
        opened = connect(self._dsn, f"queuemaster: worker {self._channel}", connection_factory=JobConnection)
        opened.autocommit = True
        with opened.cursor() as cursor:
            if self.worker_id:
                self._settle(cursor, self.worker_id)
            self.worker_id = claims.register(cursor, self._process, self._channel)
        self.connection = opened  # type: ignore[assignment]

    def _settle(self, cursor: Any, lost: int) -> None:
        while claims.recover(cursor, lost) is None:
            self._pause.wait(0.02)
        event(_log, logging.INFO, "lost session settled", db=self._database, worker_id=lost)
        self.worker_id = 0
