"""A worker: forked into a channel's pool, one job at a time, until its link ends."""

from __future__ import annotations

import logging
import os
import signal
import socket
import time
from typing import Any, Dict

from . import wire
from .heartbeat import Heartbeat
from .linux import die_with_parent, set_title, start_time, wait_for_parent
from .log import event
from .runtimes.native import NativeRuntime
from .scoreboard import Entry, Scoreboard, State
from .settings import WorkerSettings

_log = logging.getLogger("queuemaster.worker")


def run(request: Dict[str, Any], link: socket.socket, board: Scoreboard, settings: WorkerSettings) -> None:
    """The worker's life after the fork. Signals are blocked until the handlers stand."""
    if not wait_for_parent(request["master"]) or not die_with_parent(request["master"]):
        return  # the master is gone: nobody would hand us work or notice our end
    os.setpgid(0, 0)  # a kill of the group takes the job's own children along
    entry = board.entry(request["entry"])
    heartbeat = Heartbeat(entry, link, request["master"], settings.graceful_timeout)
    heartbeat.listen_to_signals()
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    heartbeat.start()
    Worker(request, link, entry, settings, heartbeat).serve()


class Worker:
    """Answers the dispatcher's messages in order."""

    def __init__(
        self,
        request: Dict[str, Any],
        link: socket.socket,
        entry: Entry,
        settings: WorkerSettings,
        heartbeat: Heartbeat,
    ) -> None:
        self._request = request
        self._link = link
        self._entry = entry
        self._heartbeat = heartbeat
        self._runtime = NativeRuntime(settings, entry, request["channel"])
        self._title = f"queuemaster: worker {request['channel']}"

    def serve(self) -> None:
        """Until the link ends: both master and dispatcher are gone, or we drain."""
        pid = os.getpid()
        self._idle()
        try:
            wire.send(
                self._link,
                {
                    "type": "hello", "entry": self._request["entry"],
                    "generation": self._request["generation"], "start_time": start_time(pid),
                },
            )  # fmt: skip
            while True:
                received = wire.receive(self._link)
                if received is None:
                    break
                self._answer(received.message)
        except BrokenPipeError:
            event(_log, logging.DEBUG, "link is gone")
        self._entry.change(State.LEAVING, time.monotonic_ns())

    def _answer(self, message: Dict[str, Any]) -> None:
        if message["type"] == "attach":
            # what an earlier dispatcher granted lies before this message: it has been answered
            wire.send(self._link, {"type": "ready", "incarnation": message["incarnation"]})
        elif message["type"] == "grant":
            self._use(message)
        elif message["type"] == "retire":
            self._link.shutdown(socket.SHUT_RD)

    def _use(self, grant: Dict[str, Any]) -> None:
        number = grant["number"]

        def claimed(job: int) -> None:
            set_title(f"{self._title} [job {job}]")
            wire.send(self._link, {"type": "claimed", "number": number, "job": job})

        # a grant may have been on its way when we were told to end
        draining = self._heartbeat.draining()
        outcome = "nothing" if draining else self._runtime.run(grant, claimed, self._heartbeat.draining)
        if outcome != "nothing":
            self._idle()
        wire.send(self._link, {"type": "released", "number": number, "outcome": outcome})

    def _idle(self) -> None:
        self._entry.change(State.IDLE, time.monotonic_ns())
        set_title(f"{self._title} [idle]")
