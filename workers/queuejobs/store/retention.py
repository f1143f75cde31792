"""Remove finished jobs that are old, channel by channel, batch by batch."""

from __future__ import annotations

from typing import Any, List, NamedTuple, Optional, Tuple

from ..shared.job_state import JobState

BATCH = 1000  # jobs
CHANNELS = 500  # read at once
FINISHED = (JobState.DONE.value, JobState.CANCELLED.value)
FAILED = JobState.FAILED.value

PurgeCursor = Tuple[Any, int]  # when a job ended, and its id: jobs are removed in this order
START: PurgeCursor = ("-infinity", 0)


class Ended(NamedTuple):
    """A stored channel with jobs that ended in a state."""

    channel: str
    oldest: float  # seconds since the oldest of them ended


class Purged(NamedTuple):
    """What a batch did."""

    removed: int  # jobs
    looked_at: int  # jobs
    next: Optional[PurgeCursor]  # where the next batch begins, None: this was the last one


def channels(cursor: Any, state: str, after: str = "") -> List[Ended]:
    """The next stored channels after ``after``, by name, with jobs that ended in this state; empty: no more."""
    cursor.execute(
        "select channel, oldest from queuemaster.ended_channels(%s, %s, %s)", (state, after, CHANNELS)
    )
    return [Ended(*row) for row in cursor.fetchall()]


def purge(cursor: Any, state: str, channel: str, seconds: float, after: PurgeCursor = START) -> Purged:
    """Remove a batch of the jobs of a stored channel that ended more than ``seconds`` ago.

    Those that other jobs wait for stay.
    """
    cursor.execute(
        "select removed, looked_at, ended, id from queuemaster.purge_jobs(%s, %s, %s, %s, %s, %s)",
        (state, channel, seconds, *after, BATCH),
    )
    removed, looked_at, ended, job = cursor.fetchone()
    return Purged(removed, looked_at, None if job is None else (ended, job))
