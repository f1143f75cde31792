"""The environment of a call: a cursor, a user, a company, a context."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, Iterable, List, Mapping, Optional

import psycopg2.extensions

from . import registry

QUEUE = "queue.job"  # the model of the queue itself


class Cursor(psycopg2.extensions.cursor):
    """A psycopg2 cursor that can also commit and roll back, as Odoo's cursors can."""

    def commit(self) -> None:
        """Commit the transaction of the connection."""
        self.connection.commit()

    def rollback(self) -> None:
        """Roll back the transaction of the connection."""
        self.connection.rollback()


class Environment:
    """A cursor ``cr``, ``user_id``, ``company_id`` and ``context``. Immutable.

    ``connection_or_cursor``: a psycopg2 connection (a cursor is opened on it) or a cursor. Jobs that are delayed
    through an environment are stored by its cursor, so in the caller's transaction. A job runs as the user and
    company of the environment that delayed it, with those keys of the context that its model allows.
    """

    __slots__ = ("company_id", "context", "cr", "su", "user_id")

    def __init__(
        self,
        connection_or_cursor: Any,
        user_id: int = 1,
        company_id: Optional[int] = None,
        context: Optional[Mapping[str, Any]] = None,
        su: bool = False,
    ) -> None:
        is_connection = isinstance(connection_or_cursor, psycopg2.extensions.connection)
        self.cr: Any = (
            connection_or_cursor.cursor(cursor_factory=Cursor) if is_connection else connection_or_cursor
        )
        self.user_id = user_id
        self.company_id = company_id
        self.context: Mapping[str, Any] = MappingProxyType(dict(context or {}))
        self.su = su

    @property
    def uid(self) -> int:
        """The same as ``user_id``."""
        return self.user_id

    def __getitem__(self, model_name: str) -> Any:
        """The empty recordset of a model; :class:`~queuejobs.exception.NoSuchModelError`."""
        return registry.find(model_name)(self)

    def __call__(
        self,
        cr: Any = None,
        user_id: Optional[int] = None,
        company_id: Optional[int] = None,
        context: Optional[Mapping[str, Any]] = None,
        su: Optional[bool] = None,
    ) -> Environment:
        """A copy with the arguments that are not None replaced."""
        return Environment(
            self.cr if cr is None else cr,
            self.user_id if user_id is None else user_id,
            self.company_id if company_id is None else company_id,
            self.context if context is None else context,
            self.su if su is None else su,
        )

    def delay_many(self, delayables: Iterable[Any]) -> List[Any]:
        """Store any number of delayables, groups and chains with one INSERT of their jobs.

        Returns, in the same order, the job of a delayable and the list of jobs of a group or chain.
        """
        jobs: List[Any] = self[QUEUE].delay_many(delayables)
        return jobs

    def __repr__(self) -> str:
        return (
            f"Environment(user_id={self.user_id}, company_id={self.company_id}, context={dict(self.context)})"
        )
