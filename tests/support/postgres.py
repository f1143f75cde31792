"""Databases for the tests, on the session's server."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from queuejobs.store import schema
from queuemaster import embedded
from queuemaster.config.compiled import ServerPlan

_TEMPLATE = "template_of_the_tests"
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
    embedded.ensure_database(server, _TEMPLATE)
    opened = psycopg2.connect(embedded.dsn(server, _TEMPLATE))
    try:
        schema.upgrade(opened)
    finally:
        opened.close()  # a database in use cannot be cloned
    return _TEMPLATE


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
