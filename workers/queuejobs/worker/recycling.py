"""Decide when a worker has done enough and a fresh one replaces it, between two jobs. Pure."""

from __future__ import annotations

from typing import Optional

from ..retry import Dice
from .settings import ChannelSettings

JITTER = 0.1  # share by which limits vary, so that workers that start together do not leave together


class Recycling:
    """The limits of one worker, drawn once when it starts, and how many jobs it has run. 0 is no limit."""

    def __init__(self, channel: ChannelSettings, born: float, dice: Dice) -> None:
        spread = dice.uniform(1 - JITTER, 1 + JITTER)
        self.max_jobs = max(round(channel.max_jobs * spread), 1) if channel.max_jobs else 0
        self.until = born + channel.max_age * spread if channel.max_age else 0.0
        self.memory = channel.memory_soft
        self._jobs = 0

    def count(self, ran: int) -> None:
        """Add ``ran`` jobs to those that the worker has run."""
        self._jobs += ran

    def reason(self, now: float, resident: int, ran: int) -> Optional[str]:
        """Why the worker should leave, None to stay, if it has run ``ran`` jobs since the last :meth:`count`.

        ``now`` is on the clock of ``born``, in seconds; ``resident`` is the worker's private memory, in bytes.
        """
        if self.max_jobs and self._jobs + ran >= self.max_jobs:
            return f"{self._jobs + ran} jobs"
        if self.until and now >= self.until:
            return "age"
        if self.memory and resident > self.memory:
            return f"memory {resident >> 20} MiB > {self.memory >> 20} MiB"
        return None
