"""Which workers hang or use more than they may, and how they are ended, step by step. Pure.

A run over its limit is asked to stop, by a request that names the run. If it still runs after ``kill_grace``, its
worker gets SIGABRT, at which it writes the tracebacks of all its threads, and then SIGKILL. A worker without a
heartbeat cannot read a request: it gets SIGABRT at once. Time in which the master itself was stopped does not count.
"""

from __future__ import annotations

import enum
import signal
from collections.abc import Iterable
from dataclasses import dataclass

from queuejobs.shared.scoreboard import State
from queuejobs.shared.stop_causes import Cause, describe

from . import events as ev
from .events import Limits, Reading

INTERVAL = 0.5  # seconds between two looks
STALL = 2.0  # a look that comes so many seconds too late: the master was stopped, or the machine
ABORT_GRACE = 2.0  # seconds that a worker has to write its tracebacks
BOOT = 20.0  # seconds that a process has for its first sign of life, at least
# seconds, where kill_grace is longer: the run may take all memory of the machine meanwhile
MEMORY_GRACE = 1.0


class Step(enum.Enum):
    """The last step that was taken to end a worker."""

    ASKED = "asked"  # to stop its run; one that hangs is not asked, and the next step is due at once
    ABORTED = "aborted"
    KILLED = "killed"


@dataclass
class Charge:
    """Why a worker is being ended, and which run pays for it."""

    job: int
    attempt: int
    text: str
    cause: Cause  # NONE: the worker hung
    step: Step
    deadline: float  # when the next step is due

    @property
    def limit(self) -> bool:
        """The run passed a limit or was cancelled; else the worker hung."""
        return self.cause is not Cause.NONE


class Watch:
    """The charges under way, by entry and generation."""

    def __init__(self, limits: Limits) -> None:
        self.configure(limits)
        self._charges: dict[tuple[int, int], Charge] = {}
        self._last_look: float | None = None
        self._awake_since = 0.0

    def configure(self, limits: Limits) -> None:
        """These limits count from now on."""
        self.heartbeat_timeout = limits.heartbeat_timeout
        self.kill_grace = limits.kill_grace

    def look(self, readings: Iterable[Reading], now: float) -> list[ev.Action]:
        """What to do about each worker."""
        if self._last_look is None or now - self._last_look > INTERVAL + STALL:
            self._awake_since = now
        self._last_look = now
        actions: list[ev.Action] = []
        for reading in readings:
            charge = self._charges.get((reading.entry, reading.generation))
            if charge is not None:
                actions += self._pursue(reading, charge, now)
            else:
                actions += self._judge(reading, now)
        return actions

    def silent_too_long(self, silent: float, since: float, now: float) -> bool:
        """Whether a process hangs that has been silent for so many seconds and was started at ``since``."""
        has_spoken = silent < now - since
        patience = self.heartbeat_timeout if has_spoken else max(self.heartbeat_timeout, BOOT)
        # while the master was stopped it could not hear anything
        observed = min(silent, now - since, now - self._awake_since)
        return bool(self.heartbeat_timeout) and observed > patience

    def cancel(self, reading: Reading, job: int, attempt: int, now: float) -> list[ev.Action]:
        """A user asked for this run to be stopped."""
        snapshot = reading.snapshot
        busy = snapshot.state is State.BUSY and (snapshot.job, snapshot.attempt) == (job, attempt)
        if not busy or (reading.entry, reading.generation) in self._charges:
            return []
        return self._ask(reading, Cause.CANCEL, 0, 0, self.kill_grace, now)

    def charge(self, entry: int, generation: int) -> Charge | None:
        """What a dead worker was charged with, if it was; the charge is forgotten."""
        return self._charges.pop((entry, generation), None)

    def _judge(self, reading: Reading, now: float) -> list[ev.Action]:
        snapshot = reading.snapshot
        silent = now - max(snapshot.heartbeat / 1e9, self._awake_since)
        if self.heartbeat_timeout and silent > self.heartbeat_timeout:
            text = f"worker {reading.pid} hung: no heartbeat for {silent:.0f} s"
            charge = Charge(snapshot.job, snapshot.attempt, text, Cause.NONE, Step.ASKED, now)
            self._charges[reading.entry, reading.generation] = charge
            return self._pursue(reading, charge, now)
        if snapshot.state is not State.BUSY:
            return []
        ran = int(now * 1e9) - snapshot.since
        if snapshot.timeout and ran > snapshot.timeout:
            return self._ask(reading, Cause.TIMEOUT, ran, snapshot.timeout, self.kill_grace, now)
        used = reading.cpu - snapshot.cpu_before
        if snapshot.cpu and used > snapshot.cpu:
            return self._ask(reading, Cause.CPU, used, snapshot.cpu, self.kill_grace, now)
        if snapshot.memory and reading.memory > snapshot.memory:
            grace = min(self.kill_grace, MEMORY_GRACE)
            return self._ask(reading, Cause.MEMORY, reading.memory, snapshot.memory, grace, now)
        return []

    def _ask(
        self, reading: Reading, cause: Cause, value: int, limit: int, grace: float, now: float
    ) -> list[ev.Action]:
        job, attempt = reading.snapshot.job, reading.snapshot.attempt
        text = describe(cause, value, limit)
        charge = Charge(job, attempt, text, cause, Step.ASKED, now + grace)
        self._charges[reading.entry, reading.generation] = charge
        return [ev.AskToStop(reading.entry, reading.pid, job, attempt, cause, value)]

    def _pursue(self, reading: Reading, charge: Charge, now: float) -> list[ev.Action]:
        snapshot = reading.snapshot
        if charge.limit and (snapshot.job, snapshot.attempt) != (charge.job, charge.attempt):
            # the run has stopped, and the worker itself stores how it ended
            del self._charges[reading.entry, reading.generation]
            return []
        if now < charge.deadline or charge.step is Step.KILLED:
            return []
        charge.deadline = now + ABORT_GRACE
        if charge.step is Step.ASKED:
            charge.step = Step.ABORTED
            return abort(reading.pid)
        charge.step = Step.KILLED
        return kill(reading.pid)


def abort(pid: int) -> list[ev.Action]:
    """Make it write its tracebacks and die. A stopped process takes no SIGABRT before it is continued."""
    return [ev.Signal(pid, signal.SIGABRT, False), ev.Signal(pid, signal.SIGCONT, False)]


def kill(pid: int) -> list[ev.Action]:
    """End it and all processes that it has started."""
    return [ev.Signal(pid, signal.SIGKILL, True)]
