"""Decides which job starts next, and in which worker: joins the channel tree, the databases and the workers.

A slot is in use while one of our workers holds it (see ``workers``), and while a row is started that none of them runs.
"""

from __future__ import annotations

import logging
import os
import time
from collections import Counter

import gevent
import gevent.event

from queuejobs.shared import messages
from queuejobs.shared.log import event
from queuejobs.shared.process import Process
from queuejobs.shared.standing import Standing
from queuemaster.channels import Override, Scheduler, Tree
from queuemaster.config.compiled import DatabaseConfig, Settings

from .database import QueueDatabase
from .grant import BatchSizes
from .granting import Granting
from .live_limits import LiveLimits
from .oca_database import OcaDatabase
from .recovery import Death
from .retention import Ages, Retention
from .workers import TellMaster, Workers

LONGEST_WAIT = 3600.0  # seconds; a channel may open in years, which is more than a timer takes
_log = logging.getLogger("queuemaster.dispatcher")


class DispatchHub:
    """The dispatcher's state and decisions; greenlets call it, and none of its methods but run() waits."""

    def __init__(self, settings: Settings, tell_master: TellMaster) -> None:
        self._live = LiveLimits(settings.channels)
        self._scheduler = Scheduler(self.tree, time.monotonic())
        self._tell_master = tell_master
        self._max_workers = settings.max_workers
        # by database and channel: slots of runs that none of our workers does
        self._orphans: Counter[tuple[int, str]] = Counter()
        self._wanted: dict[str, int] | None = None  # what the master was told last
        self.draining = False
        self.standings: dict[int, Standing] = {}  # by database
        self._wake = gevent.event.Event()
        self.databases = {config.id: self._database(config, settings) for config in settings.databases}
        incarnation = int.from_bytes(os.urandom(5), "big")  # a million grants of each fit into 64 bits
        batches = BatchSizes()
        self.workers = Workers(
            self._scheduler, self.databases, batches, tell_master, self.changed, incarnation
        )
        self._granting = Granting(
            self._scheduler, self.workers.links, self.databases, batches, incarnation * 1_000_000,
            settings.max_workers, settings.slice,
        )  # fmt: skip

    def run(self) -> None:
        """Grant whenever something has changed or a throttle or a rate lets the next job through."""
        looked = time.monotonic()
        while True:
            # since the last look: what opened after it has not been seen yet
            opening = self._scheduler.next_opening(looked)
            resting = [
                head.rest_until for database in self.databases.values() for head in database.heads.values()
            ]
            moments = [moment for moment in (opening, *resting) if moment is not None and moment > looked]
            wait = max(min(moments) - time.monotonic(), 0.0) if moments else LONGEST_WAIT
            self._wake.wait(min(wait, LONGEST_WAIT))
            self._wake.clear()
            looked = time.monotonic()
            self._grant_all()

    @property
    def tree(self) -> Tree:
        """The channels with the limits in force."""
        return self._live.tree

    def overrides(self, database: int, overrides: tuple[Override, ...]) -> None:
        """Apply the live limits of a database; () when another dispatcher leads it."""
        if self._live.change(database, self.databases[database].name, overrides):
            self._scheduler.reconfigure(self.tree, time.monotonic())
            self._granting.end_slices()
            self.changed()

    def reconfigure(self, settings: Settings) -> tuple[list[QueueDatabase], list[QueueDatabase]]:
        """Apply another configuration; returns the databases to begin with, and those to leave. Running jobs go on."""
        configured = {config.id: config for config in settings.databases}
        gone = [self.databases.pop(number) for number in set(self.databases) - set(configured)]
        for database in self.databases.values():
            database.configure(settings.poll_interval, Retention(database.name, Ages(settings)))
        new = [
            self._database(config, settings)
            for number, config in configured.items()
            if number not in self.databases
        ]
        self.databases.update({database.index: database for database in new})
        for database in gone:
            self.standings.pop(database.index, None)
            # its next leader, here or elsewhere, recovers what is left there
            self.orphans(database.index, [])
            for death in database.recovery.drop():
                self.recovered(death, database.index)
        self._max_workers = settings.max_workers
        self._granting.configure(settings.max_workers, settings.slice)
        self._live.configure(settings.channels, configured)
        self._reshaped()
        return new, gone

    def _database(self, config: DatabaseConfig, settings: Settings) -> QueueDatabase:
        retention = Retention(config.name, Ages(settings))
        kind = OcaDatabase if settings.odoo else QueueDatabase
        return kind(config, self, settings.poll_interval, retention)

    def reload(self, why: str) -> None:
        """Ask the master for a reload, as SIGHUP does: the workers need other code."""
        event(_log, logging.INFO, "asking for a reload", why=why)
        self._tell_master(messages.ReloadWanted())

    def change_root(self, change: int) -> None:
        """Give root so many slots more, or fewer, than configured."""
        self._live.change_root(change)
        event(_log, logging.INFO, "capacity of root changed", capacity=self.tree["root"].capacity)
        self._reshaped()

    def _reshaped(self) -> None:
        self._scheduler.reconfigure(self.tree, time.monotonic())
        for database in self.databases.values():
            database.look_again()
        self._granting.end_slices()
        self._wanted = None
        self.changed()

    def changed(self) -> None:
        """Look again: heads, slots or workers are not what they were."""
        self._wake.set()

    def sequential(self, stored: str) -> bool:
        """Whether jobs of this stored channel run one by one, in order."""
        return self.tree[self.tree.resolve(stored)].sequential

    def drain(self) -> None:
        """Grant nothing any more."""
        self.draining = True
        self._granting.end_slices()

    def in_use(self, channel: str) -> int:
        """Slots in use in a configured channel and below it."""
        return self._scheduler.in_use(channel)

    # what databases and links report

    def alive(self) -> set[Process]:
        """The workers of our master that were not recovered yet."""
        return self.workers.alive()

    def recovered(self, death: Death, database: int) -> None:
        """One database holds nothing of this worker any more."""
        self.workers.recovered(death, database)

    def cancel(self, process: Process, job: int, attempt: int) -> None:
        """A run was cancelled: the master stops it, if it is one of our workers'."""
        self.workers.cancel(process, job, attempt)

    def warm_up_worker(self, database: int) -> None:
        """A job may be there: the worker that is likely to get it wakes its session while we look."""
        self.workers.warm_up(database)

    def orphans(self, database: int, channels: list[str]) -> None:
        """The stored channels of runs in a database that are none of our workers'."""
        wanted = Counter((database, self.tree.resolve(channel)) for channel in channels)
        for key in {key for key in self._orphans if key[0] == database} | set(wanted):
            for _ in range(wanted[key] - self._orphans[key]):
                self._scheduler.take(key[1], None)
            for _ in range(self._orphans[key] - wanted[key]):
                self._scheduler.release(key[1])
            self._orphans[key] = wanted[key]

    def standing(self, database: int, standing: Standing) -> None:
        """What the dispatcher is to a database now. The master needs it to tell whether the service is ready."""
        before, self.standings[database] = self._all_served(), standing
        if self._all_served() and not before:
            names = ",".join(database.name for database in self.databases.values())
            event(_log, logging.INFO, "all databases ready", db=names)
        self._tell_master(messages.DatabaseStanding(database, standing))

    def _all_served(self) -> bool:
        """Whether each database is led, by this dispatcher or another, or is not ours to serve."""
        fine = (Standing.LEADS, Standing.STANDS_BY, Standing.NOT_SERVED)
        return all(self.standings.get(number) in fine for number in self.databases)

    def started_last(self, channel: str, ago: float) -> None:
        """The last start of a channel with a throttle, as the database remembers it."""
        self._scheduler.started_last(channel, ago, time.monotonic())

    # grants

    def _grant_all(self) -> None:
        if self.draining:
            return
        lacking = self._granting.grant_all()
        # totals, not how many more: a worker on its way would be asked for twice
        staying = Counter(link.channel for link in self.workers.links.staying())
        more = Counter({*lacking.passed}) | Counter(lacking.now)
        wanted = {channel: count + staying[channel] for channel, count in more.items()}
        if wanted != self._wanted:
            self._wanted = wanted
            self._tell_master(messages.WorkersWanted.fitting(wanted))
        self.workers.make_room(len(lacking.now), self._max_workers)
