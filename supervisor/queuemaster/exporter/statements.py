"""The SQL of the exporter. ``{table}`` is what :data:`FIND_TABLE` has found."""

from __future__ import annotations

TIMEOUT = 4000  # ms; a long statement would hold back vacuum
_SAMPLE = 4 << 20  # bytes of the table that finished jobs are estimated from

# One processor is enough. The planner may choose: the statement is planned each time, on the size of now, and of a
# million rows that VACUUM has not seen yet it reads the table eight times as fast in order as by an index.
CONFIGURE_SESSION = (
    f"set statement_timeout = {TIMEOUT}; set jit = off; set max_parallel_workers_per_gather = 0"
)

# Beside Odoo the queue is a view on its table; without either there is nothing to count, yet.
FIND_TABLE = """
select case relkind when 'v' then 'public.queue_job' else 'queuemaster.queue_job' end
  from pg_class where oid = to_regclass('queuemaster.queue_job')
"""

# The sample is the same blocks each time, and all of them while the table is small. What is counted in it is multiplied
# by the size of the table divided by that of the sample.
_SHARE = "greatest(pg_relation_size('{table}'), 1)"
_SAMPLED = f"{{table}} tablesample system (least(100.0, 100.0 * {_SAMPLE} / {_SHARE})) repeatable (1)"
_TIMES = f"greatest({_SHARE} / {_SAMPLE}.0, 1)"

# Live states and failed: counted; where they are few, or vacuumed, by their partial indexes (queue_job_ready and
# _eta_order index-only and in order, queue_job_started, _waiting, _failed). Done and cancelled: from the sample.
COUNT_JOBS = f"""
select channel, 'pending', count(*),
       extract(epoch from queuemaster.utc_now() - min(date_created))::double precision
  from queuemaster.queue_job where state = 'pending' and eta is null group by channel
union all
select channel, 'pending', count(*), null
  from queuemaster.queue_job where state = 'pending' and eta is not null group by channel
union all
select channel, 'started', count(*), null
  from queuemaster.queue_job where state = 'started' group by channel
union all
select channel, state, count(*), null
  from queuemaster.queue_job where state in ('wait_dependencies', 'enqueued') group by channel, state
union all
select channel, 'failed', count(*), null
  from queuemaster.queue_job where state = 'failed' group by channel
union all
select channel, state, round(count(*) * {_TIMES})::bigint, null
  from {_SAMPLED} where state in ('done', 'cancelled') group by channel, state
"""

# When counting takes too long: a million rows that VACUUM has not seen yet are a million visits to the table.
ESTIMATE_JOBS = f"""
select channel, state, round(count(*) * {_TIMES})::bigint,
       extract(epoch from queuemaster.utc_now()
                        - min(date_created) filter (where state = 'pending' and eta is null))::double precision
  from {_SAMPLED} group by channel, state
"""
