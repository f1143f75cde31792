"""How often requests are answered: one after the other, with a pause, so that scrapers take no processor from jobs."""

from __future__ import annotations

import time
from collections.abc import Callable

import gevent

GAP = 0.05  # seconds between two answers: more answers than any number of Prometheus servers needs


class RateLimiter:
    """Lets one request through in each ``gap`` seconds, in the order in which they come."""

    def __init__(
        self, gap: float = GAP, clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = gevent.sleep,
    ) -> None:  # fmt: skip
        self._gap, self._clock, self._sleep = gap, clock, sleep
        self._next = 0.0

    def wait(self) -> None:
        """Return when this request may be answered: at once if the last one was ``gap`` seconds ago."""
        now = self._clock()
        turn = max(now, self._next)
        self._next = turn + self._gap
        if turn > now:
            self._sleep(turn - now)
