"""How often is answered: whoever asks without a pause waits for his turn, and costs jobs no processor."""

from __future__ import annotations

import time
from collections.abc import Callable

import gevent

GAP = 0.05  # seconds between two answers: more than any number of Prometheus servers needs


class Pace:
    """Turns, one after the other; whoever comes when nobody else does has his at once."""

    def __init__(
        self, gap: float = GAP, clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = gevent.sleep,
    ) -> None:  # fmt: skip
        self._gap, self._clock, self._sleep = gap, clock, sleep
        self._next = 0.0

    def wait(self) -> None:
        """Until it is one's turn."""
        now = self._clock()
        turn = max(now, self._next)
        self._next = turn + self._gap
        if turn > now:
            self._sleep(turn - now)
