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
from typing import Any, Dict, Optional

from ..shared import wire
from ..shared.linux import die_with_parent, private_memory, set_title, start_time, wait_for_parent
from ..shared.log import event
from ..shared.scoreboard import Entry, Scoreboard, State
from .heartbeat import Heartbeat
from .interrupt import Interrupter
from .recycling import Recycling
from .runtimes.base import Runtime
from .runtimes.native import NativeRuntime
from .runtimes.odoo.runtime import OdooRuntime
from .settings import WorkerSettings

_log = logging.getLogger("queuemaster.worker")


def run(
    request: Dict[str, Any], link: socket.socket, words: int, board: Scoreboard, settings: WorkerSettings
) -> None:
    """The worker's life after the fork. Signals are blocked until the handlers stand.

    ``words``: a file for its last words, the tracebacks of all threads if it ends by a fatal signal.
    """
    faulthandler.enable(words, all_threads=True)
    if not wait_for_parent(request["master"]) or not die_with_parent(request["master"]):
        return  # the master is gone: nobody would hand us work or notice our end
    entry = board.entry(request["entry"])
    _be_nice(request["channel"], settings.channels[request["channel"]].nice)
    interrupter = Interrupter(entry)
    interrupter.install()
    heartbeat = Heartbeat(entry, link, interrupter, request["master"], settings.graceful_timeout)
    heartbeat.listen_to_signals()
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    heartbeat.start()
    kind = OdooRuntime if settings.odoo else NativeRuntime
    runtime = kind(settings, entry, interrupter, request["channel"])
    recycling = Recycling(settings.channels[request["channel"]], time.monotonic(), random)
    Worker(request, link, entry, runtime, recycling, heartbeat).serve()


def _be_nice(channel: str, nice: int) -> None:
    """Its jobs run all the same when the kernel refuses: going below 0 takes a privilege."""
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
        request: Dict[str, Any],
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
        self._title = f"queuemaster: worker {request['channel']}"

    def serve(self) -> None:
        """Until the link ends: both master and dispatcher are gone, or we drain."""
        self._idle()
        self._tell(
            {
                "type": "hello", "entry": self._request["entry"],
                "generation": self._request["generation"], "start_time": start_time(os.getpid()),
            }
        )  # fmt: skip
        while True:
            received = wire.receive(self._link)
            if received is None:
                break
            self._answer(received.message)
        self._entry.change(State.LEAVING, time.monotonic_ns())

    def _answer(self, message: Dict[str, Any]) -> None:
        if message["type"] == "attach":
            # what an earlier dispatcher granted lies before this message: it has been answered
            self._tell({"type": "ready", "incarnation": message["incarnation"]})
        elif message["type"] == "grant":
            self._use(message)
        elif message["type"] == "soon":
            self._runtime.wake(message["database"])
        elif message["type"] == "revoke":
            pass  # that it came has ended the slice
        elif message["type"] == "retire":
            self._link.shutdown(socket.SHUT_RD)

    def _use(self, grant: Dict[str, Any]) -> None:
        number = grant["number"]

        def claimed(job: int) -> None:
            set_title(f"{self._title} [job {job}]")
            self._tell({"type": "claimed", "number": number, "job": job})

        # a grant may have been on its way when we were told to end
        draining = self._heartbeat.draining()
        outcome = "nothing"
        if not draining:
            outcome = self._runtime.run(
                grant, claimed, self._heartbeat.draining, self._called_off, lambda ran: bool(self._worn(ran))
            )
        reason = None
        if outcome != "nothing":
            self._idle()
            reason = self._worn(self._runtime.ran)
            self._recycling.count(self._runtime.ran)
        if self._runtime.interrupted:
            reason = "a run was stopped"  # what it had started, threads or processes, goes with the worker
        elif self._runtime.broken:
            reason = "a batch broke"  # its jobs are as they were: what was asked of a run here must not meet the next
        self._tell(
            {
                "type": "released", "number": number, "outcome": outcome, "leaving": bool(reason),
                "broken": self._runtime.broken,
            }
        )  # fmt: skip
        if reason:
            event(_log, logging.INFO, "worker is replaced", channel=self._request["channel"], reason=reason)
            self._link.shutdown(socket.SHUT_RD)

    def _worn(self, ran: int) -> Optional[str]:
        """Why the worker should go when it has run so many jobs more."""
        memory = private_memory(os.getpid()) if self._recycling.memory else 0
        return self._recycling.reason(time.monotonic(), memory, ran)

    def _called_off(self) -> bool:
        """Whoever has something to say to us while we are at work wants us to come to an end."""
        return self._heartbeat.draining() or bool(select.select([self._link], [], [], 0)[0])

    def _tell(self, message: Dict[str, Any]) -> None:
        try:
            wire.send(self._link, message)
        except (BrokenPipeError, ConnectionResetError):
            # master and dispatcher are gone: a job that was claimed is finished all the same
            event(_log, logging.DEBUG, "nobody listens")

    def _idle(self) -> None:
        self._entry.change(State.IDLE, time.monotonic_ns())
        set_title(f"{self._title} [idle]")
