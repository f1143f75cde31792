"""What every kind of queue shares about running a job: the claim, the limits, the guarded call of application code."""

from __future__ import annotations

import contextlib
import logging
import time
from typing import Any, Callable, Dict, Iterator, Mapping, NamedTuple, Optional

import psycopg2

from ...exception import CancelledJobError, LimitJobError, TimeoutJobError
from ...functions import JobFunction
from ...retry import Outcome
from ...shared.amounts import LARGEST, LONGEST
from ...shared.job_state import JobState
from ...shared.linux import own_processor_time, this_process
from ...shared.log import event, job_context
from ...shared.messages import Grant
from ...shared.scoreboard import Entry, RunLimits, State
from ...shared.stop_causes import Cause
from ...shared.work_counts import RunOutcome
from ...store import claims
from ...store.connection import wake
from ..forks import call_application
from ..interrupt import Interrupter
from ..session import Session
from ..settings import ChannelSettings, WorkerSettings
from .batch import Batch
from .grant_use import GrantUse

_log = logging.getLogger("queuemaster.worker")
STOPS = (TimeoutJobError, LimitJobError, CancelledJobError)
_STOPPED_BY = {
    Cause.TIMEOUT: RunOutcome.TIMEOUT,
    Cause.CPU: RunOutcome.CPU,
    Cause.MEMORY: RunOutcome.MEMORY,
}
# by the state in which the job is stored
_OUTCOMES = {
    JobState.FAILED: RunOutcome.FAILED,
    JobState.PENDING: RunOutcome.RETRIED,
    JobState.CANCELLED: RunOutcome.CANCELLED,
}
_WORDS = {JobState.FAILED: "failed", JobState.PENDING: "postponed", JobState.CANCELLED: "cancelled"}


class RunTakenAway(Exception):
    """The row does not belong to this run any more, it was put back: everything the run did is rolled back."""


class JobRun(NamedTuple):
    """One run of one job, from its claim to its end."""

    session: Session
    use: GrantUse
    row: Dict[str, Any]
    limits: RunLimits


