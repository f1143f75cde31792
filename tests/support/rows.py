"""Rows of the native queue written and changed as its processes do it, without the processes."""

from __future__ import annotations

import itertools
import json
import select
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from queuejobs.shared.process import Process
from queuejobs.store import claims
from queuejobs.store.claims import Key
from support.waiting import wait_until

_numbers = itertools.count(1)


class Session:
    """A database session, in autocommit mode unless said otherwise.

    What waits for 20 s is an error: blocked in libpq, a test could not be interrupted.
    """

    def __init__(self, dsn: str) -> None:
        self.connection: Connection = psycopg2.connect(dsn, options="-c statement_timeout=20s")
        self.connection.autocommit = True
        self.cursor = self.connection.cursor()

    @property
    def pid(self) -> int:
        """The backend's."""
        return int(self.connection.info.backend_pid)

    def close(self) -> None:
        """End the session, even while another thread waits in it."""
        if not self.connection.closed:
            self.connection.cancel()
            self.connection.close()

    def begin(self) -> None:
        """From now on in a transaction, until :meth:`commit` or :meth:`rollback`."""
        self.connection.autocommit = False

    def commit(self) -> None:
        self.connection.commit()
        self.connection.autocommit = True

    def rollback(self) -> None:
        self.connection.rollback()
        self.connection.autocommit = True

    def rows(self, statement: str, *parameters: Any) -> list[Any]:
        """What a query returns."""
        self.cursor.execute(statement, parameters or None)
        return self.cursor.fetchall() if self.cursor.description else []

    def value(self, statement: str, *parameters: Any) -> Any:
        """The first value of the first row."""
        return self.rows(statement, *parameters)[0][0]

    def add(self, state: str = "pending", **columns: Any) -> int:
        """A job; its id."""
        given = {"uuid": f"job-{next(_numbers)}", "model_name": "sample", "method_name": "write",
                 "records": "{}", "state": state, **columns}  # fmt: skip
        statement = sql.SQL(
            "insert into queuemaster.queue_job ({}) overriding system value values ({}) returning id"
        ).format(
            sql.SQL(", ").join(map(sql.Identifier, given)),
            sql.SQL(", ").join(sql.Placeholder() * len(given)),
        )
        self.cursor.execute(statement, list(given.values()))
        return int(self.cursor.fetchall()[0][0])

    def depend(self, child: int, *parents: int) -> None:
        """The child waits for the parents."""
        for parent in parents:
            self.rows("insert into queuemaster.queue_job_edge values (%s, %s)", parent, child)

    def job(self, job: int) -> dict[str, Any]:
        """A row."""
        text = self.value("select row_to_json(job)::text from queuemaster.queue_job job where id = %s", job)
        row: dict[str, Any] = json.loads(text)
        return row

    def state(self, job: int) -> str:
        return str(self.value("select state from queuemaster.queue_job where id = %s", job))

    def epoch(self) -> int:
        """The current one."""
        return int(self.value("select epoch from queuemaster.leader"))

    def notified(self) -> list[Any]:
        """The payloads that have arrived, decoded, in order."""
        # a round trip: what was committed before it has been delivered with its answer
        self.value("select 1")
        while select.select([self.connection], [], [], 0)[0]:
            self.connection.poll()
        payloads = [json.loads(notification.payload) for notification in self.connection.notifies]
        self.connection.notifies.clear()
        return payloads


class WorkerSession(Session):
    """A session that is registered as a worker's."""

    def __init__(self, dsn: str) -> None:
        super().__init__(dsn)
        self.process = Process("here", "this boot", 1_000_000 + next(_numbers), 1)
        self.id = claims.register(self.cursor, self.process, "root")

    def claim(
        self,
        channel: str = "root",
        job: int | None = None,
        bound: Key | None = None,
        epoch: int | None = None,
    ) -> dict[str, Any] | None:
        """Claim as a grant of this epoch, by default the current one, allows."""
        granted = self.epoch() if epoch is None else epoch
        return claims.claim(self.cursor, granted, channel, self.id, self.process.pid, job, bound)

    def start(self, job: int) -> dict[str, Any]:
        """Claim this job; its row."""
        row = self.claim(job=job)
        assert row is not None
        return row

    def finish(self, row: dict[str, Any]) -> bool:
        return claims.finish(self.cursor, row, None, 0.1)


@contextmanager
def in_background(call: Callable[[], Any]) -> Iterator[list[Any]]:
    """Make a call in a thread; its answer, or the exception, is in the list afterwards."""
    answer: list[Any] = []

    def make() -> None:
        try:
            answer.append(call())
        except Exception as error:  # shown where the answer was expected
            answer.append(error)

    thread = Thread(target=make, daemon=True)
    thread.start()
    # when the test fails meanwhile, the call may wait for what only the test's end gives back
    yield answer
    thread.join(30)
    assert not thread.is_alive(), "the call still waits"


def wait_until_blocked(watcher: Session, pid: int) -> None:
    """Wait until a backend waits for a lock."""
    statement = "select wait_event_type = 'Lock' from pg_stat_activity where pid = %s"
    wait_until(lambda: bool(watcher.value(statement, pid)), 20, f"backend {pid} to wait for a lock")
