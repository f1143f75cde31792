"""Stop a run from outside: its query is cancelled and an exception is raised in the application's code, only there.

The heartbeat's thread delivers the master's request, under a lock that the main thread takes where a job begins and
ends: so neither the cancel nor the exception can hit what comes after the run. The exception is raised by a signal's
handler, which interrupts a sleep or a system call; the handler runs in the main thread, so it cannot race with it.
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
    """Between the two threads of a worker."""

    def __init__(self, entry: Entry) -> None:
        self._entry = entry
        self._lock = threading.Lock()
        self._main = threading.get_ident()
        self._run = (0, 0)  # job and attempt while the application's code runs
        self._limits = RunLimits()
        self._connection: Any = None
        self._delivered: Optional[KillRequest] = None
        self._raised = False
        self.cause = Cause.NONE  # what stopped the last run

    def install(self) -> None:
        """Main thread: the handler stands from the beginning, the signal is ignored between runs."""
        signal.signal(_POKE, self._on_poke)

    def begin(self, job: int, attempt: int, limits: RunLimits, connection: Any) -> None:
        """The application's code begins."""
        with self._lock:
            self._run, self._limits, self._connection = (job, attempt), limits, connection
            self._delivered, self._raised = None, False
            self.cause = Cause.NONE

    def end(self) -> Optional[JobError]:
        """The application's code has ended: what stopped it, if anything did."""
        with self._lock:
            delivered, self._delivered = self._delivered, None
            self._run, self._connection = (0, 0), None
            self.cause = Cause.NONE if delivered is None else delivered.cause
        return None if delivered is None else self._error(delivered)

    def deliver(self) -> None:
        """Heartbeat's thread: pass on the master's request if it names the run under way."""
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
