"""Transactions: several statements as one, savepoints, isolation levels."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any, Iterator

import psycopg2.extensions

_NAME = "queuejobs_atomic"


@contextmanager
def atomic(cr: Any) -> Iterator[None]:
    """Keep what happens inside together: an exception that leaves the block undoes all of it.

    Inside a transaction of the caller this is a savepoint, and an exception leaves the transaction usable. Under
    autocommit it is a transaction of its own.
    """
    connection = cr.connection
    status = connection.info.transaction_status
    own = connection.autocommit and status == psycopg2.extensions.TRANSACTION_STATUS_IDLE
    cr.execute("begin" if own else f"savepoint {_NAME}")
    try:
        yield
    except BaseException:
        if not connection.closed:
            undo = f"rollback to savepoint {_NAME}; release savepoint {_NAME}"
            cr.execute("rollback" if own else undo)
        raise
    cr.execute("commit" if own else f"release savepoint {_NAME}")


@contextmanager
def lock_timeout(cr: Any, limit: str) -> Iterator[None]:
    """Inside, waiting longer than ``limit`` (``"5s"``) for a lock raises LockNotAvailable. In :func:`atomic` only."""
    cr.execute("select current_setting('lock_timeout'), set_config('lock_timeout', %s, true)", (limit,))
    before = cr.fetchone()[0]
    yield
    # after an error the savepoint's rollback restores it
    cr.execute("select set_config('lock_timeout', %s, true)", (before,))


def isolation(cr: Any) -> str:
    """The isolation level of the transaction: ``"read committed"`` and so on."""
    cr.execute("show transaction_isolation")
    level: str = cr.fetchone()[0]
    return level


def set_isolation(cr: Any, level: str) -> None:
    """Set the isolation level of a transaction that has executed nothing yet. ``level`` goes into the statement."""
    cr.execute(f"set transaction isolation level {level}")
