"""Statements that a session prepares once: to parse and plan a short one costs more than to run it."""

from __future__ import annotations

from typing import Any, MutableMapping, Sequence, Set
from weakref import WeakKeyDictionary

import psycopg2

_DEALLOCATED = "26000"  # SQLSTATE: there is no statement of this name
# the names of the statements that a connection has prepared
_PREPARED: MutableMapping[Any, Set[str]] = WeakKeyDictionary()


class Prepared:
    """A statement with parameters $1, $2 and so on, which each session prepares when it first executes it.

    ``types``: PostgreSQL's names for the types of the parameters, separated by ", ". The session keeps the plan, so it
    must be good however full the tables are. For sessions in autocommit that no pooler shares between transactions.
    """

    def __init__(self, name: str, types: str, statement: str) -> None:
        self._name = f"queuemaster_{name}"
        self._prepare = f"prepare {self._name} ({types}) as {statement}"
        # the casts: psycopg2 writes every array as one of text or of integers
        self._execute = f"execute {self._name} ({', '.join(f'%s::{name}' for name in types.split(', '))})"

    def execute(self, cursor: Any, values: Sequence[Any]) -> None:
        """As ``cursor.execute``. Raises psycopg2.Error."""
        prepared = _PREPARED.setdefault(cursor.connection, set())
        if self._name not in prepared:
            cursor.execute(self._prepare)
            prepared.add(self._name)
        try:
            cursor.execute(self._execute, values)
        except psycopg2.Error as error:
            if error.pgcode != _DEALLOCATED:
                raise
            cursor.execute(self._prepare)
            cursor.execute(self._execute, values)
