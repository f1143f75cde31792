"""Run one job of the native queue: claim, perform, finish in the job's own transaction."""

from __future__ import annotations

import logging
import random
import time
from typing import Any, Dict, Mapping, Optional

import psycopg2
from psycopg2.extensions import QueryCanceledError

from ...exception import CancelledJobError, NoSuchMethodError, NoSuchModelError
from ...functions import JobFunction, lookup
from ...perform import perform, perform_on_fail
from ...retry import decide
from ...shared.job_state import JobState
from ...shared.log import event, job_context
from ...shared.work_counts import RunOutcome
from ...store import claims
from ...store.atomic import set_isolation
from ..forks import call_application
from ..session import JobConnection, Session
from .base import STOPS, JobRun, RunTakenAway, Runtime, ended, ending_of
from .batch import Batch, BatchBrokenError
from .grant_use import GrantUse

_log = logging.getLogger("queuemaster.worker")
_UNKNOWN_CALL_PAUSE = 5.0  # seconds between two looks for a model that a deploy may bring


class NativeRuntime(Runtime):
    """Jobs of applications on ``queuejobs``: the connection that claims and runs a job also holds the liveness lock."""

    def _declared(self, row: Mapping[str, Any]) -> JobFunction:
        return lookup(row["model_name"], row["method_name"])

    def _is_first(self, row: Mapping[str, Any]) -> bool:
        return bool(row["attempt"] == 1)

    def _next(self, session: Session, use: GrantUse) -> Optional[Dict[str, Any]]:
        run = use.take_next_run()
        if run is None:
            return None
        return self._begin(session, use, run, lambda cursor: claims.started(cursor, run, session.worker_id))

    # the run

    def _perform(self, job: JobRun, function: JobFunction, batch: Batch) -> RunOutcome:
        connection, row = job.session.connection, job.row
        assert connection is not None
        if row["doomed"]:
            return self._bury(connection, row, function)
        started = time.monotonic()
        try:
            connection.autocommit = False
            with connection.cursor() as cursor:
                if function.isolation:
                    set_isolation(cursor, function.isolation)  # one of three
                result = self._call(job, connection, cursor, function)
                # a snapshot does not see which parents are done by now: children are released after the commit
                apart = function.isolation not in (None, "read committed")
                if not self._finish(cursor, job, result, time.monotonic() - started, apart):
                    raise RunTakenAway
                if row["attempt"] == 1 and not row["graph_uuid"] and _may_share(function):
                    self._go_on(cursor, job, batch)
            connection.commit()
        except BaseException as error:  # also SystemExit: a job that calls sys.exit() ends itself, not us
            next_run = job.use.take_next_run()
            outcome = self._settle(job, connection, function, self._blamed(job, batch, error))
            if next_run is not None and outcome is RunOutcome.LOST and not connection.closed:
                # the commit had gone through when the exception came (a timer of the application, say): the next job
                # is started and nobody runs it. Closing the session makes the next one settle that row
                connection.close()
            return outcome
        if apart:
            self._release(connection, row)
        return RunOutcome.DONE

    def _finish(self, cursor: Any, job: JobRun, result: Optional[str], seconds: float, apart: bool) -> bool:
        if apart or not job.use.may_go_on():
            return claims.finish(cursor, job.row, result, seconds, release=not apart)
        finished, job.use.next_run = claims.finish_and_claim(
            cursor, job.row, result, seconds, job.use.bounds, self._process.pid
        )
        return finished

    def _call(
        self, job: JobRun, connection: JobConnection, cursor: Any, function: JobFunction
    ) -> Optional[str]:
        def call() -> Optional[str]:
            try:
                connection.in_job = not function.allow_commit
                return perform(cursor, job.row)
            finally:
                connection.in_job = False

        result: Optional[str] = self._guarded(job, connection, call)
        return result

    # those that follow it in its transaction

    def _go_on(self, cursor: Any, first: JobRun, batch: Batch) -> None:
        worker_id = first.session.worker_id
        batch.go_on(
            cursor,
            first.row,
            lambda before: claims.claim_next(cursor, before, worker_id, self._process.pid),
            lambda row: self._joined(cursor, first, row),
            lambda row: claims.leave_batch(cursor, row),
            first.use.orders.called_off,
        )

    def _joined(self, cursor: Any, first: JobRun, row: Dict[str, Any]) -> Optional[bool]:
        """Run the job. False: roll back what it did, it runs alone next; None: it was not run."""
        function = self._declared(row)
        if not _may_share(function):
            return None
        connection, started = cursor.connection, time.monotonic()
        job = JobRun(first.session, first.use, row, self._limits(row, function))
        self._enter(job)
        try:
            result = self._call(job, connection, cursor, function)
            return claims.finish(cursor, row, result, time.monotonic() - started)
        except BaseException as error:  # SystemExit too, as for a job that runs alone
            connection.in_job = False
            if connection.closed:
                raise
            job.use.run_was_stopped = isinstance(error, STOPS)
            event(_log, logging.INFO, "job leaves its batch", error=repr(error))
            return False

    def _blamed(self, first: JobRun, batch: Batch, error: BaseException) -> BaseException:
        """The error that the first job ends with: its own, unless other jobs shared its transaction."""
        if not batch.others:
            return error
        first.use.batch_broke = True
        job_context.job = self._context(first.session, first.row)
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
        self, job: JobRun, connection: JobConnection, function: JobFunction, error: BaseException
    ) -> RunOutcome:
        # the exception of a stop may have come at the very end of the application's code, before this was undone
        connection.in_job = False
        job.use.run_was_stopped = job.use.run_was_stopped or isinstance(error, STOPS)
        try:
            connection.rollback()
            if isinstance(error, RunTakenAway):
                event(_log, logging.WARNING, "run was taken away, rolled back")
                return RunOutcome.LOST
        except psycopg2.Error as lost:
            return _lost(connection, lost)
        shown = str(error) if isinstance(error, BatchBrokenError) else ""
        return self._end(connection, job.row, function, self._ending(job.row, function, error), shown)

    def _bury(self, connection: JobConnection, row: Mapping[str, Any], function: JobFunction) -> RunOutcome:
        """End a doomed job, which failed for good according to recovery: it is not run and keeps its error."""
        if function.on_fail_method is None:
            event(_log, logging.WARNING, "job function has no on_fail_method any more")
        kept = {name: row[name] for name in ("exc_name", "exc_message")}
        return self._end(
            connection, row, function, claims.Ending(JobState.FAILED, None, False, **kept, mark="interrupted")
        )

    def _end(
        self, connection: JobConnection, row: Mapping[str, Any], function: JobFunction, ending: claims.Ending,
        shown: str = "",
    ) -> RunOutcome:  # fmt: skip
        try:
            connection.autocommit = True
            if not _settled(connection, row, ending):
                return RunOutcome.LOST
        except psycopg2.Error as lost:
            return _lost(connection, lost)
        outcome = ended(ending, shown)
        if ending.state is JobState.FAILED and function.on_fail_method:
            self._on_fail(connection, row, function.on_fail_method)
        return outcome

    def _ending(self, row: Mapping[str, Any], function: JobFunction, error: BaseException) -> claims.Ending:
        if isinstance(error, BatchBrokenError):
            return claims.Ending(JobState.PENDING, None, False, mark="interrupted")
        outcome = decide(error, row, function, self._channel.retry, random)
        if isinstance(error, CancelledJobError):
            return ending_of(outcome, state=JobState.CANCELLED, counted=False)
        if isinstance(error, (NoSuchModelError, NoSuchMethodError)):
            since = row["unknown_since"] or row["date_started"]
            if (row["date_started"] - since).total_seconds() < self._settings.unknown_model_grace:
                return ending_of(
                    outcome,
                    state=JobState.PENDING,
                    delay=_UNKNOWN_CALL_PAUSE,
                    counted=False,
                    exc_info=None,
                    mark="unknown",
                )
        return ending_of(outcome, mark="concurrency" if outcome.concurrency else None)

    def _on_fail(self, connection: JobConnection, row: Mapping[str, Any], method: str) -> None:
        """Call the ``on_fail_method``, in a transaction of its own. If it fails, nothing of the job changes."""
        try:
            connection.autocommit = False
            with connection.cursor() as cursor:
                connection.in_job = True
                try:
                    call_application(lambda: perform_on_fail(cursor, row, method))
                finally:
                    connection.in_job = False
            connection.commit()
        except BaseException:  # whatever the application raises
            _log.exception("on_fail_method %s failed", method)
            if not connection.closed:
                connection.rollback()


def _may_share(function: JobFunction) -> bool:
    """Whether a job of this function may share its transaction with other jobs."""
    return not (function.isolation or function.allow_commit)


def _lost(connection: JobConnection, error: psycopg2.Error) -> RunOutcome:
    """The server has rolled the job back, or will when it notices: the new session settles the row."""
    event(_log, logging.WARNING, "connection lost in a job", error=str(error).strip())
    connection.close()
    return RunOutcome.LOST


def _settled(connection: JobConnection, row: Mapping[str, Any], ending: claims.Ending) -> bool:
    try:
        with connection.cursor() as cursor:
            return claims.settle(cursor, row, ending)
    except QueryCanceledError:
        # the cancel of the run's query may reach the server only now
        with connection.cursor() as cursor:
            return claims.settle(cursor, row, ending)
