"""The databases that a command works on: connect to them, and explain what is wrong when that fails."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import psycopg2
from psycopg2.extensions import connection as Connection

from queuejobs.store import oca, schema
from queuejobs.store.connection import POOLED, connect, is_pooled
from queuemaster import embedded
from queuemaster.cli.output import Declined, Failure, Refusal, note
from queuemaster.config import discovery, paths
from queuemaster.config.compiled import DatabaseConfig, ServerPlan, Settings, keep_ids
from queuemaster.config.dsn import describe

EMBEDDED_NAME = "queuemaster"
OLDEST_SERVER = 140000  # as libpq counts versions


def embedded_database(plan: ServerPlan) -> DatabaseConfig:
    """The one database of the embedded server, which is created when it does not exist yet."""
    embedded.ensure_database(plan, EMBEDDED_NAME)
    return DatabaseConfig(EMBEDDED_NAME, embedded.dsn(plan, EMBEDDED_NAME))


@contextlib.contextmanager
def embedded_server() -> Iterator[DatabaseConfig]:
    """The embedded database; its server runs until the block ends, or longer if it ran before."""
    data_dir = paths.default_data_dir()
    try:
        with embedded.running(data_dir) as plan:
            yield embedded_database(plan)
    except embedded.EmbeddedError as error:
        raise Refusal(f"embedded PostgreSQL in {data_dir}: {error}") from error


def with_discovered_databases(settings: Settings) -> Settings:
    """The settings with the databases that Odoo's server has, when none is named. Raises :class:`Refusal`."""
    if settings.discovery is None:
        return settings
    try:
        databases = discovery.find(settings.discovery)
    except psycopg2.Error as error:
        server = describe(DatabaseConfig("postgres", settings.discovery.dsn))
        raise Refusal(
            f"the databases of {settings.odoo} are asked of {server}, which fails: {server_message(error)}"
        ) from error
    return replace(settings, databases=keep_ids(databases, settings.databases))


def databases_with_queue(settings: Settings) -> tuple[DatabaseConfig, ...]:
    """The databases that are named; of discovered ones those where a supervisor has led: others have no queue yet."""
    if settings.discovery is None:
        return settings.databases
    with_queue = []
    for database in settings.databases:
        try:
            with opened(database) as connection, connection.cursor() as cursor:
                if oca.is_installed(cursor):
                    with_queue.append(database)
        except Refusal as refusal:
            note(refusal.message)  # nobody named this database: the command goes on with the others
    if not with_queue:
        names = ", ".join(database.name for database in settings.databases)
        raise Refusal(
            f"queuemaster has led in no database of {settings.odoo} yet (there are: {names or 'none'});"
            " name one with --database, or start it: queuemaster run"
        )
    return tuple(with_queue)


@contextlib.contextmanager
def configured_databases(settings: Settings) -> Iterator[tuple[DatabaseConfig, ...]]:
    """The databases that are named; else those of Odoo, or the embedded one if it was ever used."""
    if settings.discovery is not None:
        yield databases_with_queue(with_discovered_databases(settings))
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


def for_each_database(databases: Iterable[DatabaseConfig], work: Callable[[DatabaseConfig], None]) -> None:
    """Do the work in all databases; then raise what was wrong in some. A "no" at the terminal ends it at once."""
    refused: list[str] = []
    failed: list[str] = []
    for database in databases:
        try:
            work(database)
        except Declined:
            raise
        except Refusal as refusal:
            refused.append(refusal.message)
        except Failure as failure:
            failed.append(failure.message)
    if refused:
        raise Refusal("\n".join(refused + failed))
    if failed:
        raise Failure("\n".join(failed))


def upgrade(database: DatabaseConfig) -> schema.Change:
    """Bring a queue to this version; returns the versions before and after. Raises Refusal or Failure."""
    with opened(database) as connection:
        _require_server(database, connection)
        try:
            return schema.upgrade(connection)
        except schema.OcaDatabaseError as error:
            raise Refusal(
                f"database {describe(database)}: {error}\n  beside Odoo there is nothing to create beforehand: start"
                " queuemaster run -c odoo.conf; init --indexes adds the indexes that make a long queue fast"
            ) from error
        except schema.SchemaError as error:
            raise Refusal(f"database {describe(database)}: {error}") from error
        except psycopg2.Error as error:
            raise Failure(f"database {describe(database)}: {server_message(error)}") from error


@contextlib.contextmanager
def opened(database: DatabaseConfig) -> Iterator[Connection]:
    """A connection to ``database``, closed at the end. Raises :class:`Refusal` when it cannot be reached."""
    try:
        connection = connect(database.dsn, "queuemaster command")
    except psycopg2.OperationalError as error:
        raise Refusal(
            f"database {describe(database)} cannot be reached: {server_message(error)}\n"
            "  is the server up, does the database exist, may this user connect? See option database"
        ) from error
    with contextlib.closing(connection):
        yield connection


@contextlib.contextmanager
def queue_session(database: DatabaseConfig) -> Iterator[Connection]:
    """A connection in autocommit mode to a queue. Raises Refusal without one, Failure for an error of the server."""
    with opened(database) as connection:
        require_schema(database, connection)
        connection.autocommit = True
        try:
            yield connection
        except psycopg2.Error as error:
            raise Failure(f"database {describe(database)}: {server_message(error)}") from error


def require_queue(database: DatabaseConfig) -> None:
    """Raise :class:`Refusal` unless the database has a native queue at this version, and sessions of our own."""
    with opened(database) as connection:
        require_native(database, connection)
        connection.autocommit = True
        if is_pooled(connection, database.dsn):
            raise Refusal(f"database {describe(database)}: {POOLED}")


def require_schema(database: DatabaseConfig, connection: Connection) -> None:
    """Raise :class:`Refusal` unless the server is new enough and has a queue: a native one, or ours beside Odoo."""
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
    """Raise :class:`Refusal` unless the server is new enough and has a native queue at this version."""
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
    if connection.server_version < OLDEST_SERVER:
        major = connection.server_version // 10000
        raise Refusal(f"database {describe(database)}: it is PostgreSQL {major}; expected 14 or newer")


def argument(database: DatabaseConfig) -> str:
    """What to write after ``--database`` for this one: its name, or the word DSN, which may hold a password."""
    return database.name if database.dsn == f"dbname={database.name}" else "DSN"


def server_message(error: psycopg2.Error) -> str:
    """The message of the server or of libpq, on one line."""
    return (
        "; ".join(line.strip() for line in str(error).splitlines() if line.strip())
        or error.__class__.__name__
    )
