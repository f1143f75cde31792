"""Beside Odoo, with no database named: databases are made and dropped while we run.

The list is read every 30 s, over a short connection. When it has changed the master is told to reload: a reload makes
the databases known to template, exporter and this dispatcher.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import gevent
import psycopg2

from queuejobs.shared import messages
from queuejobs.shared.log import event
from queuemaster.config import discovery
from queuemaster.config.compiled import Settings

INTERVAL = 30.0  # seconds between two looks
REPEAT = 300.0  # seconds after which a reload that was refused is asked for again
_log = logging.getLogger("queuemaster.dispatcher")


class DatabaseList:
    """The databases that there are, compared with those of the configuration."""

    def __init__(self, settings: Settings, tell_master: Callable[[messages.Message], None]) -> None:
        self._tell_master = tell_master
        self._away = False
        self._reported: tuple[str, ...] | None = None  # the list for which a reload was asked last
        self._reported_at = 0.0
        self.configure(settings)

    def configure(self, settings: Settings) -> None:
        """Other settings are in force."""
        self._discovery = settings.discovery
        self._known = tuple(sorted(database.name for database in settings.databases))

    def watch(self) -> None:
        """Look for ever."""
        while True:
            self.look(time.monotonic())
            gevent.sleep(INTERVAL)

    def look(self, now: float) -> None:
        """Look once; do nothing when the databases are named."""
        if self._discovery is None:
            return
        try:
            names = tuple(database.name for database in discovery.find(self._discovery))
        except psycopg2.Error as error:
            if not self._away:
                event(
                    _log,
                    logging.WARNING,
                    "the server cannot be asked for its databases",
                    error=str(error).strip(),
                )
            self._away = True
            return
        self._away = False
        # a reload takes its time: the same one is asked for again only when it must have been refused
        if names == self._known or (names == self._reported and now < self._reported_at + REPEAT):
            return
        event(
            _log,
            logging.INFO,
            "databases have changed, asking for a reload",
            new=",".join(sorted(set(names) - set(self._known))),
            gone=",".join(sorted(set(self._known) - set(names))),
        )
        self._reported, self._reported_at = names, now
        self._tell_master(messages.ReloadWanted())
