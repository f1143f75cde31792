"""Who leads a database: the session that holds the lock. A native queue's; see :mod:`.odoo_leadership`."""

from __future__ import annotations

import socket
from typing import Any

from psycopg2.extensions import connection as Connection

from . import statements

DEPOSE_AFTER = 30.0  # seconds without a beat


class Leadership:
    """Try to lead, and end the session of a leader that has stopped."""

    def begin(self) -> None:
        """The session is a new one, which holds nothing."""

    def try_lead(self, _connection: Connection, cursor: Any) -> int | None:
        """The new epoch; None while another session leads. Raises psycopg2.Error."""
        return statements.try_lead(cursor, socket.gethostname())

    def depose(self, cursor: Any) -> bool:
        """End the session of a leader that does not beat; true if there was one. Raises psycopg2.Error."""
        return statements.depose(cursor, DEPOSE_AFTER)
