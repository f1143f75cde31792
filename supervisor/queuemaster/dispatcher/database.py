"""One database: leadership, what is ready there, which workers must be recovered. A greenlet of its own.

One session listens, leads and queries. When it is lost, the leadership and every head go with it; the grants that are
out turn stale by the next epoch. A database that hangs does not keep the others waiting.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import Any

import gevent
import gevent.event
import psycopg2
from psycopg2.extensions import connection as Connection

from queuejobs.shared.log import event
from queuejobs.shared.standing import Standing
from queuejobs.store.connection import POOLED, connect, is_pooled
from queuemaster.channels import Head
from queuemaster.config.compiled import DatabaseConfig

from . import live_limits, native_duties, statements
from .duties import Duties, Duty
from .grant import OutstandingGrant
from .head_table import HeadTable
from .hub_protocol import Hub
from .leadership import Leadership
from .listener import Listener
from .recovery import Recovery, repair
from .retention import Retention
from .retries import Retries, Retry
from .standing import NotServed, StandingKeeper

STANDBY_POLL = 3.0  # seconds
_log = logging.getLogger("queuemaster.dispatcher")


class QueueDatabase:
    """Serve one database until killed."""

    def __init__(self, config: DatabaseConfig, hub: Hub, poll_interval: float, retention: Retention) -> None:
        self.index = config.id
        self.name = config.name
        self.epoch: int | None = None  # set while we lead
        self.heads = HeadTable()
        self.recovery = Recovery(config.id, config.name)
        self._dsn = config.dsn
        self._hub = hub
        self._standing = StandingKeeper(config.id, config.name, hub)
        self._retries = Retries()
        self._wake = gevent.event.Event()
        self._recover = native_duties.Recover(config.id, hub, self.recovery)
        self._sweep = native_duties.Sweep(config.name, hub, self._repair)
        self._orphans = native_duties.WatchOrphans(config.id, hub, self._started)
        self._control = native_duties.ReadControl(config.id, hub, poll_interval)
        self._cancel = native_duties.Cancel(hub)
        self._promote = native_duties.Promote(poll_interval)
        self._poll = native_duties.Poll(hub, self.heads, poll_interval)
        self._purge = native_duties.Purge(retention)
        self._listener = Listener(
            config.name, self.heads, self._control, self._cancel, self._promote, hub.sequential
        )
        self._leadership = Leadership()
        self._steady = Duties([native_duties.Beat(), self._recover])  # they go on even when no job may start
        # the purge last: a batch takes a while
        self._duties = Duties([*self._job_duties(), self._purge])

    @property
    def standing(self) -> Standing | None:
        """What we are to it; None: not known yet."""
        return self._standing.current

    def wake(self) -> None:
        """Have the greenlet look for duties: something is to be read or recovered."""
        self._wake.set()

    def configure(self, poll_interval: float, retention: Retention) -> None:
        """These values are in force from now on."""
        self._control.interval = self._promote.interval = self._poll.interval = poll_interval
        self._purge.retention = retention

    def look_again(self) -> None:
        """The tree is another one: a channel may be sequential now, or not any more."""
        for head in self.heads.values():
            head.noticed(None)
        self.wake()

    def _job_duties(self) -> list[Duty]:
        """What comes round in every queue, in the order in which it is done when several are due."""
        return [
            self._orphans,
            self._control,
            self._sweep,
            self._cancel,
            self._promote,
            self._poll,
            native_duties.ReadHeads(self._hub, self.heads),
        ]

    # what differs beside Odoo: see OcaDatabase

    def _started(self, cursor: Any) -> list[statements.Started]:
        return statements.started(cursor)

    def _repair(self, cursor: Any) -> None:
        repair(cursor, self.name)

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
        """A grant ended. ``lost``: with its worker, and a slice may have taken more jobs than it reported.

        What a job leaves behind may block a sequential channel, and a batch took several jobs.
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

    # the session

    def run(self) -> None:
        """Connect, lead, serve; again after every loss, with back-off and jitter."""
        while True:
            retry = self._run_session()
            gevent.sleep(retry.delay * random.uniform(0.5, 1.0))

    def _run_session(self) -> Retry:
        self._begin_duties()
        connection = None
        try:
            connection = connect(self._dsn, "queuemaster: dispatcher")
            connection.autocommit = True
            if is_pooled(connection, self._dsn):
                raise NotServed(POOLED)
            self._serve(connection)
        except NotServed as reason:
            self._recover.drop()
            retry = self._retries.not_served()
            self._standing.change(retry.standing, str(reason))
        except psycopg2.Error as error:
            led = self.epoch is not None
            if connection is None or connection.closed:
                retry = self._retries.lost(led=led)
            else:
                retry = self._retries.refused(time.monotonic(), led=led)
            duty = self._steady.running or self._duties.running or None
            self._standing.change(retry.standing, str(error).strip(), retry=retry.delay, duty=duty)
        finally:
            self.epoch = None
            self.heads.forget()
            if connection is not None:
                connection.close()
        return retry

    def _serve(self, connection: Connection) -> None:
        """Never returns. Raises psycopg2.Error or NotServed."""
        self._leadership.begin()
        self._listener.begin(connection)
        with connection.cursor() as cursor:
            statements.prepare(cursor)
            self._lead(connection, cursor)
            while True:
                self._turn(cursor)
                self._wait(connection)

    def _lead(self, connection: Connection, cursor: Any) -> None:
        while (epoch := self._leadership.try_lead(connection, cursor)) is None:
            if self.standing is not Standing.STANDS_BY:
                self._standing.change(Standing.STANDS_BY)
                self._hub.overrides(self.index, ())
            self._recover.drop()
            connection.notifies.clear()  # the takeover reads everything
            if self._leadership.depose(cursor):
                event(_log, logging.WARNING, "ended the session of a leader that did not beat", db=self.name)
                continue
            self._wake.wait(STANDBY_POLL)
            self._wake.clear()
        self._take_over(cursor)
        self.epoch = epoch
        self._standing.change(Standing.LEADS, epoch=epoch)
        self._hub.changed()

    def _take_over(self, cursor: Any) -> None:
        """Deaths with a cause first, then the sweep; what still runs then occupies slots until it ends."""
        self._hub.overrides(self.index, live_limits.read(cursor))
        self._recover.run(cursor)
        self._sweep.run(cursor)
        self._orphans.find(cursor)
        throttled = [channel.name for channel in self._hub.tree if channel.throttle]
        if throttled:
            for channel, ago in statements.last_starts(cursor, throttled).items():
                self._hub.started_last(channel, ago)
        self._begin_duties()

    def _begin_duties(self) -> None:
        for duties in (self._steady, self._duties):
            duties.begin(time.monotonic())

    def _turn(self, cursor: Any) -> None:
        self._steady.work(cursor, time.monotonic)
        self._duties.work(cursor, time.monotonic)

    def _wait(self, connection: Connection) -> None:
        """Wait for a notification or a wake-up, or until the next duty is due; then act on the notifications."""
        # a notification that came along with the answer of a query does not make the socket readable
        if not connection.notifies:
            moment = min(self._steady.moment(), self._duties.moment())
            arrived = gevent.get_hub().loop.io(connection.fileno(), 1)
            arrived.start(self._wake.set)
            try:
                self._wake.wait(max(moment - time.monotonic(), 0.0))
            finally:
                arrived.stop()
                arrived.close()
            connection.poll()
        self._wake.clear()
        for notify in connection.notifies:
            self._listener.notified(notify.payload, time.monotonic())
        connection.notifies.clear()
