"""A database of Odoo with the addon queue_job: who else may lead it, when its jobs must wait, whose rows it has.

The queue has the native interface (queuejobs.store.oca), so only this is different here. The addon's own runner leads
by a lock that we take too: while we hold it, it stands by; when we go, it takes over.
"""

from __future__ import annotations

import logging
import time
from typing import Any

import gevent
from psycopg2.extensions import connection as Connection

from queuejobs.shared.log import event
from queuejobs.shared.process import Process
from queuejobs.store import oca
from queuejobs.store.prepared import Prepared

from . import statements
from .database import BEAT, NotServed, QueueDatabase

GATE = 2.0  # seconds between two looks for modules on their way in or out
SIGNAL = 10.0  # seconds between two looks whether Odoo's registry changed
SETTLED = 30.0  # seconds between two reloads because of that: an upgrade raises the signal often
LOOK_REST = 0.005  # seconds between two looks for jobs that notifications named: they come once a row change
TOO_MANY = 5000  # uuids; then every channel is looked at instead
_log = logging.getLogger("queuemaster.dispatcher")

# Every run under way, also those of Odoo's own workers, which have no row of ours.
_STARTED = """
select job.id::bigint, coalesce(run.attempt, 0), job.channel::text, coalesce(run.worker_id, 0),
       worker.host, worker.boot_id, worker.pid, worker.start_time
  from public.queue_job job left join queuemaster.run on run.job_id = job.id
  left join queuemaster.worker on worker.id = run.worker_id
 where job.state in ('enqueued', 'started')
"""
# The session by which the addon's runner leads; Odoo names its sessions so.
_DISPLACED = """
select count(pg_terminate_backend(activity.pid))
  from pg_locks join pg_stat_activity activity using (pid)
 where locktype = 'advisory' and granted and objsubid = 1 and (classid::bigint << 32 | objid::bigint) = %s
   and pg_locks.database = (select oid from pg_database where datname = current_database())
   and application_name like 'odoo%%' and usename = current_user
"""
# Which of the jobs that a notification named are ready, or due later.
_CHANGED = Prepared(
    "changed",
    "text[]",
    """
select channel, priority, queuemaster.key_time(date_created), id::bigint, eta
  from public.queue_job where uuid = any($1) and state = 'pending'
""",
)
# Taken lately, and by none of our workers.
_RIVALS = """
select count(*) from public.queue_job job
 where job.state = 'enqueued' and job.date_enqueued > queuemaster.utc_now() - interval '30 seconds'
   and not exists (select from queuemaster.run where run.job_id = job.id)
"""


