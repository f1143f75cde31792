"""``queuemaster uninstall``: remove everything of ours from a database."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from queuejobs.store import oca
from queuemaster.cli.databases import for_each_database, opened, server_message, with_discovered_databases
from queuemaster.cli.flags import compiled, configured, databases_option
from queuemaster.cli.odoo.facts import invalid_indexes
from queuemaster.cli.output import Refusal, confirmation, note, warn
from queuemaster.cli.statements import (
    COUNT_JOBS,
    DROP_INDEX,
    DROP_NATIVE_QUEUE,
    HAS_SCHEMA,
    SUPERVISOR_AT_WORK,
    UNFINISHED_RUNS,
)
from queuemaster.config.compiled import DatabaseConfig
from queuemaster.config.dsn import describe


@click.command()
@databases_option
@configured
@click.option("--yes", is_flag=True, help="Do not ask; and remove a native queue too, with all its jobs.")
def uninstall(file: Path | None, assignments: tuple[str, ...], database: tuple[str, ...], yes: bool) -> None:
    """Remove our schema and our indexes from Odoo's databases; with --yes, also a native queue with its jobs.

    Nothing of Odoo's is touched: its jobs stay as they are, and its own runner goes on with them. Stop the supervisor
    first.
    """
    configuration = compiled(file, assignments, {"database": database})
    warn(configuration.warnings)
    settings = with_discovered_databases(configuration.settings)
    if not settings.databases:
        raise Refusal("no database is named (option database): expected those to remove the queue from")
    # first look at all of them: either all are uninstalled or none
    for_each_database(settings.databases, require_no_supervisor)
    ask = confirmation(yes)
    for_each_database(
        settings.databases, lambda database: click.echo(f"{describe(database)}: {remove(database, ask, yes)}")
    )


def require_no_supervisor(database: DatabaseConfig) -> None:
    """Raise :class:`Refusal` when a supervisor works in the database."""
    with opened(database) as connection, connection, connection.cursor() as cursor:
        if _value(cursor, HAS_SCHEMA) and _value(cursor, SUPERVISOR_AT_WORK):
            raise Refusal(
                f"database {describe(database)}: a supervisor is at work there: queuemaster stop, then again"
            )


def remove(database: DatabaseConfig, ask: Callable[[str], None], native: bool) -> str:
    """Remove our schema; returns what was done, in words. ``native``: a native queue too. Raises Refusal, Declined."""
    with opened(database) as connection:
        try:
            return _remove(database, connection, ask, native)
        except psycopg2.Error as error:
            raise Refusal(f"database {describe(database)}: {server_message(error)}") from error


def _remove(
    database: DatabaseConfig, connection: Connection, ask: Callable[[str], None], native: bool
) -> str:
    with connection, connection.cursor() as cursor:
        beside_odoo = oca.is_installed(cursor)
        has_schema = bool(_value(cursor, HAS_SCHEMA))
        jobs = _value(cursor, COUNT_JOBS) if has_schema and not beside_odoo else 0
    if has_schema and not beside_odoo:
        if not native:
            raise Refusal(
                f"database {describe(database)}: it is a native queue, with {jobs} jobs that would be lost;"
                " expected --yes if they are to go"
            )
        with connection, connection.cursor() as cursor:
            cursor.execute(DROP_NATIVE_QUEUE)
        return f"the native queue is gone, with {jobs} jobs"
    if has_schema:
        ask(f"remove the schema queuemaster and our indexes from {describe(database)}?")
        _note_unfinished_runs(database, connection)
    removed = oca.uninstall(connection)
    with connection, connection.cursor() as cursor:
        invalid = invalid_indexes(cursor)
        for name in invalid:
            cursor.execute(sql.SQL(DROP_INDEX).format(name=sql.Identifier(name)))
    return "our schema and indexes are gone" if removed or invalid else "nothing of ours is there"


def _note_unfinished_runs(database: DatabaseConfig, connection: Connection) -> None:
    with connection, connection.cursor() as cursor:
        cursor.execute(UNFINISHED_RUNS)
        running, doomed = cursor.fetchone() or (0, 0)
    if running:
        note(
            f"{describe(database)}: {running} jobs stay in the state in which their workers died. The stock runner puts"
            " them back (16 and newer); for 14 and 15 requeue them in Odoo, or start and stop queuemaster once first"
        )
    if doomed:
        note(f"{describe(database)}: {doomed} jobs that were to fail for killing workers are pending again")


def _value(cursor: Any, statement: str) -> int:
    cursor.execute(statement)
    value: int = cursor.fetchone()[0]
    return value
