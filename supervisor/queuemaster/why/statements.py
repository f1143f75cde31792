"""The statements that read what concerns one job. ``%s`` are parameters."""

from __future__ import annotations

from queuejobs.store import locks, oca

from .facts import COUNTED

NAMED = 20  # jobs of a kind that are read; the sentences name the first of them
STARTS_READ = 1_000

_THIS_DATABASE = "(select oid from pg_database where datname = current_database())"
_WORKER_LIVES = f"""exists (
    select from pg_locks where locktype = 'advisory' and classid = {locks.WORKER} and objsubid = 2
       and granted and objid::bigint = job.worker_id and database = {_THIS_DATABASE})"""
_AGO = "extract(epoch from queuemaster.utc_now() - {})::double precision"
_DUE_IN = """case when job.eta is not null
     then greatest(extract(epoch from job.eta - queuemaster.utc_now()), 0)::double precision end"""
# the columns of every job that is named
_COLUMNS = f"""
    job.id, job.uuid, job.model_name || '.' || job.method_name, job.state, job.channel,
    concat_ws(': ', job.exc_name, job.exc_message), {_DUE_IN}, {_AGO.format("job.date_started")},
    worker.pid, worker.host, {_WORKER_LIVES}
"""
_FROM = "queuemaster.queue_job job left join queuemaster.worker on worker.id = job.worker_id"

JOB = f"""
select {_COLUMNS}, job.retry, job.max_retries, job.attempt, {_AGO.format("job.date_created")},
       {_AGO.format("coalesce(job.date_cancelled, job.date_done)")}, job.cancel_requested,
       {_AGO.format("job.unknown_since")}, job.doomed
  from {_FROM} where job.uuid = %s
"""

PARENTS = f"""
select {_COLUMNS}, count(*) over ()
  from queuemaster.queue_job_edge edge join {_FROM} on job.id = edge.parent_id
 where edge.child_id = %s and job.state <> 'done' order by job.id limit {NAMED}
"""

# The unfinished ancestors that do not wait for others, failed ones first. Each edge is followed once.
ROOTS = f"""
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
BETTER = f"""
select {_COLUMNS}
  from queuemaster.queue_job this, {_FROM}
 where this.id = %s and job.state = 'pending' and job.eta is null and job.channel = this.channel
   and (job.priority, job.date_created, job.id) < (this.priority, this.date_created, this.id)
 order by job.channel, job.priority, job.date_created, job.id limit %s
"""
BETTER_COUNT = f"""
select count(*) from (
    select from queuemaster.queue_job this, queuemaster.queue_job job
     where this.id = %s and job.state = 'pending' and job.eta is null and job.channel = this.channel
       and (job.priority, job.date_created, job.id) < (this.priority, this.date_created, this.id)
     limit {COUNTED}) better
"""

RUNNING = f"select {_COLUMNS} from {_FROM} where job.state = 'started' order by job.date_started"

# Plan: the partial index of failed jobs; that of delayed jobs in their order.
FAILED = f"""
select {_COLUMNS} from {_FROM}
 where job.state = 'failed' and job.channel = any(%s) order by job.id limit {NAMED}
"""
DELAYED = f"""
select {_COLUMNS} from queuemaster.queue_job this, {_FROM}
 where this.id = %s and job.id <> this.id and job.state = 'pending' and job.eta is not null and job.channel = any(%s)
   and (job.priority, job.date_created, job.id) < (this.priority, this.date_created, this.id)
 order by job.channel, job.priority, job.date_created, job.id limit {NAMED}
"""
BLOCKING_CHANNELS = """
select distinct channel from queuemaster.queue_job
 where state = 'failed' or (state = 'pending' and eta is not null)
"""

# Plan: a scan of the table; only run for channels that have a throttle or a rate.
STARTS = f"""
select channel, {_AGO.format("date_started")} from queuemaster.queue_job
 where date_started > queuemaster.utc_now() - make_interval(secs => %s)
   and (%s = 'root' or channel = any(%s) or starts_with(channel, %s) or starts_with(channel, %s))
 order by date_started desc limit {STARTS_READ}
"""

LEADER = f"""
select epoch, coalesce(host, ''), {_AGO.format("beat")}, session_pid,
       (select pid from pg_locks where locktype = 'advisory' and classid = {locks.LEADER} and objid = 0
           and objsubid = 2 and granted and database = {_THIS_DATABASE} limit 1)
  from queuemaster.leader
"""
# Beside Odoo: whether a session holds the lock of leadership of the addon's own runner; our dispatcher takes it too.
STOCK_LEADS = f"""
select exists (select from pg_locks
                where locktype = 'advisory' and objsubid = 1 and granted and database = {_THIS_DATABASE}
                  and (classid::bigint << 32 | objid::bigint) = {oca.STOCK_LEADER})
"""

SESSIONS = f"""
select channel, count(*) from queuemaster.worker job(worker_id, host, boot_id, pid, start_time, channel)
 where {_WORKER_LIVES} group by channel
"""
