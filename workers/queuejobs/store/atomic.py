"""Several statements as one, in a transaction of the caller or, under autocommit, in one of their own."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any, Iterator

import psycopg2.extensions

_NAME = "queuejobs_atomic"


@contextmanager
def atomic(cr: Any) -> Iterator[None]:
    """What happens inside is kept together, or undone together when an exception leaves it.

    The transaction of the caller is as usable afterwards as it was before.
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
    """Inside, waiting for a lock longer than ``limit`` is an error. Within :func:`atomic` only."""
    cr.execute("select current_setting('lock_timeout'), set_config('lock_timeout', %s, true)", (limit,))
    before = cr.fetchone()[0]
    yield
    # after an error the savepoint's rollback restores it
    cr.execute("select set_config('lock_timeout', %s, true)", (before,))
