"""For events that may come in floods: log the first, then one in a while with the number of those left out."""

from __future__ import annotations

from typing import Optional

INTERVAL = 60.0  # seconds


class LogLimit:
    """The limit for one kind of event in one process."""

    def __init__(self, interval: float = INTERVAL) -> None:
        self._interval = interval
        self._next = float("-inf")
        self._left_out = 0

    def admit(self, now: float) -> Optional[int]:
        """None: do not log this one; else how many were left out since the last that was logged."""
        if now < self._next:
            self._left_out += 1
            return None
        self._next = now + self._interval
        left_out, self._left_out = self._left_out, 0
        return left_out
