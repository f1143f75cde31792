"""What a worker tells the database about its runs. Each function is one call of a function of the schema.

``row`` is a claimed row. Its id, its attempt and its worker's id name the run: when another process has taken the run
away meanwhile, nothing matches any more, and the function says so.
"""

from __future__ import annotations

from typing import Any, Dict, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..shared.job_key import LEAST, Key
from ..shared.job_state import JobState
from ..shared.process import Process
from .prepared import Prepared


class Ending(NamedTuple):
    """How a started job leaves that state without being done."""

    state: JobState  # PENDING, FAILED or CANCELLED
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


class SliceBounds(NamedTuple):
    """Which jobs a slice may go on with, by the terms of its grant."""

    epoch: int
    channel: str  # as stored
    bound: Optional[Key]  # no ready job has a lesser key
    until: Optional[Key]  # from this key on it is another channel's turn


def register(cursor: Any, process: Process, channel: str) -> int:
    """Give the session a worker id; the session holds its liveness lock as long as it lives."""
    cursor.execute("select queuemaster.register_worker(%s, %s, %s, %s, %s)", (*process, channel))
    return int(cursor.fetchone()[0])


CLAIM_TYPES = "bigint, text, integer, integer, bigint, integer, timestamp, bigint"
CLAIM = Prepared("claim", CLAIM_TYPES, "select * from queuemaster.claim($1, $2, $3, $4, $5, $6, $7, $8)")


def claim(
    cursor: Any,
    epoch: int,
    channel: str,
    worker: int,
    pid: int,
    job: Optional[int],
    bound: Optional[Key],
) -> Optional[Dict[str, Any]]:
    """Start one ready job of the stored channel: the row, or None when there is nothing to start.

    ``job``: only this one, by id. ``bound``: no ready job has a lesser key.
    """
    CLAIM.execute(cursor, claim_values(epoch, channel, worker, pid, job, bound))
    return fetched_row(cursor)


def claim_values(
    epoch: int, channel: str, worker: int, pid: int, job: Optional[int], bound: Optional[Key]
) -> Sequence[Any]:
    """The arguments of a claim as values of :data:`CLAIM_TYPES`."""
    return (epoch, channel, worker, pid, job, *(bound if bound is not None else (None, None, None)))


def fetched_row(cursor: Any) -> Optional[Dict[str, Any]]:
    """The next row of the answer, by column; None when there is none."""
    row = cursor.fetchone()
    if row is None:
        return None
    return {column.name: value for column, value in zip(cursor.description, row)}


def begin_member(cursor: Any) -> None:
    """Begin what :func:`end_member` keeps or undoes: the next job of a batch, from its claim to its end."""
    cursor.execute("savepoint queuemaster_batch")


def end_member(cursor: Any, keep: bool) -> None:
    """Keep the next job of a batch in the transaction, or undo its claim and what it did."""
    cursor.execute(f"{'release' if keep else 'rollback to'} savepoint queuemaster_batch")


def claim_next(cursor: Any, before: Mapping[str, Any], worker: int, pid: int) -> Optional[Dict[str, Any]]:
    """Start the next ready job in the transaction of the one ``before``; None when there is none that may join it."""
    key = (before["priority"], before["date_created"], before["id"])
    cursor.execute(
        "select * from queuemaster.claim_next(%s, %s, %s, %s, %s, %s)", (before["channel"], worker, pid, *key)
    )
    return fetched_row(cursor)


def leave_batch(cursor: Any, row: Mapping[str, Any]) -> None:
    """Mark a job that was rolled back alone: its next run is another attempt."""
    cursor.execute("select queuemaster.leave_batch(%s)", (row["id"],))


def finish(
    cursor: Any, row: Mapping[str, Any], result: Optional[str], seconds: float, *, release: bool = True
) -> bool:
    """Mark the run done in its own transaction. False: the run was taken away, roll everything back.

    ``release``: release its children in the same transaction, which must be READ COMMITTED for that.
    """
    cursor.execute(
        "select queuemaster.finish(%s, %s, %s, %s, %s, %s)",
        (row["id"], row["attempt"], row["worker_id"], result, seconds, release),
    )
    return bool(cursor.fetchone()[0])


_BEYOND: Key = (2**31 - 1, "infinity", 2**63 - 1)


def finish_and_claim(
    cursor: Any, row: Mapping[str, Any], result: Optional[str], seconds: float, bounds: SliceBounds, pid: int
) -> Tuple[bool, Optional[Run]]:
    """As :func:`finish`, and start the next job of the channel in the same transaction.

    The second value is the run that was started, or None when there is nothing to start.
    """
    cursor.execute(
        "select finished, id, attempt from queuemaster.finish_and_claim("
        "%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            row["id"], row["attempt"], row["worker_id"], result, seconds, bounds.epoch, bounds.channel, pid,
            *(bounds.bound or LEAST), *(bounds.until or _BEYOND),
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
    return fetched_row(cursor)


def release_children(cursor: Any, row: Mapping[str, Any]) -> int:
    """Release the children of a done job that wait for no other parent; returns how many these were."""
    cursor.execute("select queuemaster.release_children(%s)", (row["id"],))
    return int(cursor.fetchone()[0])


def settle(cursor: Any, row: Mapping[str, Any], ending: Ending) -> bool:
    """End a run that is not done. False: it was taken away, there is nothing left to settle."""
    cursor.execute(
        "select queuemaster.settle(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (row["id"], row["attempt"], row["worker_id"], ending.state.value, *ending[1:]),
    )
    return bool(cursor.fetchone()[0])
