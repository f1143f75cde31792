"""What running a job has in common, whatever the queue: the claim, the limits, the application's code under guard."""

from __future__ import annotations

import contextlib
import logging
import time
from typing import Any, Callable, Dict, Mapping, Optional

import psycopg2

from ...exception import CancelledJobError, LimitJobError, TimeoutJobError
from ...functions import JobFunction
from ...retry import Outcome
from ...shared.amounts import LARGEST, LONGEST
from ...shared.linux import own_processor_time, this_process
from ...shared.log import event, job_context
from ...shared.scoreboard import Entry, RunLimits, State
from ...shared.stop_causes import Cause
from ...store import claims
from ...store.connection import wake
from ..interrupt import Interrupter
from ..session import Session
from ..settings import ChannelSettings, WorkerSettings
from .batch import Batch
from .slices import Slice

_log = logging.getLogger("queuemaster.worker")
STOPS = (TimeoutJobError, LimitJobError, CancelledJobError)
_STOPPED_BY = {Cause.TIMEOUT: "timeout", Cause.CPU: "cpu", Cause.MEMORY: "memory"}
_WORDS = {"failed": "failed", "pending": "postponed", "cancelled": "cancelled"}


class RunTakenAway(Exception):
    """The row is not this run's any more: somebody put it back. Nothing is kept."""


