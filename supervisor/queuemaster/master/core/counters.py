"""The master's counters: what workers that are gone have done, and why they went. Pure.

A worker counts its own runs in its entry of the scoreboard. The entry is cleared for the next worker; before that, the
master adds its numbers up here. They never go down as long as the master lives.
"""

from __future__ import annotations

import enum
import os
from collections import Counter

from queuejobs.shared.stop_causes import Cause
from queuejobs.shared.work_counts import OUTCOMES, RunOutcome, WorkCounts, WorkCountsDocument

from .events import Reaped
from .limits import Charge


class ExitCause(enum.Enum):
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


_BY_STOP_CAUSE = {
    Cause.NONE: ExitCause.HUNG,
    Cause.TIMEOUT: ExitCause.TIMEOUT,
    Cause.CPU: ExitCause.CPU,
    Cause.MEMORY: ExitCause.MEMORY,
    Cause.CANCEL: ExitCause.CANCEL,
}


def exit_cause(status: int, stopped_for: Cause | None) -> ExitCause:
    """``status``: as waitpid gives it. ``stopped_for``: what the master ended the worker for.

    NONE: the worker hung. None: the master did not end it.
    """
    if stopped_for is not None:
        return _BY_STOP_CAUSE[stopped_for]
    if os.WIFSIGNALED(status):
        return ExitCause.SIGNAL
    return ExitCause.EXIT if status else ExitCause.RETIRED


class Counters:
    """All numbers are by channel. ``revision`` changes with each change of a number."""

    def __init__(self) -> None:
        self.revision = 0
        self._work: dict[str, WorkCounts] = {}
        self._exits: dict[str, Counter[ExitCause]] = {}

    def count_exit(self, channel: str, cause: ExitCause) -> None:
        """A worker went that is to be replaced."""
        self._exits.setdefault(channel, Counter())[cause] += 1
        self.revision += 1

    def count_death(self, channel: str, event: Reaped, charge: Charge | None, *, replaced: bool) -> None:
        """A worker was reaped. ``charge``: what the master was ending it for, if it was."""
        cause = exit_cause(event.status, None if charge is None else charge.cause)
        work = self._work.get(channel, WorkCounts())
        if event.counts is not None:
            work += event.counts
        # a dead worker cannot count the run that it died in; a cancelled run is not counted at all
        if event.busy and cause is not ExitCause.CANCEL:
            outcome = cause.value if cause.value in OUTCOMES else RunOutcome.LOST.value
            work += WorkCounts({**dict.fromkeys(OUTCOMES, 0), outcome: 1})
        self._work[channel] = work
        self.revision += 1
        if replaced:
            self.count_exit(channel, cause)

    def restarts(self) -> dict[str, dict[str, int]]:
        """How many workers went, by channel and cause; in JSON."""
        return {
            channel: {cause.value: number for cause, number in by_cause.items()}
            for channel, by_cause in self._exits.items()
        }

    def work(self) -> dict[str, WorkCountsDocument]:
        """What workers that are gone have done, by channel; in JSON."""
        return {channel: counts.to_json() for channel, counts in self._work.items()}
