"""When a database that failed is tried again, and what it is called until then. Pure."""

from __future__ import annotations

from typing import NamedTuple

from queuejobs.shared.standing import Standing

# seconds
FIRST_DELAY, LONGEST_DELAY = 0.1, 15.0
NOT_SERVED_DELAY = 30.0
# so many errors within this time; then for this time
QUARANTINE_AFTER, QUARANTINE_WITHIN, QUARANTINE = 5, 300.0, 300.0


class Retry(NamedTuple):
    """What to do after an error."""

    standing: Standing
    delay: float  # seconds


class Retries:
    """The errors of one database."""

    def __init__(self) -> None:
        self._delay = FIRST_DELAY
        self._refusals: list[float] = []  # monotonic times

    def not_served(self) -> Retry:
        """There is no queue for us in the database now."""
        self._delay = NOT_SERVED_DELAY
        return Retry(Standing.NOT_SERVED, self._delay)

    def lost(self, *, led: bool) -> Retry:
        """The database could not be reached, or the connection broke; ``led``: while we led it."""
        return self._away(led)

    def refused(self, now: float, *, led: bool) -> Retry:
        """The database answers, but does not let us do our work.

        When that happens often the database is left alone for a while: the work for it delays the other databases.
        """
        self._refusals = [moment for moment in self._refusals if moment > now - QUARANTINE_WITHIN]
        self._refusals.append(now)
        retry = self._away(led)
        if len(self._refusals) < QUARANTINE_AFTER:
            return retry
        self._delay = QUARANTINE
        return Retry(Standing.QUARANTINED, self._delay)

    def _away(self, led: bool) -> Retry:
        self._delay = FIRST_DELAY if led else min(self._delay * 2, LONGEST_DELAY)
        return Retry(Standing.AWAY, self._delay)
