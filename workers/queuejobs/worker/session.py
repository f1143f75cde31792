"""A worker's session in one database: the connection that runs its jobs and holds the lock that proves it is alive.

A worker id belongs to one session. After a lost connection the worker takes a new id, but only when the old session
has ended, its lock is free and its job is settled: otherwise two sessions could run the same job.
"""

from __future__ import annotations

import logging
import random
import threading
from functools import lru_cache
from typing import Any, Optional, Type

import psycopg2
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor
from psycopg2.sql import Composable

from ..environment import Cursor as EnvironmentCursor
from ..exception import CommitInJobError
from ..shared.log import event
from ..shared.process import Process
from ..store import claims, recovery
from ..store.connection import connect
from .transaction_control import transaction_control

_log = logging.getLogger("queuemaster.worker")


class JobConnection(Connection):
    """A connection that refuses to end its transaction while a job runs in it.

    The job's writes and its state ``done`` are committed together; a commit in between would break exactly-once.
    """

    in_job = False

    def refuse(self, operation: str) -> None:
        """Raise :class:`CommitInJobError` inside a job."""
        if self.in_job:
            raise CommitInJobError(
                f"{operation} is not allowed inside a job: its writes are committed together with its end."
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

    def reset(self) -> None:
        self.refuse("reset()")
        super().reset()

    def close(self) -> None:
        self.refuse("close()")
        super().close()

    # psycopg2 allows changing these outside a transaction, where a job is before its first statement

    @property
    def autocommit(self) -> bool:
        return bool(super().autocommit)

    @autocommit.setter
    def autocommit(self, value: bool) -> None:
        self.refuse("autocommit")
        Connection.autocommit.__set__(self, value)  # type: ignore[attr-defined]

    @property
    def isolation_level(self) -> Optional[int]:
        return super().isolation_level

    @isolation_level.setter
    def isolation_level(self, value: Any) -> None:
        self.refuse("isolation_level")
        Connection.isolation_level.__set__(self, value)  # type: ignore[attr-defined]

    def cursor(self, *args: Any, **kwargs: Any) -> Any:
        # the arguments are name, cursor_factory, …, by position or by keyword
        name = args[0] if args else kwargs.pop("name", None)
        factory = args[1] if len(args) > 1 else kwargs.pop("cursor_factory", None)
        return super().cursor(name, _guarded(factory or JobCursor), *args[2:], **kwargs)


class JobCursor(EnvironmentCursor):
    """The cursor ``env.cr`` of a job: :class:`CommitInJobError` for every way to end the job's transaction."""

    def execute(self, query: Any, vars: Any = None) -> None:
        self._check(query)
        super().execute(query, vars)

    def executemany(self, query: Any, vars_list: Any) -> None:
        self._check(query)
        super().executemany(query, vars_list)

    def _check(self, query: Any) -> None:
        if not isinstance(self.connection, JobConnection) or not self.connection.in_job:
            return
        text = query.as_string(self) if isinstance(query, Composable) else query
        words = transaction_control(text.decode("utf-8", "replace") if isinstance(text, bytes) else text)
        if words:
            self.connection.refuse(words)


@lru_cache(maxsize=64)
def _guarded(factory: Type[Cursor]) -> Type[Cursor]:
    """The cursor class that the application asked for, with the checks of :class:`JobCursor`."""
    return factory if issubclass(factory, JobCursor) else type(factory.__name__, (JobCursor, factory), {})


class Session:
    """The connection to one database and the worker id that belongs to it; both are replaced after a loss."""

    def __init__(self, dsn: str, database: str, channel: str, process: Process) -> None:
        self._dsn = dsn
        self.database = database
        self._channel = channel
        self._process = process
        self._pause = threading.Event()  # never set: its wait() is an interval, not a condition
        self.connection: Optional[JobConnection] = None
        self.worker_id = 0

    def ready(self) -> JobConnection:
        """The connection, opened if there is none. Raises psycopg2.Error if the database cannot be reached."""
        if self.connection is None or self.connection.closed:
            self._open()
        assert self.connection is not None
        return self.connection

    def recovered(self, stop: Any) -> None:
        """After a lost connection: try to connect until the old session is settled, or ``stop()`` is true."""
        delay = 0.05
        while not stop():
            try:
                self.ready()
                return
            except psycopg2.Error as error:
                event(_log, logging.WARNING, "database is away", db=self.database, error=str(error).strip())
                self._pause.wait(delay * random.uniform(0.5, 1.0))
                delay = min(delay * 2, 10.0)

    def _open(self) -> None:
        connection = connect(
            self._dsn, f"queuemaster: worker {self._channel}", connection_factory=JobConnection
        )
        connection.autocommit = True
        with connection.cursor() as cursor:
            if self.worker_id:
                self._settle(cursor, self.worker_id)
            self.worker_id = claims.register(cursor, self._process, self._channel)
        self.connection = connection  # type: ignore[assignment]

    def _settle(self, cursor: Any, lost_id: int) -> None:
        while recovery.recover(cursor, lost_id) is None:  # the server still runs the old session
            self._pause.wait(0.02)
        event(_log, logging.INFO, "lost session settled", db=self.database, worker_id=lost_id)
        self.worker_id = 0
