"""What the master says to others: to its service manager at each turn, to the log when somebody asks."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence

from queuejobs.worker.log import event
from queuemaster.config.compiled import Settings

from .events import Reading
from .report import is_ready, report, summary
from .supervision import RECOVERY_PATIENCE, Phase, Supervision
from .systemd import Announcer, Notifier

ENDING_PATIENCE = 20.0  # seconds that the processes without jobs may take to end
_log = logging.getLogger("queuemaster.master")


class Voice:
    """Knows what the dispatcher is to each database; the rest it is shown."""

    def __init__(self, settings: Settings) -> None:
        self._databases = [database.name for database in settings.databases]
        self._patience = settings.graceful_timeout + RECOVERY_PATIENCE + ENDING_PATIENCE
        self.standings: dict[int, str] = {}  # by database: "leads", "stands by", "away"
        self.announcer = Announcer(Notifier.take(os.environ))

    def announce(self, core: Supervision, readings: Sequence[Reading]) -> None:
        """To the service manager, if there is one."""
        if core.phase is not Phase.RUNNING:
            self.announcer.stopping(self._patience)
        ready = is_ready(core, self._databases, self.standings)
        words = summary(core, readings, self._databases, self.standings)
        self.announcer.look(ready, words, time.monotonic())

    def report(self, core: Supervision, readings: Sequence[Reading]) -> None:
        """Everything, to the log."""
        for text, context in report(core, readings, self._databases, self.standings, time.monotonic()):
            event(_log, logging.INFO, text, **context)
