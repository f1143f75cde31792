"""What the dispatcher asks a queue beside Odoo, where that differs from :mod:`.statements`."""

from __future__ import annotations

from typing import Any, NamedTuple

from queuejobs.shared.job_key import Key
from queuejobs.shared.process import Process
from queuejobs.store import oca
from queuejobs.store.prepared import Prepared

from .statements import Started

# Every run under way, also those of Odoo's own workers, which have no row of ours.
_STARTED = """
select job.id::bigint, coalesce(run.attempt, 0), job.channel::text, coalesce(run.worker_id, 0),
       worker.host, worker.boot_id, worker.pid, worker.start_time
  from public.queue_job job left join queuemaster.run on run.job_id = job.id
  left join queuemaster.worker on worker.id = run.worker_id
 where job.state in ('enqueued', 'started')
"""

# The session by which the addon's runner leads; Odoo names its sessions so.
_DISPLACE = """
select count(pg_terminate_backend(activity.pid))
  from pg_locks join pg_stat_activity activity using (pid)
 where locktype = 'advisory' and granted and objsubid = 1 and (classid::bigint << 32 | objid::bigint) = %s
   and pg_locks.database = (select oid from pg_database where datname = current_database())
   and application_name like 'odoo%%' and usename = current_user
"""

# Which of the jobs that a notification named are ready, or due later. By queue_job's index of uuids.
_CHANGED = Prepared(
    "changed",
    "text[]",
    """
select channel, priority, coalesce(queuemaster.key_time(date_created), date_created::text), id::bigint, eta is null
  from public.queue_job where uuid = any($1) and state = 'pending'
""",
)

# Taken lately, and by none of our workers.
_RIVALS = """
select count(*) from public.queue_job job
 where job.state = 'enqueued' and job.date_enqueued > queuemaster.utc_now() - interval '30 seconds'
   and not exists (select from queuemaster.run where run.job_id = job.id)
"""


class Pending(NamedTuple):
    """A pending job that was looked up by its uuid."""

    channel: str  # as stored
    key: Key
    is_ready: bool  # False: it has an eta


class Repaired(NamedTuple):
    """How many rows the sweep has put right."""

    requeued: int
    doomed: int
    released: int


def take_addon_lock(cursor: Any) -> bool:
    """Whether this session holds the lock of the addon's own runner now."""
    cursor.execute("select pg_try_advisory_lock(%s)", (oca.STOCK_LEADER,))
    return bool(cursor.fetchone()[0])


def displace(cursor: Any) -> bool:
    """End the session by which the addon's runner leads; true if there was one."""
    cursor.execute(_DISPLACE, (oca.STOCK_LEADER,))
    return bool(cursor.fetchone()[0])


def started(cursor: Any) -> list[Started]:
    """Every run under way, in our workers and in Odoo's."""
    cursor.execute(_STARTED)
    return [
        Started(job, attempt, channel, worker, None if process[0] is None else Process(*process))
        for job, attempt, channel, worker, *process in cursor.fetchall()
    ]


def changed(cursor: Any, uuids: list[str]) -> list[Pending]:
    """Those of these jobs that are pending, by their keys."""
    _CHANGED.execute(cursor, (uuids,))
    pending = [
        Pending(channel, (priority, created, job), is_ready)
        for channel, priority, created, job, is_ready in cursor.fetchall()
    ]
    return sorted(pending, key=lambda job: job.key)


def sweep(cursor: Any) -> Repaired:
    """Repair rows that no crash of one process explains."""
    cursor.execute("select requeued, doomed, released from queuemaster.sweep()")
    return Repaired(*cursor.fetchone())


def rivals(cursor: Any) -> int:
    """How many jobs another runner has taken lately."""
    cursor.execute(_RIVALS)
    return int(cursor.fetchone()[0])
