"""Beside Odoo, with no database named: databases are made and dropped while we run.

The list is asked for again and again, over a short connection. When it is another one the master is told to reload:
template, exporter and this dispatcher must all know the new databases, and that is what a reload does.
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
REPEAT = 300.0  # seconds until a reload that came to nothing is asked for again
_log = logging.getLogger("queuemaster.dispatcher")


class Landscape:
    """Which databases there are, and which of them are known."""

    def __init__(self, settings: Settings, tell_master: Callable[[messages.Message], None]) -> None:
        self._tell_master = tell_master
        self._away = False
        self._told: tuple[str, ...] | None = None
        self._told_at = 0.0
        self.configure(settings)

    def configure(self, settings: Settings) -> None:
        """Other settings are in force."""
        self._asked = settings.discovery
        self._known = tuple(sorted(database.name for database in settings.databases))

    def watch(self) -> None:
        """Look for as long as we live."""
        while True:
            self.look(time.monotonic())
            gevent.sleep(INTERVAL)

    def look(self, now: float) -> None:
        """Once; nothing is asked when the databases are named."""
        if self._asked is None:
            return
        try:
            found = tuple(database.name for database in discovery.find(self._asked))
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
        # a reload takes its time: it is not asked for twice, unless it was refused and much time has passed
        if found == self._known or (found == self._told and now < self._told_at + REPEAT):
            return
        event(
            _log,
            logging.INFO,
            "databases have changed, asking for a reload",
            new=",".join(sorted(set(found) - set(self._known))),
            gone=",".join(sorted(set(self._known) - set(found))),
        )
        self._told, self._told_at = found, now
        self._tell_master(messages.ReloadWanted())
