"""``queuemaster init --indexes``: our indexes on the addon's table, without stopping anybody."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import click
import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from queuejobs.store import locks, oca
from queuejobs.store.connection import connect
from queuemaster.cli.databases import opened, server_message
from queuemaster.cli.odoo.facts import broken, size
from queuemaster.cli.output import Failure, Refusal
from queuemaster.config.compiled import DatabaseConfig
from queuemaster.config.dsn import describe

TOLD_EVERY = 5.0  # seconds between two lines about an index that takes long

_PROGRESS = "select phase, blocks_done, blocks_total from pg_stat_progress_create_index where pid = %s"


def make_indexes(database: DatabaseConfig) -> Iterator[str]:
    """Make those that are missing, one after the other; what is done, line by line, while it is done.

    CREATE INDEX CONCURRENTLY: jobs are enqueued and run meanwhile. It can be broken off and repeated at any time.
    """
    with opened(database) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            found = oca.look(cursor)
            if found.problem:
                raise Refusal(
                    f"database {describe(database)}: {found.problem}; --indexes is for Odoo's databases"
                )
            cursor.execute("select pg_try_advisory_lock(%s, 1)", (locks.SCHEMA,))
            if not cursor.fetchone()[0]:  # type: ignore[index]
                raise Failure(
                    f"database {describe(database)}: another process is making its indexes just now"
                )
            for name in broken(cursor):
                yield f"{name}: left over from an attempt that was broken off, dropped"
                cursor.execute(sql.SQL("drop index concurrently public.{}").format(sql.Identifier(name)))
            missing = oca.missing_or_present(cursor)
            rows = size(cursor)
        if not missing:
            yield f"all {len(oca.INDEXES)} indexes are there; nothing to do"
        for number, name in enumerate(missing, 1):
            yield f"{name}: {number} of {len(missing)}, on about {rows:,} rows"
            yield from _make(database, connection, name)


def _make(database: DatabaseConfig, connection: Connection, name: str) -> Iterator[str]:
    """In a thread, so that somebody can tell how far it is; Ctrl-C takes the statement back."""
    failure: list[psycopg2.Error] = []
    statement = sql.SQL("create index concurrently if not exists {} on public.queue_job {}").format(
        sql.Identifier(name), sql.SQL(oca.INDEXES[name])
    )

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
        thread.join(TOLD_EVERY)
        while thread.is_alive():
            yield f"{name}: {_progress(database, connection.get_backend_pid())}"
            thread.join(TOLD_EVERY)
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
    """What the server says; it is asked on another session, since this one is busy."""
    try:
        asked = connect(database.dsn, "queuemaster command")
        try:
            with asked, asked.cursor() as cursor:
                cursor.execute(_PROGRESS, (pid,))
                found = cursor.fetchone()
        finally:
            asked.close()
    except psycopg2.Error as error:
        return f"under way; the server does not say how far ({server_message(error)})"
    if found is None:
        return "under way"
    phase, done, total = found
    return f"{phase}, {100 * done // total} %" if total else str(phase)


def echo(database: DatabaseConfig) -> None:
    """The same on stdout."""
    for line in make_indexes(database):
        click.echo(f"{describe(database)}: {line}")
