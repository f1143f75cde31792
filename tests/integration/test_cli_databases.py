"""``queuemaster init`` and ``queuemaster jobs``, on a real PostgreSQL."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from psycopg2.extensions import make_dsn, parse_dsn
from rich.console import Console

from queuejobs.store import schema
from queuemaster import embedded
from queuemaster.cli.commands.jobs.list import COLUMNS_SHOWN, table_of
from queuemaster.config import paths
from support.commands import invoke
from support.places import open_directory
from support.postgres import connected

NOWHERE = "host=127.0.0.1 port=1 dbname=nowhere password=hunter2"


def document(*arguments: str) -> Any:
    result = invoke(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def insert(dsn: str, uuid: str, state: str = "pending", channel: str = "root", name: str = "a job") -> None:
    with connected(dsn) as connection, connection.cursor() as cursor:
        cursor.execute(
            "insert into queuemaster.queue_job (uuid, state, channel, name, model_name, method_name, records,"
            " args, kwargs) values (%s, %s, %s, %s, 'res.partner', 'export', '{\"ids\": [1]}', '[7]', '{}')",
            (uuid, state, channel, name),
        )


def make_oca(dsn: str) -> None:
    with connected(dsn) as connection, connection.cursor() as cursor:
        cursor.execute("create table queue_job (id serial primary key, job_function_id integer)")


def test_init_creates_the_queue_and_says_so_and_can_be_repeated(empty_database: str) -> None:
    first = invoke("init", "--database", empty_database)
    assert first.exit_code == 0
    assert "created the queue (version 1)" in first.stdout
    insert(empty_database, "kept")
    second = invoke("init", "--database", empty_database)
    assert second.exit_code == 0
    assert f"at version {schema.version()}; nothing to do" in second.stdout
    assert document("jobs", "show", "kept", "--database", empty_database)["uuid"] == "kept"


def test_init_refuses_a_database_of_oca_and_leaves_it_alone(empty_database: str) -> None:
    make_oca(empty_database)
    result = invoke("init", "--database", empty_database)
    assert result.exit_code == 2
    assert "public.queue_job of Odoo's addon" in result.stderr
    with connected(empty_database) as connection, connection.cursor() as cursor:
        cursor.execute("select to_regnamespace('queuemaster') is null")
        assert cursor.fetchone() == (True,)


def test_init_makes_the_good_databases_even_when_one_is_bad(empty_database: str) -> None:
    result = invoke("init", "--database", NOWHERE, "--database", empty_database)
    assert result.exit_code == 2
    assert "created the queue" in result.stdout
    assert "host 127.0.0.1, port 1, database nowhere" in result.stderr
    assert "hunter2" not in result.output


def test_init_says_what_the_server_says_about_missing_rights(empty_database: str) -> None:
    with connected(empty_database) as connection, connection.cursor() as cursor:
        cursor.execute("drop role if exists nobodys")
        cursor.execute("create role nobodys login")
    try:
        dsn = make_dsn(empty_database, user="nobodys")
        result = invoke("init", "--database", dsn)
        assert result.exit_code == 1
        assert "permission denied for database" in result.stderr
    finally:
        with connected(empty_database) as connection, connection.cursor() as cursor:
            cursor.execute("drop role nobodys")


@pytest.fixture
def data_dir(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The directory of the embedded PostgreSQL; under root another user runs the server and must reach it."""
    with open_directory() as directory:
        monkeypatch.setattr(paths, "default_data_dir", lambda: directory / "postgresql")
        yield directory / "postgresql"


def test_without_a_database_the_embedded_one_is_made_and_used(data_dir: Path) -> None:
    before = invoke("jobs", "list")
    assert before.exit_code == 2
    assert "has not been used yet" in before.stderr
    assert "queuemaster init" in before.stderr
    result = invoke("init")
    assert result.exit_code == 0, result.stderr
    assert "embedded PostgreSQL" in result.stdout
    assert "created the queue" in result.stdout
    assert "nothing to do" in invoke("init").stdout
    assert document("jobs", "list") == {"jobs": [], "more": False}
    assert embedded.attached(data_dir) is None


