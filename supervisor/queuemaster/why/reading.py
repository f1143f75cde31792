"""One database → the facts about a job in it. Nothing is written, and no statement may take long."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from queuejobs.store import locks, oca
from queuemaster.channels import Tree

from .facts import COUNTED, Facts, Job, Leader, Other, Some, Worker

PATIENCE = 10_000  # ms for one statement: whoever asks why jobs wait must not make them wait
NAMED = 20  # jobs of a kind that are read, of which a few are shown
LONGEST_WINDOW = 86_400.0  # seconds of earlier starts that are looked at for a throttle or a rate
STARTS = 1_000

_MINE = "(select oid from pg_database where datname = current_database())"
_ALIVE = f"""exists (select from pg_locks where locktype = 'advisory' and classid = {locks.WORKER} and objsubid = 2
                 and granted and objid::bigint = job.worker_id and database = {_MINE})"""
_AGO = "extract(epoch from queuemaster.utc_now() - {})::double precision"
_IN = """case when job.eta is not null
     then greatest(extract(epoch from job.eta - queuemaster.utc_now()), 0)::double precision end"""
# what is read of every job that is named
_COLUMNS = f"""
    job.id, job.uuid, job.model_name || '.' || job.method_name, job.state, job.channel,
    concat_ws(': ', job.exc_name, job.exc_message), {_IN}, {_AGO.format("job.date_started")},
    worker.pid, worker.host, {_ALIVE}
"""
_FROM = "queuemaster.queue_job job left join queuemaster.worker on worker.id = job.worker_id"

_JOB = f"""
select {_COLUMNS}, job.retry, job.max_retries, job.attempt, {_AGO.format("job.date_created")},
       {_AGO.format("coalesce(job.date_cancelled, job.date_done)")}, job.cancel_requested,
       {_AGO.format("job.unknown_since")}, job.doomed
  from {_FROM} where job.uuid = %s
"""

_PARENTS = f"""
select {_COLUMNS}, count(*) over ()
  from queuemaster.queue_job_edge edge join {_FROM} on job.id = edge.parent_id
 where edge.child_id = %s and job.state <> 'done' order by job.id limit {NAMED}
"""

# All unfinished jobs above, each edge followed once; of these the ones that do not wait for others. Failed first.
_ROOTS = f"""
with recursive above(id) as (
    select edge.parent_id from queuemaster.queue_job_edge edge
      join queuemaster.queue_job parent on parent.id = edge.parent_id and parent.state <> 'done'
     where edge.child_id = %s
    union
    select edge.parent_id from above join queuemaster.queue_job_edge edge on edge.child_id = above.id
      join queuemaster.queue_job parent on parent.id = edge.parent_id and parent.state <> 'done')
select {_COLUMNS}, count(*) over ()
  from above join {_FROM} on job.id = above.id
 where job.state <> 'wait_dependencies'
 order by array_position(array['failed', 'cancelled', 'pending', 'enqueued', 'started'], job.state), job.id
 limit {NAMED}
"""

# Plan: queue_job_ready from the left edge of the channel to the job's own key.
_BETTER = f"""
select {_COLUMNS}
  from queuemaster.queue_job this, {_FROM}
 where this.id = %s and job.state = 'pending' and job.eta is null and job.channel = this.channel
   and (job.priority, job.date_created, job.id) < (this.priority, this.date_created, this.id)
 order by job.channel, job.priority, job.date_created, job.id limit %s
"""
_BETTER_COUNT = f"""
select count(*) from (
    select from queuemaster.queue_job this, queuemaster.queue_job job
     where this.id = %s and job.state = 'pending' and job.eta is null and job.channel = this.channel
       and (job.priority, job.date_created, job.id) < (this.priority, this.date_created, this.id)
     limit {COUNTED}) better
"""

_RUNNING = f"select {_COLUMNS} from {_FROM} where job.state = 'started' order by job.date_started"

# By the partial index of failed jobs, and by that of delayed ones in their order.
_FAILED = f"""
select {_COLUMNS} from {_FROM}
 where job.state = 'failed' and job.channel = any(%s) order by job.id limit {NAMED}
"""
_DELAYED = f"""
select {_COLUMNS} from queuemaster.queue_job this, {_FROM}
 where this.id = %s and job.id <> this.id and job.state = 'pending' and job.eta is not null and job.channel = any(%s)
   and (job.priority, job.date_created, job.id) < (this.priority, this.date_created, this.id)
 order by job.channel, job.priority, job.date_created, job.id limit {NAMED}
"""
_BLOCKING_CHANNELS = """
select distinct channel from queuemaster.queue_job
 where state = 'failed' or (state = 'pending' and eta is not null)
"""

# Plan: a scan of the table; only asked for channels that have a throttle or a rate.
_STARTS = f"""
select channel, {_AGO.format("date_started")} from queuemaster.queue_job
 where date_started > queuemaster.utc_now() - make_interval(secs => %s)
   and (%s = 'root' or channel = any(%s) or starts_with(channel, %s) or starts_with(channel, %s))
 order by date_started desc limit {STARTS}
"""

_LEADER = f"""
select epoch, coalesce(host, ''), {_AGO.format("beat")}, session_pid,
       (select pid from pg_locks where locktype = 'advisory' and classid = {locks.LEADER} and objid = 0
           and objsubid = 2 and granted and database = {_MINE} limit 1)
  from queuemaster.leader
