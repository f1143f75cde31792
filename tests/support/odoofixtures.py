"""Fixtures: databases of Odoo with the addon's tables, and what is used with them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg2.extensions import parse_dsn

from queuemaster.config.compiled import ServerPlan
from support.ocaqueue import VERSIONS, OcaSession, new_oca_database


@pytest.fixture
def oca_database(server: ServerPlan, request: pytest.FixtureRequest) -> Iterator[str]:
    """The DSN of a database with our schema, of the addon's version in the test's parameter, else of the newest."""
    with new_oca_database(server, getattr(request, "param", VERSIONS[-1])) as dsn:
        yield dsn


@pytest.fixture
def untouched_database(server: ServerPlan) -> Iterator[str]:
    """The DSN of a database in which no supervisor has led."""
    with new_oca_database(server, VERSIONS[-1], install=False) as dsn:
        yield dsn


@pytest.fixture
def odoo(oca_database: str) -> Iterator[OcaSession]:
    """A session that stores and changes jobs as Odoo does."""
    opened = OcaSession(oca_database)
    yield opened
    opened.close()


@pytest.fixture
def odoo_conf(oca_database: str, tmp_path: Path) -> Path:
    """The path of an odoo.conf for this database."""
    where = parse_dsn(oca_database)
    path = tmp_path / "odoo.conf"
    path.write_text(
        f"[options]\ndb_host = {where['host']}\ndb_port = {where['port']}\ndb_user = {where['user']}\n"
        f"db_name = {where['dbname']}\n[queue_job]\nchannels = root:2\npython = {sys.executable}\n"
    )
    return path
