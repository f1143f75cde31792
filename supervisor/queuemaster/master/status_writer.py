"""The master's document on the status board, for the command line and the exporter."""

from __future__ import annotations

import logging
import os
import time
from collections import Counter

from queuejobs.shared.log import event
from queuemaster import __version__
from queuemaster.status_board import (
    INTERVAL,
    ChildStatus,
    MasterStatus,
    PoolStatus,
    StatusBoard,
    WorkerStatus,
)

from .core.supervision import Supervision

_log = logging.getLogger("queuemaster.master")


class StatusWriter:
    """Writes the document when it has changed, once a second at most; at once before an entry is cleared."""

    def __init__(self, board: StatusBoard) -> None:
        self._board = board
        self._started = time.time()
        self._written: MasterStatus | None = None
        self._written_revision = 0  # of the counters
        self._next = 0.0

    def look(self, core: Supervision, now: float) -> None:
        """To be called at every turn of the master's loop: readers see that the loop turns."""
        self._board.master.seen()
        if now >= self._next:
            self._write(core, now)

    def before_reuse(self, core: Supervision, now: float) -> None:
        """To be called before an entry is cleared: its counts must stand in the document by then."""
        if core.counters.revision != self._written_revision:
            self._write(core, now)

    def _write(self, core: Supervision, now: float) -> None:
        self._next, self._written_revision = now + INTERVAL, core.counters.revision
        document = self._document(core, now)
        if document != self._written:
            self._written = document
            if not self._board.master.write(document):
                event(_log, logging.ERROR, "status is too long to be shown", workers=len(core.pools.workers))

    def _document(self, core: Supervision, now: float) -> MasterStatus:
        return {
            "pid": os.getpid(),
            "version": __version__,
            "phase": core.phase.value,
            "started": self._started,
            "pools": _pools(core, now),
            "workers": _workers(core),
            "children": _children(core, now),
            "restarts": core.counters.restarts(),
            "counters": core.counters.work(),
        }


def _pools(core: Supervision, now: float) -> dict[str, PoolStatus]:
    alive = Counter(worker.channel for worker in core.pools.alive())
    backoffs = {
        channel: _seconds_until(backoff.until, now) for channel, backoff in core.pools.backoffs.items()
    }
    return {
        channel: {
            "target": core.pools.targets.get(channel, 0),
            "alive": alive[channel],
            "backoff_seconds": backoffs.get(channel, 0.0),
        }
        for channel in {**core.pools.targets, **alive, **backoffs}
    }


def _workers(core: Supervision) -> list[WorkerStatus]:
    return [
        {
            "entry": worker.entry, "generation": worker.generation, "pid": worker.pid,
            "channel": worker.channel, "state": worker.state.value,
        }
        for worker in core.pools.workers.values()
    ]  # fmt: skip


def _children(core: Supervision, now: float) -> dict[str, ChildStatus]:
    return {
        role.value: {
            "pid": child.pid, "ready": child.ready,
            "backoff_seconds": _seconds_until(child.backoff.until, now),
        }
        for role, child in core.children.items()
    }  # fmt: skip


def _seconds_until(moment: float, now: float) -> float:
    return round(max(moment - now, 0.0), 1)
