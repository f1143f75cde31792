"""A token bucket: a start takes a token, tokens come back at a rate, and no more than ``burst`` are saved up.

One number holds it all: when it was, or in debt will be, empty. Then the time at which the next token is there
is computed once, in one way, and whoever waited until that very time finds the token; a level that is
filled up by steps may lack a last fraction of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Bucket:
    """The tokens of one channel. Times are seconds of the caller's clock, ``rate`` is tokens a second, > 0."""

    rate: float
    burst: int
    empty_at: float  # a new one is empty: what was started before it is not known

    def opening(self) -> float:
        """From when on there is a token."""
        return self.empty_at + 1 / self.rate

    def taken(self, now: float) -> Bucket:
        """A start. Never refused: without a token it is owed, and comes off what is to come."""
        return replace(self, empty_at=self._counted_from(now) + 1 / self.rate)

    def given_back(self) -> Bucket:
        """What was taken has started nothing."""
        return replace(self, empty_at=self.empty_at - 1 / self.rate)

    def changed(self, rate: float, burst: int, now: float) -> Bucket:
        """The same tokens under another rate, as many as the new burst holds."""
        if (rate, burst) == (self.rate, self.burst):
            return self
        tokens = (now - self._counted_from(now)) * self.rate
        return Bucket(rate, burst, now - min(tokens, burst) / rate)

    def _counted_from(self, now: float) -> float:
        return max(self.empty_at, now - self.burst / self.rate)
