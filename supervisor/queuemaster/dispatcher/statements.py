"""The dispatcher's statements on the native queue, with their plans. Its session does not sort or scan whole tables."""

from __future__ import annotations

from typing import Any, NamedTuple

from queuejobs.shared.job_key import Key
from queuejobs.shared.process import Process
from queuejobs.store import locks
from queuejobs.store.prepared import Prepared

# A table that was empty when a plan was made must not be read as a whole when it is full.
_PLANNER = "set enable_seqscan = off; set enable_bitmapscan = off; set enable_sort = off; set jit = off"

# The first keys of each named channel, from its bound: one index-only scan of queue_job_ready a channel. An application
# may write infinite times, for which key_time has no text: "infinity" sorts behind all others, "-infinity" before.
_HEADS = Prepared(
    "heads",
    "text[], integer[], timestamp[], bigint[], integer[]",
    """
select wanted.channel, head.priority,
       coalesce(queuemaster.key_time(head.date_created), head.date_created::text), head.id
  from unnest($1, $2, $3, $4, $5)
       as wanted(channel, priority, created, id, depth)
 cross join lateral (
       select job.priority, job.date_created, job.id from queuemaster.queue_job job
        where job.state = 'pending' and job.eta is null and job.channel = wanted.channel
          and (job.priority, job.date_created, job.id) >= (wanted.priority, wanted.created, wanted.id)
        order by job.channel, job.priority, job.date_created, job.id
        limit wanted.depth) head
""",
)

# The stored channels among the rows of a partial index that begins with channel: a loose scan, one descent of the
# index a channel, however many rows it has.
_CHANNELS = """
with recursive found(channel) as (
    (select channel from queuemaster.queue_job where {rows} order by channel limit 1)
    union all
    select (select job.channel from queuemaster.queue_job job
             where {rows} and job.channel > found.channel
             order by job.channel limit 1)
      from found where found.channel is not null)
select channel from found where channel is not null
"""
_READY_CHANNELS = _CHANNELS.format(rows="state = 'pending' and eta is null")
_DELAYED_CHANNELS = _CHANNELS.format(rows="state = 'pending' and eta is not null")
_FAILED_CHANNELS = _CHANNELS.format(rows="state = 'failed'")

# What blocks a sequential channel: its least delayed key (first of queue_job_eta_order), a failed job.
_BLOCKERS = """
select wanted.channel, delayed.priority,
       coalesce(queuemaster.key_time(delayed.date_created), delayed.date_created::text), delayed.id,
       exists (select from queuemaster.queue_job failed
                where failed.state = 'failed' and failed.channel = wanted.channel)
  from unnest(%s::text[]) as wanted(channel)
  left join lateral (
       select job.priority, job.date_created, job.id from queuemaster.queue_job job
        where job.state = 'pending' and job.eta is not null and job.channel = wanted.channel
        order by job.channel, job.priority, job.date_created, job.id limit 1) delayed on true
"""

# Every run under way, with the process that runs it (nulls: a worker that is not registered any more).
_STARTED = """
select job.id, job.attempt, job.channel, job.worker_id, worker.host, worker.boot_id, worker.pid, worker.start_time
  from queuemaster.queue_job job left join queuemaster.worker on worker.id = job.worker_id
 where job.state = 'started'
"""

_TO_CANCEL = f"{_STARTED} and job.cancel_requested"

# Workers whose session is gone: their lock is free.
_DEAD = """
select worker.id, worker.host, worker.boot_id, worker.pid, worker.start_time
  from queuemaster.worker
 where worker.id not in (
       select objid::bigint from pg_locks
        where locktype = 'advisory' and classid = %s and objsubid = 2 and granted
          and database = (select oid from pg_database where datname = current_database()))
 order by worker.id
"""

# Seconds since the last start, by stored channel.
_LAST_STARTS = """
select channel, extract(epoch from queuemaster.utc_now() - max(date_started))::double precision
  from queuemaster.queue_job where channel = any(%s) and date_started is not null group by channel
"""

# What release_children has missed: the parents of waiting jobs all of whose parents are done.
_STRANDED = """
select distinct edge.parent_id
  from queuemaster.queue_job_edge edge join queuemaster.queue_job child on child.id = edge.child_id
 where child.state = 'wait_dependencies'
   and not exists (select from queuemaster.queue_job_edge other
                     join queuemaster.queue_job parent on parent.id = other.parent_id
                    where other.child_id = child.id and parent.state <> 'done')
"""


class Started(NamedTuple):
    """A row in state started."""

    id: int
    attempt: int
    channel: str
    worker_id: int
    process: Process | None  # None: not registered any more


class Wanted(NamedTuple):
    """Read the first ``depth`` ready keys of a channel, from ``bound`` on."""

    channel: str
    bound: Key
    depth: int


def prepare(cursor: Any) -> None:
    """Settings of the dispatcher's session, and LISTEN."""
    cursor.execute(_PLANNER)
    cursor.execute("listen queue_job")


