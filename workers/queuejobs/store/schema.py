"""Create and upgrade the native schema, under a lock, in one transaction.

A new database gets the schema as it is (``schema/``). One that an earlier release made is upgraded by numbered files,
``upgrades/NNNN_name.sql``, each of which leads from the version before it to NNNN. The table ``schema_version`` has a
row for the creation and one for each upgrade, with the checksum of what was executed; a text that changed after it was
executed is refused, since nobody could say what the database then holds.

There is no upgrade before the first release: a change of the schema until then makes databases of developers unusable.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional

from . import locks, schema_text

UPGRADES = Path(__file__).with_name("upgrades")
SCHEMA = "queuemaster"
FIRST = 1  # the version of the first release
_CREATION = "schema"  # the name of the row of a creation
_DEVELOPERS = "0001_queue"  # the name of the first row in databases that were made before the first release
_MAKE_ANEW = (
    "To make it again, without losing jobs: save the tables queue_job, queue_job_edge and control of the schema"
    " queuemaster (docs/upgrading.md says how), then 'drop schema queuemaster cascade', then queuemaster init. An"
    " embedded PostgreSQL that need not be kept: move its data directory away"
)


class SchemaError(Exception):
    """The schema cannot be used or upgraded; the message says why and what to do."""


class OcaDatabaseError(SchemaError):
    """The database belongs to Odoo with the OCA addon: its queue is not ours to create."""


class Step(NamedTuple):
    """A text that brings a database to ``version``: the creation, or an upgrade from the version before."""

    version: int
    name: str
    sql: str
    checksum: str


class Change(NamedTuple):
    """The versions before and after an upgrade; ``before`` None: there was no queue."""

    before: Optional[int]
    after: int


def creation() -> Step:
    """The schema as it is, at the version of this program."""
    sql = schema_text.read(schema_text.NATIVE, {"jobs": "queuemaster.queue_job"})
    return Step(version(), _CREATION, sql, schema_text.checksum(sql))


def upgrades() -> List[Step]:
    """The upgrades that this program knows, in order."""
    steps = []
    for path in sorted(UPGRADES.glob("*.sql")):
        sql = path.read_text(encoding="utf-8")
        steps.append(Step(int(path.name[:4]), path.stem, sql, schema_text.checksum(sql)))
    return steps


def version() -> int:
    """The version of the schema that this program works with."""
    return max([FIRST, *(step.version for step in upgrades())])


def upgrade(connection: Any) -> Change:
    """Bring the schema to the version of this program; what stood there stays, with its jobs.

    ``connection`` is a psycopg2 connection outside a transaction. An interrupted upgrade leaves what was there.
    Raises :class:`SchemaError`.
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
        before = _standing(cursor)
        for step in _missing(before):
            cursor.execute(step.sql)
            cursor.execute(
                "insert into queuemaster.schema_version (version, name, checksum) values (%s, %s, %s)",
                (step.version, step.name, step.checksum),
            )
    return Change(before, version())


def require_current(connection: Any) -> None:
    """Raise :class:`SchemaError` unless the schema is there and of exactly this version."""
    with connection, connection.cursor() as cursor:
        refuse_oca(cursor)
        cursor.execute("select to_regclass('queuemaster.schema_version') is not null")
        before = _standing(cursor) if cursor.fetchone()[0] else None
    if before is None:
        raise SchemaError("it has no queue yet (no schema 'queuemaster')")
    if before < version():
        raise SchemaError(
            f"its schema is older than this program (version {before}, expected version {version()})"
        )


def refuse_oca(cursor: Any) -> None:
    """Raise OcaDatabaseError where the addon's table ``queue_job`` is: jobs are enqueued there, not in our schema."""
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


class _Row(NamedTuple):
    name: str
    checksum: str


def _standing(cursor: Any) -> Optional[int]:
    """The version that stands in the database, None: no queue. Raises SchemaError where this program cannot go on."""
    cursor.execute("select version, name, checksum from queuemaster.schema_version")
    rows: Dict[int, _Row] = {number: _Row(name, checksum) for number, name, checksum in cursor.fetchall()}
    if not rows:
        return None
    if any(row.name == _DEVELOPERS for row in rows.values()):
        raise SchemaError(
            f"its schema was made by a version in development, before 0.1.0, and cannot be upgraded. {_MAKE_ANEW}"
        )
    newest = max(rows)
    if newest > version():
        raise SchemaError(f"its schema (version {newest}) is newer than this program: upgrade queuemaster")
    for step in (creation(), *upgrades()):
        row = rows.get(step.version)
        if row is not None and row.name == step.name and row.checksum != step.checksum:
            raise SchemaError(
                f"step {step.name} (version {step.version}) was applied with other contents than this program has,"
                f" as by a version in development. {_MAKE_ANEW}"
            )
    return newest


def _missing(before: Optional[int]) -> List[Step]:
    """The steps from a version to that of this program."""
    if before is None:
        return [creation()]
    steps = [step for step in upgrades() if step.version > before]
    if before < version() and (not steps or steps[0].version != before + 1):
        raise SchemaError(
            f"its schema (version {before}) is too old for this program: upgrade it by way of an earlier release"
        )
    return steps
