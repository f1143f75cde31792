"""The databases a command works on: reach them, and say what is wrong when that fails."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace

import psycopg2
from psycopg2.extensions import connection as Connection

from queuejobs.store import oca, schema
from queuejobs.store.connection import POOLED, connect, is_pooled
from queuemaster import embedded
from queuemaster.cli.output import Failure, Refusal, note
from queuemaster.config import discovery, paths
from queuemaster.config.compiled import DatabaseConfig, ServerPlan, Settings, keep_ids
from queuemaster.config.dsn import describe

EMBEDDED_NAME = "queuemaster"
LEAST_SERVER = 140000


def embedded_database(plan: ServerPlan) -> DatabaseConfig:
    """The one database of the embedded server, made if it is not there yet."""
    embedded.ensure_database(plan, EMBEDDED_NAME)
    return DatabaseConfig(EMBEDDED_NAME, embedded.dsn(plan, EMBEDDED_NAME))


@contextlib.contextmanager
def embedded_server() -> Iterator[DatabaseConfig]:
    """The embedded database, its server running for as long as this takes."""
    data_dir = paths.default_data_dir()
    try:
        with embedded.running(data_dir) as plan:
            yield embedded_database(plan)
    except embedded.EmbeddedError as error:
        raise Refusal(f"embedded PostgreSQL in {data_dir}: {error}") from error


def located(settings: Settings) -> Settings:
    """With the databases that the server has, when none is named beside Odoo. Raises :class:`Refusal`."""
    if settings.discovery is None:
        return settings
    try:
        found = discovery.find(settings.discovery)
    except psycopg2.Error as error:
        asked = describe(DatabaseConfig("postgres", settings.discovery.dsn))
        raise Refusal(
            f"the databases of {settings.odoo} are asked of {asked}, which fails: {server_message(error)}"
        ) from error
    return replace(settings, databases=keep_ids(found, settings.databases))


def with_queue(settings: Settings) -> tuple[DatabaseConfig, ...]:
    """Its databases; of those that nobody named, the ones where a supervisor has led: others have nothing to show."""
    if settings.discovery is None:
        return settings.databases
    served = []
    for database in settings.databases:
        try:
            with opened(database) as connection, connection.cursor() as cursor:
                if oca.is_installed(cursor):
                    served.append(database)
        except Refusal as refusal:
            note(refusal.message)  # nobody named it: that it is away keeps nobody from the others
    if not served:
        names = ", ".join(database.name for database in settings.databases)
        raise Refusal(
            f"queuemaster has led in no database of {settings.odoo} yet (there are: {names or 'none'});"
            " name one with --database, or start it: queuemaster run"
        )
    return tuple(served)


@contextlib.contextmanager
def chosen(settings: Settings) -> Iterator[tuple[DatabaseConfig, ...]]:
    """The databases named, to be looked at; else those of Odoo, or the embedded one if it was ever used."""
    if settings.discovery is not None:
        yield with_queue(located(settings))
        return
    if settings.databases:
        yield settings.databases
        return
    data_dir = paths.default_data_dir()
    if not data_dir.exists():
        raise Refusal(
            f"no database is named (option database), and the embedded PostgreSQL has not been used yet"
            f" ({data_dir} does not exist)\n  name one with --database, or make a queue: queuemaster init"
        )
    with embedded_server() as database:
        upgrade(database)
        yield (database,)


def upgrade(database: DatabaseConfig) -> schema.Change:
    """Bring a queue to this version; the versions before and after. Raises Refusal or Failure with what hinders it."""
    with opened(database) as connection:
        _require_server(database, connection)
        try:
            return schema.upgrade(connection)
        except schema.OcaDatabaseError as error:
            raise Refusal(
                f"database {describe(database)}: {error}\n  beside Odoo nothing is to be made beforehand: start"
                " queuemaster run -c odoo.conf; init --indexes adds the indexes that make a long queue fast"
            ) from error
        except schema.SchemaError as error:
            raise Refusal(f"database {describe(database)}: {error}") from error
        except psycopg2.Error as error:
            raise Failure(f"database {describe(database)}: {server_message(error)}") from error


@contextlib.contextmanager
def opened(database: DatabaseConfig) -> Iterator[Connection]:
    """A connection to ``database``. Raises :class:`Refusal` with what to do when it cannot be reached."""
    try:
        connection = connect(database.dsn, "queuemaster command")
    except psycopg2.OperationalError as error:
        raise Refusal(
            f"database {describe(database)} cannot be reached: {server_message(error)}\n"
            "  is the server up, does the database exist, may this user connect? See option database"
        ) from error
    with contextlib.closing(connection):
        yield connection


def require_queue(database: DatabaseConfig) -> None:
    """Raise :class:`Refusal` unless the database can be reached and has our schema at this version."""
    with opened(database) as connection:
        require_native(database, connection)
        connection.autocommit = True
        if is_pooled(connection, database.dsn):
            raise Refusal(f"database {describe(database)}: {POOLED}")


def require_schema(database: DatabaseConfig, connection: Connection) -> None:
    """Raise :class:`Refusal` unless the server is new enough and has a queue of ours: a native one, or Odoo's."""
    try:
        with connection, connection.cursor() as cursor:
            if oca.is_installed(cursor):
                problem = oca.newer(cursor)
                if problem:
                    raise Refusal(f"database {describe(database)}: {problem}")
                return
    except psycopg2.Error as error:
        raise Refusal(f"database {describe(database)}: {server_message(error)}") from error
    require_native(database, connection)


def require_native(database: DatabaseConfig, connection: Connection) -> None:
    """The same, of a native queue at this version."""
    _require_server(database, connection)
    try:
        schema.require_current(connection)
    except schema.OcaDatabaseError as error:
        raise Refusal(
            f"database {describe(database)}: {error}\n  it is served beside Odoo: queuemaster run -c odoo.conf, without"
            " app; before that has led there once, the other commands find nothing in it"
        ) from error
    except schema.SchemaError as error:
        raise Refusal(
            f"database {describe(database)}: {error}\n"
            f"  to create or upgrade it: queuemaster init --database {argument(database)}"
        ) from error
    except psycopg2.Error as error:
        raise Refusal(f"database {describe(database)}: {server_message(error)}") from error


def _require_server(database: DatabaseConfig, connection: Connection) -> None:
    if connection.server_version < LEAST_SERVER:
        major = connection.server_version // 10000
        raise Refusal(f"database {describe(database)}: it is PostgreSQL {major}; expected 14 or newer")


def argument(database: DatabaseConfig) -> str:
    """What to write after ``--database`` for this one, as far as it may be shown."""
    return database.name if database.dsn == f"dbname={database.name}" else "DSN"


def server_message(error: psycopg2.Error) -> str:
    """The server's or libpq's words, on one line."""
    return (
        "; ".join(line.strip() for line in str(error).splitlines() if line.strip())
        or error.__class__.__name__
    )
