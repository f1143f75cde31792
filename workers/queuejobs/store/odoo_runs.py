"""Beside Odoo: what a worker tells the database about its runs, besides :mod:`.claims`.

Our session says what becomes of the run; Odoo's own, in which the job runs, begins with :func:`begin_run`.
"""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional

from ..shared.job_key import Key
from .claims import CLAIM, CLAIM_TYPES, claim_values, fetched_row
from .prepared import Prepared

_CLAIM_ENQUEUED = Prepared(
    "claim_enqueued",
    CLAIM_TYPES,
    "select * from queuemaster.claim($1, $2, $3, $4, $5, $6, $7, $8, false)",
)


def claim(
    cursor: Any,
    epoch: int,
    channel: str,
    worker: int,
    pid: int,
    job: Optional[int],
    bound: Optional[Key],
    *,
    start: bool,
) -> Optional[Dict[str, Any]]:
    """As :func:`.claims.claim`. ``start`` False: take the job as ``enqueued``, for the addon to start it itself."""
    statement = CLAIM if start else _CLAIM_ENQUEUED
    statement.execute(cursor, claim_values(epoch, channel, worker, pid, job, bound))
    return fetched_row(cursor)


def lock_job(cursor: Any, row: Mapping[str, Any]) -> None:
    """Lock the job's row in this transaction, as soon as no other transaction has it locked."""
    cursor.execute("select from public.queue_job where id = %s for no key update", (row["id"],))


def begin_run(cursor: Any, row: Mapping[str, Any]) -> Optional[str]:
    """Begin the transaction of a started job; returns :func:`odoo_signal`, or None: the run was taken away."""
    cursor.execute(
        "select queuemaster.odoo_signal() where queuemaster.begin_run(%s, %s, %s)",
        (row["id"], row["attempt"], row["worker_id"]),
    )
    signal = cursor.fetchone()
    return signal[0] if signal else None


def odoo_signal(cursor: Any) -> str:
    """A text that changes with Odoo's registry and with what its caches hold."""
    cursor.execute("select queuemaster.odoo_signal()")
    return str(cursor.fetchone()[0])


def end_run(cursor: Any, row: Mapping[str, Any]) -> bool:
    """Forget a run whose end the addon stores itself. False: the run was taken away."""
    cursor.execute("select queuemaster.end_run(%s, %s, %s)", (row["id"], row["attempt"], row["worker_id"]))
    return bool(cursor.fetchone()[0])


def state_of(cursor: Any, row: Mapping[str, Any]) -> Optional[str]:
    """The state that the job's row has now; None when the row is gone."""
    cursor.execute("select state from queuemaster.queue_job where id = %s", (row["id"],))
    state = cursor.fetchone()
    return state[0] if state else None
