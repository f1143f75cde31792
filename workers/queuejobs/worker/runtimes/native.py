"""Run one job of the native queue: claim, perform, finish in the job's own transaction."""

from __future__ import annotations

import logging
import random
import time
from typing import Any, Callable, Dict, List, Mapping, Optional

import psycopg2

from ...exception import NoSuchMethodError, NoSuchModelError
from ...functions import lookup
from ...perform import perform
from ...retry import decide
from ...store import claims
from ..linux import this_process
from ..log import event
from ..scoreboard import Entry, State
from ..session import JobConnection, Session
from ..settings import WorkerSettings

_log = logging.getLogger("queuemaster.worker")
_UNKNOWN_MODEL_PAUSE = 5.0  # seconds between two looks for a model that a deploy may bring


class RunTakenAway(Exception):
    """The row is not this run's any more: somebody put it back or cancelled it. Nothing is kept."""


class NativeRuntime:
    """Everything a worker needs to run jobs; lives as long as the worker."""

    def __init__(self, settings: WorkerSettings, entry: Entry, channel: str) -> None:
        self._settings = settings
        self._entry = entry
        self._process = this_process()
        self._sessions: List[Session] = [
            Session(database.dsn, database.name, channel, self._process) for database in settings.databases
        ]

    def run(self, grant: Mapping[str, Any], claimed: Callable[[int], None], stop: Callable[[], bool]) -> str:
        """Use a grant. Returns how it ended: done, failed, retried, lost, or nothing (none was started)."""
        session = self._sessions[grant["database"]]
        row = self._claim(session, grant, stop)
        if row is None:
            return "nothing"
        now = time.monotonic_ns()
        self._entry.change(State.BUSY, now, grant["database"], row["id"], row["attempt"])
        claimed(row["id"])
        assert session.connection is not None
        outcome = self._perform(session.connection, row)
        if outcome == "lost":
            session.recovered(stop)
        self._entry.count(outcome)
        return outcome

    def _claim(
        self, session: Session, grant: Mapping[str, Any], stop: Callable[[], bool]
    ) -> Optional[Dict[str, Any]]:
        try:
            connection = session.ready()
            connection.autocommit = True
            with connection.cursor() as cursor:
                return claims.claim(
                    cursor, grant["epoch"], grant["channel"], session.worker_id, self._process.pid,
                    grant["job"], grant["bound"],
                )  # fmt: skip
        except psycopg2.Error as error:
            event(_log, logging.WARNING, "claim failed", error=str(error).strip())
            if session.connection is not None:
                session.connection.close()
            if session.worker_id:
                # whether the claim got through is unknown: our slot is in use until that is settled
                session.recovered(stop)
            return None

    def _perform(self, connection: JobConnection, row: Mapping[str, Any]) -> str:
        started = time.monotonic()
        try:
            connection.autocommit = False
            with connection.cursor() as cursor:
                connection.in_job = True
                try:
                    result = perform(cursor, row)
                finally:
                    connection.in_job = False
                if not claims.finish(cursor, row, result, time.monotonic() - started):
                    raise RunTakenAway
            connection.commit()
            return "done"
        except BaseException as error:  # also SystemExit: a job that calls sys.exit() ends itself, not us
            return self._settle(connection, row, error)

    def _settle(self, connection: JobConnection, row: Mapping[str, Any], error: BaseException) -> str:
        try:
            connection.rollback()
            if isinstance(error, RunTakenAway):
                event(_log, logging.WARNING, "run was taken away, rolled back", job=row["uuid"])
                return "lost"
            ending = self._ending(row, error)
            connection.autocommit = True
            with connection.cursor() as cursor:
                kept = claims.settle(cursor, row, ending)
        except psycopg2.Error as lost:
            # the server has rolled the job back, or will when it notices: the new session settles the row
            event(_log, logging.WARNING, "connection lost in a job", job=row["uuid"], error=str(lost).strip())
            connection.close()
            return "lost"
        if not kept:
            return "lost"
        failed = ending.state == "failed"
        event(
            _log, logging.ERROR if failed else logging.INFO, "job failed" if failed else "job postponed",
            job=row["uuid"], call=f"{row['model_name']}.{row['method_name']}", attempt=row["attempt"],
            delay=ending.delay, error=f"{ending.exc_name}: {ending.exc_message}",
        )  # fmt: skip
        return "failed" if failed else "retried"

    def _ending(self, row: Mapping[str, Any], error: BaseException) -> claims.Ending:
        function = lookup(row["model_name"], row["method_name"])
        outcome = decide(error, row, function, self._settings.retry, random)
        if isinstance(error, (NoSuchModelError, NoSuchMethodError)):
            since = row["unknown_since"] or row["date_started"]
            if (row["date_started"] - since).total_seconds() < self._settings.unknown_model_grace:
                return claims.Ending(
                    "pending",
                    _UNKNOWN_MODEL_PAUSE,
                    False,
                    outcome.exc_name,
                    outcome.exc_message,
                    None,
                    "unknown",
                )
        mark = "concurrency" if outcome.concurrency else None
        return claims.Ending(
            outcome.state, outcome.delay, outcome.counted, outcome.exc_name, outcome.exc_message,
            outcome.exc_info, mark,
        )  # fmt: skip