def try_lead(cursor: Any, host: str) -> int | None:
    """The new epoch, None when another session leads."""
    cursor.execute("select pg_try_advisory_lock(%s, 0)", (locks.LEADER,))
    if not cursor.fetchone()[0]:
        return None
    cursor.execute("select queuemaster.lead(%s)", (host,))
    return int(cursor.fetchone()[0])


def depose(cursor: Any, seconds: float) -> bool:
    """End the session of a leader that has not beaten for so many seconds; true if there was one."""
    cursor.execute("select queuemaster.depose(%s)", (seconds,))
    return bool(cursor.fetchone()[0])


def beat(cursor: Any) -> None:
    """Store that the leader is alive."""
    cursor.execute("update queuemaster.leader set beat = queuemaster.utc_now()")


def heads(cursor: Any, wanted: list[Wanted]) -> dict[str, list[Key]]:
    """The first ready keys, ascending, of every channel asked for ([] when it has none)."""
    keys: dict[str, list[Key]] = {window.channel: [] for window in wanted}
    _HEADS.execute(
        cursor,
        (
            [window.channel for window in wanted],
            [window.bound[0] for window in wanted],
            [window.bound[1] for window in wanted],
            [window.bound[2] for window in wanted],
            [window.depth for window in wanted],
        ),
    )
    for channel, priority, created, job in cursor.fetchall():
        keys[channel].append((priority, created, job))
    return keys


def ready_channels(cursor: Any) -> list[str]:
    """The stored channels that have ready jobs."""
    cursor.execute(_READY_CHANNELS)
    return [row[0] for row in cursor.fetchall()]


def blocking_channels(cursor: Any) -> list[str]:
    """The stored channels with delayed or failed jobs: what may block a sequential channel."""
    cursor.execute(_DELAYED_CHANNELS)
    names = {row[0] for row in cursor.fetchall()}
    cursor.execute(_FAILED_CHANNELS)
    return sorted(names | {row[0] for row in cursor.fetchall()})


def blockers(cursor: Any, names: list[str]) -> dict[str, tuple[Key | None, bool]]:
    """Per channel the least delayed key and whether a failed job is there."""
    cursor.execute(_BLOCKERS, (names,))
    return {
        channel: (None if job is None else (priority, created, job), failed)
        for channel, priority, created, job, failed in cursor.fetchall()
    }


def started(cursor: Any) -> list[Started]:
    """Every run under way."""
    return _started(cursor, _STARTED)


def to_cancel(cursor: Any) -> list[Started]:
    """Runs under way for which a cancel was requested."""
    return _started(cursor, _TO_CANCEL)


def _started(cursor: Any, statement: str) -> list[Started]:
    cursor.execute(statement)
    return [
        Started(job, attempt, channel, worker_id, None if process[0] is None else Process(*process))
        for job, attempt, channel, worker_id, *process in cursor.fetchall()
    ]


def dead(cursor: Any) -> list[tuple[int, Process]]:
    """Registered workers whose session is gone."""
    cursor.execute(_DEAD, (locks.WORKER,))
    return [(row[0], Process(*row[1:])) for row in cursor.fetchall()]


def last_starts(cursor: Any, names: list[str]) -> dict[str, float]:
    """Seconds since the last start, by stored channel; channels without one are missing."""
    cursor.execute(_LAST_STARTS, (names,))
    return dict(cursor.fetchall())


def controls(cursor: Any) -> list[tuple[str, int | None, str | None, bool | None]]:
    """Limits that were changed live: channel, capacity, rate, paused; None: as configured. A table of few rows."""
    cursor.execute("select channel, capacity, rate, paused from queuemaster.control order by channel")
    return [tuple(row) for row in cursor.fetchall()]


def next_eta(cursor: Any) -> float | None:
    """Seconds until the next delayed job is due (negative: overdue); None without any. First of queue_job_eta."""
    cursor.execute(
        "select extract(epoch from eta - queuemaster.utc_now())::double precision from queuemaster.queue_job"
        " where state = 'pending' and eta is not null order by eta limit 1"
    )
    row = cursor.fetchone()
    return None if row is None else float(row[0])


def promote(cursor: Any, limit: int) -> int:
    """Take the eta off jobs that are due, ``limit`` at most; returns how many these were."""
    cursor.execute("select queuemaster.promote(%s)", (limit,))
    return int(cursor.fetchone()[0])


def release_stranded(cursor: Any) -> int:
    """Release children that a parent should have released; returns how many."""
    cursor.execute(_STRANDED)
    released = 0
    for (parent,) in cursor.fetchall():
        cursor.execute("select queuemaster.release_children(%s)", (parent,))
        released += cursor.fetchone()[0]
    return released


def requeue_enqueued(cursor: Any) -> int:
    """Put rows back that are ``enqueued``, a state that a native queue does not use; returns how many."""
    cursor.execute(
        "update queuemaster.queue_job set state = 'pending' where id in ("
        " select id from queuemaster.queue_job where state = 'enqueued' order by id for update skip locked)"
    )
    return int(cursor.rowcount)
