"""A worker: forked into a channel's pool, one job at a time, until its link ends."""

from __future__ import annotations

import faulthandler
import logging
import os
import random
import select
import signal
import socket
import time
from typing import Optional

from ..shared import messages, wire
from ..shared.linux import die_with_parent, private_memory, set_title, start_time, wait_for_parent
from ..shared.log import event
from ..shared.scoreboard import Entry, Scoreboard, State
from ..shared.work_counts import RunOutcome
from .forks import ForkGuard, Threads
from .heartbeat import Heartbeat
from .interrupt import Interrupter
from .recycling import Recycling
from .runtimes.base import Runtime
from .runtimes.grant_use import GrantUse
from .runtimes.native import NativeRuntime
from .runtimes.odoo.runtime import OdooRuntime
from .settings import WorkerSettings

_log = logging.getLogger("queuemaster.worker")


def run(
    request: messages.Fork, link: socket.socket, words: int, board: Scoreboard, settings: WorkerSettings
) -> None:
    """The worker's life after the fork. Signals are blocked until the handlers stand.

    ``words``: a file for its last words, the tracebacks of all threads if it ends by a fatal signal.
    """
    faulthandler.enable(words, all_threads=True)
    if not wait_for_parent(request.master) or not die_with_parent(request.master):
        return  # the master is gone: nothing gives this process work, and nothing reaps it
    entry = board.entry(request.entry)
    _be_nice(request.channel, settings.channels[request.channel].nice)
    interrupter = Interrupter(entry)
    interrupter.install()
    heartbeat = Heartbeat(entry, link, interrupter, request.master, settings.graceful_timeout)
    heartbeat.listen_to_signals()
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    heartbeat.start()
    kind = OdooRuntime if settings.odoo else NativeRuntime
    runtime = kind(settings, entry, interrupter, request.channel)
    ForkGuard(link, runtime.connections).install()
    recycling = Recycling(settings.channels[request.channel], time.monotonic(), random)
    Worker(request, link, entry, runtime, recycling, heartbeat).serve()


def _be_nice(channel: str, nice: int) -> None:
    """Set the niceness. If the kernel refuses, jobs run all the same: going below 0 takes a privilege."""
    if not nice:
        return
    try:
        os.nice(nice)
    except OSError as error:
        event(_log, logging.WARNING, "niceness refused", channel=channel, nice=nice, error=error.strerror)


class Worker:
    """Answers the dispatcher's messages in order."""

    def __init__(
        self,
        request: messages.Fork,
        link: socket.socket,
        entry: Entry,
        runtime: Runtime,
        recycling: Recycling,
        heartbeat: Heartbeat,
    ) -> None:
        self._request = request
        self._link = link
        self._entry = entry
        self._runtime = runtime
        self._recycling = recycling
        self._heartbeat = heartbeat
        self._threads = Threads()
        self._title = f"queuemaster: worker {request.channel}"

    def serve(self) -> None:
        """Answer messages until the link ends: master and dispatcher are gone, the worker drains or is replaced."""
        self._idle()
        self._tell(messages.Hello(start_time(os.getpid())))
        while True:
            received = wire.receive(self._link, messages.WORKER_READS)
            if received is None:
                break
            self._answer(received.message)
        self._entry.change(State.LEAVING, time.monotonic_ns())

    def _answer(self, message: messages.Message) -> None:
        if isinstance(message, messages.Attach):
            # what an earlier dispatcher granted lies before this message: it has been answered
            self._tell(messages.Attached(message.incarnation))
        elif isinstance(message, messages.Grant):
            self._use(message)
        elif isinstance(message, messages.WarmUp):
            self._runtime.warm_up(message.database)
        elif isinstance(message, messages.Revoke):
            pass  # its arrival has ended the slice
        elif isinstance(message, messages.Retire):
            self._link.shutdown(socket.SHUT_RD)

    def _use(self, grant: messages.Grant) -> None:
        use = GrantUse(grant, GrantOrders(self, grant.number))
        # a grant may have been on its way when we were told to end
        outcome = RunOutcome.NOTHING if self.draining() else self._runtime.run(use)
        reason = None
        if outcome is not RunOutcome.NOTHING:
            self._idle()
            reason = self.worn_out(use.jobs_run)
            self._recycling.count(use.jobs_run)
        if use.run_was_stopped:
            reason = "a run was stopped"  # what it had started, threads or processes, goes with the worker
        elif use.batch_broke:
            # a kill request for the run that broke must not hit the worker's next run
            reason = "a batch broke"
        self._tell(messages.Released(grant.number, leaving=bool(reason), broken=use.batch_broke))
        if reason:
            event(_log, logging.INFO, "worker is replaced", channel=self._request.channel, reason=reason)
            self._link.shutdown(socket.SHUT_RD)

    def draining(self) -> bool:
        """Whether no job may be started any more."""
        return self._heartbeat.draining()

    def called_off(self) -> bool:
        """Whether the slice must end: any pending message ends it, and so does the drain."""
        return self.draining() or bool(select.select([self._link], [], [], 0)[0])

    def worn_out(self, jobs_run: int) -> Optional[str]:
        """Why the worker should be replaced when it has run so many jobs more; None when it should not."""
        threads = self._threads.left()
        if threads:
            return f"a job has left {threads} threads" if threads > 1 else "a job has left a thread"
        memory = private_memory(os.getpid()) if self._recycling.memory else 0
        return self._recycling.reason(time.monotonic(), memory, jobs_run)

    def claimed(self, number: int, job: int) -> None:
        """Show and report that a job was started by the grant of this number."""
        set_title(f"{self._title} [job {job}]")
        self._tell(messages.Claimed(number, job))

    def _tell(self, message: messages.Message) -> None:
        try:
            wire.send(self._link, message)
        except (BrokenPipeError, ConnectionResetError):
            # master and dispatcher are gone: a job that was claimed is finished all the same
            event(_log, logging.DEBUG, "nobody listens")

    def _idle(self) -> None:
        self._entry.change(State.IDLE, time.monotonic_ns())
        set_title(f"{self._title} [idle]")


class GrantOrders:
    """What a runtime must ask and tell while it uses one grant: see :class:`~.runtimes.grant_use.Orders`."""

    def __init__(self, worker: Worker, number: int) -> None:
        self._worker = worker
        self._number = number
        self.draining = worker.draining
        self.called_off = worker.called_off

    def worn_out(self, jobs_run: int) -> bool:
        """Whether the worker should be replaced when it has run so many jobs by this grant."""
        return bool(self._worker.worn_out(jobs_run))

    def claimed(self, job: int) -> None:
        """A job was started."""
        self._worker.claimed(self._number, job)
