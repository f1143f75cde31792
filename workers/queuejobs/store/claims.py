"""What a worker and recovery say to the database. Each is one call of a function of the schema."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple

from ..shared.process import Process
from . import locks
from .prepared import Prepared

Key = Tuple[int, str, int]


class Ending(NamedTuple):
    """How a started job leaves that state without being done."""

    state: str  # "pending" or "failed"
    delay: Optional[float]  # seconds until it may start again, None: at once
    counted: bool  # whether the try counts
    exc_name: Optional[str] = None
    exc_message: Optional[str] = None
    exc_info: Optional[str] = None
    mark: Optional[str] = None  # see settle() in the schema


class Run(NamedTuple):
    """One attempt of a job."""

    job: int
    attempt: int


class Turn(NamedTuple):
    """Whose turn it is while a grant lasts."""

    epoch: int
    channel: str  # as stored
    bound: Optional[Key]  # no ready job has a lesser key
    until: Optional[Key]  # from this key on it is another's


class Blame(NamedTuple):
    """Why a worker died, and which run is charged for it."""

    job: int  # 0: the one that the worker was claiming, whatever that is
    attempt: int
    cause: str
    detail: Optional[str] = None  # a traceback, where there is one
    kind: str = "death"  # or "limit": it was killed for what it used
    poison_after: int = 0  # deaths in a row that fail the job, 0: never
    max_backoff: float = 3600.0  # seconds


def register(cursor: Any, process: Process, channel: str) -> int:
    """Give the session a worker id; its liveness lock is held as long as the session lives."""
    cursor.execute("select queuemaster.register_worker(%s, %s, %s, %s, %s)", (*process, channel))
    return int(cursor.fetchone()[0])


def claim(
    cursor: Any,
    epoch: int,
    channel: str,
    worker: int,
    pid: int,
    job: Optional[int],
    bound: Optional[Key],
) -> Optional[Dict[str, Any]]:
    """Start one ready job of the stored channel: the row, or None when there is nothing to start."""
    return _claimed(cursor, _CLAIM, epoch, channel, worker, pid, job, bound)


def claim_next(cursor: Any, before: Mapping[str, Any], worker: int, pid: int) -> Optional[Dict[str, Any]]:
    """Start the next ready job in the transaction of the one before it; None when there is none that may join it."""
    key = (before["priority"], before["date_created"], before["id"])
    cursor.execute(
        "select * from queuemaster.claim_next(%s, %s, %s, %s, %s, %s)", (before["channel"], worker, pid, *key)
    )
    return _row(cursor)


def leave_batch(cursor: Any, row: Mapping[str, Any]) -> None:
    """A job that was rolled back alone: its next run is another attempt."""
    cursor.execute("select queuemaster.leave_batch(%s)", (row["id"],))


def claim_beside_odoo(cursor: Any, *given: Any, start: bool) -> Optional[Dict[str, Any]]:
    """The same. ``start`` False: take the job as ``enqueued``, for the addon to start it itself."""
    return _claimed(cursor, _CLAIM if start else _CLAIM_ENQUEUED, *given)


_GIVEN = "bigint, text, integer, integer, bigint, integer, timestamp, bigint"
_CLAIM = Prepared("claim", _GIVEN, "select * from queuemaster.claim($1, $2, $3, $4, $5, $6, $7, $8)")
_CLAIM_ENQUEUED = Prepared(
    "claim_enqueued", _GIVEN, "select * from queuemaster.claim($1, $2, $3, $4, $5, $6, $7, $8, false)"
)


def _claimed(
    cursor: Any,
    statement: Prepared,
    epoch: int,
    channel: str,
    worker: int,
    pid: int,
    job: Optional[int],
    bound: Optional[Key],
) -> Optional[Dict[str, Any]]:
    priority, created, least = bound if bound is not None else (None, None, None)
    statement.execute(cursor, (epoch, channel, worker, pid, job, priority, created, least))
    return _row(cursor)


def _row(cursor: Any) -> Optional[Dict[str, Any]]:
    row = cursor.fetchone()
    if row is None:
        return None
    return {column.name: value for column, value in zip(cursor.description, row)}


def finish(
    cursor: Any, row: Mapping[str, Any], result: Optional[str], seconds: float, *, release: bool = True
) -> bool:
    """Mark the run done in its own transaction. False: the run was taken away, roll everything back.

    ``release``: let its children go in the same transaction, which must be READ COMMITTED for that.
    """
    cursor.execute(
        "select queuemaster.finish(%s, %s, %s, %s, %s, %s)",
        (row["id"], row["attempt"], row["worker_id"], result, seconds, release),
    )
    return bool(cursor.fetchone()[0])


_LEAST: Key = (-(2**31), "-infinity", 0)
_BEYOND: Key = (2**31 - 1, "infinity", 2**63 - 1)


def finish_and_claim(
    cursor: Any, row: Mapping[str, Any], result: Optional[str], seconds: float, turn: Turn, pid: int
) -> Tuple[bool, Optional[Run]]:
    """As ``finish``, and start the next job of the channel in the same transaction.

    The second is what was started, or None when there is nothing to start.
    """
    cursor.execute(
        "select finished, id, attempt from queuemaster.finish_and_claim("
        "%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            row["id"], row["attempt"], row["worker_id"], result, seconds, turn.epoch, turn.channel, pid,
            *(turn.bound or _LEAST), *(turn.until or _BEYOND),
        ),
    )  # fmt: skip
    finished, job, attempt = cursor.fetchone()
    return finished, None if job is None else Run(job, attempt)


_STARTED = Prepared(
    "started",
    "bigint, integer, integer",
    "select * from queuemaster.queue_job"
    " where id = $1 and state = 'started' and attempt = $2 and worker_id = $3",
)


def started(cursor: Any, run: Run, worker: int) -> Optional[Dict[str, Any]]:
    """The row of a run that was started; None when it was taken away."""
    _STARTED.execute(cursor, (*run, worker))
    return _row(cursor)


def lock_job(cursor: Any, row: Mapping[str, Any]) -> None:
    """Beside Odoo: have the job's row in this transaction, as soon as nobody else has it."""
    cursor.execute("select from public.queue_job where id = %s for no key update", (row["id"],))


