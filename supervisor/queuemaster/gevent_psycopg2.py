"""psycopg2 under gevent: other greenlets run while a query waits for the server."""

from __future__ import annotations

import gevent
from gevent.socket import wait_read, wait_write
from psycopg2 import OperationalError, extensions

QUERY_TIMEOUT = 60.0  # seconds; our statements take milliseconds: after so long the database hangs


def _wait(connection: extensions.connection, timeout: float = QUERY_TIMEOUT) -> None:
    deadline = gevent.Timeout.start_new(timeout, OperationalError(f"no answer in {timeout:.0f} s"))
    try:
        while True:
            state = connection.poll()
            if state == extensions.POLL_OK:
                return
            if state == extensions.POLL_READ:
                wait_read(connection.fileno())
            else:
                wait_write(connection.fileno())
    finally:
        deadline.close()


def install() -> None:
    """Make all connections of this process wait this way."""
    extensions.set_wait_callback(_wait)
