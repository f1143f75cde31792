"""One database: leadership, what is ready there, who must be recovered. A greenlet of its own.

One session listens, leads and asks. When it is lost, the leadership and every head go with it; the grants that are
out turn stale by the next epoch. A database that hangs keeps nobody else waiting.
"""

from __future__ import annotations

import json
import logging
import random
import socket
import time
from collections.abc import Callable
from typing import Any, Protocol

import gevent
import gevent.event
import psycopg2
from psycopg2.extensions import connection as Connection

from queuejobs.shared.log import event
from queuejobs.shared.process import Process
from queuejobs.store.connection import POOLED, connect, is_pooled
from queuemaster.channels import Head, Key, Override, Tree
from queuemaster.config.compiled import DatabaseConfig

from . import live_limits, statements
from .grant import OutstandingGrant
from .recovery import Death, Recovery, repair, sweep
from .retention import Retention

BEAT, DEPOSE_AFTER = 10.0, 30.0  # seconds
SWEEP = 30.0
STANDBY_POLL = 3.0
ORPHAN_POLL = 0.3
CANCEL_AGAIN = 1.0
FIRST_PURGE = 5.0  # after the takeover, which has more urgent things to do
PROMOTE_AT_ONCE = 1000
READS_A_TURN = 4  # an empty read from a bound asks for one of everything
QUARANTINE_AFTER, QUARANTINE_WITHIN, QUARANTINE = 5, 300.0, 300.0  # errors, in seconds; for so many seconds
NOT_SERVED_POLL = 30.0
_LOOK_AGAIN = {"control", "cancel"}  # what a notification that is no key may say
_log = logging.getLogger("queuemaster.dispatcher")


class NotServed(Exception):
    """There is no queue for us in this database now; the message says why."""


class Hub(Protocol):
    """What a database tells the one who decides."""

    @property
    def tree(self) -> Tree: ...
    def changed(self) -> None: ...
    def overrides(self, database: int, overrides: tuple[Override, ...]) -> None: ...
    def sequential(self, stored: str) -> bool: ...
    def cancel(self, process: Process, job: int, attempt: int) -> None: ...
    def recovered(self, death: Death, database: int) -> None: ...
    def alive(self) -> set[Process]: ...
    def orphans(self, database: int, channels: list[str]) -> None: ...
    def started_last(self, channel: str, ago: float) -> None: ...
    def standing(self, database: int, standing: str) -> None: ...
    def reload(self, why: str) -> None: ...
    def warm_up_worker(self, database: int) -> None: ...


