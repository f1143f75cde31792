"""Run one job of Odoo's addon ``queue_job`` in this process, on one of two paths.

The direct path: the claim returns the row, the addon's decoder makes the recordset, the method is called, and SQL in
the same transaction sets ``done``. Any other end than ``done`` is stored through the addon's ``Job``. The addon's path:
its ``Job`` and controller do everything, so that code which hooks into them is called.

Odoo's cursor belongs to another session than ours, which claims jobs and proves that the worker is alive. When either
is lost, both are closed and recovery puts the job back.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from typing import Any, Callable, Dict, Iterator, Mapping, NamedTuple, Optional, Tuple

import psycopg2

from ....exception import CancelledJobError
from ....functions import JobFunction
from ....shared.job_state import JobState
from ....shared.log import event
from ....shared.messages import Grant
from ....shared.scoreboard import Entry
from ....shared.work_counts import RunOutcome
from ....store import claims, odoo_runs
from ...interrupt import Interrupter
from ...session import Session
from ...settings import WorkerSettings
from ..base import STOPS, JobRun, RunTakenAway, Runtime, ended
from ..batch import Batch
from ..grant_use import GrantUse
from . import endings, hooks, paths, process

_log = logging.getLogger("queuemaster.odoo")
_AWAY_PAUSE = 5.0  # seconds until the next try of a job that Odoo could not start
_UNDER_WAY = (JobState.ENQUEUED, JobState.STARTED)
# by the state in which the addon stored the job
_OUTCOMES = {
    JobState.FAILED: RunOutcome.FAILED,
    JobState.PENDING: RunOutcome.RETRIED,
    JobState.WAIT_DEPENDENCIES: RunOutcome.RETRIED,
}


class _LostConnection(Exception):
    """The connection of Odoo's cursor, on which the job ran, is lost."""


class _Run(NamedTuple):
    """A claimed job and what its run needs."""

    job: JobRun
    registry: Any
    config: Any = None  # the addon's JobConfig of its method

    @property
    def session(self) -> Session:
        """Our session, beside that of Odoo's cursor."""
        return self.job.session

    @property
    def row(self) -> Dict[str, Any]:
        """The job's row as it was claimed."""
        return self.job.row

    @property
    def started(self) -> bool:
        """Whether the claim has started the job; else it is enqueued, and the addon starts it."""
        return bool(self.row["started_by_claim"])


