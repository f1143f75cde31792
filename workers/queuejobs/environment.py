"""Where a call runs: a cursor, a user, a company, a context."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, Iterable, List, Mapping, Optional

import psycopg2.extensions

from . import registry

QUEUE = "queue.job"  # the model of the queue itself


class Cursor(psycopg2.extensions.cursor):
    """A psycopg2 cursor that can also end the transaction of its connection."""

    def commit(self) -> None:
        """Commit the transaction that this cursor works in."""
        self.connection.commit()

    def rollback(self) -> None:
        """Roll the transaction back that this cursor works in."""
        self.connection.rollback()


class Environment:
    """Immutable. Jobs delayed through it are stored by ``cr``, so in the caller's transaction.

    ``connection_or_cursor``: a psycopg2 connection (a cursor is opened on it) or a cursor.
    A job runs as the user and company of the environment that delayed it; of the context it gets
    the keys that its model allows.
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
        """A copy in which what is given replaces what is here."""
        return Environment(
            self.cr if cr is None else cr,
            self.user_id if user_id is None else user_id,
            self.company_id if company_id is None else company_id,
            self.context if context is None else context,
            self.su if su is None else su,
        )

    def delay_many(self, delayables: Iterable[Any]) -> List[Any]:
        """Store any number of delayables with one INSERT; their jobs, in the same order."""
        jobs: List[Any] = self[QUEUE].delay_many(delayables)
        return jobs

    def __repr__(self) -> str:
        return (
            f"Environment(user_id={self.user_id}, company_id={self.company_id}, context={dict(self.context)})"
        )
