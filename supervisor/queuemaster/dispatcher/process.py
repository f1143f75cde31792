"""The dispatcher as a process: descriptors in, greenlets up, until the master is gone or ends us."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sys
from typing import Any

import gevent

from queuejobs.shared import linux, log, messages, wire
from queuejobs.shared.log import event
from queuejobs.shared.process import Process
from queuejobs.store.recovery import Blame
from queuemaster import gevent_psycopg2
from queuemaster.config.compiled import Settings
from queuemaster.status_board import StatusBoard

from . import status_writer
from .database import QueueDatabase
from .database_list import DatabaseList
from .hub import DispatchHub
from .links import Link
from .recovery import Death

# seconds to wait for the end of a dead worker's link: a process that a job has left behind may keep it open
LAST_WORDS = 0.1
_log = logging.getLogger("queuemaster.dispatcher")


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="queuemaster dispatcher")
    for name in ("control", "settings", "status", "master"):
        parser.add_argument(f"--{name}", type=int, required=True)
    options = parser.parse_args()
    if not linux.die_with_parent(options.master):
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C is the master's business
    signal.signal(signal.SIGTERM, lambda _signum, _frame: os._exit(0))  # there is nothing to clean up
    settings = Settings.from_descriptor(options.settings)
    log.configure(settings.log_level, settings.log_format, settings.logfile, settings.log_handlers)
    linux.set_title("queuemaster: dispatcher")
    linux.raise_descriptor_limit()  # a link to each worker
    gevent_psycopg2.install()
    status = StatusBoard(options.status)
    Dispatcher(settings, socket.socket(fileno=options.control), status).run()


class Dispatcher:
    """Joins the hub to the master's control socket and the workers' links."""

    def __init__(self, settings: Settings, control: socket.socket, status: StatusBoard) -> None:
        self._settings = settings
        self._status = status
        self._control = control
        self._hub = DispatchHub(settings, self._tell_master)
        self._database_list = DatabaseList(settings, self._tell_master)
        self._serving: dict[int, gevent.Greenlet] = {}
        self._listeners: dict[tuple[int, int], gevent.Greenlet] = {}  # by entry and generation
        self._host, self._boot_id = socket.gethostname(), linux.boot_id()

    def run(self) -> None:
        """Obey the master: it hands over its workers, then lets us lead. Ends with the master."""
        while (received := wire.receive(self._control, messages.DISPATCHER_READS)) is not None:
            self._obey(received)
        event(_log, logging.WARNING, "the master is gone, dispatcher ends")
        sys.stderr.flush()
        os._exit(0)

    def _begin(self) -> None:
        """Lead. Not before all living workers are known: their runs would be taken for those of dead ones."""
        databases = self._hub.databases.values()
        event(
            _log,
            logging.INFO,
            "connecting to databases",
            db=",".join(database.name for database in databases),
        )
        for database in databases:
            self._serve(database)
        gevent.spawn(self._hub.run).link_exception(_end)
        gevent.spawn(status_writer.publish, self._hub, self._status).link_exception(_end)
        gevent.spawn(self._database_list.watch).link_exception(_end)
        self._tell_master(messages.Ready())

    def _obey(self, received: wire.Received) -> None:
        message = received.message
        if isinstance(message, messages.HandOverWorker):
            self._adopt(message, received.fds[0])
        elif isinstance(message, messages.WorkerDied):
            self._mourn(message)
        elif isinstance(message, messages.Begin):
            self._begin()
        elif isinstance(message, messages.Drain):
            self._hub.drain()
        elif isinstance(message, messages.ReopenLogs):
            log.reopen()
        elif isinstance(message, messages.ApplySettings):
            self._reconfigure(received.fds[0])
        elif isinstance(message, messages.RetireGenerations):
            self._hub.workers.retire(message.generation)
        elif isinstance(message, messages.ChangeRootCapacity):
            self._hub.change_root(message.change)

    def _adopt(self, message: messages.HandOverWorker, fd: int) -> None:
        process = Process(self._host, self._boot_id, message.pid, message.start_time)
        link = Link(message.entry, message.generation, process, message.channel, socket.socket(fileno=fd))
        self._hub.workers.adopt(link)
        listener = gevent.spawn(self._listen, link)
        listener.link_exception(_end)
        self._listeners[link.entry, link.generation] = listener

    def _mourn(self, message: messages.WorkerDied) -> None:
        death = self._death(message)
        listener = self._listeners.pop((death.entry, death.generation), None)
        if listener is not None:
            # drain the link first: the death notice can overtake the worker's last message
            listener.join(LAST_WORDS)
        self._hub.workers.died(death)

    def _serve(self, database: QueueDatabase) -> None:
        greenlet = gevent.spawn(database.run)
        greenlet.link_exception(_end)
        self._serving[database.index] = greenlet

    def _reconfigure(self, fd: int) -> None:
        self._settings = settings = Settings.from_descriptor(fd)
        os.close(fd)
        log.configure(settings.log_level, settings.log_format, settings.logfile, settings.log_handlers)
        self._database_list.configure(settings)
        new, gone = self._hub.reconfigure(settings)
        for database in gone:
            # its session ends with it, and so does our leadership there
            self._serving.pop(database.index).kill(block=False)
            event(_log, logging.INFO, "database is not served any more", db=database.name)
        for database in new:
            self._serve(database)

    def _death(self, message: messages.WorkerDied) -> Death:
        blame = None
        if message.cause is not None:
            blame = Blame(
                message.job, message.attempt, message.cause, message.detail or None, message.kind,
                self._settings.poison_after, self._settings.max_backoff,
            )  # fmt: skip
        process = Process(self._host, self._boot_id, message.pid, message.start_time)
        return Death(message.entry, message.generation, process, message.database, blame)

    def _listen(self, link: Link) -> None:
        while True:
            try:
                received = wire.receive(link.socket, messages.DISPATCHER_READS_OF_WORKERS)
            except OSError:  # closed by us, after its recovery
                return
            if received is None:
                self._hub.workers.gone(link)
                return
            self._hub.workers.heard(link, received.message)

    def _tell_master(self, message: messages.Message) -> None:
        try:
            wire.send(self._control, message)
        except BrokenPipeError:
            event(_log, logging.DEBUG, "the master does not listen")
        except messages.BadMessage as error:
            event(_log, logging.ERROR, "message cannot be sent", why=str(error))


def _end(greenlet: Any) -> None:
    """End the process after a bug in one greenlet: it would only look alive. The master starts another."""
    _log.error("dispatcher ends: %r", greenlet.exception, exc_info=greenlet.exc_info)
    logging.shutdown()
    os._exit(70)