"""
# Beside Odoo: the lock by which the addon's own runner leads, as the leading dispatcher does there.
_STOCK = f"""
select exists (select from pg_locks
                where locktype = 'advisory' and objsubid = 1 and granted and database = {_MINE}
                  and (classid::bigint << 32 | objid::bigint) = {oca.STOCK_LEADER})
"""

_SESSIONS = f"""
select channel, count(*) from queuemaster.worker job(worker_id, host, boot_id, pid, start_time, channel)
 where {_ALIVE} group by channel
"""


def prepare(cursor: Any) -> bool:
    """Make it a session that reads, and gives up rather than work long; whether there is a queue at all."""
    cursor.execute("set session characteristics as transaction read only")
    cursor.execute("set statement_timeout = %s", (PATIENCE,))
    cursor.execute("select to_regclass('queuemaster.queue_job') is not null")
    return bool(cursor.fetchone()[0])


def read(cursor: Any, database: str, uuid: str, tree: Tree | None, schema_problem: str = "") -> Facts | None:
    """Everything about a job in this database; None: it has no such job. ``tree``: the channels as they count."""
    cursor.execute(_JOB, (uuid,))
    found = cursor.fetchone()
    if found is None:
        return None
    other = _other(found, database)
    retry, max_retries, attempt, created_ago, ended_ago, cancel_requested, unknown_for, doomed = found[11:]
    job = Job(
        other.uuid, other.call, other.state, other.channel, retry, max_retries, attempt, created_ago, other.error,
        other.eta_in, other.started_ago, ended_ago, cancel_requested, unknown_for, other.worker,
        doomed,
    )  # fmt: skip
    facts = Facts(database, job, _leader(cursor), schema_problem, _modules(cursor))
    if job.state not in ("wait_dependencies", "pending", "enqueued"):
        return facts
    number = found[0]
    cursor.execute(_SESSIONS)
    facts = replace(
        facts,
        sessions=dict(cursor.fetchall()),
        parents=_some(cursor, _PARENTS, (number,), database),
        roots=_some(cursor, _ROOTS, (number,), database),
        running=running(cursor, database),
    )
    if job.state == "pending":
        cursor.execute(_BETTER_COUNT, (number,))
        count = cursor.fetchone()[0]
        better = _others(cursor, _BETTER, (number, NAMED), database) if count else ()
        facts = replace(facts, better=Some(better, count))
    return facts if tree is None else _with_channels(cursor, facts, number, tree)


def running(cursor: Any, database: str) -> tuple[Other, ...]:
    """Every job that runs: as few as there are workers."""
    return _others(cursor, _RUNNING, (), database)


def _with_channels(cursor: Any, facts: Facts, number: int, tree: Tree) -> Facts:
    """What only matters in channels of a certain kind."""
    path = tree.path(tree.resolve(facts.job.channel))
    sequential = {name for name in path if tree[name].sequential}
    if sequential:
        cursor.execute(_BLOCKING_CHANNELS)
        stored = [channel for (channel,) in cursor.fetchall() if tree.resolve(channel) in sequential]
        facts = replace(
            facts,
            failed=_others(cursor, _FAILED, (stored,), facts.database),
            delayed=_others(cursor, _DELAYED, (number, stored), facts.database),
        )
    return replace(facts, starts=_starts(cursor, tree, path))


def _starts(cursor: Any, tree: Tree, path: Collection[str]) -> tuple[tuple[str, float], ...]:
    timed = [name for name in path if tree[name].throttle or tree[name].rate]
    if not timed:
        return ()
    windows = [
        max(tree[name].throttle, (tree[name].burst + 1) / tree[name].rate if tree[name].rate else 0.0)
        for name in timed
    ]
    name = timed[-1]  # the widest one
    short = name.partition(".")[2]
    window = min(max(windows), LONGEST_WINDOW)
    cursor.execute(_STARTS, (window, name, [name, short], f"{name}.", f"{short}."))
    return tuple((channel, float(ago)) for channel, ago in cursor.fetchall())


def _modules(cursor: Any) -> str:
    """Why jobs of Odoo's wait for its modules; of a native queue nothing."""
    return oca.look(cursor).busy if oca.is_installed(cursor) else ""


def _leader(cursor: Any) -> Leader:
    cursor.execute(_LEADER)
    epoch, host, beat_ago, session, holder = cursor.fetchone()
    cursor.execute(_STOCK)
    stock = holder is None and bool(cursor.fetchone()[0])
    return Leader(holder is not None, holder is not None and holder != session, host, epoch, beat_ago, stock)


def _some(cursor: Any, statement: str, parameters: tuple[Any, ...], database: str) -> Some:
    cursor.execute(statement, parameters)
    rows = cursor.fetchall()
    return Some(tuple(_other(row, database) for row in rows), rows[0][-1] if rows else 0)


def _others(cursor: Any, statement: str, parameters: tuple[Any, ...], database: str) -> tuple[Other, ...]:
    cursor.execute(statement, parameters)
    return tuple(_other(row, database) for row in cursor.fetchall())


def _other(row: tuple[Any, ...], database: str) -> Other:
    _, uuid, call, state, channel, error, eta_in, started_ago, pid, host, alive = row[:11]
    worker = Worker(pid, host, alive) if pid is not None else None
    return Other(uuid, call, state, channel, database, error or "", eta_in, started_ago, worker)
