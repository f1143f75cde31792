"""What comes round while a database is led: when each duty is due, and when the next one will be. Pure.

A duty is a small object with a name, an interval and a ``run``. To add one, write its class and put it into the list
of :class:`~.database.QueueDatabase` or :class:`~.oca_database.OcaDatabase`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, ClassVar


class Duty(ABC):
    """Something to do again and again. Times are seconds of the monotonic clock."""

    name: ClassVar[str]
    interval: float = math.inf  # between two runs
    first: float = 0.0  # from the takeover to the first run

    def __init__(self) -> None:
        self.due = math.inf

    @abstractmethod
    def run(self, cursor: Any) -> float | None:
        """Do it; the seconds until the next run, None: the interval. Raises psycopg2.Error."""

    def moment(self) -> float:
        """The time of the next run."""
        return self.due

    def hasten(self) -> None:
        """Run it at the next opportunity."""
        self.due = -math.inf


class Duties:
    """Several duties, run in the order of the list."""

    def __init__(self, duties: Iterable[Duty]) -> None:
        self._duties = tuple(duties)
        self.running = ""  # name of the duty at work, or of the one that raised

    def begin(self, now: float) -> None:
        """Forget what was due under an earlier leadership."""
        self.running = ""
        for duty in self._duties:
            duty.due = now + duty.first

    def moment(self) -> float:
        """The time at which :meth:`work` has something to do."""
        return min((duty.moment() for duty in self._duties), default=math.inf)

    def put_off(self, until: float) -> None:
        """Run none of them before this time."""
        for duty in self._duties:
            duty.due = max(duty.due, until)

    def work(self, cursor: Any, clock: Callable[[], float]) -> None:
        """Run each duty that is due. Raises psycopg2.Error."""
        now = clock()
        for duty in self._duties:
            if duty.moment() > now:
                continue
            self.running = duty.name
            duty.due = now + duty.interval
            wait = duty.run(cursor)
            if wait is not None:
                duty.due = clock() + wait
        self.running = ""
