"""The databases and channels that a command works on."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from queuejobs.shared.scoreboard import Scoreboard
from queuemaster.channels import parse_channels
from queuemaster.cli import databases, targets
from queuemaster.cli.output import Refusal
from queuemaster.cli.supervisor import Supervisor, settings_of
from queuemaster.config import compiled, paths
from queuemaster.config.compiled import DatabaseConfig, Discovery, ServerPlan, Settings
from queuemaster.config.sources import Compiled, compile_settings
from queuemaster.status_board import NoStatus, StatusBoard

SERVED = DatabaseConfig("served", "dbname=served")


def running(settings: Settings | None = None) -> Supervisor:
    """A supervisor as the commands see it, with real shared memory."""
    if settings is None:
        settings = Settings(parse_channels("root:3,mail:2").channels, (SERVED,))
    return Supervisor(os.getpid(), settings, StatusBoard.create(), Scoreboard.create())


@pytest.fixture
def local_supervisor(monkeypatch: pytest.MonkeyPatch) -> Supervisor:
    """The supervisor that runs on this machine."""
    supervisor = running()
    monkeypatch.setattr(targets, "running_supervisor", lambda pidfile: supervisor)
    monkeypatch.delenv("QUEUEMASTER_DATA_DIR", raising=False)
    return supervisor


def configured(*assignments: str) -> Compiled:
    return compile_settings(None, {}, assignments, {})


def names(configuration: Compiled) -> list[str]:
    with targets.target_databases(configuration) as target:
        return [database.name for database in target]


def test_the_databases_that_are_named_are_the_target_whatever_runs_here(local_supervisor: Supervisor) -> None:
    assert names(configured("database=sales, crm")) == ["sales", "crm"]
    assert targets.supervisor_here(configured("database=sales")) is None


def test_else_it_is_those_of_the_supervisor_that_runs_here(local_supervisor: Supervisor) -> None:
    assert targets.supervisor_here(configured()) is local_supervisor
    assert names(configured()) == ["served"]


def test_else_the_embedded_one_if_it_was_ever_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "running_supervisor", lambda pidfile: None)
    monkeypatch.setenv("QUEUEMASTER_DATA_DIR", str(tmp_path / "never"))
    with pytest.raises(Refusal, match="has not been used yet"):
        names(configured())


def test_a_data_directory_that_is_named_must_be_the_supervisors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUEUEMASTER_DATA_DIR", str(tmp_path / "mine"))
    for data_dir, matches in ((paths.default_data_dir(), True), (tmp_path / "other", False)):
        plan = ServerPlan((), str(data_dir), "", 0, 0, 0)
        supervisor = running(Settings(parse_channels("root:1").channels, (SERVED,), server=plan))
        monkeypatch.setattr(targets, "running_supervisor", lambda pidfile, supervisor=supervisor: supervisor)
        assert (targets.supervisor_here(configured()) is supervisor) is matches
    without_server = running()
    monkeypatch.setattr(targets, "running_supervisor", lambda pidfile: without_server)
    assert targets.supervisor_here(configured()) is None


def test_odoos_databases_are_asked_of_their_server_and_not_of_the_supervisor(
    local_supervisor: Supervisor, tmp_path: Path
) -> None:
    file = tmp_path / "odoo.conf"
    file.write_text("[options]\ndb_host = 127.0.0.1\ndb_port = 1\n")
    configuration = compile_settings(file, {}, ["python=python3"], {})
    assert targets.supervisor_here(configuration) is None
    with pytest.raises(Refusal, match=r"the databases of .*odoo.conf are asked of postgres"):
        names(configuration)


def test_a_discovered_database_that_is_away_is_passed_over_and_named_ones_are_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    away = DatabaseConfig("away", "host=127.0.0.1 port=1 dbname=away")
    channels = parse_channels("root:1").channels
    assert databases.databases_with_queue(Settings(channels, (away,))) == (away,)
    settings = Settings(channels, (away,), odoo="/etc/odoo.conf", discovery=Discovery("dbname=postgres"))
    with pytest.raises(Refusal, match=r"has led in no database of /etc/odoo.conf yet \(there are: away\)"):
        databases.databases_with_queue(settings)
    assert "away" in capsys.readouterr().err


def test_the_channels_are_the_configured_ones_else_the_supervisors_else_unknown(
    local_supervisor: Supervisor,
) -> None:
    named, default = configured("channels=root:9,audit"), configured()
    for supervisor_or_none in (local_supervisor, None):
        tree = targets.known_tree(named, supervisor_or_none)
        assert tree is not None
        assert list(tree.names) == ["root", "root.audit"]
    served = targets.known_tree(default, local_supervisor)
    assert served is not None
    assert list(served.names) == ["root", "root.mail"]
    assert targets.known_tree(default, None) is None, (
        "a supervisor on another machine may have other channels than the default"
    )


def test_a_supervisor_serves_a_database_by_whatever_name() -> None:
    supervisor = running(
        Settings(parse_channels("root:1").channels, (DatabaseConfig("a", "host=h dbname=a"),))
    )
    assert supervisor.serves(DatabaseConfig("alias", "postgresql://someone@h:5432/a"))
    assert not supervisor.serves(DatabaseConfig("a", "host=other dbname=a"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "about to change its configuration"),
        (json.dumps({"channels": [], "databases": []}), "another version"),
        (Settings((), ()).to_json().replace('"cpu"', '"cpus"'), "another version"),
    ],
)
def test_settings_that_cannot_be_read_are_no_traceback(text: str, message: str) -> None:
    fd = os.memfd_create(compiled.MEMORY, 0)
    try:
        os.write(fd, text.encode())
        with pytest.raises(NoStatus, match=message):
            settings_of(os.getpid())
    finally:
        os.close(fd)
