"""Put back the jobs of workers that died, with the cause, as soon as their sessions are gone.

A case is worked on in small steps: a session may take a moment to die, a row may be locked by an
application. Neither makes the dispatcher wait; the case is tried again shortly.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from queuejobs.shared.log import event
from queuejobs.shared.process import Process
from queuejobs.store import recovery

from . import statements

_log = logging.getLogger("queuemaster.dispatcher")
FIRST_DELAY, LONGEST_DELAY = 0.01, 1.0  # seconds between two tries of a case


@dataclass(frozen=True)
class Death:
    """A worker process that the master reaped. ``blame`` None: an interruption, the try is given back."""

    entry: int
    generation: int
    process: Process
    database: int  # the id of the job's database
    blame: recovery.Blame | None


@dataclass
class Case:
    """A death as one database has to settle it. Pure: :class:`Recovery` asks the database."""

    death: Death
    sessions: list[int] | None = None  # worker ids still to be settled; None: not looked up yet
    put_back: int = 0  # jobs
    due: float = 0.0  # monotonic time of the next try
    delay: float = FIRST_DELAY

    def blame(self, database: int) -> recovery.Blame | None:
        """What to charge in a database: a blame that names a job counts where the job is."""
        blame = self.death.blame
        return None if blame is not None and blame.job and self.death.database != database else blame

    def note_try(self, settled: Mapping[int, int | None], now: float) -> bool:
        """``settled``: by session the jobs put back, None if it is still in the way. True if the case is closed."""
        self.put_back += sum(jobs or 0 for jobs in settled.values())
        self.sessions = [worker for worker, jobs in settled.items() if jobs is None]
        if self.sessions:
            self.due, self.delay = now + self.delay, min(self.delay * 2, LONGEST_DELAY)
        return not self.sessions


class Recovery:
    """The cases of one database."""

    def __init__(self, index: int, name: str) -> None:
        self._index = index
        self._name = name
        self._cases: list[Case] = []

    def add(self, death: Death) -> None:
        """A worker died; the same death may be reported twice."""
        if all(case.death != death for case in self._cases):
            self._cases.append(Case(death))

    def work(self, cursor: Any, now: float) -> list[Death]:
        """Try every case that is due; returns those that are closed. Raises psycopg2.Error."""
        closed = [case for case in self._cases if case.due <= now and self._try(cursor, case, now)]
        self._cases = [case for case in self._cases if case not in closed]
        return [case.death for case in closed]

    def drop(self) -> list[Death]:
        """Forget all cases, and return them: the next leader recovers what was started in this database."""
        dropped = [case.death for case in self._cases]
        self._cases = []
        return dropped

    def due(self) -> float | None:
        """When to call :meth:`work` again."""
        return min((case.due for case in self._cases), default=None)

    def _try(self, cursor: Any, case: Case, now: float) -> bool:
        process = case.death.process
        if case.sessions is None:
            case.sessions = recovery.sessions_of(cursor, process)
        blame = case.blame(self._index)
        settled = {worker: recovery.recover(cursor, worker, blame) for worker in case.sessions}
        if not case.note_try(settled, now):
            return False
        if case.put_back:
            charged: dict[str, Any] = {}
            if blame is not None:
                charged = {"job": blame.job or None, "attempt": blame.attempt or None, "cause": blame.cause}
            event(
                _log, logging.WARNING, "job of a dead worker put back",
                db=self._name, worker=process.pid, **charged,
            )  # fmt: skip
        return True


def sweep(cursor: Any, name: str, alive: set[Process]) -> None:
    """Settle workers whose session is gone though no death was reported. Raises psycopg2.Error.

    ``alive`` are this host's workers under our master: if they lost their session they settle it themselves,
    and if they died their death comes with its cause.
    """
    for worker, process in statements.dead(cursor):
        if process in alive:
            continue
        put_back = recovery.recover(cursor, worker)
        if put_back:
            event(
                _log, logging.WARNING, "interrupted job put back", db=name, worker_id=worker,
                host=process.host, worker=process.pid,
            )  # fmt: skip


def repair(cursor: Any, name: str) -> None:
    """Repair rows of the native queue that no crash of one process explains. Raises psycopg2.Error."""
    released = statements.release_stranded(cursor)
    requeued = statements.requeue_enqueued(cursor)
    if released or requeued:
        event(_log, logging.WARNING, "sweep repaired rows", db=name, released=released, requeued=requeued)
