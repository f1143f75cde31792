"""The thread that beats while the main thread runs a job, and that ends the worker when it has to go.

Signals reach it through the wakeup descriptor, to which Python's C handler writes even while the main thread is
inside a query or a C call. A draining worker takes no new job; the running one has ``graceful_timeout`` seconds, then
the whole process group is killed, so that the child processes of the job go too.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import threading
import time
from typing import Optional

from ..shared import log
from ..shared.log import event
from ..shared.scoreboard import Entry
from .interrupt import Interrupter

INTERVAL = 1.0  # seconds between two beats
_log = logging.getLogger("queuemaster.worker")


class Heartbeat(threading.Thread):
    """Started after the fork; runs until the process ends."""

    def __init__(
        self,
        entry: Entry,
        link: socket.socket,
        interrupter: Interrupter,
        master: int,
        graceful_timeout: float,
    ) -> None:
        super().__init__(name="queuemaster-heartbeat", daemon=True)
        self._entry = entry
        self._link = link
        self._interrupter = interrupter
        self._master = master
        self._graceful_timeout = graceful_timeout
        self._deadline: Optional[float] = None
        self._wake, self._wakeup = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def listen_to_signals(self) -> None:
        """In the main thread: TERM drains the worker, USR1 announces a kill request, INT is the master's."""
        signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)
        for signum in (signal.SIGTERM, signal.SIGUSR1):
            # the byte is written to the descriptor only if there is a handler
            signal.signal(signum, lambda _signum, _frame: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def run(self) -> None:
        """Beat once a second, react to signals, and drain when the master has died."""
        while True:
            self._entry.beat(time.monotonic_ns())
            readable, _, _ = select.select([self._wake], [], [], INTERVAL)
            if readable and signal.SIGTERM in os.read(self._wake, 512):
                self._drain("told to end")
            self._interrupter.deliver()
            log.follow()
            if os.getppid() != self._master:
                self._drain("the master is gone")
            if self._deadline is not None and time.monotonic() >= self._deadline:
                event(_log, logging.WARNING, "job still runs after graceful_timeout, killed")
                os.killpg(0, signal.SIGKILL)

    def draining(self) -> bool:
        """Whether no new job may be started."""
        return self._deadline is not None

    def _drain(self, why: str) -> None:
        if self._deadline is not None:
            return
        event(_log, logging.DEBUG, "worker drains", why=why)
        self._deadline = time.monotonic() + self._graceful_timeout
        # the main thread reads end-of-file from its link when it looks for the next message
        self._link.shutdown(socket.SHUT_RD)
