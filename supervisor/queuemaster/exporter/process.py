"""The exporter as a process: it gets descriptors and serves HTTP until the master ends it or is gone."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sys

import gevent
from gevent.pywsgi import WSGIServer

from queuejobs.shared import linux, log, messages, wire
from queuejobs.shared.log import event
from queuejobs.shared.scoreboard import Scoreboard
from queuemaster import gevent_psycopg2
from queuemaster.config.compiled import Settings
from queuemaster.config.http_address import parse_address
from queuemaster.status_board import StatusBoard

from .web import application

FIRST_WAIT, LONGEST_WAIT = 1.0, 30.0  # seconds until a port that is in use is tried again
MOST_CONNECTIONS = 100
_log = logging.getLogger("queuemaster.exporter")


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="queuemaster exporter")
    for name in ("control", "settings", "scoreboard", "status", "master"):
        parser.add_argument(f"--{name}", type=int, required=True)
    options = parser.parse_args()
    if not linux.die_with_parent(options.master):
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C is the master's business
    signal.signal(signal.SIGTERM, lambda _signum, _frame: os._exit(0))
    settings = Settings.from_descriptor(options.settings)
    log.configure(settings.log_level, settings.log_format, settings.logfile, settings.log_handlers)
    linux.set_title("queuemaster: exporter")
    gevent_psycopg2.install()
    status, scoreboard = StatusBoard.view(options.status), Scoreboard.view(options.scoreboard)
    control = socket.socket(fileno=options.control)
    gevent.spawn(_listen_to_master, control)
    server = _listen(settings, status, scoreboard)
    event(_log, logging.INFO, "exporter listens", http=settings.http)
    wire.send(control, messages.Ready())
    server.serve_forever()


def _listen(settings: Settings, status: StatusBoard, scoreboard: Scoreboard) -> WSGIServer:
    """Listen, as soon as the port is free: another process may use it, for a moment also an earlier exporter."""
    wait = FIRST_WAIT
    app = application(settings, status, scoreboard)
    while True:
        server = WSGIServer(
            parse_address(settings.http), app, spawn=MOST_CONNECTIONS, log=None, error_log=_log
        )
        try:
            server.start()
            return server
        except OSError as error:
            event(
                _log, logging.ERROR, "cannot listen for HTTP: no metrics until that works", http=settings.http,
                error=error.strerror or str(error), retry=wait,
            )  # fmt: skip
        gevent.sleep(wait)
        wait = min(wait * 2, LONGEST_WAIT)


def _listen_to_master(control: socket.socket) -> None:
    while (received := wire.receive(control, messages.EXPORTER_READS)) is not None:
        assert isinstance(received.message, messages.ReopenLogs)
        log.reopen()
    event(_log, logging.DEBUG, "the master is gone, exporter ends")
    sys.stderr.flush()
    os._exit(0)
