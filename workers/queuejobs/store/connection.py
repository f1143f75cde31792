"""Connections that notice when the other side has gone."""

from __future__ import annotations

from contextlib import closing
from typing import Any, Dict

import psycopg2
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import parse_dsn

# The client notices a dead server by keepalives and TCP_USER_TIMEOUT. The server checks its client even while a query
# runs, or the query of a killed worker would keep its locks until it ends.
_CLIENT = {"keepalives": 1, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3,
           "tcp_user_timeout": 30_000, "connect_timeout": 10}  # fmt: skip
_SERVER = {
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "30s",
    "client_connection_check_interval": "500ms",
    "default_transaction_isolation": "read\\ committed",
    "timezone": "UTC",
}


def connect(dsn: str, application_name: str, **options: Any) -> Connection:
    """Open a connection to ``dsn``, whose own settings count first. Raises psycopg2.OperationalError.

    ``options``: more arguments of ``psycopg2.connect``.
    """
    named: Dict[str, Any] = parse_dsn(dsn)
    settings = " ".join(f"-c {name}={value}" for name, value in _SERVER.items())
    merged = {**_CLIENT, "application_name": application_name[:63], **named}
    merged["options"] = f"{settings} {named.get('options', '')}".strip()
    merged.update(options)
    opened: Connection = psycopg2.connect(**merged)
    return opened


def wake(connection: Connection) -> None:
    """A round trip, so that the server's process of this session is on its feet for the next one."""
    with connection.cursor() as cursor:
        cursor.execute("select")


# LISTEN and locks belong to a session of the server. Where a pooler changes the session between two statements, both
# are lost.
POOLED = (
    "a pooler hands its sessions from one client to the next (transaction pooling), and notifications and session locks"
    " do not survive that: connect directly, or through a pooler in session mode"
)


def is_pooled(connection: Connection, dsn: str) -> bool:
    """Whether ``connection``, opened with ``dsn`` and in no transaction, shares its session with other clients.

    A second client takes a session for a transaction. Where sessions are shared, it gets ours, or we get another one.
    """
    before = _backend(connection)
    with closing(connect(dsn, "queuemaster: is it pooled")) as other:
        # the first statement begins the transaction that holds the session
        return _backend(other) == before or _backend(connection) != before


def _backend(connection: Connection) -> int:
    with connection.cursor() as cursor:
        cursor.execute("select pg_backend_pid()")
        row = cursor.fetchone()
        assert row is not None
        return int(row[0])
