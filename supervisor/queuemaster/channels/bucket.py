"""A token bucket: a start takes a token, tokens come back at a rate, and no more than ``burst`` are saved up.

The state is one number: the time at which the bucket was empty, or, in debt, will be. The time of the next token is
computed from it in one way only, so a caller that waits until that very time finds the token; a level that is filled
up in steps may lack a last fraction of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Bucket:
    """The tokens of one channel. Times are seconds of the caller's clock, ``rate`` is tokens a second, > 0."""

    rate: float
    burst: int
    empty_at: float  # a new bucket is empty: it does not know the starts before its creation

    def opening(self) -> float:
        """The time from which there is a token."""
        return self.empty_at + 1 / self.rate

    def taken(self, now: float) -> Bucket:
        """The bucket after a start. Never refused: without a token it goes into debt."""
        return replace(self, empty_at=self._counted_from(now) + 1 / self.rate)

    def given_back(self) -> Bucket:
        """The bucket after a start that came to nothing: its token is back."""
        return replace(self, empty_at=self.empty_at - 1 / self.rate)

    def changed(self, rate: float, burst: int, now: float) -> Bucket:
        """The bucket under another rate and burst, with the same tokens as far as the new burst holds them."""
        if (rate, burst) == (self.rate, self.burst):
            return self
        tokens = (now - self._counted_from(now)) * self.rate
        return Bucket(rate, burst, now - min(tokens, burst) / rate)

    def _counted_from(self, now: float) -> float:
        return max(self.empty_at, now - self.burst / self.rate)
