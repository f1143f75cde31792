"""Run one job of Odoo's addon ``queue_job`` in process, on one of two paths.

Direct: the claim brings the row, the addon's decoder makes its recordset, the method is called, and SQL in the same
transaction says done. The addon's own: its ``Job`` and controller do everything, for whoever has hooks there. Whatever
leaves the good case on the direct path ends through the addon's ``Job`` as well. Odoo's cursor is another session than
ours, which claims and proves that the worker lives; when either is lost, both go and recovery puts the job back.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from typing import Any, Callable, Dict, Iterator, Mapping, NamedTuple, Optional, Tuple

import psycopg2

from ....exception import CancelledJobError
from ....functions import JobFunction
from ....shared.log import event
from ....shared.scoreboard import Entry, RunLimits
from ....store import claims, odoo_runs
from ...interrupt import Interrupter
from ...session import Session
from ...settings import WorkerSettings
from ..base import STOPS, RunTakenAway, Runtime, ended
from ..batch import Batch
from . import endings, hooks, paths, process

_log = logging.getLogger("queuemaster.odoo")
_AWAY_PAUSE = 5.0  # seconds before a job is tried again that Odoo could not begin
_UNDER_WAY = ("enqueued", "started")
_OUTCOMES = {"failed": "failed", "pending": "retried", "wait_dependencies": "retried"}


class _LostConnection(Exception):
    """Of the job's session."""


class _Run(NamedTuple):
    """A job under way."""

    session: Session
    row: Dict[str, Any]
    limits: RunLimits
    registry: Any
    started: bool  # by the claim; else it is enqueued
    config: Any = None  # the addon's declaration of its method


class OdooRuntime(Runtime):
    """Jobs of the databases of one odoo.conf."""

    def __init__(
        self, settings: WorkerSettings, entry: Entry, interrupter: Interrupter, channel: str
    ) -> None:
        super().__init__(settings, entry, interrupter, channel)
        self._connections = process.JobConnections()
        self._names: Dict[str, str] = {
            database.name: process.dbname(database) for database in settings.databases
        }
        self._started = True  # whether the last claim started its job
        self._signals: Dict[str, str] = {}  # by database: the last of Odoo's signals that was heeded
        self._reasons: Dict[str, Tuple[Any, str]] = {}  # by database: the registry looked at, what was found

    def _declared(self, row: Mapping[str, Any]) -> JobFunction:
        return JobFunction()  # the addon knows no timeout, and the rest only Odoo can look up

    def _is_first(self, row: Mapping[str, Any]) -> bool:
        return not row["retry"]

    def _take(self, session: Session, cursor: Any, *given: Any) -> Optional[Dict[str, Any]]:
        self._started = not self._reason_for_addon(self._names[session.database])
        return odoo_runs.claim(cursor, *given, start=self._started)

    def _next(self, session: Session, stop: Callable[[], bool]) -> Optional[Dict[str, Any]]:
        # not in the transaction of the run: that is REPEATABLE READ, and does not see what is ready by now
        if not self._slice.lasts(self.ran) or self._slice.bounds.until is not None:
            return None
        return self._claim(session, self._grant, stop)

    def _reason_for_addon(self, database: str) -> str:
        if not self._settings.direct:
            return "option direct is off"
        try:
            registry = process.registry(database)
        except Exception:  # an addon's code, or the database is away: the run will tell
            _log.debug("no registry of %s before the claim", database, exc_info=True)
            return ""
        known, reason = self._reasons.get(database, (None, ""))
        if known is not registry:
            try:
                reason = hooks.reason_for_addon(registry)
            except Exception:  # an addon that is half there: its own way says what is wrong
                _log.warning("hooks of %s cannot be looked at", database, exc_info=True)
                reason = "hooks cannot be looked at"
            self._reasons[database] = (registry, reason)
            if reason:
                event(_log, logging.INFO, "jobs take the addon's path", db=database, reason=reason)
        return reason

    # the run

    def _perform(
        self, session: Session, row: Dict[str, Any], function: JobFunction, limits: RunLimits, _batch: Batch
    ) -> str:
        assert session.connection is not None
        self.interrupted = False
        database = self._names[session.database]
        thread: Any = threading.current_thread()
        thread.dbname, thread.uid = database, row["user_id"]  # Odoo's log and some addons look there
        self._connections.name(database, session.worker_id)
        try:
            with process.environments():
                run = _Run(session, row, limits, process.registry(database), self._started)
                if row["doom_name"]:
                    return self._store(run, endings.doomed(row))
                return self._in_odoo(run)
        except RunTakenAway:
            return _given_back(session, row)
        except (_LostConnection, psycopg2.InterfaceError) as error:
            return _lost(session, error)
        except Exception as error:
            return _put_off(session, row, error)

    def _in_odoo(self, run: _Run) -> str:
        with _cursor(run.registry) as cursor:
            seen = odoo_runs.begin_run(cursor, run.row) if run.started else odoo_runs.odoo_signal(cursor)
            if seen is None:
                raise RunTakenAway
            run = run._replace(registry=self._refreshed(run, cursor, seen))
            try:
                env = process.environment(cursor)
                config = hooks.declared(env, run.row["model_name"], run.row["method_name"])
                run = run._replace(config=config)
                reason = self._reason(env, run)
                event(
                    _log, logging.DEBUG, "path", path="addon" if reason else "direct", reason=reason or None
                )

                def guard(call: Callable[[], Any]) -> Any:
                    return self._guarded(run.row, run.limits, self._connections, call)

                if not reason:
                    paths.direct(cursor, env, run.row, guard)
                else:
                    paths.by_addon(cursor, env, run.registry, run.row, guard, started=run.started)
            except BaseException as error:  # also SystemExit: a job that calls sys.exit() ends itself, not us
                return self._settle(cursor, run, error)
        return self._found(run) if reason else self._done(run)

    def _refreshed(self, run: _Run, cursor: Any, seen: str) -> Any:
        """The registry, with its caches emptied where another process has changed what they hold."""
        if self._signals.get(run.session.database) == seen:
            return run.registry
        registry = process.refreshed(run.registry, cursor)
        self._signals[run.session.database] = seen
        return registry

    def _reason(self, env: Any, run: _Run) -> str:
        """Why this job takes the addon's path; empty when it need not."""
        model, method = run.row["model_name"], run.row["method_name"]
        if run.started:
            return hooks.reason_of_job(env, run.config, model, method)
        return self._reason_for_addon(self._names[run.session.database]) or "it was not started"

    # its end

    def _done(self, run: _Run) -> str:
        """It is committed: whatever fails from here on changes nothing of that."""
        _quietly("signal changed caches", run.registry.signal_changes)
        if run.row["has_dependents"]:
            _quietly("release its children", lambda: _say(run.session, claims.release_children, run.row))
        return "done"

    def _found(self, run: _Run, error: str = "") -> str:
        """The addon has stored how it ended: what that was."""
        state = _say(run.session, odoo_runs.state_of, run.row)
        if not _say(run.session, odoo_runs.end_run, run.row) and state != "done":
            return _taken_away()
        if state == "done":
            _quietly("signal changed caches", run.registry.signal_changes)
            if run.row["has_dependents"]:
                _quietly(
                    "release its children",
                    lambda: endings.release_children(run.registry, run.row),
                )
            return "done"
        _quietly("reset caches", run.registry.reset_changes)
        outcome = _OUTCOMES.get(state, "lost")
        if outcome != "lost":
            ended(
                claims.Ending("failed" if outcome == "failed" else "pending", None, True),
                error or "see the job",
            )
        return outcome

    def _settle(self, cursor: Any, run: _Run, error: BaseException) -> str:
        if isinstance(error, paths.Stopped) and error.__cause__ is not None:
            error = error.__cause__
        self.interrupted = isinstance(error, STOPS)
        if cursor._cnx.closed:  # not the cursor, which a job may have closed itself
            raise _LostConnection(str(error).strip()) from error
        cursor.close()  # rolled back
        if isinstance(error, RunTakenAway):
            return _given_back(run.session, run.row)
        if _say(run.session, odoo_runs.state_of, run.row) not in _UNDER_WAY:
            # the addon has stored it, or what was to follow the commit failed
            _log.debug("the job's end is stored, its error is %r", error, exc_info=error)
            return self._found(run, repr(error))
        _quietly("reset caches", run.registry.reset_changes)
        if isinstance(error, CancelledJobError):
            ending = claims.Ending("cancelled", None, False, type(error).__name__, str(error))
            return ended(ending) if _say(run.session, claims.settle, run.row, ending) else _taken_away()
        return self._store(run, endings.decided(error, run.row, self._channel.retry, run.config))

    def _store(self, run: _Run, end: endings.End) -> str:
        try:
            endings.store(run.registry, run.row, end)
        except RunTakenAway:
            return _taken_away()
        except Exception:  # any addon's code that looks on
            _log.exception("Odoo cannot store the end of a job: it is stored without, and nobody is notified")
            if not _say(run.session, claims.settle, run.row, end.ending):
                return _taken_away()
        return ended(end.ending, end.result or "")