class QueueDatabase:
    """Serve one database until killed."""

    def __init__(self, config: DatabaseConfig, hub: Hub, poll_interval: float, retention: Retention) -> None:
        self.index = config.id
        self.name = config.name
        self._dsn = config.dsn
        self._hub = hub
        self._poll_interval = poll_interval
        self._retention = retention
        self.epoch: int | None = None  # set while we lead
        self.heads: dict[str, Head] = {}  # by stored channel
        self.recovery = Recovery(config.id, config.name)
        self._wake = gevent.event.Event()
        # (job, attempt) started by workers not ours: stored channel
        self._orphans: dict[tuple[int, int], str] = {}
        self._due: dict[str, float] = {}  # what to do next, by name: monotonic time
        self._errors: list[float] = []  # when it refused what we asked, not when it was away
        self._told = ""  # why it is not served, as logged

    def wake(self) -> None:
        """Something is to be read or recovered."""
        self._wake.set()

    def configure(self, poll_interval: float, retention: Retention) -> None:
        """From now on."""
        self._poll_interval = poll_interval
        self._retention = retention

    def look_again(self) -> None:
        """The tree is another one: what a head is worth may be another thing."""
        for head in self.heads.values():
            head.noticed(None)
        self.wake()

    # what the hub reports of our grants

    def claimed(self, grant: OutstandingGrant, job: int, first: bool) -> None:
        """A grant started this job, or its slice went on with it."""
        self._touch(grant, lambda head: head.claimed(job) if first else head.taken(job))

    def came_back(self, grant: OutstandingGrant) -> None:
        """A grant started nothing."""
        if grant.slice:
            self._touch(grant, Head.slice_ended)
        self._touch(grant, lambda head: head.came_back(time.monotonic()))

    def ended(self, grant: OutstandingGrant, lost: bool) -> None:
        """A grant ended, if ``lost`` with its worker: then a slice may have taken more than it said.

        What a job leaves behind may block a sequential channel, and a batch took others along.
        """
        if grant.slice:
            self._touch(grant, Head.slice_ended)
        if grant.sequential or grant.batch > 1 or (grant.slice and lost):
            self._touch(grant, Head.ended)

    def _touch(self, grant: OutstandingGrant, change: Callable[[Head], None]) -> None:
        head = self.heads.get(grant.channel)
        if head is None or grant.epoch != self.epoch:
            return  # read anew since the grant went out
        change(head)
        if head.dirty:
            self.wake()

    def run(self) -> None:
        """Connect, lead, serve; again after every loss, with back-off and jitter."""
        delay = 0.1
        while True:
            connection = None
            try:
                connection = connect(self._dsn, "queuemaster: dispatcher")
                connection.autocommit = True
                if is_pooled(connection, self._dsn):
                    raise NotServed(POOLED)
                self._serve(connection)
                self._told = ""
            except NotServed as why:
                delay = NOT_SERVED_POLL
                self._not_served(str(why))
            except psycopg2.Error as error:
                delay = 0.1 if self.epoch is not None else min(delay * 2, 15.0)
                refused = connection is not None and not connection.closed
                delay = self._lost(str(error).strip(), delay, refused)
            finally:
                self.epoch = None
                self.heads.clear()
                if connection is not None:
                    connection.close()
            gevent.sleep(delay * random.uniform(0.5, 1.0))

    def _not_served(self, why: str) -> None:
        for death in self.recovery.drop():
            self._hub.recovered(death, self.index)
        self._hub.standing(self.index, "not served")
        if why != self._told:
            event(_log, logging.WARNING, "database is not served", db=self.name, why=why)
            self._told = why

    def _lost(self, error: str, delay: float, refused: bool) -> float:
        """Seconds until it is tried again. ``refused``: it is there, and does not let us do our work.

        When that happens often the others must not suffer from it.
        """
        now = time.monotonic()
        self._errors = [one for one in self._errors if one > now - QUARANTINE_WITHIN]
        if refused:
            self._errors.append(now)
        if refused and len(self._errors) >= QUARANTINE_AFTER:
            self._hub.standing(self.index, "quarantined")
            event(
                _log, logging.ERROR, "database is in quarantine", db=self.name, error=error, retry=QUARANTINE
            )
            return QUARANTINE
        self._hub.standing(self.index, "away")
        event(_log, logging.WARNING, "database is away", db=self.name, error=error, retry=delay)
        return delay

    def _serve(self, connection: Connection) -> None:
        with connection.cursor() as cursor:
            statements.prepare(cursor)
            self._lead(connection, cursor)
            while True:
                self._turn(cursor)
                self._wait(connection)

    # leadership

    def _lead(self, connection: Connection, cursor: Any) -> None:
        standing_by = False
        while (epoch := self._try_lead(connection, cursor)) is None:
            if not standing_by:
                event(_log, logging.INFO, "another dispatcher leads, standing by", db=self.name)
                standing_by = True
                self._hub.standing(self.index, "stands by")
                self._hub.overrides(self.index, ())
            for death in self.recovery.drop():
                self._hub.recovered(death, self.index)
            if self._depose(cursor):
                event(_log, logging.WARNING, "ended the session of a leader that did not beat", db=self.name)
                continue
            self._wake.wait(STANDBY_POLL)
            self._wake.clear()
        self._take_over(cursor)
        self.epoch = epoch
        event(_log, logging.INFO, "leads", db=self.name, epoch=epoch)
        self._hub.standing(self.index, "leads")
        self._hub.changed()

    # what differs where the queue is another's: see OcaDatabase

    def _try_lead(self, _connection: Connection, cursor: Any) -> int | None:
        return statements.try_lead(cursor, socket.gethostname())

    def _depose(self, cursor: Any) -> bool:
        return statements.depose(cursor, DEPOSE_AFTER)

    def _started(self, cursor: Any) -> list[statements.Started]:
        return statements.started(cursor)

    def _repair(self, cursor: Any) -> None:
        repair(cursor, self.name)

    def _unknown(self, payload: str) -> None:
        event(_log, logging.WARNING, "not our notification", db=self.name, payload=payload[:100])

    def _clean_up(self, cursor: Any, now: float) -> None:
        if self._due["purge"] <= now:
            self._due["purge"] = now + self._retention.work(cursor)

    def _take_over(self, cursor: Any) -> None:
        """Deaths with a cause first, then the sweep; what still runs then occupies slots until it ends."""
        self._hub.overrides(self.index, live_limits.read(cursor))
        self._recover(cursor)
        self._sweep(cursor)
        alive = self._hub.alive()
        self._orphans = {
            (row.id, row.attempt): row.channel for row in self._started(cursor) if row.process not in alive
        }
        self._hub.orphans(self.index, list(self._orphans.values()))
        throttled = [channel.name for channel in self._hub.tree if channel.throttle]
        if throttled:
            for channel, ago in statements.last_starts(cursor, throttled).items():
                self._hub.started_last(channel, ago)
        now = time.monotonic()
        self._due = {"beat": now + BEAT, "sweep": now + SWEEP, "poll": now, "eta": now}
        self._due["purge"] = now + FIRST_PURGE

    # the loop

    def _turn(self, cursor: Any) -> None:
        now = time.monotonic()
        self._recover(cursor)
        if self._orphans and self._is_due("orphans", now, ORPHAN_POLL):
            self._watch_orphans(cursor)
        if self._due.pop("control", None) is not None:
            self._hub.overrides(self.index, live_limits.read(cursor))
        if self._is_due("beat", now, BEAT):
            statements.beat(cursor)
        if self._is_due("sweep", now, SWEEP):
            self._sweep(cursor)
        if self._is_due("cancel", now, SWEEP):
            self._cancel(cursor)
        if self._is_due("eta", now, self._poll_interval):
            self._promote(cursor)
        if self._is_due("poll", now, self._poll_interval):
            self._poll(cursor)
        self._read_heads(cursor)
        self._clean_up(cursor, now)

    def _is_due(self, what: str, now: float, interval: float) -> bool:
        if self._due.get(what, now) > now:
            return False
        self._due[what] = now + interval
        return True

    def _wait(self, connection: Connection) -> None:
        """Until a notification, a wake-up, or the next thing that is due."""
        # what came along with the answer of a query does not make the socket readable
        if not connection.notifies:
            times = [*self._due.values(), self.recovery.due()]
            deadline = min(moment for moment in times if moment is not None)
            arrived = gevent.get_hub().loop.io(connection.fileno(), 1)
            arrived.start(self._wake.set)
            try:
                self._wake.wait(max(deadline - time.monotonic(), 0.0))
            finally:
                arrived.stop()
                arrived.close()
            connection.poll()
        self._wake.clear()
        for notification in connection.notifies:
            self._noticed(notification.payload)
        connection.notifies.clear()

    def _noticed(self, payload: str) -> None:
        try:
            message = json.loads(payload)
            if isinstance(message, dict):  # keys are lists, all else is an object
                for what in _LOOK_AGAIN & set(message):
                    self._due[what] = 0.0
                return
            channel, *key = message
        except (ValueError, TypeError):
            self._unknown(payload)
            return
        if channel is None:
            self._due["eta"] = 0.0
            # whose channel it is in is not said: it may stand before what is ready in a sequential one
            for name, head in self.heads.items():
                if self._hub.sequential(name):
                    head.ended()
        else:
            self._head(channel).noticed((key[0], key[1], key[2]) if key else None)

    # what it does

    def _recover(self, cursor: Any) -> None:
        for death in self.recovery.work(cursor, time.monotonic()):
            self._hub.recovered(death, self.index)

    def _sweep(self, cursor: Any) -> None:
        sweep(cursor, self.name, self._hub.alive())
        self._repair(cursor)

    def _watch_orphans(self, cursor: Any) -> None:
        running = {(row.id, row.attempt) for row in self._started(cursor)}
        left = {run: channel for run, channel in self._orphans.items() if run in running}
        if not left:
            self._due.pop("orphans", None)
        if len(left) < len(self._orphans):
            self._orphans = left
            self._hub.orphans(self.index, list(left.values()))
            self._hub.changed()

    def _cancel(self, cursor: Any) -> None:
        """Have the master stop the runs that somebody cancelled; asked again until they are gone."""
        wanted = statements.to_cancel(cursor)
        for run in wanted:
            if run.process is not None:
                self._hub.cancel(run.process, run.id, run.attempt)
        if wanted:
            self._due["cancel"] = time.monotonic() + CANCEL_AGAIN

    def _promote(self, cursor: Any) -> None:
        while statements.promote(cursor, PROMOTE_AT_ONCE) == PROMOTE_AT_ONCE:
            pass
        wait = statements.next_eta(cursor)
        if wait is not None:
            # a due row that is locked by somebody is left over: not at once again
            self._due["eta"] = min(time.monotonic() + max(wait, 0.05), self._due["eta"])

    def _poll(self, cursor: Any) -> None:
        """The safety net under notifications, and the beginning: which channels have anything to say?"""
        self._hub.overrides(self.index, live_limits.read(cursor))
        names = statements.ready_channels(cursor)
        if any(channel.sequential for channel in self._hub.tree):
            names += statements.blocking_channels(cursor)
        for name in names:
            self._head(name)
        for name, head in list(self.heads.items()):
            head.noticed(None)
            if name not in names and not head.granted and not head.slices:
                del self.heads[name]

    def _head(self, channel: str) -> Head:
        return self.heads.setdefault(channel, Head())

    def _read_heads(self, cursor: Any) -> None:
        """Until no head is dirty, but not for ever: under load they get dirty while they are read."""
        for _ in range(READS_A_TURN):
            dirty = {name: head for name, head in self.heads.items() if head.dirty}
            if not dirty:
                return
            for head in dirty.values():
                head.asking()
            try:
                wanted = [
                    statements.Wanted(name, head.bound or statements.LEAST, head.rows_to_read)
                    for name, head in dirty.items()
                ]
                depth = {item.channel: item.depth for item in wanted}
                ready = statements.heads(cursor, wanted)
                sequential = [name for name in dirty if self._hub.sequential(name)]
                blockers = statements.blockers(cursor, sequential) if sequential else {}
            except psycopg2.Error:
                for head in dirty.values():
                    head.unanswered()
                raise
            for name, head in dirty.items():
                keys: list[Key] = ready[name]
                head.read(keys, len(keys) == depth[name], *blockers.get(name, (None, False)))
            self._hub.changed()
        self.wake()  # after whatever else is due
