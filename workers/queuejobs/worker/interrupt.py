"""Stop a run from outside: cancel its query, and raise an exception in the application's code and only there.

The heartbeat's thread delivers the master's request under a lock that the main thread takes where a run begins and
ends, so that neither the cancel nor the exception can hit anything after the run. A signal handler raises the
exception: the signal interrupts a sleep or a system call, and the handler runs in the main thread, so it cannot race
with it.
"""

from __future__ import annotations

import logging
import signal
import threading
from typing import Any, Optional

import psycopg2

from ..exception import CancelledJobError, JobError, LimitJobError, TimeoutJobError
from ..shared.log import event
from ..shared.scoreboard import Entry, KillRequest, RunLimits
from ..shared.stop_causes import Cause, describe

_log = logging.getLogger("queuemaster.worker")
_POKE = signal.SIGUSR2
_ERRORS = {Cause.TIMEOUT: TimeoutJobError, Cause.CANCEL: CancelledJobError}


class Interrupter:
    """Passes a stop request from the heartbeat's thread to the main thread, which runs the jobs."""

    def __init__(self, entry: Entry) -> None:
        self._entry = entry
        self._lock = threading.Lock()
        self._main = threading.get_ident()
        self._run = (0, 0)  # job id and attempt while the application's code runs
        self._limits = RunLimits()
        self._connection: Any = None
        self._delivered: Optional[KillRequest] = None
        self._raised = False
        self.cause = Cause.NONE  # why the last run was stopped

    def install(self) -> None:
        """In the main thread: set the signal handler, which does nothing between runs."""
        signal.signal(_POKE, self._on_poke)

    def begin(self, job: int, attempt: int, limits: RunLimits, connection: Any) -> None:
        """In the main thread: the application's code begins."""
        with self._lock:
            self._run, self._limits, self._connection = (job, attempt), limits, connection
            self._delivered, self._raised = None, False
            self.cause = Cause.NONE

    def end(self) -> Optional[JobError]:
        """In the main thread: the application's code has ended. Returns the error that stopped it, or None."""
        with self._lock:
            delivered, self._delivered = self._delivered, None
            self._run, self._connection = (0, 0), None
            self.cause = Cause.NONE if delivered is None else delivered.cause
        return None if delivered is None else self._error(delivered)

    def deliver(self) -> None:
        """In the heartbeat's thread: carry out the master's request if it names the current run."""
        request = self._entry.kill_request()
        if request is None:
            return
        with self._lock:
            if (request.job, request.attempt) != self._run or self._delivered is not None:
                return
            self._delivered = request
            event(_log, logging.WARNING, "run is stopped", job=request.job, attempt=request.attempt,
                  cause=self._text(request))  # fmt: skip
            try:
                self._connection.cancel()
            except psycopg2.Error as error:
                event(_log, logging.WARNING, "query could not be cancelled", error=str(error).strip())
            signal.pthread_kill(self._main, _POKE)

    def _on_poke(self, _signum: int, _frame: Any) -> None:
        delivered = self._delivered
        if delivered is not None and self._run != (0, 0) and not self._raised:
            self._raised = True
            raise self._error(delivered)

    def _text(self, request: KillRequest) -> str:
        limits = {
            Cause.TIMEOUT: self._limits.timeout,
            Cause.CPU: self._limits.cpu,
            Cause.MEMORY: self._limits.memory,
        }
        return describe(request.cause, request.value, limits.get(request.cause, 0))

    def _error(self, request: KillRequest) -> JobError:
        return _ERRORS.get(request.cause, LimitJobError)(self._text(request))