@contextlib.contextmanager
def _cursor(registry: Any) -> Iterator[Any]:
    cursor = registry.cursor()
    try:
        yield cursor
    finally:
        process.close(cursor)


def _say(session: Session, statement: Callable[..., Any], *arguments: Any) -> Any:
    """On our own session, each a transaction. psycopg2.InterfaceError when it is lost."""
    connection = session.connection
    assert connection is not None
    with connection.cursor() as cursor:
        return statement(cursor, *arguments)


def _quietly(step: str, call: Callable[[], Any]) -> None:
    try:
        call()
    except Exception as error:
        event(_log, logging.WARNING, "a step after a job failed", step=step, error=str(error).strip())


def _given_back(session: Session, row: Mapping[str, Any]) -> str:
    """It was claimed and yet could not be had: somebody has changed or locked it. If it is ours still, put it off."""
    if not _say(session, claims.settle, row, claims.Ending("pending", _AWAY_PAUSE, False)):
        return _taken_away()
    event(_log, logging.WARNING, "job is held by somebody else, put off")
    return "retried"


def _taken_away() -> str:
    event(_log, logging.WARNING, "run was taken away, rolled back")
    return "lost"


def _lost(session: Session, error: BaseException) -> str:
    # the server has rolled the job back, or will when it notices: recovery waits for that and puts the row back
    event(_log, logging.WARNING, "connection lost in a job", error=str(error).strip())
    if session.connection is not None:
        session.connection.close()
    return "lost"


def _put_off(session: Session, row: Mapping[str, Any], error: BaseException) -> str:
    """Odoo could not begin: no registry, no connection. None of the job's fault."""
    _log.error("Odoo cannot run a job, it is put off", exc_info=error)
    try:
        ending = claims.Ending("pending", _AWAY_PAUSE, False)
        return "retried" if _say(session, claims.settle, row, ending) else _taken_away()
    except psycopg2.Error as lost:
        return _lost(session, lost)
