"""``queuemaster uninstall``: leave a database as if we had never been there."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import click
import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from queuejobs.store import locks, oca
from queuemaster.cli.databases import located, opened, server_message
from queuemaster.cli.flags import compiled, configured, databases_option
from queuemaster.cli.odoo.facts import broken
from queuemaster.cli.output import Failure, Refusal, note, warn
from queuemaster.config.compiled import DatabaseConfig
from queuemaster.config.dsn import describe

# Who leads, beside Odoo by the stock runner's own key, or works: their sessions hold these locks.
_AT_WORK = f"""
select exists (
    select from pg_locks lock
     where locktype = 'advisory' and granted
       and database = (select oid from pg_database where datname = current_database())
       and (objsubid = 2 and classid in ({locks.LEADER}, {locks.WORKER})
            or objsubid = 1 and pid in (select session_pid from queuemaster.leader)))
"""
_THERE = "select to_regclass('queuemaster.leader') is not null"
_JOBS = "select count(*) from queuemaster.queue_job"
_LEFT = """
select count(*) filter (where worker_id is not null), count(*) filter (where doom_name is not null)
  from queuemaster.run
"""


@click.command()
@databases_option
@configured
@click.option("--yes", is_flag=True, help="Do not ask; and remove a native queue too, with all its jobs.")
def uninstall(file: Path | None, assignments: tuple[str, ...], database: tuple[str, ...], yes: bool) -> None:
    """Remove our schema and our indexes from Odoo's databases; with --yes, also a native queue with its jobs.

    Nothing of Odoo's is touched: its jobs stay as they are, and its own runner goes on with them. The supervisor must
    have been stopped.
    """
    configuration = compiled(file, assignments, {"database": database})
    warn(configuration.warnings)
    settings = located(configuration.settings)
    if not settings.databases:
        raise Refusal("no database is named (option database): expected those to remove the queue from")
    # in none of them, if in one somebody is at work: it is not half uninstalled
    _each(settings.databases, require_nobody)
    _each(settings.databases, lambda each: click.echo(f"{describe(each)}: {remove(each, _asking(yes), yes)}"))


def _each(databases: Iterable[DatabaseConfig], work: Callable[[DatabaseConfig], None]) -> None:
    """All of them, whatever is wrong with one; then what was wrong."""
    refused: list[str] = []
    for each in databases:
        try:
            work(each)
        except Refusal as refusal:
            refused.append(refusal.message)
    if refused:
        raise Refusal("\n".join(refused))


def require_nobody(database: DatabaseConfig) -> None:
    """Raise :class:`Refusal` when a supervisor is at work in it."""
    with opened(database) as connection, connection, connection.cursor() as cursor:
        if _one(cursor, _THERE) and _one(cursor, _AT_WORK):
            raise Refusal(
                f"database {describe(database)}: a supervisor is at work there: queuemaster stop, then again"
            )


def _asking(yes: bool) -> Callable[[str], None]:
    def ask(question: str) -> None:
        if not yes and sys.stdin.isatty() and not click.confirm(question, err=True):
            raise Failure("nothing was changed")

    return ask


def remove(database: DatabaseConfig, ask: Callable[[str], None], native: bool) -> str:
    """What was done, in words. ``native``: a native queue may go too. Raises Refusal."""
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
        there = bool(_one(cursor, _THERE))
        jobs = _one(cursor, _JOBS) if there and not beside_odoo else 0
    if there and not beside_odoo:
        if not native:
            raise Refusal(
                f"database {describe(database)}: it is a native queue, with {jobs} jobs that would be lost;"
                " expected --yes if they are to go"
            )
        with connection, connection.cursor() as cursor:
            cursor.execute("drop schema queuemaster cascade")
        return f"the native queue is gone, with {jobs} jobs"
    if there:
        ask(f"remove the schema queuemaster and our indexes from {describe(database)}?")
        _tell_what_is_left(database, connection)
    removed = oca.uninstall(connection)
    with connection, connection.cursor() as cursor:
        left = broken(cursor)
        for name in left:
            cursor.execute(sql.SQL("drop index public.{}").format(sql.Identifier(name)))
    return "our schema and indexes are gone" if removed or left else "nothing of ours is there"


def _tell_what_is_left(database: DatabaseConfig, connection: Connection) -> None:
    with connection, connection.cursor() as cursor:
        cursor.execute(_LEFT)
        running, doomed = cursor.fetchone() or (0, 0)
    if running:
        note(
            f"{describe(database)}: {running} jobs stay as workers that died have left them. The stock runner puts them"
            " back (16 and newer); for 14 and 15 requeue them in Odoo, or start and stop queuemaster once first"
        )
    if doomed:
        note(f"{describe(database)}: {doomed} jobs that were to fail, for killing workers, are pending again")


def _one(cursor: object, statement: str) -> int:
    cursor.execute(statement)  # type: ignore[attr-defined]
    value: int = cursor.fetchone()[0]  # type: ignore[attr-defined]
    return value
