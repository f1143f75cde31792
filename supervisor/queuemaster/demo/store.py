"""The demonstration's SQL: fill the queue, follow it, count the effects at the end."""

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

# The id of a job's record is its number. Each kind but failing must have one effect, failing none.
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
_COUNT = "select count(*) from queuemaster.queue_job"


class Verdict(NamedTuple):
    """``lost``: jobs in a wrong state or without their effect; ``duplicated``: surplus effects."""

    done: int
    failed: int
    retried: int
    lost: int
    duplicated: int


def fill(connection: Any, plan: Sequence[Planned]) -> None:
    """Create the schema, the table of effects and all jobs, the latter two in one transaction."""
    schema.upgrade(connection)
    with connection, connection.cursor() as cursor:
        cursor.execute(jobs.SCHEMA)
        env = Environment(cursor)
        model = env["queuemaster.demo"]
        delayables = {
            # no limit of tries: a job may lose its worker several times
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
    """Count the results. A job whose row is missing counts as lost."""
    cursor.execute(_VERDICT)
    counts = Verdict(*map(int, cursor.fetchone()))
    cursor.execute(_COUNT)
    return counts._replace(lost=counts.lost + expected - int(cursor.fetchone()[0]))
