"""A log of every transition of a job's state, and what it says about capacity."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from support.supervised import Queue

# In the order in which transitions happen: a start is logged before its claim commits and an end before the job
# commits, and a slot is given on only after the commit. So what the log shows as running, was running.
LOG = """
create table transition (number bigserial primary key, job bigint, channel text, old text, new text);
create function log_transition() returns trigger language plpgsql as $$
begin
    insert into transition (job, channel, old, new) values (new.id, new.channel, old.state, new.state);
    return null;
end $$;
create trigger log_transition after update of state on queuemaster.queue_job for each row
    when (old.state is distinct from new.state) execute function log_transition();
"""


@dataclass(frozen=True)
class Transition:
    job: int
    channel: str
    old: str
    new: str


def transitions(jobs: Queue) -> Iterator[Transition]:
    for row in jobs.rows("select job, channel, old, new from transition order by number"):
        yield Transition(*row)


def lineage(channel: str) -> list[str]:
    parts = channel.split(".")
    return [".".join(parts[: n + 1]) for n in range(len(parts))]


def most_at_once(jobs: Queue) -> Counter[str]:
    """How many jobs ran at once in each channel and in all below it, at most."""
    most: Counter[str] = Counter()
    in_use: Counter[str] = Counter()
    for step in transitions(jobs):
        change = (step.new == "started") - (step.old == "started")
        for name in lineage(step.channel):
            in_use[name] += change
            most[name] = max(most[name], in_use[name])
    return most
