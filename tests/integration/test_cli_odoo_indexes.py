"""``init --indexes`` and ``uninstall`` on Odoo's databases: what is made there and how it is removed."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from psycopg2.extensions import parse_dsn

from queuejobs.store import oca
from queuemaster.cli.odoo import indexes
from queuemaster.config.compiled import ServerPlan
from queuemaster.config.dsn import parse_database
from support.commands import invoke
from support.ocaqueue import OcaSession, OcaWorkerSession
from support.postgres import connected
from support.supervised import environment
from support.waiting import wait_until

ONLY_OURS = "select count(*) from pg_class where relname like 'queuemaster%' and relnamespace = 'public'::regnamespace"


def test_plain_init_is_refused_with_what_to_do_instead(oca_database: str, untouched_database: str) -> None:
    for dsn in (oca_database, untouched_database):
        result = invoke("init", "--database", dsn)
        assert result.exit_code == 2
        assert "queuemaster run -c odoo.conf" in result.stderr
        assert "init --indexes" in result.stderr


def test_plain_init_with_odoos_file_makes_no_queue_anywhere(empty_database: str, tmp_path: Path) -> None:
    where = parse_dsn(empty_database)
    conf = tmp_path / "odoo.conf"
    conf.write_text(
        f"[options]\ndb_host = {where['host']}\ndb_port = {where['port']}\ndb_user = {where['user']}\n"
    )
    for arguments in ([], ["--database", where["dbname"]]):
        result = invoke("init", "-c", conf, *arguments)
        assert result.exit_code == 2
        assert "there is nothing to create beforehand" in result.stderr
    with connected(empty_database) as connection, connection.cursor() as cursor:
        cursor.execute("select to_regnamespace('queuemaster') is null")
        assert cursor.fetchone() == (True,)


def test_indexes_are_made_while_jobs_are_enqueued_and_can_be_repeated(
    untouched_database: str, odoo: OcaSession
) -> None:
    first = invoke("init", "--indexes", "--database", untouched_database)
    assert first.exit_code == 0, first.stderr
    assert first.stdout.count(": made in ") == len(oca.INDEXES)
    with connected(untouched_database) as connection, connection.cursor() as cursor:
        assert oca.missing_or_present(cursor) == []
        cursor.execute("select to_regnamespace('queuemaster') is null")
        assert cursor.fetchone() == (True,)  # only the indexes were created
    assert "nothing to do" in invoke("init", "--indexes", "--database", untouched_database).stdout


def test_an_index_that_was_broken_off_is_made_anew(
    oca_database: str, odoo: OcaSession, odoo_conf: Path
) -> None:
    name = next(iter(oca.INDEXES))
    invoke("init", "--indexes", "--database", oca_database)
    odoo.rows("update pg_index set indisvalid = false where indexrelid = %s::regclass", name)
    assert "never finished" in invoke("check", "-c", odoo_conf).stderr
    result = invoke("init", "--indexes", "--database", oca_database)
    assert f"{name}: left over from an attempt that was broken off, dropped" in result.stdout
    assert result.stdout.count(": made in ") == 1
    assert odoo.value("select indisvalid from pg_index where indexrelid = %s::regclass", name) is True


def test_how_far_an_index_is_is_told(
    oca_database: str, odoo: OcaSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexes, "PROGRESS_EVERY", 0.05)
    odoo.rows("begin")
    odoo.add()  # an index is ready only when older transactions have ended
    lines = indexes.make_indexes(parse_database(oca_database))
    assert next(lines).startswith("queuemaster_ready: 1 of 4, on about ")
    line = wait_until(
        lambda: "waiting for" in (line := next(lines)) and line, 60, "the server to report that it waits"
    )
    assert line.startswith("queuemaster_ready: ")
    odoo.rows("commit")
    assert len([line for line in lines if ": made in " in line]) == len(oca.INDEXES)


def test_an_index_that_is_broken_off_by_hand_is_made_by_the_next_attempt(
    oca_database: str, odoo: OcaSession
) -> None:
    odoo.rows("begin")
    odoo.add()
    command = [sys.executable, "-m", "queuemaster", "init", "--indexes", "--database", oca_database]
    with (
        subprocess.Popen(
            command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process,
        connected(oca_database) as connection,
        connection.cursor() as cursor,
    ):

        def under_way() -> bool:
            cursor.execute(
                "select count(*) from pg_index where indexrelid = to_regclass('queuemaster_ready') and not indisvalid"
            )
            return bool((cursor.fetchone() or (0,))[0])

        wait_until(under_way, 60, "the index build to begin")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) != 0
    odoo.rows("commit")
    result = invoke("init", "--indexes", "--database", oca_database)
    assert "queuemaster_ready: left over from an attempt that was broken off, dropped" in result.stdout
    assert result.stdout.count(": made in ") == len(oca.INDEXES)


def test_indexes_are_for_odoos_databases_only(empty_database: str) -> None:
    result = invoke("init", "--indexes", "--database", empty_database)
    assert result.exit_code == 2
    assert "it is no database of Odoo" in result.stderr


def test_two_at_once_do_not_make_the_same_index(oca_database: str, odoo: OcaSession) -> None:
    odoo.rows("select pg_advisory_lock(1363935235, 1)")
    result = invoke("init", "--indexes", "--database", oca_database)
    assert result.exit_code == 1
    assert "another process is making its indexes" in result.stderr


def test_uninstall_removes_what_is_ours_and_leaves_the_jobs(oca_database: str, odoo: OcaSession) -> None:
    invoke("init", "--indexes", "--database", oca_database)
    odoo.rows("update pg_index set indisvalid = false where indexrelid = 'queuemaster_eta'::regclass")
    odoo.add()
    jobs = odoo.rows("select * from public.queue_job")
    result = invoke("uninstall", "--database", oca_database)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "our schema and indexes are gone" in result.stdout
    assert odoo.value("select to_regnamespace('queuemaster') is null")
    assert odoo.value(ONLY_OURS) == 0
    assert odoo.rows("select * from public.queue_job") == jobs
    assert "nothing of ours is there" in invoke("uninstall", "--database", oca_database).stdout


def test_uninstall_is_refused_while_a_supervisor_is_at_work(
    oca_database: str, untouched_database: str
) -> None:
    assert invoke("init", "--indexes", "--database", untouched_database).exit_code == 0
    worker = OcaWorkerSession(oca_database)
    result = invoke("uninstall", "--database", untouched_database, "--database", oca_database)
    assert result.exit_code == 2
    assert "a supervisor is at work there: queuemaster stop" in result.stderr
    assert result.stdout == ""  # the other database is not touched either
    worker.close()
    assert invoke("uninstall", "--database", oca_database).exit_code == 0


def test_a_native_queue_goes_only_when_that_is_said(server: ServerPlan, empty_database: str) -> None:
    assert invoke("init", "--database", empty_database).exit_code == 0
    refused = invoke("uninstall", "--database", empty_database)
    assert refused.exit_code == 2
    assert "a native queue, with 0 jobs that would be lost" in refused.stderr
    assert invoke("uninstall", "--yes", "--database", empty_database).exit_code == 0
    with connected(empty_database) as connection, connection.cursor() as cursor:
        cursor.execute("select to_regnamespace('queuemaster') is null")
        assert cursor.fetchone() == (True,)
