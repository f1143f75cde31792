"""Beside Odoo with no database named: which databases are served, and that later ones are found."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg2
import pytest
from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import make_dsn, parse_dsn

from queuejobs.shared.messages import ReloadWanted
from queuemaster import embedded
from queuemaster.channels.channel import ChannelConfig
from queuemaster.config import discovery
from queuemaster.config.compiled import Discovery, ServerPlan, Settings
from queuemaster.dispatcher.database_list import REPEAT, DatabaseList
from support.besideodoo import ODOOLIKE
from support.ocaqueue import new_oca_database
from support.postgres import connected
from support.supervised import PATIENCE, command, environment
from support.waiting import wait_until


def queuemaster_(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the real command."""
    return subprocess.run(
        [sys.executable, "-m", "queuemaster", *map(str, arguments)],
        capture_output=True, text=True, check=False, env=environment(), timeout=PATIENCE,
    )  # fmt: skip


def assert_refused(result: subprocess.CompletedProcess[str], *messages: str) -> None:
    assert result.returncode == 2, result.stderr
    for words in messages:
        assert words in result.stderr


LOOKS = 90.0  # seconds: a look may come just before the server is back, and the next is 30 s later
DATABASES = ("odoo_crm", "odoo_sales")


@dataclass(frozen=True)
class Landlord:
    """A role that owns databases, on a server where the tests' superuser owns others."""

    admin: Connection
    dsn: str
    name: str = "odoo_of_the_tests"

    def create(self, database: str) -> None:
        """Create a database that this role owns."""
        self.do("create database {} owner {}", database, self.name)

    def do(self, statement: str, *names: str) -> None:
        """Execute a statement as the superuser, with the names quoted."""
        with self.admin.cursor() as cursor:
            cursor.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))

    def databases(self) -> list[str]:
        """The names of the databases that it owns."""
        with self.admin.cursor() as cursor:
            cursor.execute(
                "select datname from pg_database where datdba = %s::regrole order by 1", (self.name,)
            )
            return [name for (name,) in cursor.fetchall()]


@pytest.fixture
def landlord(server: ServerPlan) -> Iterator[Landlord]:
    """The owner of DATABASES."""
    dsn = embedded.dsn(server, "postgres")
    with connected(dsn) as admin:
        owner = Landlord(admin, make_dsn(dsn, user=Landlord.name))
        owner.do("create role {} login", owner.name)
        try:
            for name in DATABASES:
                owner.create(name)
            yield owner
        finally:
            for name in owner.databases():
                owner.do("alter database {} with is_template false", name)
                owner.do("drop database {} with (force)", name)
            owner.do("drop role {}", owner.name)


def names(source: Discovery) -> list[str]:
    return [database.name for database in discovery.find(source)]


def test_the_databases_of_the_user_are_served_but_for_templates_and_closed_ones(landlord: Landlord) -> None:
    for name in ("odoo_template", "odoo_closed", "odoo_mine"):
        landlord.create(name)
    landlord.do("alter database {} with is_template true", "odoo_template")
    landlord.do("alter database {} with allow_connections false", "odoo_closed")
    assert names(Discovery(landlord.dsn, template="odoo_mine")) == ["odoo_crm", "odoo_sales"]
    assert names(Discovery(landlord.dsn)) == ["odoo_crm", "odoo_mine", "odoo_sales"]
    # like Odoo's filter, the pattern is anchored at the beginning and not at the end
    assert names(Discovery(landlord.dsn, "odoo_.a")) == ["odoo_sales"]
    assert names(Discovery(landlord.dsn, "sales")) == []
    databases = discovery.find(Discovery(landlord.dsn, "odoo_c"))
    assert parse_dsn(databases[0].dsn) == {**parse_dsn(landlord.dsn), "dbname": "odoo_crm"}


def test_a_list_that_changes_is_told_once_to_the_master(landlord: Landlord) -> None:
    sent: list[object] = []
    source = Discovery(landlord.dsn)
    settings = Settings((ChannelConfig("root"),), discovery.find(source), discovery=source)
    landscape = DatabaseList(settings, sent.append)
    landscape.look(0.0)
    assert sent == []
    landlord.create("odoo_new")
    landscape.look(30.0)
    landscape.look(60.0)
    assert sent == [ReloadWanted()]
    landscape.look(31.0 + REPEAT)  # the master may have refused the reload, so it is asked again
    assert len(sent) == 2
    landscape.configure(Settings(settings.channels, discovery.find(source), discovery=source))
    landscape.look(1000.0)
    assert len(sent) == 2


def test_a_server_that_is_away_is_asked_again(landlord: Landlord) -> None:
    sent: list[object] = []
    source = Discovery(landlord.dsn)
    landscape = DatabaseList(Settings((ChannelConfig("root"),), (), discovery=source), sent.append)
    landlord.do("alter role {} nologin", landlord.name)
    landscape.look(0.0)
    assert sent == []
    landlord.do("alter role {} login", landlord.name)
    landscape.look(30.0)
    assert sent == [ReloadWanted()]


