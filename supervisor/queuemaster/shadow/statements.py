"""The statements that read the addon's queue. ``%s`` is a parameter."""

from __future__ import annotations

FIRST = 50  # ready jobs that are read of each stored channel

# a job: its uuid, its channel, and its key (priority, date_created, id)
_JOB = (
    "uuid::text, channel::text, priority, to_char(date_created, 'YYYY-MM-DD\"T\"HH24:MI:SS.US'), id::bigint"
)
_PENDING = "state = 'pending' and (eta is null or eta <= now() at time zone 'utc')"
READY = f"""
select {_JOB} from (
    select *, row_number() over (partition by channel order by priority, date_created, id) as place
      from public.queue_job where {_PENDING}) ready
 where place <= {FIRST}
"""
# Jobs of the runner: enqueued or started.
TAKEN = f"select {_JOB} from public.queue_job where state in ('enqueued', 'started')"
# Jobs that were taken and ended since a time.
PASSED = f"""
select {_JOB} from public.queue_job
 where state not in ('enqueued', 'started') and date_started > %s at time zone 'utc'
"""
FAILED = "select distinct channel::text from public.queue_job where state = 'failed' and channel is not null"
# The first job that is not due, of each channel.
DELAYED = f"""
select distinct on (channel) {_JOB} from public.queue_job
 where state = 'pending' and eta > now() at time zone 'utc' order by channel, priority, date_created, id
"""
NOW = "select clock_timestamp()"
