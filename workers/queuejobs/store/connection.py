"""Connections that notice when the other side is gone."""

from __future__ import annotations

from typing import Any, Dict

import psycopg2
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import parse_dsn

# A dead peer must be noticed on both sides: the client by keepalives and TCP_USER_TIMEOUT, the server by
# checking its client even while a query runs (else a killed worker's query keeps its locks for its whole length).
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
    """Open a connection to ``dsn``; what the DSN itself sets stays. Raises psycopg2.OperationalError."""
    given: Dict[str, Any] = parse_dsn(dsn)
    settings = " ".join(f"-c {name}={value}" for name, value in _SERVER.items())
    merged = {**_CLIENT, "application_name": application_name[:63], **given}
    merged["options"] = f"{settings} {given.get('options', '')}".strip()
    merged.update(options)
    opened: Connection = psycopg2.connect(**merged)
    return opened