def begin_run(cursor: Any, row: Mapping[str, Any]) -> Optional[str]:
    """Beside Odoo: first of all in the transaction of a started job. None: the run was taken away, else the signal."""
    cursor.execute(
        "select queuemaster.odoo_signal() where queuemaster.begin_run(%s, %s, %s)",
        (row["id"], row["attempt"], row["worker_id"]),
    )
    found = cursor.fetchone()
    return found[0] if found else None


def odoo_signal(cursor: Any) -> str:
    """Beside Odoo: a text that changes with the registry and with what caches hold."""
    cursor.execute("select queuemaster.odoo_signal()")
    return str(cursor.fetchone()[0])


def end_run(cursor: Any, row: Mapping[str, Any]) -> bool:
    """Beside Odoo: the addon stores this run's end itself. False: the run was taken away."""
    cursor.execute("select queuemaster.end_run(%s, %s, %s)", (row["id"], row["attempt"], row["worker_id"]))
    return bool(cursor.fetchone()[0])


def state_of(cursor: Any, row: Mapping[str, Any]) -> Optional[str]:
    """What the job's row says now; None when there is none."""
    cursor.execute("select state from queuemaster.queue_job where id = %s", (row["id"],))
    found = cursor.fetchone()
    return found[0] if found else None


def release_children(cursor: Any, row: Mapping[str, Any]) -> int:
    """Let the children of a done job go that wait for nobody else; how many."""
    cursor.execute("select queuemaster.release_children(%s)", (row["id"],))
    return int(cursor.fetchone()[0])


def settle(cursor: Any, row: Mapping[str, Any], ending: Ending) -> bool:
    """End the run otherwise. False: it was taken away meanwhile, there is nothing left to settle."""
    cursor.execute(
        "select queuemaster.settle(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (row["id"], row["attempt"], row["worker_id"], *ending),
    )
    return bool(cursor.fetchone()[0])


def sessions_of(cursor: Any, process: Process) -> List[int]:
    """The worker ids that a process registered in this database."""
    cursor.execute(
        "select id from queuemaster.worker where host = %s and boot_id = %s and pid = %s and start_time = %s"
        " order by id",
        process,
    )
    return [row[0] for row in cursor.fetchall()]


def recover(cursor: Any, worker: int, blame: Optional[Blame] = None) -> Optional[int]:
    """End the session of a dead worker if it still stands, then put back what it left started.

    None: its lock is still held or a row is locked by an application, ask again soon. The session is
    found by its lock, since stored pids get reused. Without blame it was an interruption.
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
        cursor.execute("select queuemaster.recover(%s, %s, %s, %s, %s, %s, %s, %s)", (worker, *blame))
    settled: Optional[int] = cursor.fetchone()[0]
    return settled
