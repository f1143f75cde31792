"""Run one job of the native queue: claim, perform, finish in the job's own transaction."""

from __future__ import annotations

import logging
import random
import time
from typing import Any, Callable, Dict, Mapping, Optional

import psycopg2
from psycopg2.extensions import QueryCanceledError

from ...exception import CancelledJobError, NoSuchMethodError, NoSuchModelError
from ...functions import JobFunction, lookup
from ...perform import perform, perform_on_fail
from ...retry import decide
from ...shared.log import event, job_context
from ...shared.scoreboard import RunLimits
from ...store import claims
from ...store.atomic import set_isolation
from ..session import JobConnection, Session
from .base import STOPS, RunTakenAway, Runtime, ended, ending_of
from .batch import Batch, BatchBrokenError

_log = logging.getLogger("queuemaster.worker")
_UNKNOWN_CALL_PAUSE = 5.0  # seconds between two looks for a model that a deploy may bring


class NativeRuntime(Runtime):
    """Jobs of applications on ``queuejobs``: one connection claims a job, runs it, and proves that the worker lives."""

    def _declared(self, row: Mapping[str, Any]) -> JobFunction:
        return lookup(row["model_name"], row["method_name"])

    def _is_first(self, row: Mapping[str, Any]) -> bool:
        return bool(row["attempt"] == 1)

    def _next(self, session: Session, stop: Callable[[], bool]) -> Optional[Dict[str, Any]]:
        following, self._following = self._following, None
        if following is None:
            return None
        return self._begin(
            session, stop, following, lambda cursor: claims.started(cursor, following, session.worker_id)
        )

    # the run

    def _perform(
        self, session: Session, row: Dict[str, Any], function: JobFunction, limits: RunLimits, batch: Batch
    ) -> str:
        connection = session.connection
        assert connection is not None
        if row["doomed"]:
            return self._bury(connection, row, function)
        started = time.monotonic()
        try:
            connection.autocommit = False
            with connection.cursor() as cursor:
                if function.isolation:
                    set_isolation(cursor, function.isolation)  # one of three
                result = self._call(connection, cursor, row, function, limits)
                # what another isolation level does not see, it must not judge: released after the commit
                apart = function.isolation not in (None, "read committed")
                if not self._finish(cursor, row, result, time.monotonic() - started, apart):
                    raise RunTakenAway
                if row["attempt"] == 1 and not row["graph_uuid"] and _may_share(function):
                    self._go_on(session, cursor, row, batch)
            connection.commit()
        except BaseException as error:  # also SystemExit: a job that calls sys.exit() ends itself, not us
            following, self._following = self._following, None
            outcome = self._settle(connection, row, function, self._blamed(session, row, batch, error))
            if following is not None and outcome == "lost" and not connection.closed:
                # committed before the exception came, which may have been for a timer of the application's: the next
                # job is started, and nobody is at it. A new session settles what this one has left
                connection.close()
            return outcome
        if apart:
            self._release(connection, row)
        return "done"

    def _finish(
        self, cursor: Any, row: Mapping[str, Any], result: Optional[str], seconds: float, apart: bool
    ) -> bool:
        if apart or not self._slice.lasts(self.ran):
            return claims.finish(cursor, row, result, seconds, release=not apart)
        finished, self._following = claims.finish_and_claim(
            cursor, row, result, seconds, self._slice.bounds, self._process.pid
        )
        return finished

    def _call(
        self,
        connection: JobConnection,
        cursor: Any,
        row: Mapping[str, Any],
        function: JobFunction,
        limits: RunLimits,
    ) -> Optional[str]:
        def call() -> Optional[str]:
            try:
                connection.in_job = not function.allow_commit
                return perform(cursor, row)
            finally:
                connection.in_job = False

        result: Optional[str] = self._guarded(row, limits, connection, call)
        return result

    # those that follow it in its transaction

    def _go_on(self, session: Session, cursor: Any, first: Dict[str, Any], batch: Batch) -> None:
        batch.go_on(
            cursor,
            first,
            lambda before: claims.claim_next(cursor, before, session.worker_id, self._process.pid),
            lambda row: self._joined(session, cursor, row),
            lambda row: claims.leave_batch(cursor, row),
            self._called_off,
        )

    def _joined(self, session: Session, cursor: Any, row: Dict[str, Any]) -> Optional[bool]:
        """Run it. False: it is better run alone, and what it did is to be rolled back; None: nothing was done."""
        function = self._declared(row)
        if not _may_share(function):
            return None
        connection, started, limits = cursor.connection, time.monotonic(), self._limits(row, function)
        self._enter(session, row, limits)
        try:
            result = self._call(connection, cursor, row, function, limits)
            return claims.finish(cursor, row, result, time.monotonic() - started)
        except BaseException as error:  # as of a job that is alone
            connection.in_job = False
            if connection.closed:
                raise
            self.interrupted = isinstance(error, STOPS)
            event(_log, logging.INFO, "job leaves its batch", error=repr(error))
            return False

    def _blamed(
        self, session: Session, first: Mapping[str, Any], batch: Batch, error: BaseException
    ) -> BaseException:
        """For what the first job is to answer."""
        if not batch.others:
            return error
        self.broken = True
        job_context.job = self._context(session, first)
        event(_log, logging.WARNING, "batch broken", jobs=1 + len(batch.done), error=repr(error))
        return BatchBrokenError(f"its batch broke: {error!r}")

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
        self.interrupted = self.interrupted or isinstance(error, STOPS)
        try:
            connection.rollback()
            if isinstance(error, RunTakenAway):
                event(_log, logging.WARNING, "run was taken away, rolled back")
                return "lost"
        except psycopg2.Error as lost:
            return _lost(connection, lost)
        said = str(error) if isinstance(error, BatchBrokenError) else ""
        return self._end(connection, row, function, self._ending(row, function, error), said)

    def _bury(self, connection: JobConnection, row: Mapping[str, Any], function: JobFunction) -> str:
        """A doomed job: recovery has found that it fails for good. It is not run, it ends, with the error it has."""
        if function.on_fail_method is None:
            event(_log, logging.WARNING, "job function has no on_fail_method any more")
        kept = {name: row[name] for name in ("exc_name", "exc_message")}
        return self._end(
            connection, row, function, claims.Ending("failed", None, False, **kept, mark="interrupted")
        )

    def _end(
        self, connection: JobConnection, row: Mapping[str, Any], function: JobFunction, ending: claims.Ending,
        said: str = "",
    ) -> str:  # fmt: skip
        try:
            connection.autocommit = True
            if not _settled(connection, row, ending):
                return "lost"
        except psycopg2.Error as lost:
            return _lost(connection, lost)
        outcome = ended(ending, said)
        if ending.state == "failed" and function.on_fail_method:
            self._on_fail(connection, row, function.on_fail_method)
        return outcome

    def _ending(self, row: Mapping[str, Any], function: JobFunction, error: BaseException) -> claims.Ending:
        if isinstance(error, BatchBrokenError):
            return claims.Ending("pending", None, False, mark="interrupted")
        outcome = decide(error, row, function, self._channel.retry, random)
        if isinstance(error, CancelledJobError):
            return ending_of(outcome, state="cancelled", counted=False)
        if isinstance(error, (NoSuchModelError, NoSuchMethodError)):
            since = row["unknown_since"] or row["date_started"]
            if (row["date_started"] - since).total_seconds() < self._settings.unknown_model_grace:
                return ending_of(
                    outcome,
                    state="pending",
                    delay=_UNKNOWN_CALL_PAUSE,
                    counted=False,
                    exc_info=None,
                    mark="unknown",
                )
        return ending_of(outcome, mark="concurrency" if outcome.concurrency else None)

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


def _may_share(function: JobFunction) -> bool:
    """Whether its transaction may be another job's as well."""
    return not (function.isolation or function.allow_commit)


def _lost(connection: JobConnection, error: psycopg2.Error) -> str:
    """The server has rolled the job back, or will when it notices: the new session settles the row."""
    event(_log, logging.WARNING, "connection lost in a job", error=str(error).strip())
    connection.close()
    return "lost"


def _settled(connection: JobConnection, row: Mapping[str, Any], ending: claims.Ending) -> bool:
    try:
        with connection.cursor() as cursor:
            return claims.settle(cursor, row, ending)
    except QueryCanceledError:
        # the cancel of the run's query may reach the server only now
        with connection.cursor() as cursor:
            return claims.settle(cursor, row, ending)
