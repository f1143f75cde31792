"""How long to wait before a child that died is started again. Pure."""

from __future__ import annotations

from dataclasses import dataclass

FREE = 3  # deaths in a row that cost nothing
FIRST, LONGEST = 0.1, 60.0  # seconds


@dataclass
class Backoff:
    """The budget of one pool or one process; useful work refills it, being started does not."""

    deaths: int = 0
    until: float = 0.0
    least: float = 0.0  # seconds that the first deaths cost too

    def died(self, now: float, useful: bool) -> None:
        """It ended; ``useful``: after it had done something worth starting it for."""
        self.deaths = 0 if useful else self.deaths + 1
        delay = 0.0 if self.deaths <= FREE else min(LONGEST, FIRST * 2.0 ** min(self.deaths - FREE - 1, 20))
        self.until = now + max(delay, self.least)
