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
