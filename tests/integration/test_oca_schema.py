"""Our schema beside the addon's table: created once, upgraded with its rows kept, never by an older program."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
from click.testing import CliRunner
from psycopg2.extensions import connection as Connection

from queuejobs.store import oca, schema_text
from queuejobs.store.schema import SchemaError
from queuemaster.cli import main
from queuemaster.config.compiled import ServerPlan
from support.besideodoo import beside_odoo
from support.catalogue import catalogue
from support.ocaqueue import VERSIONS, OcaSession, new_oca_database
from support.postgres import connected
from support.supervised import PATIENCE
from support.waiting import wait_until

RELEASES = sorted(Path(__file__).parents[1].glob("data/schema-odoo-*.sql"))


@pytest.fixture
def database(server: ServerPlan, request: pytest.FixtureRequest) -> Iterator[str]:
    """A database of the version in the test's parameter, else of the newest."""
    with new_oca_database(server, getattr(request, "param", VERSIONS[-1])) as dsn:
        yield dsn


@pytest.fixture
def odoo(database: str) -> Iterator[OcaSession]:
    opened = OcaSession(database)
    yield opened
    opened.close()


@pytest.fixture
def service(database: str) -> Iterator[Connection]:
    """The connection of a service."""
    with connected(database) as connection:
        connection.autocommit = False
        yield connection


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of the SQL files, a copy that can be changed."""
    copy = tmp_path / "schema"
    shutil.copytree(schema_text.DIRECTORY, copy)
    monkeypatch.setattr(schema_text, "DIRECTORY", copy)
    return copy


def fill(session: OcaSession) -> list[object]:
    """Insert a row into each of our tables; return all rows."""
    session.rows("insert into queuemaster.run (job_id, attempt, deaths) values (7, 3, 2)")
    session.rows("select queuemaster.register_worker('here', 'boot', 1, 2, 'root')")
    session.rows("insert into queuemaster.control values ('root', 4, null, false)")
    session.rows("select queuemaster.lead('here')")
    return kept_rows(session)


def kept_rows(session: OcaSession) -> list[object]:
    return [
        session.rows("select job_id, attempt, deaths, worker_id from queuemaster.run"),
        session.rows("select id, host, boot_id, pid, channel from queuemaster.worker"),
        session.rows("select channel, capacity, rate, paused from queuemaster.control"),
        session.rows("select epoch, host from queuemaster.leader"),
    ]


@pytest.mark.parametrize("database", VERSIONS, indirect=True)
def test_twice_in_a_row_does_nothing(odoo: OcaSession, service: Connection) -> None:
    before = catalogue(odoo.cursor)
    row = odoo.rows("select xmin::text, version, checksum from queuemaster.beside_odoo")
    assert [version for _, version, _ in row] == [oca.VERSION]
    assert not oca.install(service)
    assert odoo.rows("select xmin::text, version, checksum from queuemaster.beside_odoo") == row
    assert catalogue(odoo.cursor) == before


@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.stem)
def test_the_schema_of_a_release_becomes_todays_and_keeps_its_rows(
    server: ServerPlan, odoo: OcaSession, release: Path
) -> None:
    """A changed schema needs a new version, or an older program would undo the change."""
    todays = catalogue(odoo.cursor)
    with new_oca_database(server, VERSIONS[-1], install=False) as dsn, connected(dsn) as connection:
        session = OcaSession(dsn)
        session.rows(release.read_text())
        session.rows("reset all")
        released = session.value("select version from queuemaster.beside_odoo")
        changed = catalogue(session.cursor) != todays
        assert released < oca.VERSION or not changed, "raise oca.VERSION"
        rows = fill(session)
        connection.autocommit = False
        oca.install(connection)
        assert catalogue(session.cursor) == todays
        assert kept_rows(session) == rows
        assert not oca.install(connection)
        session.close()


def test_the_first_release_has_a_dump() -> None:
    assert "schema-odoo-0.1.0" in [path.stem for path in RELEASES]


def test_an_older_version_is_upgraded_and_keeps_its_rows(
    odoo: OcaSession, service: Connection, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = fill(odoo)
    runs = files / "odoo" / "runs.sql"
    runs.write_text(f"{runs.read_text()}alter table run add column if not exists more text default 'x';\n")
    finish = files / "odoo" / "finish.sql"
    finish.write_text(
        f"{finish.read_text()}create function later() returns integer language sql as $$ select 1 $$;\n"
    )
    monkeypatch.setattr(oca, "VERSION", oca.VERSION + 1)
    assert oca.install(service)
    assert kept_rows(odoo) == rows
    assert odoo.value("select more from queuemaster.run") == "x"
    assert odoo.value("select queuemaster.later()") == 1
    assert odoo.value("select version from queuemaster.beside_odoo") == oca.VERSION
    assert not oca.install(service)


def test_one_that_was_made_before_it_had_a_version(odoo: OcaSession, service: Connection) -> None:
    """Move the schema back to a version before the first release."""
    rows, todays = fill(odoo), catalogue(odoo.cursor)
    odoo.rows("alter table queuemaster.beside_odoo drop column version")
    odoo.rows("update queuemaster.beside_odoo set checksum = 'older'")
    assert oca.newer(odoo.cursor) == ""
    assert oca.install(service)
    assert kept_rows(odoo) == rows
    assert catalogue(odoo.cursor) == todays
    assert odoo.value("select version from queuemaster.beside_odoo") == oca.VERSION


def test_a_newer_one_is_left_alone(odoo: OcaSession, service: Connection, database: str) -> None:
    rows = fill(odoo)
    odoo.rows("create function queuemaster.later() returns integer language sql as $$ select 1 $$")
    odoo.rows("update queuemaster.beside_odoo set version = %s, checksum = 'newer'", oca.VERSION + 1)
    before = catalogue(odoo.cursor)
    with pytest.raises(SchemaError, match=rf"\(version {oca.VERSION + 1}\) is newer than this program"):
        oca.install(service)
    assert catalogue(odoo.cursor) == before
    assert kept_rows(odoo) == rows
    refused = CliRunner().invoke(main, ["jobs", "list", "--database", database])
    assert refused.exit_code == 2
    assert "is newer than this program" in refused.stderr
    assert "upgrade queuemaster" in refused.stderr


def test_a_service_does_not_serve_a_newer_one(odoo: OcaSession, database: str, tmp_path: Path) -> None:
    odoo.rows("update queuemaster.beside_odoo set version = %s, checksum = 'newer'", oca.VERSION + 1)
    job, before = odoo.add(), catalogue(odoo.cursor)
    with beside_odoo(database, tmp_path) as running:
        wait_until(lambda: "is newer than this program" in running.log, PATIENCE, lambda: running.log)
        assert "database is not served" in running.log
        # the refused service keeps no lock, so another dispatcher may lead
        count_locks = "select count(*) from pg_locks where locktype = 'advisory'"
        wait_until(lambda: odoo.value(count_locks) == 0, PATIENCE)
    assert odoo.state(job) == "pending"
    assert catalogue(odoo.cursor) == before


def test_views_that_odoo_dropped_come_back(odoo: OcaSession, service: Connection) -> None:
    """Odoo drops the views on a column when it changes the column's type."""
    before = catalogue(odoo.cursor)
    for view in ("queue_job", "queue_job_edge"):
        odoo.rows(f"drop view queuemaster.{view} cascade")
        assert oca.install(service)
        assert catalogue(odoo.cursor) == before
    assert not oca.install(service)


