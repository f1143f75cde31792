"""The commands on Odoo's databases: ``check``, ``init --indexes``, ``uninstall``, ``jobs`` and ``why``."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from psycopg2.extensions import parse_dsn

from queuejobs.store import oca
from queuemaster.cli.odoo import facts, indexes
from queuemaster.config.compiled import ServerPlan
from queuemaster.config.dsn import parse_database
from support.commands import invoke
from support.ocaqueue import OcaSession, OcaWorkerSession, new_oca_database
from support.postgres import connected
from support.supervised import environment
from support.waiting import wait_until

ONLY_OURS = "select count(*) from pg_class where relname like 'queuemaster%' and relnamespace = 'public'::regnamespace"


@pytest.fixture
def database(server: ServerPlan, request: pytest.FixtureRequest) -> Iterator[str]:
    """A database with our schema, of the version in the test's parameter, else of the newest."""
    with new_oca_database(server, getattr(request, "param", 19)) as dsn:
        yield dsn


@pytest.fixture
def untouched(server: ServerPlan) -> Iterator[str]:
    """A database in which no supervisor has led."""
    with new_oca_database(server, 19, install=False) as dsn:
        yield dsn


@pytest.fixture
def odoo(database: str) -> Iterator[OcaSession]:
    """A session that stores and changes jobs as Odoo does."""
    opened = OcaSession(database)
    yield opened
    opened.close()


@pytest.fixture
def conf(database: str, tmp_path: Path) -> Path:
    """The path of an odoo.conf for this database."""
    where = parse_dsn(database)
    path = tmp_path / "odoo.conf"
    path.write_text(
        f"[options]\ndb_host = {where['host']}\ndb_port = {where['port']}\ndb_user = {where['user']}\n"
        f"db_name = {where['dbname']}\n[queue_job]\nchannels = root:2\npython = {sys.executable}\n"
    )
    return path


