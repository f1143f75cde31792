"""A database of Odoo with the addon queue_job: the other runner that may lead it, and when its jobs must wait.

The queue has the native interface (queuejobs.store.oca), so only this is different here. The addon's own runner leads
by a lock that we take too: while we hold it, it stands by; when we go, it takes over.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from psycopg2.extensions import connection as Connection

from queuejobs.shared.log import event
from queuejobs.store import oca
from queuemaster.config.compiled import DatabaseConfig

from . import odoo_statements
from .database import QueueDatabase
from .duties import Duties
from .hub_protocol import Hub
from .native_duties import Beat
from .odoo_duties import GATE, Gate, LookAtChanges, WatchSignal
from .odoo_leadership import OdooLeadership
from .odoo_listener import OdooListener
from .retention import Retention
from .standing import NotServed
from .statements import Started

_log = logging.getLogger("queuemaster.dispatcher")


class OcaDatabase(QueueDatabase):
    """Serve one database of Odoo until killed."""

    def __init__(self, config: DatabaseConfig, hub: Hub, poll_interval: float, retention: Retention) -> None:
        super().__init__(config, hub, poll_interval, retention)
        self._warned_of_rivals = False
        leadership = OdooLeadership(config.name, self.wake)
        self._leadership = leadership
        self._gate = Gate(config.name, hub, leadership.install)
        self._changes = LookAtChanges(config.id, hub, self.heads, self._poll, self._promote)
        self._gate.hasten_on_opening(self._control, self._changes, self._promote, self._poll)
        self._listener = OdooListener(
            config.name, self.heads, self._control, self._cancel, self._promote, hub.sequential, self._changes
        )
        self._steady = Duties([self._gate, Beat(), self._recover])
        # no purge: Odoo's own scheduled action removes old jobs
        self._duties = Duties([WatchSignal(hub), self._changes, *self._job_duties()])

    def _serve(self, connection: Connection) -> None:
        with connection.cursor() as cursor:
            problem = oca.look(cursor).problem or oca.newer(cursor)
        if problem:
            raise NotServed(problem)
        self._changes.forget()
        super()._serve(connection)

    def _started(self, cursor: Any) -> list[Started]:
        return odoo_statements.started(cursor)

    def _repair(self, cursor: Any) -> None:
        repaired = odoo_statements.sweep(cursor)
        if any(repaired):
            event(_log, logging.WARNING, "sweep repaired rows", db=self.name, **repaired._asdict())
        rivals = odoo_statements.rivals(cursor)
        if rivals and not self._warned_of_rivals:
            self._warned_of_rivals = True
            event(
                _log, logging.WARNING, "another runner takes jobs without holding the lock",
                db=self.name, jobs=rivals, expected="ODOO_QUEUE_JOB_CHANNELS=root:0 in Odoo's environment",
            )  # fmt: skip

    def _turn(self, cursor: Any) -> None:
        self._steady.work(cursor, time.monotonic)
        if self._gate.closed:
            self._stand_still()
        else:
            self._duties.work(cursor, time.monotonic)

    def _stand_still(self) -> None:
        """Nothing starts; what runs ends, and workers that die are recovered."""
        self.heads.forget()
        self._changes.forget()
        self._duties.put_off(time.monotonic() + GATE)
        self._hub.changed()
