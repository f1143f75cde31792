"""Any role that may connect may notify; no payload ends the dispatcher or keeps it from starting jobs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg2 import sql

from queuejobs.shared.standing import Standing
from queuejobs.store import schema
from queuemaster import embedded
from queuemaster.config.compiled import ServerPlan
from queuemaster.status_board import StatusBoard
from support.besideodoo import EFFECTS, beside_odoo
from support.ocaqueue import VERSIONS, OcaSession, new_oca_database
from support.payloads import ODD_PAYLOADS
from support.postgres import connected
from support.rows import Session
from support.supervised import PATIENCE, Queue, Supervised, queue, supervised
from support.waiting import wait_until

pytestmark = pytest.mark.timeout(400)

KEY_TIME = "2026-01-02T03:04:05.000060"
# Well-formed payloads that match no row: the dispatcher believes them, and each costs one look at the database.
ABSURD_PAYLOADS = (
    json.dumps(["root." + "x" * 5000]),
    json.dumps(["." * 3900]),
    json.dumps(["root.seq." + "a." * 2000, 10, KEY_TIME, 7]),
    json.dumps(["'; select 1; --", -(2**31), "0001-01-01T00:00:00.000000", -(2**63)]),
    json.dumps(['{"a",\\}', 2**31 - 1, "9999-12-31T23:59:59.999999", 2**63 - 1]),
    json.dumps(["root", -(2**31), "0001-01-01T00:00:00.000000", -(2**63)]),
    json.dumps(["root.日本"]),
    json.dumps(["root.日本"], ensure_ascii=False),
    json.dumps([""]),
    '[null, "infinity"]',
    '{"control" : true}',
    '{"cancel" : -1}',
)
MANY = 5000  # channels that have no rows


@pytest.fixture
def jobs(database: str) -> Iterator[Queue]:
    with queue(database) as opened:
        yield opened


def notify(session: Session, payloads: tuple[str, ...]) -> None:
    """Notify each in its own transaction, so that the server does not merge equal payloads."""
    for payload in payloads:
        session.rows("select pg_notify('queue_job', %s)", payload)


def leadership(running: Supervised) -> tuple[int, int]:
    """The dispatcher's pid and the epoch in which it leads its one database."""
    running.one("dispatcher")
    board = StatusBoard.of_process(running.process.pid)

    def leads() -> tuple[int, int] | None:
        document = board.dispatcher.read()
        if document is None:
            return None
        for database in document["databases"].values():
            if database["standing"] == Standing.LEADS.value and database["epoch"] is not None:
                return document["pid"], database["epoch"]
        return None

    return wait_until(leads, PATIENCE, lambda: f"a leader; log:\n{running.log}")


def assert_it_lives(running: Supervised, before: tuple[int, int]) -> None:
    """Check that the same dispatcher still leads in the same epoch, and that it has logged a warning."""
    assert leadership(running) == before
    for event in ("dispatcher ends", "database is away", "database is in quarantine"):
        assert event not in running.log
    warnings = [line for line in running.log.splitlines() if "not our notification" in line]
    assert 1 <= len(warnings) <= 10, "the warning is limited to once a minute"


def test_no_payload_ends_the_dispatcher_or_its_leadership(database: str, jobs: Queue, tmp_path: Path) -> None:
    with supervised(database, tmp_path, "root:2,seq:1:sequential") as running:
        before = leadership(running)
        session = Session(database)
        for number, payload in enumerate((*ODD_PAYLOADS, *ABSURD_PAYLOADS)):
            notify(session, (payload,))
            if number % 30 == 0:
                job = jobs.sample(number).with_delay(channel="root.seq").write()
                jobs.wait_for(job.uuid, "done")
        session.rows(
            "select pg_notify('queue_job', json_build_array('unknown.' || n || repeat('x', 1000))::text)"
            " from generate_series(1, %s) n",
            MANY,
        )
        last = [jobs.sample(1000).with_delay(channel=channel).write() for channel in ("root.seq", "root.new")]
        for job in last:
            jobs.wait_for(job.uuid, "done")
        assert_it_lives(running, before)
        session.close()


@pytest.fixture
def latin_database(server: ServerPlan) -> Iterator[str]:
    """A database whose encoding cannot represent every name."""
    name = "latin_of_the_tests"
    with connected(embedded.dsn(server, "postgres")) as admin, admin.cursor() as cursor:
        cursor.execute(
            sql.SQL("create database {} template template0 encoding 'LATIN1' locale 'C'").format(
                sql.Identifier(name)
            )
        )
        dsn = embedded.dsn(server, name)
        try:
            with connected(dsn) as connection:
                connection.autocommit = False
                schema.upgrade(connection)
            yield dsn
        finally:
            cursor.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


def test_a_name_that_a_database_cannot_spell_is_not_looked_for(latin_database: str, tmp_path: Path) -> None:
    with queue(latin_database) as jobs, supervised(latin_database, tmp_path, "root:2") as running:
        before = leadership(running)
        session = Session(latin_database)
        notify(session, ('["root.\\u65e5"]', f'["root.\\u65e5", 10, "{KEY_TIME}", 7]', '["root.\\u00e4"]'))
        job = jobs.sample(1).with_delay(channel="root.ä").write()
        jobs.wait_for(job.uuid, "done")
        assert_it_lives(running, before)
        session.close()


def test_beside_odoo(server: ServerPlan, tmp_path: Path) -> None:
    with new_oca_database(server, VERSIONS[-1], install=False) as dsn, beside_odoo(dsn, tmp_path) as running:
        before = leadership(running)
        odoo = OcaSession(dsn)
        odoo.rows(EFFECTS)
        notify(odoo, (*ODD_PAYLOADS, *ABSURD_PAYLOADS, "reload"))
        odoo.rows("select pg_notify('queue_job', gen_random_uuid()::text) from generate_series(1, 20000)")
        job = odoo.add(method_name="work")
        state = "select state from public.queue_job where id = %s"
        wait_until(lambda: odoo.value(state, job) == "done", PATIENCE, lambda: running.log)
        assert_it_lives(running, before)
        odoo.close()


def test_a_row_of_no_finite_date_does_not_end_the_dispatcher(
    database: str, jobs: Queue, tmp_path: Path
) -> None:
    """An application may write any timestamp that PostgreSQL has."""
    for number, created in enumerate(("infinity", "-infinity", "2026-01-01")):
        job = jobs.sample(number).with_delay().write()
        jobs.rows("update queuemaster.queue_job set date_created = %s where uuid = %s", (created, job.uuid))
    with supervised(database, tmp_path, "root:1") as running:
        before = leadership(running)
        jobs.wait_until_drained()
        assert jobs.effects() == [0, 1, 2]
        assert leadership(running) == before
        assert "dispatcher ends" not in running.log
