"""What the master says to others: to its service manager at each turn, to the log when somebody asks."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence

from queuejobs.worker import log
from queuejobs.worker.log import event
from queuemaster.config.compiled import Settings

from .account import account
from .children import Phase
from .events import Reading
from .report import is_ready, report, summary
from .shutdown import RECOVERY_PATIENCE
from .supervision import Supervision
from .systemd import Announcer, Notifier

ENDING_PATIENCE = 20.0  # seconds that the processes without jobs may take to end
_log = logging.getLogger("queuemaster.master")


def open_log(settings: Settings) -> None:
    """The log as the settings want it; root makes it the file of the user that all others run as."""
    become = account(settings.user, settings.group)
    owner = (become.uid, become.gid) if become else None
    log.configure(settings.log_level, settings.log_format, settings.logfile, settings.log_handlers, owner)


class Voice:
    """Knows what the dispatcher is to each database; the rest it is shown."""

    def __init__(self, settings: Settings) -> None:
        self.standings: dict[int, str] = {}  # by database: "leads", "stands by", "away"
        self.announcer = Announcer(Notifier.take(os.environ))
        self._reloading = False
        self.configure(settings)

    def configure(self, settings: Settings) -> None:
        """At the start, and when a reload is in force."""
        self._databases = {database.id: database.name for database in settings.databases}
        self._patience = settings.graceful_timeout + RECOVERY_PATIENCE + ENDING_PATIENCE

    def announce(self, core: Supervision, readings: Sequence[Reading]) -> None:
        """To the service manager, if there is one."""
        if core.phase is not Phase.RUNNING:
            self.announcer.stopping(self._patience)
        if core.succession.under_way != self._reloading:
            self._reloading = core.succession.under_way
            (self.announcer.reloading if self._reloading else self.announcer.reloaded)()
        ready = is_ready(core, self._databases, self.standings)
        words = summary(core, readings, self._databases, self.standings)
        self.announcer.look(ready, words, time.monotonic())

    def report(self, core: Supervision, readings: Sequence[Reading]) -> None:
        """Everything, to the log."""
        for text, context in report(core, readings, self._databases, self.standings, time.monotonic()):
            event(_log, logging.INFO, text, **context)
