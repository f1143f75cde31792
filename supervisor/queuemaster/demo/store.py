"""The demonstration's statements: fill the queue, follow it, count the effects afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from queuejobs import Environment
from queuejobs.store import schema

from . import jobs
from .plan import Planned

_PROGRESS = """
select channel, count(*) filter (where state in ('done', 'failed')) from queuemaster.queue_job group by channel
"""

# A job's number is the only id of its recordset. Every kind but failing has one effect, failing has none.
_VERDICT = """
with job as (
    select (records::jsonb #>> '{ids,0}')::integer as number, method_name as kind, state, attempt
      from queuemaster.queue_job),
effect as (select number, count(*) as times from demo_effect group by number),
checked as (
    select job.*, coalesce(effect.times, 0) as times, (kind <> 'failing')::integer as expected
      from job full join effect using (number))
select count(*) filter (where state = 'done'),
       count(*) filter (where state = 'failed'),
       count(*) filter (where attempt > 1),
       count(*) filter (where state is distinct from (case kind when 'failing' then 'failed' else 'done' end)
                           or times < expected),
       coalesce(sum(times - expected) filter (where times > expected or kind is null), 0)
  from checked
"""


class Verdict(NamedTuple):
    """``lost``: not in the state its kind must end in, or without its effect; ``duplicated``: effects too many."""

    done: int
    failed: int
    retried: int
    lost: int
    duplicated: int


def fill(connection: Any, plan: Sequence[Planned]) -> None:
    """Schema, table of effects and all jobs; one transaction."""
    schema.upgrade(connection)
    with connection, connection.cursor() as cursor:
        cursor.execute(jobs.SCHEMA)
        env = Environment(cursor)
        model = env["queuemaster.demo"]
        delayables = {
            # a job may be killed any number of times before it gets through
            job.number: model.browse(job.number).delayable(
                channel=job.channel, priority=job.priority, max_retries=0
            )
            for job in plan
        }
        for job in plan:
            getattr(delayables[job.number], job.kind)(*job.parents)
            for parent in job.parents:
                delayables[parent].on_done(delayables[job.number])
        env.delay_many(delayables[job.number] for job in plan if not job.parents)


def progress(cursor: Any) -> dict[str, int]:
    """How many jobs of each channel have ended."""
    cursor.execute(_PROGRESS)
    return dict(cursor.fetchall())


def verdict(cursor: Any, expected: int) -> Verdict:
    """What came of it. A job whose row is gone is lost as well."""
    cursor.execute(_VERDICT)
    found = Verdict(*map(int, cursor.fetchone()))
    cursor.execute("select count(*) from queuemaster.queue_job")
    return found._replace(lost=found.lost + expected - int(cursor.fetchone()[0]))
