"""Who may start what: joins the channel tree, the databases' heads and the workers' links.

A slot is in use while a grant is out, while a started row is somebody else's, and while a worker that was adopted
has not answered or one that died is not recovered. It is never freed by a clock.
"""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import gevent
import gevent.event

from queuejobs.shared.log import event
from queuejobs.shared.process import Process
from queuemaster.channels import Override, Scheduler, Tree
from queuemaster.config.compiled import DatabaseConfig, Settings

from .database import QueueDatabase
from .granting import Granting
from .links import Link, Links, LinkState, retire, send
from .live_limits import LiveLimits
from .oca_database import OcaDatabase
from .recovery import Death
from .retention import Ages, Retention

LONGEST_WAIT = 3600.0  # seconds; a channel may open in years, which is more than a timer takes
_log = logging.getLogger("queuemaster.dispatcher")


class DispatchHub:
    """The dispatcher's state and decisions; greenlets call it, none of its methods waits."""

    def __init__(self, settings: Settings, tell_master: Callable[[dict[str, Any]], None]) -> None:
        self._live = LiveLimits(settings.channels)
        self._scheduler = Scheduler(self.tree, time.monotonic())
        self._tell_master = tell_master
        self._max_workers = settings.max_workers
        self._links = Links()
        self._recovering: dict[Death, set[int]] = {}  # databases that have not recovered it yet
        self._orphans: Counter[tuple[int, str]] = (
            Counter()
        )  # (database, channel): slots of runs that are not ours
        # grants of an earlier incarnation must not be taken for ours
        self.incarnation = int.from_bytes(os.urandom(6), "big")
        self._wanted: dict[str, int] | None = None  # what the master was told last
        self._retired = 0  # workers up to this generation run old code
        self.draining = False
        self.standings: dict[int, str] = {}  # by database: "leads", "stands by", "away"
        self._wake = gevent.event.Event()
        self.databases = {config.id: self._database(config, settings) for config in settings.databases}
        self._granting = Granting(
            self._scheduler, self._links, self.databases, self.incarnation * 1_000_000, settings.max_workers,
            settings.slice,
        )  # fmt: skip

    def run(self) -> None:
        """Grant whenever something has changed or a throttle or a rate lets the next job through."""
        looked = time.monotonic()
        while True:
            # from when it was looked at last: what opened since then has not been seen yet
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
        """The channels as they count now."""
        return self._live.tree

    def overrides(self, database: int, overrides: tuple[Override, ...]) -> None:
        """The live limits that a database has; () when we do not lead it any more."""
        if self._live.change(database, self.databases[database].name, overrides):
            self._scheduler.reconfigure(self.tree, time.monotonic())
            self._granting.end_slices()
            self.changed()

    def reconfigure(self, settings: Settings) -> tuple[list[QueueDatabase], list[QueueDatabase]]:
        """Another configuration: the databases to serve from now on, and those to leave. Running jobs go on."""
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
            # nobody leads it here any more: who does so elsewhere, or next, recovers what is left there
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
        """Other code for the workers: what a SIGHUP does."""
        event(_log, logging.INFO, "asking for a reload", why=why)
        self._tell_master({"type": "reload"})

    def change_root(self, change: int) -> None:
        """So many slots of root more, or less, than configured."""
        self._live.change_root(change)
        event(_log, logging.INFO, "capacity of root changed", capacity=self.tree["root"].capacity)
        self._reshaped()

    def retire(self, generation: int) -> None:
        """Workers up to this generation get no job any more: idle ones leave at once, others after their job."""
        self._retired = generation
        for link in self._links.values():
            if link.generation <= generation:
                retire(link)
        self.changed()

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

    def links_by_state(self) -> dict[str, dict[str, int]]:
        """How many workers each channel has, by what we know of them."""
        counted: dict[str, dict[str, int]] = {}
        for link in self._links.values():
            states = counted.setdefault(link.channel, {})
            states[link.state.value] = states.get(link.state.value, 0) + 1
        return counted

    # workers

    def adopt(self, link: Link) -> None:
        """The master hands over a worker; until it answers, it may be at work for an earlier dispatcher."""
        self._links[link.entry] = link
        self._scheduler.take(link.channel, None)
        send(link, {"type": "attach", "incarnation": self.incarnation})
        if link.generation <= self._retired:
            retire(link)  # it was forked before a reload, and came up after it

    def heard(self, link: Link, message: dict[str, Any]) -> None:
        """A message of a worker. What answers another dispatcher's grants is passed over."""
        kind = message["type"]
        if kind == "ready" and message["incarnation"] == self.incarnation and link.state is LinkState.ADOPTED:
            self._idle(link)
        elif link.grant is None or message.get("number") != link.grant.number:
            return
        elif kind == "claimed":
            database = self.databases.get(link.grant.database)
            if database is not None:  # else it is not served any more
                database.claimed(link.grant, message["job"], first=not link.claimed)
            link.claimed = True
        elif kind == "released":
            link.retiring = link.retiring or message["leaving"]
            if not link.claimed:
                self._scheduler.give_back(self.tree.resolve(link.grant.channel))
            if message.get("broken"):
                self._granting.batches.broke(link.grant)
            self._answered(link)
            self._idle(link)

    def gone(self, link: Link) -> None:
        """The link has ended. Its slot stays in use until the worker is reaped and recovered."""
        if link.state is not LinkState.GONE:
            link.state = LinkState.GONE
            if link.grant is not None and link.claimed:
                self._granting.batches.broke(link.grant)
            self._answered(link)
            self.changed()

    def died(self, death: Death) -> None:
        """The master reaped a worker. Acknowledged once every database that it may have worked for recovered it."""
        link = self._links.get(death.entry)
        concerned = set(self.databases)
        if link is not None and link.generation == death.generation:
            self.gone(link)
            if link.database in concerned:
                # its slot waits for the one that it worked for; the others forget its session when they can
                concerned = {link.database}
        if death in self._recovering:
            return
        self._recovering[death] = concerned
        for database in self.databases.values():
            database.recovery.add(death)
            database.wake()

    def recovered(self, death: Death, database: int) -> None:
        """One database holds nothing of this worker any more."""
        left = self._recovering.get(death)
        if left is None:
            return
        left.discard(database)
        if left:
            return
        del self._recovering[death]
        link = self._links.get(death.entry)
        if link is not None and link.generation == death.generation:
            del self._links[death.entry]
            if link.holds_slot:
                self._scheduler.release(link.channel)
            link.socket.close()
        self._tell_master({"type": "recovered", "entry": death.entry, "generation": death.generation})
        self.changed()

    def alive(self) -> set[Process]:
        """The workers of our master that were not recovered yet."""
        return {link.process for link in self._links.values()}

    def orphans(self, database: int, channels: list[str]) -> None:
        """The stored channels of runs in a database that are none of our workers'."""
        wanted = Counter((database, self.tree.resolve(channel)) for channel in channels)
        for key in {key for key in self._orphans if key[0] == database} | set(wanted):
            for _ in range(wanted[key] - self._orphans[key]):
                self._scheduler.take(key[1], None)
            for _ in range(self._orphans[key] - wanted[key]):
                self._scheduler.release(key[1])
            self._orphans[key] = wanted[key]

    def cancel(self, process: Process, job: int, attempt: int) -> None:
        """Somebody cancelled a run: the master stops it, if it is one of our workers'."""
        for link in self._links.values():
            if link.process == process and link.state in (LinkState.GRANTED, LinkState.ADOPTED):
                run = {"job": job, "attempt": attempt}
                self._tell_master(
                    {"type": "cancel", "entry": link.entry, "generation": link.generation, **run}
                )

    def standing(self, database: int, standing: str) -> None:
        """What we are to a database now: who asks whether the service is up wants to know."""
        before, self.standings[database] = self._all_served(), standing
        if self._all_served() and not before:
            names = ",".join(one.name for one in self.databases.values())
            event(_log, logging.INFO, "all databases ready", db=names)
        self._tell_master({"type": "standing", "database": database, "standing": standing})

    def _all_served(self) -> bool:
        """Each database has a dispatcher that leads it, this one or another, or is none of ours."""
        fine = ("leads", "stands by", "not served")
        return all(self.standings.get(number) in fine for number in self.databases)

    def started_last(self, channel: str, ago: float) -> None:
        """The last start that the database remembers, for a channel that throttles."""
        self._scheduler.started_last(channel, ago, time.monotonic())

    # grants

    def _grant_all(self) -> None:
        if self.draining:
            return
        lacking = self._granting.grant_all()
        # not how many more: one that comes while this is under way would be asked for twice
        staying = Counter(link.channel for link in self._links.staying())
        more = Counter({*lacking.passed}) | Counter(lacking.now)
        wanted = {channel: count + staying[channel] for channel, count in more.items()}
        if wanted != self._wanted:
            self._wanted = wanted
            self._tell_master({"type": "want", "channels": wanted})
        self._make_room(len(lacking.now))

    def _answered(self, link: Link) -> None:
        """The grant is used up, come back, or lost with its worker: the head it was for learns of it."""
        grant, link.grant = link.grant, None
        database = None if grant is None else self.databases.get(grant.database)
        if grant is None or database is None:  # no grant, or not served any more
            return
        if link.claimed:
            database.ended(grant, lost=link.state is LinkState.GONE)
        else:
            database.came_back(grant)

    def _idle(self, link: Link) -> None:
        link.state, link.idle_since = LinkState.IDLE, time.monotonic()
        link.holds_slot = False
        self._scheduler.release(link.channel)
        self.changed()

    def warm_up_worker(self, database: int) -> None:
        """A job may be there: the worker that is likely to get it wakes up while we look, and its session."""
        idle = self._links.idle()
        if idle:
            send(max(idle, key=lambda link: link.idle_since), {"type": "soon", "database": database})

    def _make_room(self, lacking: int) -> None:
        """When there are as many workers as may be, idle ones of other pools go for those that are asked for.

        Each time: those that were busy when they were asked for may be idle now.
        """
        room = self._max_workers - len(self._links.staying())
        idle = sorted(self._links.idle(), key=lambda link: link.idle_since)
        for link in idle[: max(lacking - room, 0)]:
            retire(link)