class OdooRuntime(Runtime):
    """Runs the jobs of the databases of one odoo.conf."""

    def __init__(
        self, settings: WorkerSettings, entry: Entry, interrupter: Interrupter, channel: str
    ) -> None:
        super().__init__(settings, entry, interrupter, channel)
        self._connections = process.JobConnections()
        self._names: Dict[str, str] = {
            database.name: process.dbname(database) for database in settings.databases
        }
        # by database: Odoo's cache signals when its registry was refreshed last
        self._signals: Dict[str, str] = {}
        # by database: the registry that was examined, and the reason
        self._reasons: Dict[str, Tuple[Any, str]] = {}

    def connections(self) -> Iterator[Any]:
        """Ours, and all that Odoo has open."""
        yield from super().connections()
        yield from self._connections.opened()

    def _declared(self, row: Mapping[str, Any]) -> JobFunction:
        return JobFunction()  # the addon has no timeouts, and only Odoo itself can look up the rest

    def _is_first(self, row: Mapping[str, Any]) -> bool:
        return not row["retry"]

    def _take(self, session: Session, cursor: Any, grant: Grant) -> Optional[Dict[str, Any]]:
        start = not self._reason_for_addon(self._names[session.database])
        row = odoo_runs.claim(
            cursor, grant.epoch, grant.channel, session.worker_id, self._process.pid, grant.job, grant.bound,
            start=start,
        )  # fmt: skip
        return None if row is None else {**row, "started_by_claim": start}

    def _next(self, session: Session, use: GrantUse) -> Optional[Dict[str, Any]]:
        # not in the transaction of the run, which is REPEATABLE READ and does not see the jobs that are ready now
        if not use.may_go_on() or use.bounds.until is not None:
            return None
        return self._claim(session, use)

    def _reason_for_addon(self, database: str) -> str:
        if not self._settings.direct:
            return "option direct is off"
        try:
            registry = process.registry(database)
        except Exception:  # an addon's code failed, or the database is away: the run shows the same error
            _log.debug("no registry of %s before the claim", database, exc_info=True)
            return ""
        examined, reason = self._reasons.get(database, (None, ""))
        if examined is not registry:
            try:
                reason = hooks.reason_for_addon(registry)
            except Exception:  # an addon is broken: on the addon's path its own error shows
                _log.warning("hooks of %s cannot be looked at", database, exc_info=True)
                reason = "hooks cannot be looked at"
            self._reasons[database] = (registry, reason)
            if reason:
                event(_log, logging.INFO, "jobs take the addon's path", db=database, reason=reason)
        return reason

    # the run

    def _perform(self, job: JobRun, function: JobFunction, _batch: Batch) -> RunOutcome:
        session, row = job.session, job.row
        assert session.connection is not None
        # it may still be true of an earlier job of the slice: stopped when the addon had stored that job's end already
        job.use.run_was_stopped = False
        database = self._names[session.database]
        thread: Any = threading.current_thread()
        thread.dbname, thread.uid = database, row["user_id"]  # read by Odoo's logging and some addons
        self._connections.name(database, session.worker_id)
        try:
            with process.environments():
                run = _Run(job, process.registry(database))
                if row["doom_name"]:
                    return self._store(run, endings.doomed(row))
                return self._in_odoo(run)
        except RunTakenAway:
            return _given_back(session, row)
        except (_LostConnection, psycopg2.InterfaceError) as error:
            return _lost(session, error)
        except Exception as error:
            return _put_off(session, row, error)

    def _in_odoo(self, run: _Run) -> RunOutcome:
        with _cursor(run.registry) as cursor:
            signal = odoo_runs.begin_run(cursor, run.row) if run.started else odoo_runs.odoo_signal(cursor)
            if signal is None:
                raise RunTakenAway
            run = run._replace(registry=self._refreshed(run, cursor, signal))
            try:
                env = process.environment(cursor)
                config = hooks.declared(env, run.row["model_name"], run.row["method_name"])
                run = run._replace(config=config)
                reason = self._reason(env, run)
                event(
                    _log, logging.DEBUG, "path", path="addon" if reason else "direct", reason=reason or None
                )

                def guard(call: Callable[[], Any]) -> Any:
                    return self._guarded(run.job, self._connections, call)

                if not reason:
                    paths.direct(cursor, env, run.row, guard)
                else:
                    paths.by_addon(cursor, env, run.registry, run.row, guard, started=run.started)
            except BaseException as error:  # SystemExit too: sys.exit() in a job must not end the worker
                return self._settle(cursor, run, error)
        return self._stored_by_addon(run) if reason else self._done(run)

    def _refreshed(self, run: _Run, cursor: Any, signal: str) -> Any:
        """The registry, with caches emptied whose contents another process has changed since the last job."""
        if self._signals.get(run.session.database) == signal:
            return run.registry
        registry = process.refreshed(run.registry, cursor)
        self._signals[run.session.database] = signal
        return registry

    def _reason(self, env: Any, run: _Run) -> str:
        """Why this job takes the addon's path; empty if it need not."""
        model, method = run.row["model_name"], run.row["method_name"]
        if run.started:
            return hooks.reason_of_job(env, run.config, model, method)
        return self._reason_for_addon(self._names[run.session.database]) or "it was not started"

    # its end

    def _done(self, run: _Run) -> RunOutcome:
        """The outcome of a run whose ``done`` is committed. Errors of the steps after the commit cannot change it."""
        _quietly("signal changed caches", run.registry.signal_changes)
        if run.row["has_dependents"]:
            _quietly("release its children", lambda: _execute(run.session, claims.release_children, run.row))
        return RunOutcome.DONE

    def _stored_by_addon(self, run: _Run, error: str = "") -> RunOutcome:
        """The outcome of a run whose end the addon has stored, read from the job's state."""
        state = _execute(run.session, odoo_runs.state_of, run.row)
        if not _execute(run.session, odoo_runs.end_run, run.row) and state != JobState.DONE:
            return _taken_away()
        if state == JobState.DONE:
            _quietly("signal changed caches", run.registry.signal_changes)
            if run.row["has_dependents"]:
                _quietly(
                    "release its children",
                    lambda: endings.release_children(run.registry, run.row),
                )
            return RunOutcome.DONE
        _quietly("reset caches", run.registry.reset_changes)
        outcome = _OUTCOMES.get(state, RunOutcome.LOST)
        if outcome is not RunOutcome.LOST:
            ended(
                claims.Ending(
                    JobState.FAILED if outcome is RunOutcome.FAILED else JobState.PENDING, None, True
                ),
                error or "see the job",
            )
        return outcome

    def _settle(self, cursor: Any, run: _Run, error: BaseException) -> RunOutcome:
        if isinstance(error, paths.Stopped) and error.__cause__ is not None:
            error = error.__cause__
        run.job.use.run_was_stopped = isinstance(error, STOPS)
        if cursor._cnx.closed:  # not cursor.closed: the job may have closed the cursor itself
            raise _LostConnection(str(error).strip()) from error
        cursor.close()  # this rolls back
        if isinstance(error, RunTakenAway):
            return _given_back(run.session, run.row)
        if _execute(run.session, odoo_runs.state_of, run.row) not in _UNDER_WAY:
            # the addon has stored the end, or the error came after the commit
            _log.debug("the job's end is stored, its error is %r", error, exc_info=error)
            return self._stored_by_addon(run, repr(error))
        _quietly("reset caches", run.registry.reset_changes)
        if isinstance(error, CancelledJobError):
            ending = claims.Ending(JobState.CANCELLED, None, False, type(error).__name__, str(error))
            return ended(ending) if _execute(run.session, claims.settle, run.row, ending) else _taken_away()
        return self._store(run, endings.decided(error, run.row, self._channel.retry, run.config))

    def _store(self, run: _Run, end: endings.End) -> RunOutcome:
        try:
            endings.store(run.registry, run.row, end)
        except RunTakenAway:
            return _taken_away()
        except Exception:  # storing runs hooks of other addons
            _log.exception("Odoo cannot store the end of a job: it is stored without, and nobody is notified")
            if not _execute(run.session, claims.settle, run.row, end.ending):
                return _taken_away()
        return ended(end.ending, end.result or "")


