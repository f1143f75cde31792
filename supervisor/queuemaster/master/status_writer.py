"""The master's document on the status board: what it knows, for whoever asks later."""

from __future__ import annotations

import logging
import os
import time
from collections import Counter

from queuejobs.shared.log import event
from queuemaster import __version__
from queuemaster.status_board import INTERVAL, MasterStatus, StatusBoard

from .core.supervision import Supervision

_log = logging.getLogger("queuemaster.master")


class Bulletin:
    """Written when something has changed, once a second at most; before an entry is cleared, at once."""

    def __init__(self, board: StatusBoard) -> None:
        self._board = board
        self._started = time.time()
        self._written: MasterStatus | None = None
        self._revision = 0  # of the tally that was written
        self._next = 0.0

    def look(self, core: Supervision, now: float) -> None:
        """At every turn of the loop: readers see that it turns."""
        self._board.master.seen()
        if now >= self._next:
            self._write(core, now)

    def before_reuse(self, core: Supervision, now: float) -> None:
        """An entry will be cleared: whoever reads must find what stood there in the document first."""
        if core.tally.revision != self._revision:
            self._write(core, now)

    def _write(self, core: Supervision, now: float) -> None:
        self._next, self._revision = now + INTERVAL, core.tally.revision
        document = self._document(core, now)
        if document != self._written:
            self._written = document
            if not self._board.master.write(document):
                event(_log, logging.ERROR, "status is too long to be shown", workers=len(core.pools.workers))

    def _document(self, core: Supervision, now: float) -> MasterStatus:
        alive = Counter(worker.channel for worker in core.pools.alive())
        backoffs = {name: _rest(backoff.until, now) for name, backoff in core.pools.backoffs.items()}
        return {
            "pid": os.getpid(),
            "version": __version__,
            "phase": core.phase.value,
            "started": self._started,
            "pools": {
                channel: {
                    "target": core.pools.targets.get(channel, 0),
                    "alive": alive[channel],
                    "backoff_seconds": backoffs.get(channel, 0.0),
                }
                for channel in {**core.pools.targets, **alive, **backoffs}
            },
            "workers": [
                {
                    "entry": worker.entry, "generation": worker.generation, "pid": worker.pid,
                    "channel": worker.channel, "state": worker.state.value,
                }
                for worker in core.pools.workers.values()
            ],
            "children": {
                role.value: {
                    "pid": child.pid, "ready": child.ready,
                    "backoff_seconds": _rest(child.backoff.until, now),
                }
                for role, child in core.children.items()
            },
            "restarts": core.tally.restarts(),
            "tally": core.tally.status(),
        }  # fmt: skip


def _rest(until: float, now: float) -> float:
    return round(max(until - now, 0.0), 1)