class Runtime:
    """Runs the jobs of one grant after the other. Lives as long as the worker; a grant's state is in its GrantUse."""

    def __init__(
        self, settings: WorkerSettings, entry: Entry, interrupter: Interrupter, channel: str
    ) -> None:
        self._channel: ChannelSettings = settings.channels[channel]
        self._settings = settings
        self._entry = entry
        self._interrupter = interrupter
        self._process = this_process()
        self._sessions: Dict[int, Session] = {
            database.id: Session(database.dsn, database.name, channel, self._process)
            for database in settings.databases
        }

    # what each kind of queue does in its own way

    def _take(self, session: Session, cursor: Any, grant: Grant) -> Optional[Dict[str, Any]]:
        """Claim a job by a grant; None: there is none to start."""
        return claims.claim(
            cursor, grant.epoch, grant.channel, session.worker_id, self._process.pid, grant.job, grant.bound
        )

    def _declared(self, row: Mapping[str, Any]) -> JobFunction:
        """The declaration of the job's method."""
        raise NotImplementedError

    def _is_first(self, row: Mapping[str, Any]) -> bool:
        """Whether the job was never run before."""
        raise NotImplementedError

    def _perform(self, job: JobRun, function: JobFunction, batch: Batch) -> RunOutcome:
        """Run a claimed job to its end; returns which end. DONE holds for the jobs in ``batch`` too."""
        raise NotImplementedError

    def _next(self, session: Session, use: GrantUse) -> Optional[Dict[str, Any]]:
        """The next job of a slice, already started; None: the slice has ended."""
        raise NotImplementedError

    def connections(self) -> Iterator[Any]:
        """All that jobs may run on."""
        for session in self._sessions.values():
            if session.connection is not None:
                yield session.connection

    # a grant

    def warm_up(self, database: int) -> None:
        """A grant may follow: wake the server's process of our session, which is a third of what a claim takes."""
        connection = self._sessions[database].connection
        if connection is not None:
            with contextlib.suppress(psycopg2.Error):  # the claim will find out
                wake(connection)

    def run(self, use: GrantUse) -> RunOutcome:
        """Use a grant. Returns how its last run ended."""
        session = self._sessions[use.grant.database]
        row = self._claim(session, use)
        if row is None:
            self._entry.change(State.IDLE, time.monotonic_ns())
            return RunOutcome.NOTHING
        while row is not None:
            use.jobs_run += 1
            outcome = self._run(session, use, row)
            row = self._next(session, use) if outcome is RunOutcome.DONE else None
        if outcome is RunOutcome.LOST:
            session.recovered(use.orders.draining)
        return outcome

    def _run(self, session: Session, use: GrantUse, row: Dict[str, Any]) -> RunOutcome:
        function = self._declared(row)
        job = JobRun(session, use, row, self._limits(row, function))
        now = time.monotonic()
        self._enter(job)
        use.orders.claimed(row["id"])
        self._waited(row)
        batch = Batch(use.grant.batch)
        try:
            # the net under the calls of the application inside: a forked process must not settle anything
            outcome = call_application(lambda: self._perform(job, function, batch))
            seconds = (batch.began or time.monotonic()) - now
            if outcome is RunOutcome.DONE:
                self._count_others(job, batch)
                job_context.job = self._context(session, row)
                event(_log, logging.DEBUG, "job done", took=round(seconds, 3))
        finally:
            job_context.job = {}
        self._entry.count(self._counted_as(row, outcome), seconds)
        return outcome

    def _enter(self, job: JobRun) -> None:
        """A run begins."""
        row = job.row
        self._entry.change(
            State.BUSY, time.monotonic_ns(), job.use.grant.database, row["id"], row["attempt"], job.limits
        )
        job_context.job = self._context(job.session, row)
        event(_log, logging.DEBUG, "job started")

    def _waited(self, row: Mapping[str, Any]) -> None:
        if self._is_first(row):
            self._entry.waited((row["date_started"] - row["date_created"]).total_seconds())

    def _context(self, session: Session, row: Mapping[str, Any]) -> Dict[str, Any]:
        """What the log says of a job."""
        return {
            "job_uuid": row["uuid"], "model": row["model_name"], "method": row["method_name"],
            "channel": row["channel"], "attempt": row["attempt"], "db": session.database, "job": row["id"],
            "worker": self._process.pid,
        }  # fmt: skip

    def _count_others(self, job: JobRun, batch: Batch) -> None:
        """Count and log the jobs of a batch that are done with the first one."""
        job.use.jobs_run += len(batch.done)
        for row, took in batch.done:
            job_context.job = self._context(job.session, row)
            event(_log, logging.DEBUG, "job done", took=round(took, 3))
            self._waited(row)
            self._entry.count(RunOutcome.DONE, took)

    def _counted_as(self, row: Mapping[str, Any], outcome: RunOutcome) -> RunOutcome:
        """The outcome as it is counted: a stopped run counts as stopped, whether its job failed or is tried again."""
        if row.get("doomed") or row.get("doom_name"):
            return RunOutcome.NOTHING  # not run: the master counted the run that doomed it
        if outcome not in (RunOutcome.FAILED, RunOutcome.RETRIED):
            return outcome
        return _STOPPED_BY.get(self._interrupter.cause, outcome)

    def _claim(self, session: Session, use: GrantUse) -> Optional[Dict[str, Any]]:
        # a job is started before its number is known here: a death until then is charged to whatever was started
        nameless = claims.Run(0, 0)
        return self._begin(session, use, nameless, lambda cursor: self._take(session, cursor, use.grant))

    def _begin(
        self,
        session: Session,
        use: GrantUse,
        run: claims.Run,
        take: Callable[[Any], Optional[Dict[str, Any]]],
    ) -> Optional[Dict[str, Any]]:
        """The row of a started job, None when there is none. ``run``: the one to be charged if this process dies."""
        try:
            connection = session.ready()
            connection.autocommit = True
            self._entry.change(State.BUSY, time.monotonic_ns(), use.grant.database, *run)
            with connection.cursor() as cursor:
                return take(cursor)
        except psycopg2.Error as error:
            event(
                _log, logging.WARNING, "claim failed",
                db=session.database, channel=use.grant.channel, worker=self._process.pid,
                error=str(error).strip(),
            )  # fmt: skip
            if session.connection is not None:
                session.connection.close()
            if session.worker_id:
                # whether the claim got through is unknown: the slot is in use until that is settled
                session.recovered(use.orders.draining)
            return None

    def _limits(self, row: Mapping[str, Any], function: JobFunction) -> RunLimits:
        """The limits of a run: of each the job's own, else its function's, else its channel's."""

        def limit(name: str, by_channel: float) -> float:
            values = (row.get(name), getattr(function, name), by_channel)
            return min(next(value for value in values if value is not None), LARGEST)

        timeout, cpu = (
            min(limit(name, getattr(self._channel, name)), LONGEST) * 1e9 for name in ("timeout", "cpu")
        )
        memory = int(limit("memory", self._channel.memory_hard))
        return RunLimits(int(timeout), int(cpu), own_processor_time(), memory)

    def _guarded(self, job: JobRun, connection: Any, call: Callable[[], Any]) -> Any:
        """Calls the application's code. A stop from outside is raised, even if that code swallowed it."""
        error: Optional[BaseException] = None
        result = None
        self._interrupter.begin(job.row["id"], job.row["attempt"], job.limits, connection)
        try:
            result = call_application(call)
        except BaseException as raised:
            error = raised
        stopped = self._interrupter.end()
        if stopped is not None:
            raise stopped from error
        if error is not None:
            raise error
        return result


def ended(ending: claims.Ending, error: str = "") -> RunOutcome:
    """Log the end of a job that is not done; returns the run's outcome."""
    failed = ending.state is JobState.FAILED
    event(
        _log, logging.ERROR if failed else logging.INFO, f"job {_WORDS[ending.state]}",
        delay=ending.delay, error=error or f"{ending.exc_name}: {ending.exc_message}",
    )  # fmt: skip
    return _OUTCOMES[ending.state]


def ending_of(outcome: Outcome, **changes: Any) -> claims.Ending:
    """An outcome as the database takes it."""
    ending = claims.Ending(
        outcome.state, outcome.delay, outcome.counted, outcome.exc_name, outcome.exc_message, outcome.exc_info
    )
    return ending._replace(**changes)