def test_another_table_of_the_addon_changes_the_functions(odoo: OcaSession, service: Connection) -> None:
    """An upgrade of Odoo may bring the table of locks, or take it away."""
    before = catalogue(odoo.cursor)
    odoo.rows("alter table public.queue_job_lock rename to queue_job_lock_old")
    assert oca.install(service)
    changed = before ^ catalogue(odoo.cursor)
    names = {name for name in ("claim", "begin_run", "sweep") for line in changed if f".{name}(" in line[:60]}
    assert (len(changed), names) == (6, {"claim", "begin_run", "sweep"})
    odoo.rows("alter table public.queue_job_lock_old rename to queue_job_lock")
    assert oca.install(service)
    assert catalogue(odoo.cursor) == before


def test_what_somebody_made_on_top_of_ours_is_not_dropped(odoo: OcaSession, service: Connection) -> None:
    odoo.rows("create view public.now_utc as select queuemaster.utc_now() as now")
    odoo.rows("update queuemaster.beside_odoo set checksum = 'older'")
    before = catalogue(odoo.cursor)
    with pytest.raises(psycopg2.errors.DependentObjectsStillExist, match="now_utc"):
        oca.install(service)
    assert catalogue(odoo.cursor) == before
    assert odoo.value("select count(*) from public.now_utc") == 1
