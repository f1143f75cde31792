"""What the commands ask a queue, beside the statements of ``queuejobs.store``."""

from __future__ import annotations

# The newest first. Plan: the primary key read backwards until the limit is reached; with a filter that few
# rows pass it may read far, which one person who asks can bear. Null: any state, any channel.
LIST = """
select uuid, state, channel, priority, retry, max_retries, attempt, date_created, eta, name,
       model_name || '.' || method_name as method
  from queuemaster.queue_job
 where (%(state)s::text is null or state = %(state)s)
   and (%(channel)s::text is null or channel = %(channel)s or starts_with(channel, %(channel)s || '.'))
 order by id desc limit %(limit)s
"""

# All in one state, in the order of their ids: parents before their children. Plan: a scan of the whole table.
MATCHING = """
select uuid from queuemaster.queue_job
 where state = %(state)s
   and (%(channel)s::text is null or channel = %(channel)s or starts_with(channel, %(channel)s || '.'))
 order by id
"""

# Live limits. Rows are few; a channel may have been written by hand without its "root.".
CLEAR_LIMITS = "delete from queuemaster.control where channel in (%(channel)s, %(short)s)"
CHANGE_LIMITS = """
insert into queuemaster.control as old (channel, capacity, rate, paused)
values (%(channel)s, %(capacity)s, %(rate)s, %(paused)s)
on conflict (channel) do update
   set capacity = coalesce(excluded.capacity, old.capacity), rate = coalesce(excluded.rate, old.rate),
       paused = coalesce(excluded.paused, old.paused)
"""