def document(*arguments: str | Path) -> Any:
    result = invoke(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def contents(dsn: str) -> list[Any]:
    """Everything that ``check`` must not change: the relations, and the rows of the queue."""
    with connected(dsn) as connection, connection.cursor() as cursor:
        cursor.execute(
            "select relname, relnamespace::regnamespace::text, relkind from pg_class order by 1, 2"
        )
        relations = cursor.fetchall()
        cursor.execute("select row_to_json(job)::text from public.queue_job job order by id")
        return [relations, cursor.fetchall()]


def test_check_says_how_each_database_stands_and_alters_nothing(untouched: str, tmp_path: Path) -> None:
    odoo = OcaSession(untouched)
    odoo.add()
    odoo.close()
    where = parse_dsn(untouched)
    conf = tmp_path / "odoo.conf"
    conf.write_text(
        f"[options]\ndb_host = {where['host']}\ndb_port = {where['port']}\ndb_user = {where['user']}\n"
    )
    before = contents(untouched)
    result = invoke("check", "-c", conf, "--database", where["dbname"], "--database", "postgres")
    assert result.exit_code == 0
    assert contents(untouched) == before
    assert "ready" in result.stdout
    assert "not served: it is no database of Odoo" in result.stdout
    assert f"{conf} [options] db_host" in result.stdout
    assert "it cannot import Odoo" in result.stderr  # Odoo is not installed here
    assert "live limits" not in result.stderr
    facts = document("check", "-c", conf, "--database", where["dbname"])["odoo"]["databases"][where["dbname"]]
    assert facts["problem"] == ""
    assert sorted(facts["missing"]) == sorted(oca.INDEXES)


def test_check_proposes_the_indexes_for_a_queue_that_is_long(
    conf: Path, odoo: OcaSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "init --indexes" not in invoke("check", "-c", conf).stderr
    monkeypatch.setattr(facts, "FEW", 10)
    for _ in range(12):
        odoo.add()
    odoo.rows("analyze public.queue_job")
    assert "on about 12 jobs" in invoke("check", "-c", conf).stderr
    assert invoke("init", "--indexes", "-c", conf).exit_code == 0
    assert "init --indexes" not in invoke("check", "-c", conf).stderr


@pytest.mark.parametrize("database", [14, 15], indirect=True)
def test_check_warns_of_a_stock_runner_that_takes_no_lock(conf: Path, odoo: OcaSession) -> None:
    message = invoke("check", "-c", conf).stderr
    assert "ODOO_QUEUE_JOB_CHANNELS=root:0 in the environment of Odoo's service" in message
    assert "it may still be on" not in message
    odoo.add("enqueued")
    assert "it may still be on" in invoke("check", "-c", conf).stderr


def test_check_says_who_leads(conf: Path, odoo: OcaSession) -> None:
    assert "nobody leads" in invoke("check", "-c", conf).stdout
    odoo.rows("select pg_advisory_lock(%s)", oca.STOCK_LEADER)
    assert "the stock runner leads" in invoke("check", "-c", conf).stdout
    odoo.rows("set application_name = 'queuemaster dispatcher'")
    assert "queuemaster leads" in invoke("check", "-c", conf).stdout
    assert "ODOO_QUEUE_JOB_CHANNELS" not in invoke("check", "-c", conf).stderr


def test_check_says_that_a_batch_has_no_effect(conf: Path) -> None:
    message = "channel root: batch=5 has no effect beside Odoo"
    assert message in invoke("check", "-c", conf, "--channels", "root:4:batch=5").stderr
    assert message not in invoke("check", "-c", conf, "--channels", "root:4").stderr


def test_check_says_that_limits_in_forms_are_not_read(conf: Path, odoo: OcaSession) -> None:
    odoo.rows(
        "create table queue_job_channel (complete_name varchar, capacity integer, sequential boolean,"
        " throttle integer, paused boolean);"
        " insert into queue_job_channel values ('root', 0, null, null, false), ('root.sale', 2, null, null, false)"
    )
    message = "limits in the forms of channels are not read (root.sale)"
    # the addon ignores these limits too when ``channels`` is given
    assert message not in invoke("check", "-c", conf).stderr
    conf.write_text(conf.read_text().replace("channels = root:2", "max_capacity = 2"))
    assert message in invoke("check", "-c", conf).stderr


def test_plain_init_is_refused_with_what_to_do_instead(database: str, untouched: str) -> None:
    for dsn in (database, untouched):
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
    untouched: str, odoo: OcaSession
) -> None:
    first = invoke("init", "--indexes", "--database", untouched)
    assert first.exit_code == 0, first.stderr
    assert first.stdout.count(": made in ") == len(oca.INDEXES)
    with connected(untouched) as connection, connection.cursor() as cursor:
        assert oca.missing_or_present(cursor) == []
        cursor.execute("select to_regnamespace('queuemaster') is null")
        assert cursor.fetchone() == (True,)  # only the indexes were created
    assert "nothing to do" in invoke("init", "--indexes", "--database", untouched).stdout


def test_an_index_that_was_broken_off_is_made_anew(database: str, odoo: OcaSession, conf: Path) -> None:
    name = next(iter(oca.INDEXES))
    invoke("init", "--indexes", "--database", database)
    odoo.rows("update pg_index set indisvalid = false where indexrelid = %s::regclass", name)
    assert "never finished" in invoke("check", "-c", conf).stderr
    result = invoke("init", "--indexes", "--database", database)
    assert f"{name}: left over from an attempt that was broken off, dropped" in result.stdout
    assert result.stdout.count(": made in ") == 1
    assert odoo.value("select indisvalid from pg_index where indexrelid = %s::regclass", name) is True


def test_how_far_an_index_is_is_told(
    database: str, odoo: OcaSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexes, "PROGRESS_EVERY", 0.05)
    odoo.rows("begin")
    odoo.add()  # an index is ready only when older transactions have ended
    lines = indexes.make_indexes(parse_database(database))
    assert next(lines).startswith("queuemaster_ready: 1 of 4, on about ")
    line = wait_until(
        lambda: "waiting for" in (line := next(lines)) and line, 60, "the server to report that it waits"
    )
    assert line.startswith("queuemaster_ready: ")
    odoo.rows("commit")
    assert len([line for line in lines if ": made in " in line]) == len(oca.INDEXES)


def test_an_index_that_is_broken_off_by_hand_is_made_by_the_next_attempt(
    database: str, odoo: OcaSession
) -> None:
    odoo.rows("begin")
    odoo.add()
    command = [sys.executable, "-m", "queuemaster", "init", "--indexes", "--database", database]
    with (
        subprocess.Popen(
            command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process,
        connected(database) as connection,
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
    result = invoke("init", "--indexes", "--database", database)
    assert "queuemaster_ready: left over from an attempt that was broken off, dropped" in result.stdout
    assert result.stdout.count(": made in ") == len(oca.INDEXES)


def test_indexes_are_for_odoos_databases_only(empty_database: str) -> None:
    result = invoke("init", "--indexes", "--database", empty_database)
    assert result.exit_code == 2
    assert "it is no database of Odoo" in result.stderr


def test_two_at_once_do_not_make_the_same_index(database: str, odoo: OcaSession) -> None:
    odoo.rows("select pg_advisory_lock(1363935235, 1)")
    result = invoke("init", "--indexes", "--database", database)
    assert result.exit_code == 1
    assert "another process is making its indexes" in result.stderr


def test_uninstall_removes_what_is_ours_and_leaves_the_jobs(database: str, odoo: OcaSession) -> None:
    invoke("init", "--indexes", "--database", database)
    odoo.rows("update pg_index set indisvalid = false where indexrelid = 'queuemaster_eta'::regclass")
    odoo.add()
    jobs = odoo.rows("select * from public.queue_job")
    result = invoke("uninstall", "--database", database)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "our schema and indexes are gone" in result.stdout
    assert odoo.value("select to_regnamespace('queuemaster') is null")
    assert odoo.value(ONLY_OURS) == 0
    assert odoo.rows("select * from public.queue_job") == jobs
    assert "nothing of ours is there" in invoke("uninstall", "--database", database).stdout


def test_uninstall_is_refused_while_a_supervisor_is_at_work(database: str, untouched: str) -> None:
    assert invoke("init", "--indexes", "--database", untouched).exit_code == 0
    worker = OcaWorkerSession(database)
    result = invoke("uninstall", "--database", untouched, "--database", database)
    assert result.exit_code == 2
    assert "a supervisor is at work there: queuemaster stop" in result.stderr
    assert result.stdout == ""  # the other database is not touched either
    worker.close()
    assert invoke("uninstall", "--database", database).exit_code == 0


def test_a_native_queue_goes_only_when_that_is_said(server: ServerPlan, empty_database: str) -> None:
    assert invoke("init", "--database", empty_database).exit_code == 0
    refused = invoke("uninstall", "--database", empty_database)
    assert refused.exit_code == 2
    assert "a native queue, with 0 jobs that would be lost" in refused.stderr
    assert invoke("uninstall", "--yes", "--database", empty_database).exit_code == 0
    with connected(empty_database) as connection, connection.cursor() as cursor:
        cursor.execute("select to_regnamespace('queuemaster') is null")
        assert cursor.fetchone() == (True,)


def test_jobs_are_listed_shown_and_explained(conf: Path, odoo: OcaSession) -> None:
    first = odoo.add(channel="root.sale", arguments=["csv"])
    parent, child = odoo.add("failed", exc_name="odoo.exceptions.UserError", exc_message="no"), odoo.add()
    odoo.depend(child, parent)
    listed = document("jobs", "list", "-c", conf)["jobs"]
    assert [job["uuid"] for job in listed] == [odoo.uuid(job) for job in (child, parent, first)]
    assert [job["uuid"] for job in document("jobs", "list", "-c", conf, "--channel", "sale")["jobs"]] == [
        odoo.uuid(first)
    ]
    answer = document("jobs", "show", odoo.uuid(first), "-c", conf)
    assert (answer["records"]["model"], answer["args"]) == ("res.partner", ["csv"])
    assert "res.partner" in invoke("jobs", "show", odoo.uuid(first), "-c", conf).stdout
    why = document("why", odoo.uuid(child), "-c", conf)
    assert why["state"] == "wait_dependencies"
    assert odoo.uuid(parent) in json.dumps(why["gates"])
    assert document("why", odoo.uuid(first), "-c", conf)["waits"] is True


def test_why_knows_the_other_runner_and_modules_that_change(conf: Path, odoo: OcaSession) -> None:
    uuid = odoo.uuid(odoo.add())

    def gate(name: str) -> dict[str, Any]:
        gates = document("why", uuid, "-c", conf)["gates"]
        return next(gate for gate in gates if gate["gate"] == name)

    assert (gate("database")["verdict"], gate("leader")["verdict"]) == ("open", "shut")
    assert "no supervisor serves" in gate("leader")["says"]
    odoo.rows("select pg_advisory_lock(%s)", oca.STOCK_LEADER)
    assert "the stock runner of the addon leads" in gate("leader")["says"]
    odoo.rows("insert into ir_module_module (name, state) values ('sale', 'to upgrade')")
    assert gate("database")["verdict"] == "shut"
    assert "sale to upgrade" in gate("database")["says"]


def test_jobs_are_requeued_cancelled_and_set_to_done(conf: Path, odoo: OcaSession) -> None:
    def state(job: int) -> str:
        return str(odoo.value("select state from public.queue_job where id = %s", job))

    failed, waiting, parent, child = odoo.add("failed"), odoo.add(), odoo.add(), odoo.add()
    odoo.depend(child, parent)
    assert invoke("jobs", "requeue", odoo.uuid(failed), "-c", conf).exit_code == 0
    assert invoke("jobs", "cancel", odoo.uuid(waiting), "-c", conf).exit_code == 0
    assert invoke("jobs", "done", odoo.uuid(parent), "-c", conf).exit_code == 0
    assert [state(job) for job in (failed, waiting, parent, child)] == [
        "pending",
        "cancelled",
        "done",
        "pending",
    ]
    assert document("jobs", "cancel", "--state", "pending", "-c", conf)["changed"] == 2


def test_a_channel_is_paused_live(conf: Path, odoo: OcaSession) -> None:
    assert invoke("channel", "root", "--pause", "-c", conf).exit_code == 0
    assert document("channel", "-c", conf)["channels"][0]["effective"]["paused"] is True
    assert odoo.value("select paused from queuemaster.control where channel = 'root'") is True


def test_before_a_supervisor_has_led_there_commands_say_so(untouched: str) -> None:
    for command in (
        ["jobs", "list"],
        ["channel", "root", "--pause"],
        ["jobs", "cancel", "--state", "pending"],
    ):
        result = invoke(*command, "--database", untouched)
        assert result.exit_code == 2
        assert "served beside Odoo: queuemaster run -c odoo.conf" in result.stderr


def test_of_databases_that_nobody_named_those_are_asked_where_we_have_led(
    database: str, untouched: str, odoo: OcaSession, tmp_path: Path
) -> None:
    job, where = odoo.add(), parse_dsn(database)
    conf = tmp_path / "odoo.conf"
    conf.write_text(
        f"[options]\ndb_host = {where['host']}\ndb_port = {where['port']}\ndb_user = {where['user']}\n"
        f"dbfilter = ({where['dbname']}|{parse_dsn(untouched)['dbname']})$\n"
    )
    assert [row["uuid"] for row in document("jobs", "list", "-c", conf)["jobs"]] == [odoo.uuid(job)]
    conf.write_text(conf.read_text().replace("dbfilter = (", "dbfilter = nothing_of("))
    assert "has led in no database" in invoke("jobs", "list", "-c", conf).stderr


def test_a_related_action_is_opened_in_odoo(conf: Path, odoo: OcaSession) -> None:
    result = invoke("related-action", odoo.uuid(odoo.add()), "-c", conf)
    assert result.exit_code == 2
    assert "the button on the job's form" in result.stderr


@pytest.mark.parametrize("database", [14, 19], indirect=True)
def test_old_jobs_are_purged_with_their_messages_unless_their_graph_waits(
    conf: Path, odoo: OcaSession
) -> None:
    odoo.rows("create table mail_message (id serial, model varchar, res_id integer)")
    old = {"date_done": "2026-01-01", "date_created": "2026-01-01"}
    old_jobs = [odoo.add("done", **old) for _ in range(1001)]
    young = odoo.add("done", date_done=odoo.value("select queuemaster.utc_now()"))
    parent, child = odoo.add("done", graph_uuid="g", **old), odoo.add(graph_uuid="g")
    odoo.depend(child, odoo.add("failed", graph_uuid="g", **old))
    failed = odoo.add("failed", **old)
    odoo.rows(
        "insert into mail_message (model, res_id) values ('queue.job', %s), ('queue.job', %s)",
        old_jobs[0],
        young,
    )
    odoo.rows("insert into mail_message (model, res_id) values ('res.partner', %s)", old_jobs[0])
    assert document("jobs", "purge", "--older-than", "30d", "-c", conf)["removed"] == len(old_jobs)
    rows = [id for (id,) in odoo.rows("select id from public.queue_job order by id")]
    assert rows == [young, parent, child, child + 1, failed]
    assert odoo.rows("select model, res_id from mail_message order by 1") == [
        ("queue.job", young),
        ("res.partner", old_jobs[0]),
    ]
    assert document("jobs", "purge", "--state", "failed", "--older-than", "1d", "-c", conf)["removed"] == 1
