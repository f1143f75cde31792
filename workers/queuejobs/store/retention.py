"""Remove finished jobs that are old, batch by batch."""

from __future__ import annotations

from typing import Any, NamedTuple, Optional, Tuple

BATCH = 1000
FINISHED = ("done", "cancelled")
FAILED = "failed"

Place = Tuple[Any, int]  # when a job ended, and its id
START: Place = ("-infinity", 0)


class Purged(NamedTuple):
    """What a batch did. ``place``: where to go on after it, None when there is no more."""

    removed: int
    place: Optional[Place]


def purge(
    cursor: Any, state: str, seconds: float, after: Place = START, channel: Optional[str] = None
) -> Purged:
    """Remove jobs that ended more than ``seconds`` ago, of a channel and those below it; None: of all."""
    cursor.execute(
        "select removed, ended, id from queuemaster.purge_jobs(%s, %s, %s, %s, %s, %s)",
        (state, seconds, *after, BATCH, channel),
    )
    removed, ended, job = cursor.fetchone()
    return Purged(removed, None if job is None else (ended, job))
