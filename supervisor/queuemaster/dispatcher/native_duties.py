"""The duties of the leader of a database. See :mod:`.duties` for how they come round."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from . import live_limits, recovery, statements
from .duties import Duty
from .head_table import READS_A_TURN, HeadTable
from .hub_protocol import Hub
from .retention import Retention
from .statements import Started

# seconds
BEAT = 10.0
SWEEP = 30.0
ORPHAN_POLL = 0.3
CANCEL_AGAIN = 1.0
FIRST_PURGE = 5.0  # after the takeover, which has more urgent things to do
EARLY_POLL = 1.0  # between two polls because of channels that had no room in the table of heads
LOCKED_ETA = 0.05  # until a due job that is locked by an application is looked at again
PROMOTE_AT_ONCE = 1000  # jobs


class Beat(Duty):
    """Show the other dispatchers that the leader is alive."""

    name = "beat"
    interval = first = BEAT

    def run(self, cursor: Any) -> None:
        statements.beat(cursor)


class Recover(Duty):
    """Put back the jobs of dead workers; due as the cases say."""

    name = "recover"

    def __init__(self, database: int, hub: Hub, cases: recovery.Recovery) -> None:
        super().__init__()
        self._database = database
        self._hub = hub
        self._cases = cases

    def moment(self) -> float:
        due = self._cases.due()
        return math.inf if due is None else due

    def run(self, cursor: Any) -> None:
        for death in self._cases.work(cursor, time.monotonic()):
            self._hub.recovered(death, self._database)

    def drop(self) -> None:
        """We do not lead here: the dispatcher that leads recovers what was started in this database."""
        for death in self._cases.drop():
            self._hub.recovered(death, self._database)


class Sweep(Duty):
    """Repair what no report of a death explains. ``repair``: what differs beside Odoo."""

    name = "sweep"
    interval = first = SWEEP

    def __init__(self, db: str, hub: Hub, repair: Callable[[Any], None]) -> None:
        super().__init__()
        self._db = db
        self._hub = hub
        self._repair = repair

    def run(self, cursor: Any) -> None:
        recovery.sweep(cursor, self._db, self._hub.alive())
        self._repair(cursor)


class WatchOrphans(Duty):
    """Runs under way at the takeover that none of our workers does: each holds a slot until it ends."""

    name = "orphans"
    interval = ORPHAN_POLL

    def __init__(self, database: int, hub: Hub, started: Callable[[Any], list[Started]]) -> None:
        super().__init__()
        self._database = database
        self._hub = hub
        self._started = started
        self._channels: dict[tuple[int, int], str] = {}  # stored channel by (job, attempt)

    def find(self, cursor: Any) -> None:
        """What runs at the takeover."""
        alive = self._hub.alive()
        self._channels = {
            (row.id, row.attempt): row.channel for row in self._started(cursor) if row.process not in alive
        }
        self._hub.orphans(self._database, list(self._channels.values()))

    def moment(self) -> float:
        return self.due if self._channels else math.inf

    def run(self, cursor: Any) -> None:
        running = {(row.id, row.attempt) for row in self._started(cursor)}
        remaining = {run: channel for run, channel in self._channels.items() if run in running}
        if len(remaining) < len(self._channels):
            self._channels = remaining
            self._hub.orphans(self._database, list(remaining.values()))
            self._hub.changed()


class ReadControl(Duty):
    """Limits that were changed live: when a notification says so, and as often as the poll."""

    name = "control"

    def __init__(self, database: int, hub: Hub, interval: float) -> None:
        super().__init__()
        self._database = database
        self._hub = hub
        self.interval = interval

    def run(self, cursor: Any) -> None:
        self._hub.overrides(self._database, live_limits.read(cursor))


class Cancel(Duty):
    """Have the master stop the runs for which a cancel was requested; again and again until they have ended."""

    name = "cancel"
    interval = SWEEP

    def __init__(self, hub: Hub) -> None:
        super().__init__()
        self._hub = hub

    def run(self, cursor: Any) -> float | None:
        runs = statements.to_cancel(cursor)
        for run in runs:
            if run.process is not None:
                self._hub.cancel(run.process, run.id, run.attempt)
        return CANCEL_AGAIN if runs else None


class Promote(Duty):
    """Take the eta off delayed jobs that are due: from then on they are ready."""

    name = "promote"

    def __init__(self, interval: float) -> None:
        super().__init__()
        self.interval = interval

    def run(self, cursor: Any) -> float | None:
        while statements.promote(cursor, PROMOTE_AT_ONCE) == PROMOTE_AT_ONCE:
            pass
        wait = statements.next_eta(cursor)
        return None if wait is None else min(max(wait, LOCKED_ETA), self.interval)


class Poll(Duty):
    """Look at all channels: at the takeover, and in case that a notification was lost."""

    name = "poll"

    def __init__(self, hub: Hub, heads: HeadTable, interval: float) -> None:
        super().__init__()
        self._hub = hub
        self._heads = heads
        self._last_run = -math.inf
        self.interval = interval

    def moment(self) -> float:
        return min(self.due, self._last_run + EARLY_POLL) if self._heads.overflowed else self.due

    def run(self, cursor: Any) -> None:
        self._last_run = time.monotonic()
        channels = statements.ready_channels(cursor)
        if any(channel.sequential for channel in self._hub.tree):
            channels += statements.blocking_channels(cursor)
        self._heads.keep(channels)


class ReadHeads(Duty):
    """Read the beginning of each channel that has changed."""

    name = "heads"

    def __init__(self, hub: Hub, heads: HeadTable) -> None:
        super().__init__()
        self._hub = hub
        self._heads = heads

    def moment(self) -> float:
        return -math.inf if self._heads.has_dirty() else math.inf

    def run(self, cursor: Any) -> None:
        # not until none is dirty: under load they get dirty while they are read, and other duties are due
        for _ in range(READS_A_TURN):
            if not self._heads.read(cursor, self._hub.sequential):
                return
            self._hub.changed()


class Purge(Duty):
    """Remove old jobs, a batch a turn."""

    name = "purge"
    first = FIRST_PURGE

    def __init__(self, retention: Retention) -> None:
        super().__init__()
        self.retention = retention

    def run(self, cursor: Any) -> float:
        return self.retention.work(cursor)
