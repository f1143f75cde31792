"""The statements of the commands, beside those of ``queuejobs.store``: native queues, Odoo's tables, the server.

``%(name)s`` and ``%s`` are parameters. Where no plan is named, a statement reads a handful of rows.
"""

from __future__ import annotations

from queuejobs.store import locks, oca

# --- jobs ---

# The newest first. Plan: the primary key read backwards until the limit is reached; with a filter that few
# rows pass it may read far, which is bearable for one person who asks. Null: any state, any channel.
LIST_JOBS = """
select uuid, state, channel, priority, retry, max_retries, attempt, date_created, eta, name,
       model_name || '.' || method_name as method
  from queuemaster.queue_job
 where (%(state)s::text is null or state = %(state)s)
   and (%(channel)s::text is null or channel = %(channel)s or starts_with(channel, %(channel)s || '.'))
 order by id desc limit %(limit)s
"""

# All in one state, in the order of their ids: parents before their children. Plan: a scan of the whole table.
MATCHING_UUIDS = """
select uuid from queuemaster.queue_job
 where state = %(state)s
   and (%(channel)s::text is null or channel = %(channel)s or starts_with(channel, %(channel)s || '.'))
 order by id
"""

HAS_JOB = "select exists (select from queuemaster.queue_job where uuid = %s)"

# Plan: the primary key, once for each running job.
JOB_NAMES = "select id, uuid, model_name || '.' || method_name from queuemaster.queue_job where id = any(%s)"

COUNT_JOBS = "select count(*) from queuemaster.queue_job"

# --- limits that are changed live: a row for each channel ---

# a channel may have been written by hand without its "root."
CLEAR_LIMITS = "delete from queuemaster.control where channel in (%(channel)s, %(short)s)"
CHANGE_LIMITS = """
insert into queuemaster.control as old (channel, capacity, rate, paused)
values (%(channel)s, %(capacity)s, %(rate)s, %(paused)s)
on conflict (channel) do update
   set capacity = coalesce(excluded.capacity, old.capacity), rate = coalesce(excluded.rate, old.rate),
       paused = coalesce(excluded.paused, old.paused)
"""
# Odoo's, before a supervisor has led there: our schema comes with the first leader
IS_ODOO_WITHOUT_US = """
select to_regclass('queuemaster.control') is null and to_regclass('queue_job') is not null
"""

# --- our schema, for uninstall ---

HAS_SCHEMA = "select to_regclass('queuemaster.leader') is not null"
# Whether a supervisor leads (beside Odoo by the stock runner's own key) or works here: its sessions hold these locks.
SUPERVISOR_AT_WORK = f"""
select exists (
    select from pg_locks lock
     where locktype = 'advisory' and granted
       and database = (select oid from pg_database where datname = current_database())
       and (objsubid = 2 and classid in ({locks.LEADER}, {locks.WORKER})
            or objsubid = 1 and pid in (select session_pid from queuemaster.leader)))
"""
# Beside Odoo: jobs whose worker died, and jobs that were to fail for killing their workers.
UNFINISHED_RUNS = """
select count(*) filter (where worker_id is not null), count(*) filter (where doom_name is not null)
  from queuemaster.run
"""
DROP_NATIVE_QUEUE = "drop schema queuemaster cascade"

# --- the server ---

# Its identity, its limits, and how many sessions are not ours.
SERVER_ROOM = """
select pg_postmaster_start_time()::text || ' ' || current_setting('port'),
       current_setting('max_connections')::integer, current_setting('superuser_reserved_connections')::integer,
       (select count(*) from pg_stat_activity
         where datid is not null and coalesce(application_name, '') not like 'queuemaster%')
"""

# --- Odoo's table of jobs ---

# Indexes that an interrupted CREATE INDEX CONCURRENTLY left: no query uses them, every write pays for them.
INVALID_INDEXES = """
select class.relname from pg_index join pg_class class on class.oid = indexrelid
 where indrelid = to_regclass('public.queue_job') and class.relname = any(%s) and not indisvalid
"""
# An estimate, of VACUUM and ANALYZE; before either has run it comes from the size of the file.
ESTIMATED_ROWS = """
select case when reltuples >= 0 then reltuples else pg_relation_size(oid) / 500 end::bigint
  from pg_class where oid = 'public.queue_job'::regclass
"""
LEADING_PROGRAM = f"""
select coalesce(application_name, '') from pg_locks join pg_stat_activity using (pid)
 where locktype = 'advisory' and granted and objsubid = 1
   and (classid::bigint << 32 | objid::bigint) = {oca.STOCK_LEADER}
   and pg_locks.database = (select oid from pg_database where datname = current_database())
"""
# Newer addons have limits in the forms of channels.
HAS_CHANNEL_FORMS = """
select count(*) = 2 from information_schema.columns
 where table_schema = 'public' and table_name = 'queue_job_channel' and column_name in ('capacity', 'paused')
"""
LIMITED_FORMS = """
select complete_name from public.queue_job_channel where capacity > 0 or sequential or throttle > 0 or paused
 order by complete_name
"""
# Jobs that a runner has sent to Odoo, or that run.
ARE_JOBS_UNDER_WAY = "select exists (select from public.queue_job where state in ('enqueued', 'started'))"

# --- our indexes on it; {name} is an identifier ---

LOCK_INDEXES = f"select pg_try_advisory_lock({locks.SCHEMA}, 1)"
INDEX_PROGRESS = "select phase, blocks_done, blocks_total from pg_stat_progress_create_index where pid = %s"
CREATE_INDEX = "create index concurrently if not exists {name} on public.queue_job {definition}"
DROP_INDEX = "drop index public.{name}"
DROP_INDEX_CONCURRENTLY = "drop index concurrently public.{name}"