def odoo_conf(directory: Path, dsn: str, more: str = "") -> Path:
    """The configuration file of an Odoo on this server."""
    where = parse_dsn(dsn)
    path = directory / "odoo.conf"
    options = {f"db_{part}": where[part] for part in ("host", "port", "user")}
    lines = [f"{name} = {value}" for name, value in {**options, "db_name": "False"}.items()]
    path.write_text("[options]\n" + "\n".join(lines) + f"\n[queue_job]\n{more}\n")
    path.chmod(0o600)
    return path


def test_databases_that_nobody_named_are_found_when_the_server_is_back(
    landlord: Landlord, tmp_path: Path
) -> None:
    landlord.do("alter role {} nologin", landlord.name)
    conf = odoo_conf(tmp_path, landlord.dsn)
    log = tmp_path / "log"
    options = ["-c", str(conf), "--python", sys.executable, "--set", f"odoo_path={ODOOLIKE}"]
    with log.open("a") as stream:
        process = psutil.Popen(
            command(tmp_path, *options),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            env=environment(),
        )
    try:
        wait_until(lambda: "starting without" in log.read_text(), PATIENCE, "the command's hint")
        landlord.do("alter role {} login", landlord.name)
        wait_until(
            lambda: " reloaded" in log.read_text(), LOOKS, lambda: f"a reload; log:\n{log.read_text()}"
        )
        assert "new=odoo_crm,odoo_sales" in log.read_text()
        wait_until(
            lambda: (
                json.loads(queuemaster_("status", "--pidfile", tmp_path / "pid", "--json").stdout)[
                    "databases"
                ].keys()
                == set(DATABASES)
            ),
            PATIENCE,
            "both databases in the status",
        )
        # neither database has the addon: the command is refused with a message, and not with a traceback
        result = queuemaster_("jobs", "list", "--set", f"pidfile={tmp_path / 'pid'}")
        assert_refused(result, "has led in no database", "odoo_crm, odoo_sales")
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGINT)
        process.wait(timeout=PATIENCE)


def test_an_interpreter_that_cannot_import_odoo_is_refused(tmp_path: Path, landlord: Landlord) -> None:
    conf = odoo_conf(tmp_path, landlord.dsn)
    result = queuemaster_("run", "-c", conf, "--python", sys.executable, "--pidfile", tmp_path / "pid")
    assert_refused(result, f"option python = '{sys.executable}'", "it cannot import Odoo", "odoo_path")


def test_a_namespace_of_addons_is_not_odoo(tmp_path: Path, landlord: Landlord) -> None:
    (tmp_path / "tree" / "odoo" / "addons").mkdir(parents=True)
    conf = odoo_conf(tmp_path, landlord.dsn, f"odoo_path = {tmp_path / 'tree'}\npython = {sys.executable}")
    result = queuemaster_("run", "-c", conf, "--pidfile", tmp_path / "pid")
    assert_refused(result, "No module named 'odoo.release'")


def test_root_0_in_the_common_file_says_how_to_switch_off_the_other_runner_alone(tmp_path: Path) -> None:
    conf = odoo_conf(tmp_path, "host=nowhere port=1 user=odoo", "channels = root:0")
    result = queuemaster_("run", "-c", conf, "--pidfile", tmp_path / "pid")
    assert result.returncode == 0
    assert f"(from {conf})" in result.stderr
    assert "ODOO_QUEUE_JOB_CHANNELS=root:0" in result.stderr


def test_what_should_be_done_in_a_database_is_said_when_it_is_served(
    server: ServerPlan, tmp_path: Path
) -> None:
    with new_oca_database(server, 15, install=False) as dsn, (tmp_path / "compiled").open("w") as stream:
        conf = odoo_conf(tmp_path, dsn, f"odoo_path = {ODOOLIKE}\ndatabase = {parse_dsn(dsn)['dbname']}")
        result = subprocess.run(
            [*command(tmp_path, "-c", str(conf), "--python", sys.executable), "--compile-to", str(stream.fileno())],
            capture_output=True, text=True, check=False, env=environment(), timeout=60, pass_fds=[stream.fileno()],
        )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "ODOO_QUEUE_JOB_CHANNELS=root:0 in the environment of Odoo's service" in result.stderr


def test_a_server_that_is_away_is_no_reason_to_reload(tmp_path: Path) -> None:
    conf = odoo_conf(tmp_path, "host=127.0.0.1 port=1 user=odoo", f"odoo_path = {ODOOLIKE}")
    compiled = tmp_path / "compiled"
    with compiled.open("w") as stream:
        result = subprocess.run(
            [*command(tmp_path, "-c", str(conf), "--python", sys.executable), "--compile-to", str(stream.fileno())],
            capture_output=True, text=True, check=False, env=environment(), timeout=60, pass_fds=[stream.fileno()],
        )  # fmt: skip
    assert_refused(result, "the databases of", "Connection refused")
    assert compiled.read_text() == ""


def test_psycopg2_errors_hold_no_password() -> None:
    with pytest.raises(psycopg2.OperationalError) as caught:
        discovery.find(Discovery("host=127.0.0.1 port=1 user=odoo password=hunter2 dbname=postgres"))
    assert "hunter2" not in str(caught.value)