class Runtime:
    """Everything a worker needs to run jobs; lives as long as the worker."""

    def __init__(
        self, settings: WorkerSettings, entry: Entry, interrupter: Interrupter, channel: str
    ) -> None:
        self._channel: ChannelSettings = settings.channels[channel]
        self._settings = settings
        self._entry = entry
        self._interrupter = interrupter
        self._process = this_process()
        self.interrupted = False  # a run was stopped from outside
        self.broken = False  # a batch came to nothing
        self.ran = 0  # jobs, by the last grant
        self._called_off: Callable[[], bool] = lambda: False  # whether a batch should come to its end
        self._following: Optional[claims.Run] = None  # claimed along with the end of the last run
        self._grant: Mapping[str, Any] = {}
        self._sessions: Dict[int, Session] = {
            database.id: Session(database.dsn, database.name, channel, self._process)
            for database in settings.databases
        }

    # what a queue has of its own

    def _take(self, session: Session, cursor: Any, *given: Any) -> Optional[Dict[str, Any]]:
        """Claim a job by a grant."""
        return claims.claim(cursor, *given)

    def _declared(self, row: Mapping[str, Any]) -> JobFunction:
        """What is declared for the job's method."""
        raise NotImplementedError

    def _is_first(self, row: Mapping[str, Any]) -> bool:
        """Whether the job was never run before."""
        raise NotImplementedError

    def _perform(
        self, session: Session, row: Dict[str, Any], function: JobFunction, limits: RunLimits, batch: Batch
    ) -> str:
        """Run a claimed job to its end, whatever that is; says which. When it is done, those of the batch are too."""
        raise NotImplementedError

    # a grant

    def wake(self, database: int) -> None:
        """A grant may come: have our session's process on its feet, which is a third of what a claim takes."""
        connection = self._sessions[database].connection
        if connection is not None:
            with contextlib.suppress(psycopg2.Error):  # the claim will find out
                wake(connection)

    def run(
        self, grant: Mapping[str, Any], claimed: Callable[[int], None], stop: Callable[[], bool],
        called_off: Callable[[], bool] = lambda: False, worn: Callable[[int], bool] = lambda ran: False,
    ) -> str:  # fmt: skip
        """Use a grant. Returns how its last run ended: done, failed, retried, cancelled, lost, or nothing (no run).

        ``called_off``: no further job should follow; ``worn``: nor when the worker has run so many.
        """
        session = self._sessions[grant["database"]]
        self.broken, self.ran, self._called_off, self._grant = False, 0, called_off, grant
        self._slice = Slice(grant, lambda ran: called_off() or worn(ran))
        row = self._claim(session, grant, stop)
        if row is None:
            self._entry.change(State.IDLE, time.monotonic_ns())
            return "nothing"
        while row is not None:
            self.ran += 1
            outcome = self._run(session, row, claimed)
            row = self._next(session, stop) if outcome == "done" else None
        if outcome == "lost":
            session.recovered(stop)
        return outcome

    def _next(self, session: Session, stop: Callable[[], bool]) -> Optional[Dict[str, Any]]:
        """The next job of a slice, started."""
        raise NotImplementedError

    def _run(self, session: Session, row: Dict[str, Any], claimed: Callable[[int], None]) -> str:
        function = self._declared(row)
        limits = self._limits(row, function)
        now = time.monotonic()
        self._enter(session, row, limits)
        claimed(row["id"])
        self._waited(row)
        batch = Batch(self._grant.get("batch", 1))
        try:
            outcome = self._perform(session, row, function, limits, batch)
            seconds = (batch.began or time.monotonic()) - now
            if outcome == "done":
                self._count_others(session, batch)
                job_context.job = self._context(session, row)
                event(_log, logging.DEBUG, "job done", took=round(seconds, 3))
        finally:
            job_context.job = {}
        self._entry.count(self._counted_as(row, outcome), seconds)
        return outcome

    def _enter(self, session: Session, row: Mapping[str, Any], limits: RunLimits) -> None:
        """A run begins."""
        self._entry.change(
            State.BUSY, time.monotonic_ns(), self._grant["database"], row["id"], row["attempt"], limits
        )
        job_context.job = self._context(session, row)
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

    def _count_others(self, session: Session, batch: Batch) -> None:
        """They are done with the first one."""
        self.ran += len(batch.done)
        for row, took in batch.done:
            job_context.job = self._context(session, row)
            event(_log, logging.DEBUG, "job done", took=round(took, 3))
            self._waited(row)
            self._entry.count("done", took)

    def _counted_as(self, row: Mapping[str, Any], outcome: str) -> str:
        """A run that was stopped counts as that, whether its job failed or is tried again."""
        if row.get("doomed") or row.get("doom_name"):
            return "nothing"  # it was not run: the master has counted the run that it is doomed for
        if outcome not in ("failed", "retried"):
            return outcome
        return _STOPPED_BY.get(self._interrupter.cause, outcome)

    def _claim(
        self, session: Session, grant: Mapping[str, Any], stop: Callable[[], bool]
    ) -> Optional[Dict[str, Any]]:
        # a job is started before we know which: if we die by then, it is whatever we have started
        return self._begin(
            session, stop, claims.Run(0, 0),
            lambda cursor: self._take(
                session, cursor, grant["epoch"], grant["channel"], session.worker_id, self._process.pid,
                grant["job"], grant["bound"],
            ),
        )  # fmt: skip

    def _begin(
        self, session: Session, stop: Callable[[], bool], run: claims.Run,
        take: Callable[[Any], Optional[Dict[str, Any]]],
    ) -> Optional[Dict[str, Any]]:  # fmt: skip
        """The row of a started job, None when there is none. ``run``: which one we die of, if we do."""
        try:
            connection = session.ready()
            connection.autocommit = True
            self._entry.change(State.BUSY, time.monotonic_ns(), self._grant["database"], *run)
            with connection.cursor() as cursor:
                return take(cursor)
        except psycopg2.Error as error:
            event(
                _log, logging.WARNING, "claim failed",
                db=session.database, channel=self._grant["channel"], worker=self._process.pid,
                error=str(error).strip(),
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
            values = (row.get(name), getattr(function, name), by_channel)
            return min(next(value for value in values if value is not None), LARGEST)

        timeout, cpu = (
            min(said(name, getattr(self._channel, name)), LONGEST) * 1e9 for name in ("timeout", "cpu")
        )
        memory = int(said("memory", self._channel.memory_hard))
        return RunLimits(int(timeout), int(cpu), own_processor_time(), memory)

    def _guarded(
        self, row: Mapping[str, Any], limits: RunLimits, connection: Any, call: Callable[[], Any]
    ) -> Any:
        """The application's code, which may be stopped from outside. Whether it swallowed that is all the same."""
        error: Optional[BaseException] = None
        result = None
        self._interrupter.begin(row["id"], row["attempt"], limits, connection)
        try:
            result = call()
        except BaseException as raised:
            error = raised
        stopped = self._interrupter.end()
        if stopped is not None:
            raise stopped from error
        if error is not None:
            raise error
        return result


def ended(ending: claims.Ending, error: str = "") -> str:
    """Log how a job ended that is not done; what the dispatcher calls that."""
    failed = ending.state == "failed"
    event(
        _log, logging.ERROR if failed else logging.INFO, f"job {_WORDS[ending.state]}",
        delay=ending.delay, error=error or f"{ending.exc_name}: {ending.exc_message}",
    )  # fmt: skip
    return {"failed": "failed", "pending": "retried"}.get(ending.state, ending.state)


def ending_of(outcome: Outcome, **changes: Any) -> claims.Ending:
    """An outcome as the database takes it."""
    ending = claims.Ending(
        outcome.state, outcome.delay, outcome.counted, outcome.exc_name, outcome.exc_message, outcome.exc_info
    )
    return ending._replace(**changes)
