"""``queuemaster init --indexes``: our indexes on the addon's table, made while jobs go on."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import click
import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from queuejobs.store import oca
from queuejobs.store.connection import connect
from queuemaster.cli.databases import opened, server_message
from queuemaster.cli.odoo.facts import estimated_rows, invalid_indexes
from queuemaster.cli.output import Failure, Refusal
from queuemaster.cli.statements import CREATE_INDEX, DROP_INDEX_CONCURRENTLY, INDEX_PROGRESS, LOCK_INDEXES
from queuemaster.config.compiled import DatabaseConfig
from queuemaster.config.dsn import describe

PROGRESS_EVERY = 5.0  # seconds between two lines about an index that takes long


def make_indexes(database: DatabaseConfig) -> Iterator[str]:
    """Make the indexes that are missing, one after the other; yields a line about each step, for people.

    CREATE INDEX CONCURRENTLY: jobs are enqueued and run meanwhile. It can be interrupted and repeated at any time.
    """
    with opened(database) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            addon = oca.look(cursor)
            if addon.problem:
                raise Refusal(
                    f"database {describe(database)}: {addon.problem}; --indexes is for Odoo's databases"
                )
            cursor.execute(LOCK_INDEXES)
            if not cursor.fetchone()[0]:  # type: ignore[index]
                raise Failure(
                    f"database {describe(database)}: another process is making its indexes just now"
                )
            for name in invalid_indexes(cursor):
                yield f"{name}: left over from an attempt that was broken off, dropped"
                cursor.execute(sql.SQL(DROP_INDEX_CONCURRENTLY).format(name=sql.Identifier(name)))
            missing = oca.missing_or_present(cursor)
            rows = estimated_rows(cursor)
        if not missing:
            yield f"all {len(oca.INDEXES)} indexes are there; nothing to do"
        for number, name in enumerate(missing, 1):
            yield f"{name}: {number} of {len(missing)}, on about {rows:,} rows"
            yield from _make(database, connection, name)


def _make(database: DatabaseConfig, connection: Connection, name: str) -> Iterator[str]:
    """Make one index in a thread, and yield its progress meanwhile; Ctrl-C cancels the statement."""
    failure: list[psycopg2.Error] = []
    statement = sql.SQL(CREATE_INDEX).format(name=sql.Identifier(name), definition=sql.SQL(oca.INDEXES[name]))

    def create() -> None:
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement)
        except psycopg2.Error as error:
            failure.append(error)

    began = time.monotonic()
    thread = threading.Thread(target=create, daemon=True)
    thread.start()
    try:
        thread.join(PROGRESS_EVERY)
        while thread.is_alive():
            yield f"{name}: {_progress(database, connection.get_backend_pid())}"
            thread.join(PROGRESS_EVERY)
    except BaseException:
        connection.cancel()
        thread.join()
        raise
    if failure:
        raise Failure(
            f"database {describe(database)}: {name}: {server_message(failure[0])}\n  what is left of it is removed"
            " by the next queuemaster init --indexes"
        )
    yield f"{name}: made in {time.monotonic() - began:.1f} s"


def _progress(database: DatabaseConfig, pid: int) -> str:
    """How far the server is, in words. It is asked in another session, since this one is busy."""
    try:
        connection = connect(database.dsn, "queuemaster command")
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(INDEX_PROGRESS, (pid,))
                row = cursor.fetchone()
        finally:
            connection.close()
    except psycopg2.Error as error:
        return f"under way; the server does not say how far ({server_message(error)})"
    if row is None:
        return "under way"
    phase, done, total = row
    return f"{phase}, {100 * done // total} %" if total else str(phase)


def make_and_print(database: DatabaseConfig) -> None:
    """Make the indexes and print the steps."""
    for line in make_indexes(database):
        click.echo(f"{describe(database)}: {line}")
