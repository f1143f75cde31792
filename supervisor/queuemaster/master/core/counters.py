"""What workers that are gone had done, and why they went: an entry of the scoreboard is cleared for the next one. Pure.

Counters never go down as long as the master lives. ``revision`` says that there is something new.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Iterable
from dataclasses import dataclass, field

from queuejobs.shared.scoreboard import HISTOGRAM, OUTCOMES, Counts
from queuejobs.shared.stop_causes import Cause
from queuemaster.status_board import TallyStatus

from .events import Reaped
from .limits import Charge


class Departure(enum.Enum):
    """Why a worker went."""

    RETIRED = "retired"  # as it should: not needed, old code, or it had done enough
    SIGNAL = "signal"
    EXIT = "exit"  # with a status other than 0
    TIMEOUT = "timeout"
    MEMORY = "memory"
    CPU = "cpu"
    CANCEL = "cancel"
    HUNG = "hung"
    BOOT = "boot"  # it never said hello


_BY_CAUSE = {
    Cause.NONE: Departure.HUNG,
    Cause.TIMEOUT: Departure.TIMEOUT,
    Cause.CPU: Departure.CPU,
    Cause.MEMORY: Departure.MEMORY,
    Cause.CANCEL: Departure.CANCEL,
}


def departure(status: int, charged: Cause | None) -> Departure:
    """``charged``: what the master ended it for, NONE because it hung, None if it did not."""
    if charged is not None:
        return _BY_CAUSE[charged]
    if os.WIFSIGNALED(status):
        return Departure.SIGNAL
    return Departure.EXIT if status else Departure.RETIRED


@dataclass
class _Sums:
    outcomes: list[int] = field(default_factory=lambda: [0] * len(OUTCOMES))
    duration: list[int] = field(default_factory=lambda: [0] * HISTOGRAM)
    wait: list[int] = field(default_factory=lambda: [0] * HISTOGRAM)


class Tally:
    """By channel."""

    def __init__(self) -> None:
        self.revision = 0
        self._departures: dict[str, dict[str, int]] = {}
        self._sums: dict[str, _Sums] = {}

    def departed(self, channel: str, why: Departure) -> None:
        """A worker went that is to be replaced."""
        known = self._departures.setdefault(channel, {})
        known[why.value] = known.get(why.value, 0) + 1
        self.revision += 1

    def died(self, channel: str, event: Reaped, charge: Charge | None, replaced: bool) -> None:
        """A worker was reaped: what it had done, how the run ended that it could not count itself, and why."""
        why = departure(event.status, None if charge is None else charge.cause)
        if event.counts is not None:
            self._add(channel, event.counts)
        if event.busy and why is not Departure.CANCEL:
            outcome = why.value if why.value in OUTCOMES else "lost"
            self._of(channel).outcomes[OUTCOMES.index(outcome)] += 1
        self.revision += 1
        if replaced:
            self.departed(channel, why)

    def _add(self, channel: str, counts: Counts) -> None:
        sums = self._of(channel)
        sums.outcomes = _added(sums.outcomes, counts.outcomes)
        sums.duration = _added(sums.duration, counts.duration)
        sums.wait = _added(sums.wait, counts.wait)

    def _of(self, channel: str) -> _Sums:
        return self._sums.setdefault(channel, _Sums())

    def restarts(self) -> dict[str, dict[str, int]]:
        """By channel and cause."""
        return {channel: dict(causes) for channel, causes in self._departures.items()}

    def status(self) -> dict[str, TallyStatus]:
        """All else, by channel."""
        return {
            channel: {
                "outcomes": dict(zip(OUTCOMES, sums.outcomes, strict=True)),
                "duration": sums.duration,
                "wait": sums.wait,
            }
            for channel, sums in self._sums.items()
        }


def _added(one: Iterable[int], other: Iterable[int]) -> list[int]:
    return [a + b for a, b in zip(one, other, strict=True)]
