"""The commands on Odoo's databases: ``check``, ``init --indexes``, ``uninstall``, ``jobs`` and ``why``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from psycopg2.extensions import parse_dsn

from queuejobs.store import oca
from queuemaster.cli.odoo import facts
from support.commands import invoke
from support.ocaqueue import OcaSession
from support.postgres import connected


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


def test_check_says_how_each_database_stands_and_alters_nothing(
    untouched_database: str, tmp_path: Path
) -> None:
    odoo = OcaSession(untouched_database)
    odoo.add()
    odoo.close()
    where = parse_dsn(untouched_database)
    conf = tmp_path / "odoo.conf"
    conf.write_text(
        f"[options]\ndb_host = {where['host']}\ndb_port = {where['port']}\ndb_user = {where['user']}\n"
    )
    before = contents(untouched_database)
    result = invoke("check", "-c", conf, "--database", where["dbname"], "--database", "postgres")
    assert result.exit_code == 0
    assert contents(untouched_database) == before
    assert "ready" in result.stdout
    assert "not served: it is no database of Odoo" in result.stdout
    assert f"{conf} [options] db_host" in result.stdout
    assert "it cannot import Odoo" in result.stderr  # Odoo is not installed here
    assert "live limits" not in result.stderr
    facts = document("check", "-c", conf, "--database", where["dbname"])["odoo"]["databases"][where["dbname"]]
    assert facts["problem"] == ""
    assert sorted(facts["missing"]) == sorted(oca.INDEXES)


def test_check_proposes_the_indexes_for_a_queue_that_is_long(
    odoo_conf: Path, odoo: OcaSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "init --indexes" not in invoke("check", "-c", odoo_conf).stderr
    monkeypatch.setattr(facts, "FEW", 10)
    for _ in range(12):
        odoo.add()
    odoo.rows("analyze public.queue_job")
    assert "on about 12 jobs" in invoke("check", "-c", odoo_conf).stderr
    assert invoke("init", "--indexes", "-c", odoo_conf).exit_code == 0
    assert "init --indexes" not in invoke("check", "-c", odoo_conf).stderr


@pytest.mark.parametrize("oca_database", [14, 15], indirect=True)
def test_check_warns_of_a_stock_runner_that_takes_no_lock(odoo_conf: Path, odoo: OcaSession) -> None:
    message = invoke("check", "-c", odoo_conf).stderr
    assert "ODOO_QUEUE_JOB_CHANNELS=root:0 in the environment of Odoo's service" in message
    assert "it may still be on" not in message
    odoo.add("enqueued")
    assert "it may still be on" in invoke("check", "-c", odoo_conf).stderr


def test_check_says_who_leads(odoo_conf: Path, odoo: OcaSession) -> None:
    assert "nobody leads" in invoke("check", "-c", odoo_conf).stdout
    odoo.rows("select pg_advisory_lock(%s)", oca.STOCK_LEADER)
    assert "the stock runner leads" in invoke("check", "-c", odoo_conf).stdout
    odoo.rows("set application_name = 'queuemaster dispatcher'")
    assert "queuemaster leads" in invoke("check", "-c", odoo_conf).stdout
    assert "ODOO_QUEUE_JOB_CHANNELS" not in invoke("check", "-c", odoo_conf).stderr


def test_check_says_that_a_batch_has_no_effect(odoo_conf: Path) -> None:
    message = "channel root: batch=5 has no effect beside Odoo"
    assert message in invoke("check", "-c", odoo_conf, "--channels", "root:4:batch=5").stderr
    assert message not in invoke("check", "-c", odoo_conf, "--channels", "root:4").stderr


def test_check_says_that_limits_in_forms_are_not_read(odoo_conf: Path, odoo: OcaSession) -> None:
    odoo.rows(
        "create table queue_job_channel (complete_name varchar, capacity integer, sequential boolean,"
        " throttle integer, paused boolean);"
        " insert into queue_job_channel values ('root', 0, null, null, false), ('root.sale', 2, null, null, false)"
    )
    message = "limits in the forms of channels are not read (root.sale)"
    # the addon ignores these limits too when ``channels`` is given
    assert message not in invoke("check", "-c", odoo_conf).stderr
    odoo_conf.write_text(odoo_conf.read_text().replace("channels = root:2", "max_capacity = 2"))
    assert message in invoke("check", "-c", odoo_conf).stderr


def test_jobs_are_listed_shown_and_explained(odoo_conf: Path, odoo: OcaSession) -> None:
    first = odoo.add(channel="root.sale", arguments=["csv"])
    parent, child = odoo.add("failed", exc_name="odoo.exceptions.UserError", exc_message="no"), odoo.add()
    odoo.depend(child, parent)
    listed = document("jobs", "list", "-c", odoo_conf)["jobs"]
    assert [job["uuid"] for job in listed] == [odoo.uuid(job) for job in (child, parent, first)]
    assert [
        job["uuid"] for job in document("jobs", "list", "-c", odoo_conf, "--channel", "sale")["jobs"]
    ] == [odoo.uuid(first)]
    answer = document("jobs", "show", odoo.uuid(first), "-c", odoo_conf)
    assert (answer["records"]["model"], answer["args"]) == ("res.partner", ["csv"])
    assert "res.partner" in invoke("jobs", "show", odoo.uuid(first), "-c", odoo_conf).stdout
    why = document("why", odoo.uuid(child), "-c", odoo_conf)
    assert why["state"] == "wait_dependencies"
    assert odoo.uuid(parent) in json.dumps(why["gates"])
    assert document("why", odoo.uuid(first), "-c", odoo_conf)["waits"] is True


def test_why_knows_the_other_runner_and_modules_that_change(odoo_conf: Path, odoo: OcaSession) -> None:
    uuid = odoo.uuid(odoo.add())

    def gate(name: str) -> dict[str, Any]:
        gates = document("why", uuid, "-c", odoo_conf)["gates"]
        return next(gate for gate in gates if gate["gate"] == name)

    assert (gate("database")["verdict"], gate("leader")["verdict"]) == ("open", "shut")
    assert "no supervisor serves" in gate("leader")["says"]
    odoo.rows("select pg_advisory_lock(%s)", oca.STOCK_LEADER)
    assert "the stock runner of the addon leads" in gate("leader")["says"]
    odoo.rows("insert into ir_module_module (name, state) values ('sale', 'to upgrade')")
    assert gate("database")["verdict"] == "shut"
    assert "sale to upgrade" in gate("database")["says"]


def test_jobs_are_requeued_cancelled_and_set_to_done(odoo_conf: Path, odoo: OcaSession) -> None:
    def state(job: int) -> str:
        return str(odoo.value("select state from public.queue_job where id = %s", job))

    failed, waiting, parent, child = odoo.add("failed"), odoo.add(), odoo.add(), odoo.add()
    odoo.depend(child, parent)
    assert invoke("jobs", "requeue", odoo.uuid(failed), "-c", odoo_conf).exit_code == 0
    assert invoke("jobs", "cancel", odoo.uuid(waiting), "-c", odoo_conf).exit_code == 0
    assert invoke("jobs", "done", odoo.uuid(parent), "-c", odoo_conf).exit_code == 0
    assert [state(job) for job in (failed, waiting, parent, child)] == [
        "pending",
        "cancelled",
        "done",
        "pending",
    ]
    assert document("jobs", "cancel", "--state", "pending", "-c", odoo_conf)["changed"] == 2


def test_a_channel_is_paused_live(odoo_conf: Path, odoo: OcaSession) -> None:
    assert invoke("channel", "root", "--pause", "-c", odoo_conf).exit_code == 0
    assert document("channel", "-c", odoo_conf)["channels"][0]["effective"]["paused"] is True
    assert odoo.value("select paused from queuemaster.control where channel = 'root'") is True


def test_before_a_supervisor_has_led_there_commands_say_so(untouched_database: str) -> None:
    for command in (
        ["jobs", "list"],
        ["channel", "root", "--pause"],
        ["jobs", "cancel", "--state", "pending"],
    ):
        result = invoke(*command, "--database", untouched_database)
        assert result.exit_code == 2
        assert "served beside Odoo: queuemaster run -c odoo.conf" in result.stderr


def test_of_databases_that_nobody_named_those_are_asked_where_we_have_led(
    oca_database: str, untouched_database: str, odoo: OcaSession, tmp_path: Path
) -> None:
    job, where = odoo.add(), parse_dsn(oca_database)
    conf = tmp_path / "odoo.conf"
    conf.write_text(
        f"[options]\ndb_host = {where['host']}\ndb_port = {where['port']}\ndb_user = {where['user']}\n"
        f"dbfilter = ({where['dbname']}|{parse_dsn(untouched_database)['dbname']})$\n"
    )
    assert [row["uuid"] for row in document("jobs", "list", "-c", conf)["jobs"]] == [odoo.uuid(job)]
    conf.write_text(conf.read_text().replace("dbfilter = (", "dbfilter = nothing_of("))
    assert "has led in no database" in invoke("jobs", "list", "-c", conf).stderr


def test_a_related_action_is_opened_in_odoo(odoo_conf: Path, odoo: OcaSession) -> None:
    result = invoke("related-action", odoo.uuid(odoo.add()), "-c", odoo_conf)
    assert result.exit_code == 2
    assert "the button on the job's form" in result.stderr


@pytest.mark.parametrize("oca_database", [14, 19], indirect=True)
def test_old_jobs_are_purged_with_their_messages_unless_their_graph_waits(
    odoo_conf: Path, odoo: OcaSession
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
    assert document("jobs", "purge", "--older-than", "30d", "-c", odoo_conf)["removed"] == len(old_jobs)
    rows = [id for (id,) in odoo.rows("select id from public.queue_job order by id")]
    assert rows == [young, parent, child, child + 1, failed]
    assert odoo.rows("select model, res_id from mail_message order by 1") == [
        ("queue.job", young),
        ("res.partner", old_jobs[0]),
    ]
    assert (
        document("jobs", "purge", "--state", "failed", "--older-than", "1d", "-c", odoo_conf)["removed"] == 1
    )
