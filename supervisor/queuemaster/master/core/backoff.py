"""How long the master waits before it starts a child again that died. Pure."""

from __future__ import annotations

from dataclasses import dataclass

FREE = 3  # deaths in a row after which it is started again at once
FIRST, LONGEST = 0.1, 60.0  # seconds


@dataclass
class Backoff:
    """The pauses of one pool or one process. They grow with deaths in a row; useful work ends the row."""

    deaths: int = 0
    until: float = 0.0
    least: float = 0.0  # seconds to wait after the first deaths too

    def died(self, now: float, useful: bool) -> None:
        """The child died. ``useful``: it had done some of its work before."""
        self.deaths = 0 if useful else self.deaths + 1
        delay = 0.0 if self.deaths <= FREE else min(LONGEST, FIRST * 2.0 ** min(self.deaths - FREE - 1, 20))
        self.until = now + max(delay, self.least)