class OcaDatabase(QueueDatabase):
    """Serve one database of Odoo until killed."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._uuids: set[str] = set()  # of jobs that changed, to be looked at
        self._busy = ""  # why jobs wait: modules are being installed, upgraded or removed
        self._signal: int | None = None
        self._warned = False  # of a runner that knows no lock
        self._holds = False  # the lock of the addon's runner

    def _serve(self, connection: Connection) -> None:
        with connection.cursor() as cursor:
            problem = oca.look(cursor).problem or oca.newer(cursor)
        if problem:
            raise NotServed(problem)
        self._told = ""
        self._holds = False
        self._uuids.clear()
        super()._serve(connection)

    # leadership

    def _try_lead(self, connection: Connection, cursor: Any) -> int | None:
        if not self._holds:
            cursor.execute("select pg_try_advisory_lock(%s)", (oca.STOCK_LEADER,))
            self._holds = bool(cursor.fetchone()[0])
        if not self._holds:
            self._displace(cursor)
            return None
        self._install(connection)
        return super()._try_lead(connection, cursor)

    def _displace(self, cursor: Any) -> None:
        """The addon's runner never gives its lock back by itself. Without its session it comes again, and stands by.

        It only hands jobs out: those that it has handed out go on in Odoo's workers, and keep their slots here.
        """
        cursor.execute(_DISPLACED, (oca.STOCK_LEADER,))
        displaced = cursor.fetchone()[0]
        if displaced:
            event(_log, logging.INFO, "the addon's runner is sent to stand by", db=self.name)
            self._wake.set()  # it asks again in five seconds, we at once

    def _install(self, connection: Connection) -> None:
        connection.autocommit = False
        if oca.install(connection):
            event(_log, logging.INFO, "our schema made beside the addon's table", db=self.name)
        connection.autocommit = True

    def _depose(self, cursor: Any) -> bool:
        # the addon's runner does not beat: only a session that our own table names
        return oca.is_installed(cursor) and super()._depose(cursor)

    # rows

    def _started(self, cursor: Any) -> list[statements.Started]:
        cursor.execute(_STARTED)
        return [
            statements.Started(
                job, attempt, channel, worker, None if process[0] is None else Process(*process)
            )
            for job, attempt, channel, worker, *process in cursor.fetchall()
        ]

    def _repair(self, cursor: Any) -> None:
        cursor.execute("select requeued, doomed, released from queuemaster.sweep()")
        requeued, doomed, released = cursor.fetchone()
        if requeued or doomed or released:
            event(
                _log, logging.WARNING, "sweep repaired rows",
                db=self.name, released=released, requeued=requeued, doomed=doomed,
            )  # fmt: skip
        cursor.execute(_RIVALS)
        rivals = cursor.fetchone()[0]
        if rivals and not self._warned:
            self._warned = True
            event(
                _log, logging.WARNING, "another runner takes jobs without holding the lock",
                db=self.name, jobs=rivals, expected="ODOO_QUEUE_JOB_CHANNELS=root:0 in Odoo's environment",
            )  # fmt: skip

    def _clean_up(self, cursor: Any, now: float) -> None:
        """Odoo's own scheduled action removes old jobs."""
        self._due["purge"] = now + 3600.0

    # notifications: the addon says which row changed, not how

    def _unknown(self, payload: str) -> None:
        self._uuids.add(payload)

    def _look_at_changes(self, cursor: Any, now: float) -> None:
        if not self._uuids or not self._is_due("changes", now, LOOK_REST):
            if not self._uuids:
                self._due.pop("changes", None)
            return
        uuids, self._uuids = self._uuids, set()
        if len(uuids) > TOO_MANY:
            self._due["poll"] = self._due["eta"] = 0.0
            return
        self._hub.soon(self.index)
        _CHANGED.execute(cursor, (list(uuids),))
        ready = sorted(cursor.fetchall(), key=lambda row: row[1:4])
        for channel, priority, created, job, eta in ready:
            if eta is None:
                self._head(channel).seen((priority, created, job))
            else:
                self._due["eta"] = 0.0
        if len(ready) < len(uuids):  # a failed job, or one with an eta, may have unblocked what runs in order
            for name, head in self.heads.items():
                if self._hub.sequential(name):
                    head.ended()
        if ready:
            self._hub.changed()
            gevent.sleep(0)  # what may start starts before the heads are read

    # the gate

    def _turn(self, cursor: Any) -> None:
        now = time.monotonic()
        if self._is_due("gate", now, GATE):
            self._look_at_gate(cursor)
        if self._busy:
            self._stand_still(cursor)
            return
        if self._is_due("signal", now, SIGNAL):
            self._look_at_signal(cursor, now)
        self._look_at_changes(cursor, now)
        super()._turn(cursor)

    def _look_at_gate(self, cursor: Any) -> None:
        found = oca.look(cursor)
        if found.problem:
            raise NotServed(found.problem)
        if found.busy and not self._busy:
            event(_log, logging.WARNING, "jobs wait: modules are changing", db=self.name, why=found.busy)
        elif self._busy and not found.busy:
            event(_log, logging.INFO, "jobs go on: modules are ready", db=self.name)
            # what the modules brought may be other columns for us, and is other code for the workers
            self._install(cursor.connection)
            self._due["poll"] = self._due["eta"] = 0.0
            self._hub.reload("modules changed")
        self._busy = found.busy

    def _stand_still(self, cursor: Any) -> None:
        """Nothing starts; what runs ends, and who dies is recovered."""
        self.heads.clear()
        self._uuids.clear()
        self._due.pop("changes", None)
        self._recover(cursor)
        now = time.monotonic()
        if self._is_due("beat", now, BEAT):
            statements.beat(cursor)
        for what in ("sweep", "cancel", "eta", "poll", "purge", "orphans", "control", "signal"):
            if self._due.get(what, now + GATE) < now + GATE:
                self._due[what] = now + GATE
        self._hub.changed()

    def _look_at_signal(self, cursor: Any, now: float) -> None:
        signal = oca.registry_signal(cursor)
        if self._signal is not None and signal != self._signal:
            self._due["signal"] = now + SETTLED
            self._hub.reload("Odoo's registry changed")
        self._signal = signal
