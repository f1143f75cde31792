"""The schema is created and upgraded in one transaction, once, one process at a time, and never over foreign tables."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from queuejobs.shared.job_state import JobState
from queuejobs.store import schema, schema_text
from queuejobs.store.schema import FIRST, Change, OcaDatabaseError, SchemaError
from support.catalogue import catalogue
from support.rows import Session, in_background
from support.waiting import wait_until

CREATED = Change(None, schema.version())
NEXT = schema.version() + 1
RELEASES = sorted(path for path in Path(__file__).parents[1].glob("data/schema-[0-9]*.sql"))


@pytest.fixture
def session(empty_database: str) -> Iterator[Session]:
    opened = Session(empty_database)
    yield opened
    opened.close()


@pytest.fixture
def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of the upgrades, a copy that can be changed."""
    copy = tmp_path / "upgrades"
    if schema.UPGRADES.exists():  # from the second release on
        shutil.copytree(schema.UPGRADES, copy)
    copy.mkdir(exist_ok=True)
    monkeypatch.setattr(schema, "UPGRADES", copy)
    return copy


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of the schema as it is, a copy that can be changed."""
    copy = tmp_path / "schema"
    shutil.copytree(schema_text.DIRECTORY, copy)
    monkeypatch.setattr(schema_text, "DIRECTORY", copy)
    return copy


def write_step(steps: Path, sql: str, version: int = NEXT) -> Path:
    path = steps / f"{version:04}_more.sql"
    path.write_text(sql)
    return path


def exists(session: Session) -> bool:
    return bool(session.value("select to_regnamespace('queuemaster') is not null"))


# the text


def test_every_file_is_read_and_what_is_shared_by_both() -> None:
    existing = {
        str(path.relative_to(schema_text.DIRECTORY).with_suffix(""))
        for path in schema_text.DIRECTORY.rglob("*.sql")
    }
    native, odoo = set(schema_text.NATIVE), set(schema_text.ODOO)
    assert len(native) == len(schema_text.NATIVE)
    assert len(odoo) == len(schema_text.ODOO)
    assert native | odoo == existing
    assert native & odoo == {name for name in existing if name.startswith("shared/")}


def test_only_what_a_text_does_counts_in_its_checksum() -> None:
    """No string in our SQL may contain ``--``, or a change after it would go unnoticed as a comment."""
    assert schema_text.checksum("select  1 -- one\n") == schema_text.checksum("-- a word\nselect\n1")
    assert schema_text.checksum("select 1") != schema_text.checksum("select 2")
    for path in schema_text.DIRECTORY.rglob("*.sql"):
        for line in path.read_text().splitlines():
            assert line.partition("--")[0].count("'") % 2 == 0, f"{path.name}: {line}"


# creation and upgrades


def test_the_second_upgrade_has_nothing_to_do(session: Session) -> None:
    assert schema.upgrade(session.connection) == CREATED
    job = session.add()
    assert schema.upgrade(session.connection) == Change(schema.version(), schema.version())
    assert session.state(job) == "pending"


def test_a_row_says_which_version_stands_there(session: Session) -> None:
    schema.upgrade(session.connection)
    rows = session.rows("select version, name, checksum from queuemaster.schema_version")
    assert rows == [(schema.version(), "schema", schema.creation().checksum)]


def test_the_states_of_a_job_are_those_that_the_table_allows(session: Session) -> None:
    schema.upgrade(session.connection)
    allowed = session.value(
        "select pg_get_constraintdef(oid) from pg_constraint where conname = 'queue_job_state_check'"
    )
    assert set(re.findall(r"'(\w+)'::text", allowed)) == {state.value for state in JobState}


@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.stem)
def test_the_schema_of_a_release_becomes_todays(
    session: Session, server: object, template: str, release: Path
) -> None:
    """``make schema-dump`` writes the dump of a release before it is released."""
    session.rows(release.read_text())
    session.rows("reset all")
    assert catalogue(session.cursor), "the dump contains a schema"
    job = session.add()
    released = session.value("select max(version) from queuemaster.schema_version")
    assert schema.upgrade(session.connection) == Change(released, schema.version())
    todays = Session(session.connection.dsn.replace(session.connection.info.dbname, template))
    before, after = catalogue(session.cursor), catalogue(todays.cursor)
    todays.close()
    assert before == after
    assert session.state(job) == "pending"


def test_the_first_release_has_a_dump() -> None:
    assert "schema-0.1.0" in [path.stem for path in RELEASES]


def test_a_new_step_is_applied_alone_and_jobs_stay(session: Session, steps: Path) -> None:
    schema.upgrade(session.connection)
    job = session.add()
    write_step(steps, "alter table queue_job add column more text default 'x'")
    with pytest.raises(SchemaError, match=rf"older than this program \(version {NEXT - 1}, expected"):
        schema.require_current(session.connection)
    assert schema.upgrade(session.connection) == Change(NEXT - 1, NEXT)
    assert session.job(job)["more"] == "x"
    schema.require_current(session.connection)
    assert session.rows("select version, name from queuemaster.schema_version order by 1") == [
        (NEXT - 1, "schema"),
        (NEXT, f"{NEXT:04}_more"),
    ]


def test_several_steps_are_applied_in_order(session: Session, steps: Path) -> None:
    schema.upgrade(session.connection)
    write_step(steps, "alter table more add column b integer", NEXT + 1)
    write_step(steps, "create table more (a integer)")
    assert schema.upgrade(session.connection) == Change(NEXT - 1, NEXT + 1)
    assert session.rows("select a, b from queuemaster.more") == []


def test_a_new_database_gets_the_schema_as_it_is_and_no_steps(session: Session, steps: Path) -> None:
    write_step(steps, "select 1 / 0")
    assert schema.upgrade(session.connection) == Change(None, NEXT)
    schema.require_current(session.connection)
    assert schema.upgrade(session.connection) == Change(NEXT, NEXT)


def test_a_step_that_is_missing_is_not_leapt_over(session: Session, steps: Path) -> None:
    schema.upgrade(session.connection)
    write_step(steps, "create table more (a integer)", NEXT + 1)
    with pytest.raises(SchemaError, match="too old for this program"):
        schema.upgrade(session.connection)


def test_a_step_that_fails_leaves_nothing(session: Session, steps: Path, files: Path) -> None:
    last_file = files / f"{schema_text.NATIVE[-1]}.sql"
    good = last_file.read_text()
    last_file.write_text(f"{good}create table something (id integer); select 1 / 0")
    with pytest.raises(psycopg2.errors.DivisionByZero):
        schema.upgrade(session.connection)
    assert not exists(session)
    last_file.write_text(good)
    assert schema.upgrade(session.connection) == CREATED
    before = catalogue(session.cursor)
    broken = write_step(steps, "create table something (id integer); select 1 / 0")
    with pytest.raises(psycopg2.errors.DivisionByZero):
        schema.upgrade(session.connection)
    assert catalogue(session.cursor) == before
    broken.unlink()
    schema.require_current(session.connection)


def test_an_upgrader_that_is_killed_leaves_nothing(
    session: Session, empty_database: str, files: Path
) -> None:
    last_file = files / f"{schema_text.NATIVE[-1]}.sql"
    last_file.write_text(f"{last_file.read_text()}select pg_sleep(60)")
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
    schema.upgrade(session.connection)
    write_step(steps, "select pg_sleep(0.3)")
    other, third = Session(empty_database), Session(empty_database)
    with (
        in_background(lambda: schema.upgrade(session.connection)) as first_answer,
        in_background(lambda: schema.upgrade(other.connection)) as second_answer,
        in_background(lambda: schema.upgrade(third.connection)) as third_answer,
    ):
        pass
    changes = [first_answer[0], second_answer[0], third_answer[0]]
    assert sorted(changes) == [Change(NEXT - 1, NEXT), Change(NEXT, NEXT), Change(NEXT, NEXT)]
    for opened in (other, third):
        opened.close()


# what is refused


def test_a_step_that_changed_after_it_was_applied(session: Session, steps: Path, files: Path) -> None:
    schema.upgrade(session.connection)
    changed = files / f"{schema_text.NATIVE[0]}.sql"
    good = changed.read_text()
    changed.write_text(f"{good}-- a word more\n")
    schema.require_current(session.connection)
    changed.write_text(f"{good}alter table queue_job add column more text;\n")
    refused(session, r"step schema \(version \d+\) was applied with other contents")
    changed.write_text(good)
    step = write_step(steps, "select 1")
    schema.upgrade(session.connection)
    step.write_text("select 2")
    refused(session, f"step {step.stem} .*was applied with other contents")


def refused(session: Session, why: str) -> None:
    before = catalogue(session.cursor)
    for check in (schema.upgrade, schema.require_current):
        with pytest.raises(SchemaError, match=why):
            check(session.connection)
    assert catalogue(session.cursor) == before


def test_a_schema_of_a_later_version(session: Session) -> None:
    schema.upgrade(session.connection)
    session.rows("insert into queuemaster.schema_version values (9001, '9001_later', 'abc')")
    refused(session, r"version 9001\) is newer than this program: upgrade")


def test_a_database_of_a_later_program_is_refused(session: Session) -> None:
    """A schema that was created at a version that this program does not know."""
    schema.upgrade(session.connection)
    session.rows("update queuemaster.schema_version set version = 9001, checksum = 'abc'")
    refused(session, r"version 9001\) is newer than this program: upgrade")


def test_a_schema_that_was_made_before_the_first_release(session: Session) -> None:
    """A schema from before the first release, with twelve upgrade steps that no release has had."""
    schema.upgrade(session.connection)
    session.rows("delete from queuemaster.schema_version")
    session.rows(
        "insert into queuemaster.schema_version values (1, '0001_queue', 'abc'), (12, '0012_one_trigger', 'def')"
    )
    job = session.add()
    refused(session, "in development, before 0.1.0, .*drop schema queuemaster cascade.*queuemaster init")
    assert session.state(job) == "pending"


def test_a_version_from_which_no_step_leads(session: Session) -> None:
    schema.upgrade(session.connection)
    session.rows("update queuemaster.schema_version set version = %s", FIRST - 1)
    with pytest.raises(SchemaError, match="older than this program"):
        schema.require_current(session.connection)
    with pytest.raises(SchemaError, match="too old for this program"):
        schema.upgrade(session.connection)


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
    assert schema.upgrade(session.connection) == CREATED
    schema.require_current(session.connection)


def test_what_is_required_is_there(session: Session) -> None:
    with pytest.raises(SchemaError, match="no queue yet"):
        schema.require_current(session.connection)
    assert not exists(session), "a mere look creates nothing"
    schema.upgrade(session.connection)
    schema.require_current(session.connection)
