"""Statements that a session prepares once: short ones cost less to run than to parse and to plan."""

from __future__ import annotations

from typing import Any, MutableMapping, Sequence, Set
from weakref import WeakKeyDictionary

_DEALLOCATED = "26000"  # SQLSTATE: there is no statement of this name
# by connection: the names it has prepared
_DONE: MutableMapping[Any, Set[str]] = WeakKeyDictionary()


class Prepared:
    """A statement with parameters $1, $2 and so on, prepared by each session that executes it.

    ``types``: of the parameters, as PostgreSQL names them, with commas between them. Its plan is kept: it must be good
    however full the tables are. For sessions in autocommit that no pooler shares between transactions.
    """

    def __init__(self, name: str, types: str, statement: str) -> None:
        self._name = f"queuemaster_{name}"
        self._prepare = f"prepare {self._name} ({types}) as {statement}"
        # psycopg2 writes an array as one of text or integers, whatever it is for
        self._execute = f"execute {self._name} ({', '.join(f'%s::{name}' for name in types.split(', '))})"

    def execute(self, cursor: Any, values: Sequence[Any]) -> None:
        """As ``cursor.execute``. Raises psycopg2.Error."""
        done = _DONE.setdefault(cursor.connection, set())
        if self._name not in done:
            cursor.execute(self._prepare)
            done.add(self._name)
        try:
            cursor.execute(self._execute, values)
        except Exception as error:  # no name of psycopg2's: the master reads this file too, and does without
            if getattr(error, "pgcode", None) != _DEALLOCATED:
                raise
            cursor.execute(self._prepare)
            cursor.execute(self._execute, values)
