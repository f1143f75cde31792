"""The dispatcher's document on the status board: the limits in force, and what it is to each database."""

from __future__ import annotations

import logging
import os

import gevent

from queuejobs.shared.log import event
from queuejobs.shared.standing import Standing
from queuemaster.status_board import INTERVAL, ChannelStatus, DatabaseStatus, DispatcherStatus, StatusBoard

from .database import QueueDatabase
from .hub import DispatchHub

_log = logging.getLogger("queuemaster.dispatcher")


def publish(hub: DispatchHub, board: StatusBoard) -> None:
    """Write the document whenever it has changed, at most once a second, for ever."""
    written: DispatcherStatus | None = None
    while True:
        current = document(hub)
        if current != written:
            if not board.dispatcher.write(current):
                event(_log, logging.ERROR, "status is too long to be shown", channels=len(hub.tree))
            written = current
        board.dispatcher.seen()
        gevent.sleep(INTERVAL)


def document(hub: DispatchHub) -> DispatcherStatus:
    """The document as it is now."""
    return {
        "pid": os.getpid(),
        "draining": hub.draining,
        "channels": {name: _channel(hub, name) for name in hub.tree.names},
        "databases": {database.name: _database(database) for database in hub.databases.values()},
        "links": hub.workers.by_state(),
    }


def _channel(hub: DispatchHub, name: str) -> ChannelStatus:
    return {
        "capacity": hub.tree[name].capacity,
        "effective": hub.tree.effective(name),
        "in_use": hub.in_use(name),
        "paused": hub.tree.paused(name),
        "rate": hub.tree.rate(name),
    }


def _database(database: QueueDatabase) -> DatabaseStatus:
    standing = database.standing
    return {
        "up": standing in (Standing.LEADS, Standing.STANDS_BY),
        "leader": standing is Standing.LEADS,
        "standing_by": standing is Standing.STANDS_BY,
        "standing": "" if standing is None else standing.value,
        "epoch": database.epoch,
    }
