"""The schema's upgrades: all or nothing, once each, one at a time, and never onto what is not ours."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from queuejobs.store import schema
from queuejobs.store.schema import OcaDatabaseError, SchemaError
from support.rows import Session, in_background
from support.waiting import wait_until

LATEST = [step.version for step in schema.steps()]


@pytest.fixture
def session(empty_database: str) -> Iterator[Session]:
    opened = Session(empty_database)
    yield opened
    opened.close()


@pytest.fixture
def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of the SQL files, a copy that can be changed."""
    copy = tmp_path / "schema"
    shutil.copytree(schema.DIRECTORY, copy)
    monkeypatch.setattr(schema, "DIRECTORY", copy)
    return copy


def exists(session: Session) -> bool:
    return bool(session.value("select to_regnamespace('queuemaster') is not null"))


def test_the_second_upgrade_has_nothing_to_do(session: Session) -> None:
    assert schema.upgrade(session.connection) == LATEST
    job = session.add()
    assert schema.upgrade(session.connection) == []
    assert session.state(job) == "pending"


def test_a_new_step_is_applied_alone_and_jobs_stay(session: Session, steps: Path) -> None:
    schema.upgrade(session.connection)
    job = session.add()
    (steps / "9000_more.sql").write_text("alter table queue_job add column more text default 'x'")
    with pytest.raises(SchemaError, match="older than this program"):
        schema.require_current(session.connection)
    assert schema.upgrade(session.connection) == [9000]
    assert session.job(job)["more"] == "x"
    schema.require_current(session.connection)


def test_a_step_that_fails_leaves_nothing(session: Session, steps: Path) -> None:
    (steps / "9000_broken.sql").write_text("create table something (id integer); select 1 / 0")
    with pytest.raises(psycopg2.errors.DivisionByZero):
        schema.upgrade(session.connection)
    assert not exists(session)
    (steps / "9000_broken.sql").unlink()
    assert schema.upgrade(session.connection) == LATEST


def test_an_upgrader_that_is_killed_leaves_nothing(
    session: Session, empty_database: str, steps: Path
) -> None:
    (steps / "9000_slow.sql").write_text("select pg_sleep(60)")
    victim = Session(empty_database)
    with in_background(lambda: schema.upgrade(victim.connection)) as answer:
        sleeping = "select exists (select from pg_stat_activity where pid = %s and wait_event = 'PgSleep')"
        wait_until(
            lambda: bool(session.value(sleeping, victim.pid)), 20, "the upgrade to be in its last step"
        )
        session.value("select pg_terminate_backend(%s)", victim.pid)
    assert isinstance(answer[0], psycopg2.Error)
    assert not exists(session)


def test_two_upgraders_at_once(session: Session, empty_database: str, steps: Path) -> None:
    (steps / "9000_slow.sql").write_text("select pg_sleep(0.3)")
    other, third = Session(empty_database), Session(empty_database)
    with (
        in_background(lambda: schema.upgrade(session.connection)) as one,
        in_background(lambda: schema.upgrade(other.connection)) as two,
        in_background(lambda: schema.upgrade(third.connection)) as three,
    ):
        pass
    assert sorted([one[0], two[0], three[0]]) == [[], [], [*LATEST, 9000]]
    for opened in (other, third):
        opened.close()


def test_a_step_that_changed_after_it_was_applied(session: Session, steps: Path) -> None:
    schema.upgrade(session.connection)
    changed = sorted(steps.glob("*.sql"))[0]
    changed.write_text(changed.read_text() + "-- a word more\n")
    for check in (schema.upgrade, schema.require_current):
        with pytest.raises(SchemaError, match=f"step {changed.stem} was applied with other contents"):
            check(session.connection)


def test_a_schema_of_a_later_version(session: Session) -> None:
    schema.upgrade(session.connection)
    session.rows("insert into queuemaster.schema_version values (9001, '9001_later', 'abc')")
    for check in (schema.upgrade, schema.require_current):
        with pytest.raises(SchemaError, match=r"version 9001\) is newer than this program: upgrade"):
            check(session.connection)


def test_a_database_of_the_addon_is_refused_and_left_as_it_is(session: Session) -> None:
    session.rows("create table queue_job (id serial, uuid text, job_function_id integer)")
    for check in (schema.upgrade, schema.require_current):
        with pytest.raises(
            OcaDatabaseError, match=r"public\.queue_job of Odoo's addon.*name another database"
        ):
            check(session.connection)
    assert not exists(session)


def test_somebody_elses_table_of_that_name_does_not_matter(session: Session) -> None:
    session.rows("create table queue_job (id serial, what text)")
    assert schema.upgrade(session.connection) == LATEST
    schema.require_current(session.connection)


def test_what_is_required_is_there(session: Session) -> None:
    with pytest.raises(SchemaError, match="no queue yet"):
        schema.require_current(session.connection)
    assert not exists(session), "looking changes nothing"
    schema.upgrade(session.connection)
    schema.require_current(session.connection)
