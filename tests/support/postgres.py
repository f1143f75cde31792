"""Databases for the tests, on the server of the session."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
from collections.abc import Iterator
from pathlib import Path

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection

import queuejobs.store
from queuejobs.store import schema
from queuemaster import embedded
from queuemaster.config.compiled import ServerPlan

_STORE = Path(queuejobs.store.__file__ or "").parent
_numbers = itertools.count(1)


@contextlib.contextmanager
def connected(dsn: str) -> Iterator[Connection]:
    """A connection in autocommit mode, closed afterwards."""
    opened = psycopg2.connect(dsn)
    opened.autocommit = True
    try:
        yield opened
    finally:
        opened.close()


def make_template(server: ServerPlan) -> str:
    """A database with our schema, to be cloned: faster than to create the schema for each test."""
    name = _template_name()
    embedded.ensure_database(server, name)
    opened = psycopg2.connect(embedded.dsn(server, name))
    try:
        schema.upgrade(opened)
    finally:
        opened.close()  # a database in use cannot be cloned
    return name


@contextlib.contextmanager
def new_database(server: ServerPlan, template: str = "template1") -> Iterator[str]:
    """The DSN of a new database, dropped afterwards whoever is still connected."""
    name = f"test_{next(_numbers)}"
    with connected(embedded.dsn(server, "postgres")) as admin, admin.cursor() as cursor:
        # by copying files: the default writes every page to the log
        strategy = " strategy file_copy" if admin.server_version >= 150_000 else ""
        statement = "create database {} template {}" + strategy
        cursor.execute(sql.SQL(statement).format(sql.Identifier(name), sql.Identifier(template)))
        try:
            yield embedded.dsn(server, name)
        finally:
            cursor.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


def bound_the_log(server: ServerPlan) -> None:
    """Keep the write-ahead log small, which lies in memory: left alone it grows to a gigabyte."""
    with connected(embedded.dsn(server, "postgres")) as admin, admin.cursor() as cursor:
        cursor.execute("alter system set max_wal_size = '256MB'")
        cursor.execute("select pg_reload_conf()")


def remove_leftovers(server: ServerPlan) -> None:
    """Drop the databases and roles that killed tests left behind, and templates with another schema."""
    kept = ("postgres", "template0", "template1", _template_name())
    with connected(embedded.dsn(server, "postgres")) as admin, admin.cursor() as cursor:
        cursor.execute("select datname from pg_database where datname <> all(%s)", (list(kept),))
        for (name,) in cursor.fetchall():
            cursor.execute(sql.SQL("alter database {} is_template false").format(sql.Identifier(name)))
            cursor.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))
        cursor.execute("select rolname from pg_roles where rolname <> 'postgres' and rolname !~ '^pg_'")
        for (name,) in cursor.fetchall():
            cursor.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))


def _template_name() -> str:
    """It depends on everything that the schema is made of: a server that is kept never gives an older schema."""
    files = sorted(path for path in _STORE.rglob("*") if path.suffix in (".py", ".sql"))
    return f"template_{hashlib.sha256(b''.join(path.read_bytes() for path in files)).hexdigest()[:12]}"
