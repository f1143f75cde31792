"""Rows of jobs as JSON values."""

from __future__ import annotations

import datetime
import json
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Connection

from queuemaster.cli.databases import opened, require_schema, server_message
from queuemaster.cli.output import Failure
from queuemaster.config.compiled import DatabaseConfig
from queuemaster.config.dsn import describe

DOCUMENTS = ("records", "args", "kwargs")  # JSON columns, which the statements read as text


def read_rows(database: DatabaseConfig, statement: str, parameters: Any) -> list[dict[str, Any]]:
    """The rows of a statement by column; times are UTC, in ISO 8601 with a Z. Raises Refusal or Failure."""
    with opened(database) as connection:
        require_schema(database, connection)
        try:
            return _rows(connection, statement, parameters)
        except psycopg2.Error as error:
            raise Failure(f"database {describe(database)}: {server_message(error)}") from error


def _rows(connection: Connection, statement: str, parameters: Any) -> list[dict[str, Any]]:
    connection.set_session(readonly=True)
    with connection, connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        names = [column.name for column in cursor.description or ()]
        return [
            {name: _json_value(name, value) for name, value in zip(names, row, strict=True)}
            for row in cursor.fetchall()
        ]


def _json_value(name: str, value: Any) -> Any:
    if isinstance(value, datetime.datetime):
        return f"{value.isoformat(timespec='microseconds')}Z"
    return json.loads(value) if name in DOCUMENTS else value
