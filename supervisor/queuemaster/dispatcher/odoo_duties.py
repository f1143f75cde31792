"""The duties beside Odoo: modules that come and go, other code, jobs that the addon's notifications name."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any

import gevent
from psycopg2.extensions import connection as Connection

from queuejobs.shared.log import event
from queuejobs.store import oca

from . import odoo_statements
from .duties import Duty
from .head_table import HeadTable
from .hub_protocol import Hub
from .standing import NotServed

# seconds
GATE = 2.0  # between two looks for modules on their way in or out
SIGNAL = 10.0  # between two looks whether Odoo's registry changed
SETTLED = 30.0  # between two reloads because of that: an upgrade raises the signal often
LOOK_REST = 0.005  # between two looks for jobs that notifications named: each change of a row sends one
TOO_MANY = 5000  # uuids; then every channel is looked at instead
_log = logging.getLogger("queuemaster.dispatcher")


class Gate(Duty):
    """While modules are installed, upgraded or removed no job may start."""

    name = "gate"
    interval = GATE

    def __init__(self, db: str, hub: Hub, install: Callable[[Connection], None]) -> None:
        super().__init__()
        self._db = db
        self._hub = hub
        self._install = install
        self._on_opening: tuple[Duty, ...] = ()
        self._busy = ""  # which modules are on their way

    @property
    def closed(self) -> bool:
        """Whether jobs must wait."""
        return bool(self._busy)

    def hasten_on_opening(self, *duties: Duty) -> None:
        """These duties are due at once when jobs may start again."""
        self._on_opening = duties

    def run(self, cursor: Any) -> None:
        queue = oca.look(cursor)
        if queue.problem:
            raise NotServed(queue.problem)
        if queue.busy and not self._busy:
            event(_log, logging.WARNING, "jobs wait: modules are changing", db=self._db, why=queue.busy)
        elif self._busy and not queue.busy:
            event(_log, logging.INFO, "jobs go on: modules are ready", db=self._db)
            # the modules may have brought other columns for us, and they are other code for the workers
            self._install(cursor.connection)
            for duty in self._on_opening:
                duty.hasten()
            self._hub.reload("modules changed")
        self._busy = queue.busy


class WatchSignal(Duty):
    """Ask for a reload when Odoo's registry has changed: the workers need other code."""

    name = "signal"
    interval = SIGNAL

    def __init__(self, hub: Hub) -> None:
        super().__init__()
        self._hub = hub
        self._signal: int | None = None  # as last read

    def run(self, cursor: Any) -> float | None:
        before, self._signal = self._signal, oca.registry_signal(cursor)
        if before in (None, self._signal):
            return None
        self._hub.reload("Odoo's registry changed")
        return SETTLED


class LookAtChanges(Duty):
    """Look up the jobs that notifications named: the addon says which row changed, not how."""

    name = "changes"
    interval = LOOK_REST

    def __init__(self, database: int, hub: Hub, heads: HeadTable, poll: Duty, promote: Duty) -> None:
        super().__init__()
        self._database = database
        self._hub = hub
        self._heads = heads
        self._poll = poll
        self._promote = promote
        self._uuids: set[str] = set()

    def add(self, uuid: str) -> None:
        """A notification named this job."""
        if len(self._uuids) <= TOO_MANY:
            self._uuids.add(uuid)

    def forget(self) -> None:
        """Forget the jobs that were named: all channels will be looked at."""
        self._uuids.clear()

    def moment(self) -> float:
        return self.due if self._uuids else math.inf

    def run(self, cursor: Any) -> None:
        uuids, self._uuids = self._uuids, set()
        if len(uuids) > TOO_MANY:
            self._poll.hasten()
            self._promote.hasten()
            return
        self._hub.warm_up_worker(self._database)
        pending = odoo_statements.changed(cursor, list(uuids))
        for job in pending:
            if job.is_ready:
                self._heads.of(job.channel).seen(job.key)
            else:
                self._promote.hasten()
        if len(pending) < len(uuids):
            # a job failed, or is done: it may have blocked a sequential channel, or blocks it now
            self._heads.blockers_changed(self._hub.sequential)
        if pending:
            self._hub.changed()
            gevent.sleep(0)  # what may start starts before the heads are read
