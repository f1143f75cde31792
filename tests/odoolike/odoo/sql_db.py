"""Odoo's cursors: each has a connection of its own, with REPEATABLE READ and a transaction from the first statement."""

import contextlib
import itertools

import psycopg2
from psycopg2.extensions import ISOLATION_LEVEL_REPEATABLE_READ, connection

from .tools import config

_numbers = itertools.count()


class PsycoConnection(connection):
    _pool_in_use = False


class ConnectionPool:
    """Keeps returned connections, and lends them again for the same parameters."""

    def __init__(self):
        self._connections = []

    def borrow(self, info):
        self._connections = [borrowed for borrowed in self._connections if not borrowed.closed]
        for borrowed in self._connections:
            if not borrowed._pool_in_use and borrowed.parameters == info:
                borrowed.reset()
                break
        else:
            borrowed = psycopg2.connect(connection_factory=PsycoConnection, **info)
            borrowed.parameters = dict(info)
            self._connections.append(borrowed)
        borrowed.set_isolation_level(ISOLATION_LEVEL_REPEATABLE_READ)
        borrowed._pool_in_use = True
        return borrowed

    def give_back(self, borrowed):
        borrowed._pool_in_use = False

    def close_all(self):
        for opened in self._connections:
            opened.close()
        self._connections = []


_Pool = ConnectionPool()


class Cursor:
    def __init__(self, database):
        self.dbname = database
        self._closed = False
        self._cnx = _Pool.borrow(connection_info_for(database)[1])
        self._obj = self._cnx.cursor()

    def execute(self, query, parameters=None):
        self._obj.execute(query, parameters)

    def fetchone(self):
        return self._obj.fetchone()

    def fetchall(self):
        return self._obj.fetchall()

    @property
    def rowcount(self):
        return self._obj.rowcount

    @property
    def description(self):
        return self._obj.description

    def commit(self):
        self._cnx.commit()

    def rollback(self):
        self._cnx.rollback()

    def flush(self):
        pass

    def clear(self):
        pass

    @property
    def closed(self):
        return self._closed or bool(self._cnx.closed)

    def close(self):
        if not self._closed:
            self._closed = True
            self._obj.close()
            if not self._cnx.closed:
                self._cnx.rollback()
            _Pool.give_back(self._cnx)

    @contextlib.contextmanager
    def savepoint(self, flush=True):
        name = f"s{next(_numbers)}"
        self.execute(f"savepoint {name}")
        try:
            yield
        except BaseException:
            self.execute(f"rollback to savepoint {name}")
            raise
        self.execute(f"release savepoint {name}")

    def __enter__(self):
        return self

    def __exit__(self, kind, _error, _traceback):
        try:
            if kind is None:
                self.commit()
        finally:
            self.close()


def connection_info_for(database):
    options = {
        name: config[f"db_{name}"] for name in ("host", "port", "user", "password") if config[f"db_{name}"]
    }
    return database, {"database": database, "application_name": "odoo", **options}


def close_all():
    _Pool.close_all()


def db_connect(database):
    class Connection:
        def cursor(self):
            return Cursor(database)

    return Connection()
