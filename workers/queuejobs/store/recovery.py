"""What recovery tells the database: a worker is dead, and what it left started goes back."""

from __future__ import annotations

from typing import Any, List, NamedTuple, Optional

from ..shared.process import Process
from ..shared.stop_causes import DeathKind
from . import locks


class Blame(NamedTuple):
    """Why a worker died, and which run is charged for it."""

    job: int  # 0: the one that the worker was claiming, whatever that is
    attempt: int
    cause: str
    detail: Optional[str] = None  # a traceback, where there is one
    kind: DeathKind = DeathKind.DEATH
    poison_after: int = 0  # deaths in a row that fail the job, 0: never
    max_backoff: float = 3600.0  # seconds


def sessions_of(cursor: Any, process: Process) -> List[int]:
    """The worker ids that a process registered in this database."""
    cursor.execute(
        "select id from queuemaster.worker where host = %s and boot_id = %s and pid = %s and start_time = %s"
        " order by id",
        process,
    )
    return [row[0] for row in cursor.fetchall()]


def recover(cursor: Any, worker: int, blame: Optional[Blame] = None) -> Optional[int]:
    """End the session of a dead worker if it still stands, and put back what it left started; returns how many rows.

    None: its lock is still held, or an application holds a row locked; ask again soon. The session is found by its
    lock, since stored pids get reused. Without blame the death was an interruption, and the tries are given back.
    """
    cursor.execute(
        "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and classid = %s"
        " and objid = %s and objsubid = 2 and granted and pid <> pg_backend_pid()"
        " and database = (select oid from pg_database where datname = current_database())",
        (locks.WORKER, worker),
    )
    if blame is None:
        cursor.execute("select queuemaster.recover(%s, null, null, null)", (worker,))
    else:
        cursor.execute(
            "select queuemaster.recover(%s, %s, %s, %s, %s, %s, %s, %s)",
            (
                worker,
                blame.job,
                blame.attempt,
                blame.cause,
                blame.detail,
                blame.kind.value,
                blame.poison_after,
                blame.max_backoff,
            ),
        )
    settled: Optional[int] = cursor.fetchone()[0]
    return settled
