"""Run one job of the native queue: claim, perform, finish in the job's own transaction."""

from __future__ import annotations

import logging
import random
import time
from typing import Any, Callable, Dict, Mapping, Optional

import psycopg2
from psycopg2.extensions import QueryCanceledError

from ...amounts import LARGEST, LONGEST
from ...exception import (
    CancelledJobError,
    LimitJobError,
    NoSuchMethodError,
    NoSuchModelError,
    TimeoutJobError,
)
from ...functions import JobFunction, lookup
from ...perform import perform, perform_on_fail
from ...retry import Outcome, decide
from ...store import claims
from ..causes import Cause
from ..interrupt import Interrupter
from ..linux import own_processor_time, this_process
from ..log import event, job_context
from ..scoreboard import Entry, RunLimits, State
from ..session import JobConnection, Session
from ..settings import ChannelSettings, WorkerSettings

_log = logging.getLogger("queuemaster.worker")
_UNKNOWN_CALL_PAUSE = 5.0  # seconds between two looks for a model that a deploy may bring


class RunTakenAway(Exception):
    """The row is not this run's any more: somebody put it back. Nothing is kept."""


class NativeRuntime:
    """Everything a worker needs to run jobs; lives as long as the worker."""

    def __init__(
        self, settings: WorkerSettings, entry: Entry, interrupter: Interrupter, channel: str
    ) -> None:
        self._channel: ChannelSettings = settings.channels[channel]
        self._unknown_model_grace = settings.unknown_model_grace
        self._entry = entry
        self._interrupter = interrupter
        self._process = this_process()
        self.interrupted = False  # a run was stopped from outside
        self._sessions: Dict[int, Session] = {
            database.id: Session(database.dsn, database.name, channel, self._process)
            for database in settings.databases
        }

    def run(self, grant: Mapping[str, Any], claimed: Callable[[int], None], stop: Callable[[], bool]) -> str:
        """Use a grant. Returns how it ended: done, failed, retried, cancelled, lost, or nothing (none started)."""
        session = self._sessions[grant["database"]]
        row = self._claim(session, grant, stop)
        if row is None:
            return "nothing"
        function = lookup(row["model_name"], row["method_name"])
        limits = self._limits(row, function)
        now = time.monotonic_ns()
        self._entry.change(State.BUSY, now, grant["database"], row["id"], row["attempt"], limits)
        claimed(row["id"])
        if row["attempt"] == 1:
            self._entry.waited((row["date_started"] - row["date_created"]).total_seconds())
        job_context.job = {
            "job_uuid": row["uuid"], "model": row["model_name"], "method": row["method_name"],
            "channel": row["channel"], "attempt": row["attempt"], "db": session.database, "job": row["id"],
            "worker": self._process.pid,
        }  # fmt: skip
        event(_log, logging.DEBUG, "job started")
        try:
            assert session.connection is not None
            if row["doomed"]:
                outcome = self._bury(session.connection, row, function)
            else:
                outcome = self._perform(session.connection, row, function, limits)
            if outcome == "done":
                event(_log, logging.DEBUG, "job done", took=round((time.monotonic_ns() - now) / 1e9, 3))
        finally:
            job_context.job = {}
        if not row["doomed"]:  # the run that killed its worker was counted by the master
            self._entry.count(self._counted_as(outcome), (time.monotonic_ns() - now) / 1e9)
        if outcome == "lost":
            session.recovered(stop)
        return outcome

    def _counted_as(self, outcome: str) -> str:
        """A run that was stopped counts as that, whether its job failed or is tried again."""
        if outcome not in ("failed", "retried"):
            return outcome
        return _STOPPED_BY.get(self._interrupter.cause, outcome)

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
            event(
                _log, logging.WARNING, "claim failed",
                db=session.database, channel=grant["channel"], worker=self._process.pid, error=str(error).strip(),
            )  # fmt: skip
            if session.connection is not None:
                session.connection.close()
            if session.worker_id:
                # whether the claim got through is unknown: our slot is in use until that is settled
                session.recovered(stop)
            return None

    def _limits(self, row: Mapping[str, Any], function: JobFunction) -> RunLimits:
        """Of each what the job itself says, else its function, else its channel."""

        def said(name: str, by_channel: float) -> float:
            values = (row[name], getattr(function, name), by_channel)
            return min(next(value for value in values if value is not None), LARGEST)

        timeout, cpu = (
            min(said(name, getattr(self._channel, name)), LONGEST) * 1e9 for name in ("timeout", "cpu")
        )
        memory = int(said("memory", self._channel.memory_hard))
        return RunLimits(int(timeout), int(cpu), own_processor_time(), memory)

    # the run

    def _perform(
        self, connection: JobConnection, row: Mapping[str, Any], function: JobFunction, limits: RunLimits
    ) -> str:
        started = time.monotonic()
        try:
            connection.autocommit = False
            with connection.cursor() as cursor:
                if function.isolation:
                    cursor.execute(f"set transaction isolation level {function.isolation}")  # one of three
                result = self._call(connection, cursor, row, function, limits)
                # what another isolation level does not see, it must not judge: released after the commit
                apart = function.isolation not in (None, "read committed")
                if not claims.finish(cursor, row, result, time.monotonic() - started, release=not apart):
                    raise RunTakenAway
            connection.commit()
        except BaseException as error:  # also SystemExit: a job that calls sys.exit() ends itself, not us
            return self._settle(connection, row, function, error)
        if apart:
            self._release(connection, row)
        return "done"

    def _call(
        self,
        connection: JobConnection,
        cursor: Any,
        row: Mapping[str, Any],
        function: JobFunction,
        limits: RunLimits,
    ) -> Optional[str]:
        """The application's code, which may be stopped from outside. Whether it swallowed that is all the same."""
        error: Optional[BaseException] = None
        result = None
        self._interrupter.begin(row["id"], row["attempt"], limits, connection)
        try:
            connection.in_job = not function.allow_commit
            result = perform(cursor, row)
        except BaseException as raised:
            error = raised
        connection.in_job = False
        stopped = self._interrupter.end()
        if stopped is not None:
            raise stopped from error
        if error is not None:
            raise error
        return result

    def _release(self, connection: JobConnection, row: Mapping[str, Any]) -> None:
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                claims.release_children(cursor, row)
        except psycopg2.Error as error:
            event(_log, logging.WARNING, "children are left to the sweep", error=str(error).strip())

    # its end, when it is not done

    def _settle(
        self, connection: JobConnection, row: Mapping[str, Any], function: JobFunction, error: BaseException
    ) -> str:
        # the exception of a stop may have come at the very end of the application's code, before this was undone
        connection.in_job = False
        self.interrupted = isinstance(error, _STOPS)
        try:
            connection.rollback()
            if isinstance(error, RunTakenAway):
                event(_log, logging.WARNING, "run was taken away, rolled back")
                return "lost"
        except psycopg2.Error as lost:
            return _lost(connection, lost)
        return self._end(connection, row, function, self._ending(row, function, error))

    def _bury(self, connection: JobConnection, row: Mapping[str, Any], function: JobFunction) -> str:
        """A doomed job: recovery has found that it fails for good. It is not run, it ends, with the error it has."""
        if function.on_fail_method is None:
            event(_log, logging.WARNING, "job function has no on_fail_method any more")
        kept = {name: row[name] for name in ("exc_name", "exc_message")}
        return self._end(
            connection, row, function, claims.Ending("failed", None, False, **kept, mark="interrupted")
        )

    def _end(
        self, connection: JobConnection, row: Mapping[str, Any], function: JobFunction, ending: claims.Ending
    ) -> str:
        try:
            connection.autocommit = True
            if not _settled(connection, row, ending):
                return "lost"
        except psycopg2.Error as lost:
            return _lost(connection, lost)
        failed = ending.state == "failed"
        event(
            _log, logging.ERROR if failed else logging.INFO, f"job {_WORDS[ending.state]}",
            delay=ending.delay, error=f"{ending.exc_name}: {ending.exc_message}",
        )  # fmt: skip
        if failed and function.on_fail_method:
            self._on_fail(connection, row, function.on_fail_method)
        return {"failed": "failed", "pending": "retried"}.get(ending.state, ending.state)

    def _ending(self, row: Mapping[str, Any], function: JobFunction, error: BaseException) -> claims.Ending:
        outcome = decide(error, row, function, self._channel.retry, random)
        if isinstance(error, CancelledJobError):
            return _ending(outcome, state="cancelled", counted=False)
        if isinstance(error, (NoSuchModelError, NoSuchMethodError)):
            since = row["unknown_since"] or row["date_started"]
            if (row["date_started"] - since).total_seconds() < self._unknown_model_grace:
                return _ending(
                    outcome,
                    state="pending",
                    delay=_UNKNOWN_CALL_PAUSE,
                    counted=False,
                    exc_info=None,
                    mark="unknown",
                )
        return _ending(outcome, mark="concurrency" if outcome.concurrency else None)

    def _on_fail(self, connection: JobConnection, row: Mapping[str, Any], method: str) -> None:
        """In a transaction of its own; its failure changes nothing of the job's."""
        try:
            connection.autocommit = False
            with connection.cursor() as cursor:
                connection.in_job = True
                try:
                    perform_on_fail(cursor, row, method)
                finally:
                    connection.in_job = False
            connection.commit()
        except BaseException:  # whatever the application raises
            _log.exception("on_fail_method %s failed", method)
            if not connection.closed:
                connection.rollback()


_STOPS = (TimeoutJobError, LimitJobError, CancelledJobError)
_STOPPED_BY = {Cause.TIMEOUT: "timeout", Cause.CPU: "cpu", Cause.MEMORY: "memory"}
_WORDS = {"failed": "failed", "pending": "postponed", "cancelled": "cancelled"}


def _lost(connection: JobConnection, error: psycopg2.Error) -> str:
    """The server has rolled the job back, or will when it notices: the new session settles the row."""
    event(_log, logging.WARNING, "connection lost in a job", error=str(error).strip())
    connection.close()
    return "lost"


def _ending(outcome: Outcome, **changes: Any) -> claims.Ending:
    ending = claims.Ending(
        outcome.state, outcome.delay, outcome.counted, outcome.exc_name, outcome.exc_message, outcome.exc_info
    )
    return ending._replace(**changes)


def _settled(connection: JobConnection, row: Mapping[str, Any], ending: claims.Ending) -> bool:
    try:
        with connection.cursor() as cursor:
            return claims.settle(cursor, row, ending)
    except QueryCanceledError:
        # the cancel of the run's query may reach the server only now
        with connection.cursor() as cursor:
            return claims.settle(cursor, row, ending)