def test_jobs_are_listed_newest_first_up_to_the_limit(database: str) -> None:
    for number in range(3):
        insert(database, f"job-{number}")
    listing = document("jobs", "list", "--database", database, "--limit", "2")
    assert [job["uuid"] for job in listing["jobs"]] == ["job-2", "job-1"]
    assert listing["more"] is True
    assert document("jobs", "list", "--database", database)["more"] is False
    result = invoke("jobs", "list", "--database", database, "--limit", "2")
    assert "only the newest 2" in result.stderr
    assert "job-2" in result.stdout


def test_jobs_are_filtered_by_state_and_by_channel_with_those_below(database: str) -> None:
    insert(database, "a", channel="root.sale")
    insert(database, "b", channel="root.sale.mail", state="failed")
    insert(database, "c", channel="root.sales")

    def listed(*arguments: str) -> set[str]:
        listing = document("jobs", "list", "--database", database, *arguments)
        return {job["uuid"] for job in listing["jobs"]}

    assert listed("--channel", "root.sale") == {"a", "b"}
    assert listed("--channel", "sale") == {"a", "b"}
    assert listed("--channel", "root") == {"a", "b", "c"}
    assert listed("--state", "failed") == {"b"}
    assert listed("--channel", "sale", "--state", "pending") == {"a"}
    assert listed("--channel", "' or true --") == set()


def test_an_unknown_state_is_a_usage_error_that_lists_the_states() -> None:
    result = invoke("jobs", "list", "--state", "running")
    assert result.exit_code == 2
    assert "'running' is not one of 'wait_dependencies', 'pending'" in result.stderr
    assert invoke("jobs", "list", "--limit", "0").exit_code == 2


def test_a_job_is_shown_with_all_that_is_known(database: str) -> None:
    insert(database, "known", name="Exportación")
    job = document("jobs", "show", "known", "--database", database)
    assert job["args"] == [7]
    assert job["records"] == {"ids": [1]}
    assert job["state"] == "pending"
    assert job["date_created"].endswith("Z")
    assert job["name"] == "Exportación"
    output = invoke("jobs", "show", "known", "--database", database).stdout
    assert "Exportación" in output
    assert "res.partner" in output


def test_an_unknown_job_is_exit_code_1(database: str) -> None:
    result = invoke("jobs", "show", "absent", "--database", database, "--json")
    assert result.exit_code == 1
    assert "no job has the uuid absent" in result.stderr
    assert result.stdout == ""


def test_jobs_of_several_databases_say_whose_they_are(database: str, empty_database: str) -> None:
    invoke("init", "--database", empty_database)
    insert(database, "one")
    insert(empty_database, "two")
    options = ("--database", database, "--database", empty_database)
    listing = document("jobs", "list", *options)["jobs"]
    assert {job["uuid"]: job["database"] for job in listing} == {
        "one": parse_dsn(database)["dbname"],
        "two": parse_dsn(empty_database)["dbname"],
    }
    assert document("jobs", "show", "two", *options)["uuid"] == "two"
    assert "database" in invoke("jobs", "list", *options).stdout


def test_a_database_without_a_queue_is_refused_with_what_to_do(empty_database: str) -> None:
    result = invoke("jobs", "list", "--database", empty_database)
    assert result.exit_code == 2
    assert "no queue yet" in result.stderr
    assert "queuemaster init --database" in result.stderr


def test_text_of_a_job_cannot_act_on_the_terminal(database: str) -> None:
    insert(database, "evil", name="\x1b[2Jgone [red]x[/red]")
    output = invoke("jobs", "list", "--database", database).stdout
    assert "\x1b" not in output
    assert "\\x1b[2Jgone [red]x[/red]" in output


@pytest.mark.parametrize("width", [40, 64, 80, 100, 140])
def test_a_narrow_terminal_loses_columns_but_no_part_of_the_uuid(width: int) -> None:
    uuid = "01234567-89ab-cdef-0123-456789abcdef"
    job = {
        "database": "d",
        "uuid": uuid,
        "state": "wait_dependencies",
        "channel": "root.a",
        "retry": 0,
        "max_retries": 5,
    }
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(
        table_of([{**job, "date_created": "2024-01-01T00:00:00Z", "name": "n", "method": "m"}], width)
    )
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= width
    assert lines[0].split() == [
        word for heading, least in COLUMNS_SHOWN if width >= least for word in heading.split()
    ]
    if width >= 64:
        assert uuid in lines[1]
