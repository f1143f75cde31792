"""Who leads a database of Odoo: who holds the lock of the addon's own runner, and ours."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from psycopg2.extensions import connection as Connection

from queuejobs.shared.log import event
from queuejobs.store import oca
from queuejobs.store.schema import SchemaError

from . import odoo_statements
from .leadership import Leadership
from .standing import NotServed

_log = logging.getLogger("queuemaster.dispatcher")


class OdooLeadership(Leadership):
    """While we hold the addon's lock its runner stands by; when we go, it takes over."""

    def __init__(self, db: str, try_again: Callable[[], None]) -> None:
        self._db = db
        self._try_again = try_again
        self._holds_addon_lock = False

    def begin(self) -> None:
        self._holds_addon_lock = False

    def try_lead(self, connection: Connection, cursor: Any) -> int | None:
        if not self._holds_addon_lock:
            self._holds_addon_lock = odoo_statements.take_addon_lock(cursor)
        if not self._holds_addon_lock:
            # The addon's runner never gives its lock back by itself. Without its session it connects again and stands
            # by. It only hands jobs out: those that it has handed out go on in Odoo's workers, and keep their slots.
            if odoo_statements.displace(cursor):
                event(_log, logging.INFO, "the addon's runner is sent to stand by", db=self._db)
                self._try_again()  # at once: it tries again in five seconds
            return None
        self.install(connection)
        return super().try_lead(connection, cursor)

    def install(self, connection: Connection) -> None:
        """Make our schema beside the addon's table, or renew it. Raises NotServed, psycopg2.Error."""
        connection.autocommit = False
        try:
            made = oca.install(connection)
        except SchemaError as error:  # a newer program has led meanwhile
            raise NotServed(str(error)) from error
        if made:
            event(_log, logging.INFO, "our schema made beside the addon's table", db=self._db)
        connection.autocommit = True

    def depose(self, cursor: Any) -> bool:
        # the addon's runner does not beat: only a session that our own table names
        return oca.is_installed(cursor) and super().depose(cursor)
