"""Remove old finished jobs, a batch at a time, so that nobody who waits for a start notices."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import psycopg2

from queuejobs.store.retention import FAILED, FINISHED, START, purge
from queuejobs.worker.log import event
from queuemaster.config.compiled import Settings

_log = logging.getLogger("queuemaster.dispatcher")
CHECK = 300.0  # seconds between two rounds
PAUSE = 1.0  # seconds between two batches of one


def ages(settings: Settings) -> dict[str, float]:
    """After how many seconds jobs in which state go; a state that is kept for ever is left out."""
    wanted = {**dict.fromkeys(FINISHED, settings.retention), FAILED: settings.failed_retention}
    return {state: age for state, age in wanted.items() if age > 0}


class Retention:
    """Where the rounds through one database stand. The leader's."""

    def __init__(self, name: str, kept: Mapping[str, float]) -> None:
        self._name = name
        self._kept = dict(kept)
        self._left: list[str] = []  # states still to be looked through in this round
        self._place = START
        self._removed = 0

    def work(self, cursor: Any) -> float:
        """The next batch of a round that removes something; seconds until this is to be called again."""
        if not self._left:
            self._left, self._place, self._removed = list(self._kept), START, 0
        while self._left:
            state = self._left[0]
            try:
                removed, place = purge(cursor, state, self._kept[state], self._place)
            except psycopg2.Error as error:
                if cursor.connection.closed:
                    raise
                # such as a table of the application that refers to jobs: no reason to stop leading
                event(
                    _log, logging.WARNING, "old jobs cannot be removed",
                    db=self._name, state=state, error=str(error).strip(),
                )  # fmt: skip
                self._left = []
                return CHECK
            self._removed += removed
            if place is not None:
                self._place = place
                return PAUSE
            self._left.pop(0)
            self._place = START
        if self._removed:
            event(_log, logging.INFO, "old jobs removed", db=self._name, jobs=self._removed)
        return CHECK
