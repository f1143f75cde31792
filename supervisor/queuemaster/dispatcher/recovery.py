"""Put back the jobs of workers that died, with the cause, as soon as their sessions are gone.

A case is worked on in small steps: a session may take a moment to die, a row may be locked by an
application. Neither makes the dispatcher wait; the case is tried again shortly.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any

from queuejobs.shared.log import event
from queuejobs.shared.process import Process
from queuejobs.store import recovery

from . import statements

_log = logging.getLogger("queuemaster.dispatcher")
_FIRST_DELAY, _LONGEST_DELAY = 0.01, 1.0  # seconds between two tries of a case


@dataclass(frozen=True)
class Death:
    """A worker process that the master reaped. ``blame`` None: an interruption, the try is given back."""

    entry: int
    generation: int
    process: Process
    database: int  # the job's, an index into the configured databases
    blame: recovery.Blame | None


@dataclass
class _Case:
    death: Death
    sessions: list[int] | None = None  # worker ids still to be settled; None: not looked up yet
    settled: int = 0
    due: float = 0.0
    delay: float = field(default=_FIRST_DELAY)


class Recovery:
    """The cases of one database."""

    def __init__(self, index: int, name: str) -> None:
        self._index = index
        self._name = name
        self._cases: list[_Case] = []

    def add(self, death: Death) -> None:
        """A worker died; the same death may be told twice."""
        if all(case.death != death for case in self._cases):
            self._cases.append(_Case(death))

    def work(self, cursor: Any, now: float) -> list[Death]:
        """Try every case that is due; returns those that ended."""
        ended = [case for case in self._cases if case.due <= now and self._try(cursor, case, now)]
        self._cases = [case for case in self._cases if case not in ended]
        return [case.death for case in ended]

    def drop(self) -> list[Death]:
        """Somebody else leads this database and recovers what is started there."""
        dropped = [case.death for case in self._cases]
        self._cases = []
        return dropped

    def due(self) -> float | None:
        """When to call :meth:`work` again."""
        return min((case.due for case in self._cases), default=None)

    def _try(self, cursor: Any, case: _Case, now: float) -> bool:
        death = case.death
        if case.sessions is None:
            case.sessions = recovery.sessions_of(cursor, death.process)
        blame = death.blame
        if blame is not None and blame.job and death.database != self._index:
            blame = None
        left = []
        for worker in case.sessions:
            settled = recovery.recover(cursor, worker, blame)
            if settled is None:
                left.append(worker)
            else:
                case.settled += settled
        case.sessions = left
        if left:
            case.due, case.delay = now + case.delay, min(case.delay * 2, _LONGEST_DELAY)
            return False
        if case.settled:
            named: dict[str, Any] = {}
            if blame is not None:
                named = {"job": blame.job or None, "attempt": blame.attempt or None, "cause": blame.cause}
            event(
                _log, logging.WARNING, "job of a dead worker put back",
                db=self._name, worker=death.process.pid, **named,
            )  # fmt: skip
        return True


def sweep(cursor: Any, name: str, alive: set[Process]) -> None:
    """The net under it: workers whose session is gone, though no death was told.

    ``alive`` are this host's workers under our master: if they lost their session they settle it themselves,
    and if they died their death comes with its cause.
    """
    for worker, process in statements.dead(cursor):
        if process in alive:
            continue
        settled = recovery.recover(cursor, worker)
        if settled:
            event(
                _log, logging.WARNING, "interrupted job put back", db=name, worker_id=worker,
                host=process.host, worker=process.pid,
            )  # fmt: skip


def repair(cursor: Any, name: str) -> None:
    """Rows of the native queue that no crash of one process explains."""
    released = statements.release_stranded(cursor)
    requeued = statements.requeue_enqueued(cursor)
    if released or requeued:
        event(_log, logging.WARNING, "sweep repaired rows", db=name, released=released, requeued=requeued)
