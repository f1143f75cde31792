"""When a worker has done enough and is replaced by a fresh one. Never within a job."""

from __future__ import annotations

from typing import Optional, Protocol

from .settings import ChannelSettings

JITTER = 0.1  # so that workers that were born together do not leave together


class Dice(Protocol):
    """The module ``random`` or a ``random.Random``."""

    def uniform(self, a: float, b: float) -> float:
        """A number between the two."""


class Recycling:
    """Rolled once, when the worker begins. Pure: what is measured comes in."""

    def __init__(self, channel: ChannelSettings, born: float, dice: Dice) -> None:
        spread = dice.uniform(1 - JITTER, 1 + JITTER)
        self.max_jobs = max(round(channel.max_jobs * spread), 1) if channel.max_jobs else 0
        self.until = born + channel.max_age * spread if channel.max_age else 0.0
        self.memory = channel.memory_soft
        self._jobs = 0

    def count(self, ran: int) -> None:
        """It has run so many jobs more."""
        self._jobs += ran

    def reason(self, now: float, resident: int, ran: int) -> Optional[str]:
        """With so many jobs more: why the worker should go, None to stay. ``resident``: bytes of its own memory."""
        if self.max_jobs and self._jobs + ran >= self.max_jobs:
            return f"{self._jobs + ran} jobs"
        if self.until and now >= self.until:
            return "age"
        if self.memory and resident > self.memory:
            return f"memory {resident >> 20} MiB > {self.memory >> 20} MiB"
        return None