@contextlib.contextmanager
def _cursor(registry: Any) -> Iterator[Any]:
    cursor = registry.cursor()
    try:
        yield cursor
    finally:
        process.close(cursor)


def _execute(session: Session, statement: Callable[..., Any], *arguments: Any) -> Any:
    """Execute a statement on our session, in a transaction of its own. psycopg2.InterfaceError if it is lost."""
    connection = session.connection
    assert connection is not None
    with connection.cursor() as cursor:
        return statement(cursor, *arguments)


def _quietly(step: str, call: Callable[[], Any]) -> None:
    """Make the call, and only log an error of it: the job has ended already."""
    try:
        call()
    except Exception as error:
        event(_log, logging.WARNING, "a step after a job failed", step=step, error=str(error).strip())


def _given_back(session: Session, row: Mapping[str, Any]) -> RunOutcome:
    """Put off a claimed job whose run could not begin, since another session has changed or locked its row.

    If the job is not ours any more, the run is lost.
    """
    if not _execute(session, claims.settle, row, claims.Ending(JobState.PENDING, _AWAY_PAUSE, False)):
        return _taken_away()
    event(_log, logging.WARNING, "job is held by somebody else, put off")
    return RunOutcome.RETRIED


def _taken_away() -> RunOutcome:
    event(_log, logging.WARNING, "run was taken away, rolled back")
    return RunOutcome.LOST


def _lost(session: Session, error: BaseException) -> RunOutcome:
    # the server rolls the job back when it notices the loss; recovery waits for that and puts the row back
    event(_log, logging.WARNING, "connection lost in a job", error=str(error).strip())
    if session.connection is not None:
        session.connection.close()
    return RunOutcome.LOST


def _put_off(session: Session, row: Mapping[str, Any], error: BaseException) -> RunOutcome:
    """Put off a job that Odoo could not start, without a registry or a connection. The try does not count."""
    _log.error("Odoo cannot run a job, it is put off", exc_info=error)
    try:
        ending = claims.Ending(JobState.PENDING, _AWAY_PAUSE, False)
        return RunOutcome.RETRIED if _execute(session, claims.settle, row, ending) else _taken_away()
    except psycopg2.Error as settle_error:
        return _lost(session, settle_error)
