"""Remove finished jobs that are old, channel by channel, batch by batch."""

from __future__ import annotations

from typing import Any, List, NamedTuple, Optional, Tuple

BATCH = 1000  # jobs
CHANNELS = 500  # that are looked for at once
FINISHED = ("done", "cancelled")
FAILED = "failed"

Place = Tuple[Any, int]  # when a job ended, and its id
START: Place = ("-infinity", 0)


class Ended(NamedTuple):
    """A stored channel with jobs that ended in a state, and for how many seconds the oldest of them has."""

    channel: str
    oldest: float


class Purged(NamedTuple):
    """What a batch did. ``place``: where to go on after it, None when there is no more."""

    removed: int
    looked_at: int
    place: Optional[Place]


def channels(cursor: Any, state: str, after: str = "") -> List[Ended]:
    """The next stored channels with jobs that ended in this state, by name; empty: there are no more."""
    cursor.execute(
        "select channel, oldest from queuemaster.ended_channels(%s, %s, %s)", (state, after, CHANNELS)
    )
    return [Ended(*row) for row in cursor.fetchall()]


def purge(cursor: Any, state: str, channel: str, seconds: float, after: Place = START) -> Purged:
    """Remove jobs of a stored channel that ended more than ``seconds`` ago, but for those that others wait for."""
    cursor.execute(
        "select removed, looked_at, ended, id from queuemaster.purge_jobs(%s, %s, %s, %s, %s, %s)",
        (state, channel, seconds, *after, BATCH),
    )
    removed, looked_at, ended, job = cursor.fetchone()
    return Purged(removed, looked_at, None if job is None else (ended, job))
