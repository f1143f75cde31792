"""When jobs started, by the database's clock: whether a throttle or a rate was kept to.

A start is dated by its worker, some time after it was granted. So the distance of two starts says little on a machine
that is busy, but none can be earlier than the first possible grant and the distances since.
"""

from __future__ import annotations

from datetime import datetime

from support.supervised import Queue

_DRIFT = 0.99  # the dispatcher counts seconds by another clock


def last_start(jobs: Queue) -> datetime:
    """The last start so far."""
    latest: datetime = jobs.value("select max(date_started) from queuemaster.queue_job")
    return latest


def starts_after(jobs: Queue, moment: datetime) -> list[datetime]:
    """The starts later than this, in order."""
    statement = "select date_started from queuemaster.queue_job where date_started > %s order by 1"
    return [row[0] for row in jobs.rows(statement, (moment,))]


def too_early(starts: list[datetime], since: datetime, distance: float) -> list[tuple[int, float]]:
    """Which of them, and how many seconds after ``since``: the first is due ``distance`` after it, and so on."""
    after = [(number, (start - since).total_seconds()) for number, start in enumerate(starts, 1)]
    return [(number, seconds) for number, seconds in after if seconds < number * distance * _DRIFT]
