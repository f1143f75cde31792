"""Create and upgrade the native schema: numbered SQL files, applied once each, under a lock.

The files lie in ``schema/NNNN_name.sql``. Each is recorded with its checksum; a file that changed
after it was applied is refused, since nobody could say what the database then holds.
"""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any, Dict, List, NamedTuple

from . import locks

DIRECTORY = Path(__file__).with_name("schema")
SCHEMA = "queuemaster"


class SchemaError(Exception):
    """The schema cannot be used or upgraded; the message says why and what to do."""


class OcaDatabaseError(SchemaError):
    """The database belongs to Odoo with the OCA addon: its queue is not ours to create."""


class Step(NamedTuple):
    """One SQL file."""

    version: int
    name: str
    sql: str
    checksum: str


def steps() -> List[Step]:
    """All steps that this version knows, in order."""
    found = []
    for path in sorted(DIRECTORY.glob("*.sql")):
        sql = path.read_text(encoding="utf-8")
        found.append(Step(int(path.name[:4]), path.stem, sql, hashlib.sha256(sql.encode()).hexdigest()))
    return found


def upgrade(connection: Any) -> List[int]:
    """Bring the schema to this version; returns the versions applied now ([] when it was current).

    ``connection`` is a psycopg2 connection outside a transaction. Everything is one transaction:
    an interrupted upgrade leaves what was there. Raises :class:`SchemaError`.
    """
    with connection, connection.cursor() as cursor:
        refuse_oca(cursor)
        _take_lock(cursor)
        cursor.execute("create schema if not exists queuemaster")
        cursor.execute("set local search_path = queuemaster")
        cursor.execute(
            "create table if not exists queuemaster.schema_version ("
            " version integer primary key, name text not null, checksum text not null,"
            " applied timestamptz not null default now())"
        )
        missing = _missing(_applied(cursor))
        for step in missing:
            cursor.execute(step.sql)
            cursor.execute(
                "insert into queuemaster.schema_version (version, name, checksum) values (%s, %s, %s)",
                (step.version, step.name, step.checksum),
            )
    return [step.version for step in missing]


def require_current(connection: Any) -> None:
    """Raise :class:`SchemaError` unless the schema is there and of exactly this version."""
    with connection, connection.cursor() as cursor:
        refuse_oca(cursor)
        cursor.execute("select to_regclass('queuemaster.schema_version') is not null")
        if not cursor.fetchone()[0]:
            raise SchemaError("it has no queue yet (no schema 'queuemaster')")
        missing = _missing(_applied(cursor))
    if missing:
        raise SchemaError(f"its schema is older than this program (lacks {missing[0].name})")


def refuse_oca(cursor: Any) -> None:
    """A table ``queue_job`` of the addon means that jobs are enqueued there, not in our schema."""
    cursor.execute(
        "select table_schema from information_schema.columns"
        " where table_name = 'queue_job' and column_name = 'job_function_id' and table_schema <> %s limit 1",
        (SCHEMA,),
    )
    row = cursor.fetchone()
    if row is not None:
        raise OcaDatabaseError(
            f"it has the table {row[0]}.queue_job of Odoo's addon queue_job; the native queue is for databases"
            " without it: name another database"
        )


def _take_lock(cursor: Any) -> None:
    # polled: a blocking wait would hold a snapshot, and deadlock with CREATE INDEX CONCURRENTLY
    deadline = time.monotonic() + 60
    while True:
        cursor.execute("select pg_try_advisory_xact_lock(%s, 0)", (locks.SCHEMA,))
        if cursor.fetchone()[0]:
            return
        if time.monotonic() > deadline:
            raise SchemaError("another process has been upgrading it for 60 s: try again when it is done")
        time.sleep(0.1)


def _applied(cursor: Any) -> Dict[int, str]:
    cursor.execute("select version, checksum from queuemaster.schema_version")
    return dict(cursor.fetchall())


def _missing(applied: Dict[int, str]) -> List[Step]:
    known = steps()
    for step in known:
        if applied.get(step.version, step.checksum) != step.checksum:
            raise SchemaError(f"step {step.name} was applied with other contents than this program has")
    newer = set(applied) - {step.version for step in known}
    if newer:
        raise SchemaError(
            f"its schema (version {max(newer)}) is newer than this program: upgrade queuemaster"
        )
    return [step for step in known if step.version not in applied]
