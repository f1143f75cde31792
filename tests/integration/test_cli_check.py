"""``queuemaster check``: the tree, the options with their sources, warnings, exit codes and streams."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from queuemaster.cli import main


def check(*arguments: str | Path, **environ: str) -> Result:
    return CliRunner().invoke(main, ["check", *map(str, arguments)], env=environ)


def document(*arguments: str, **environ: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(check("--json", *arguments, **environ).stdout)
    return answer


def test_the_tree_shows_capacity_effective_capacity_and_options() -> None:
    output = check("--channels", "root:4,mail:8:throttle=5,export:1:sequential,export.big:2:paused").stdout
    lines = [line.strip(" │├└─") for line in output.splitlines()]
    assert lines[:4] == [
        "root  capacity 4",
        "root.mail  capacity 8, effective 4, throttle 5 s",
        "root.export  capacity 1, sequential",
        "root.export.big  capacity 2, effective 1, paused",
    ]


def test_the_json_document_has_the_channels() -> None:
    answer = document("--channels", "root:4,mail:2:throttle=5,crm.lead")
    assert answer["valid"] is True
    assert answer["channels"] == [
        {"name": "root", "capacity": 4, "effective": 4, "options": {}},
        {"name": "root.mail", "capacity": 2, "effective": 2, "options": {"throttle": 5.0}},
        {"name": "root.crm", "capacity": None, "effective": 4, "options": {}},
        {"name": "root.crm.lead", "capacity": 1, "effective": 1, "options": {}},
    ]


def test_every_option_is_shown_with_its_source_and_no_password() -> None:
    answer = document(QUEUEMASTER_DATABASE="postgresql://odoo:hunter2@db1/sales", QUEUEMASTER_KILL_GRACE="1m")
    assert answer["options"]["kill_grace"] == {
        "value": 60.0,
        "source": "environment QUEUEMASTER_KILL_GRACE",
    }
    assert answer["options"]["max_workers"] == {"value": 64, "source": "default"}
    (dsn,) = answer["options"]["database"]["value"]
    assert set(dsn.split()) == {"user=odoo", "password=***", "host=db1", "dbname=sales"}


def test_a_limit_is_shown_by_one_name_and_with_the_alias_that_it_came_from() -> None:
    answer = document("--set", "limit_memory_hard=2G", QUEUEMASTER_LIMIT_TIME_CPU="60")
    assert answer["options"]["cpu"] == {"value": 60.0, "source": "environment QUEUEMASTER_LIMIT_TIME_CPU"}
    assert answer["options"]["memory"] == {"value": 2 << 30, "source": "--set limit_memory_hard"}
    assert not [name for name in answer["options"] if name.startswith("limit_")]
    result = check("--set", "limit_memory_hard=2G", "--set", "memory=1G")
    assert result.exit_code == 2
    assert "limit_memory_hard" in result.stderr
    assert "two names of one option; expected memory alone" in result.stderr


def test_retention_of_channels_is_shown_and_explained() -> None:
    channels = "root:1:failed_retention=90d,audit:1:retention=0,mail:1:retention=36h:failed_retention=soon"
    result = check("--channels", channels)
    assert "retention for ever" in result.stdout
    assert "retention 1 d 12 h" in result.stdout
    assert "failed_retention=soon is no duration, ignored; expected: failed_retention=90d" in result.stderr
    answer = {entry["name"]: entry for entry in document("--explain", "--channels", channels)["channels"]}
    assert answer["root"]["explanation"].endswith("failed jobs are removed after 90 d")
    assert answer["root.audit"]["explanation"].endswith("done and cancelled jobs are kept for ever")
    assert answer["root.mail"]["options"] == {"retention": 129600.0}


def test_explain_says_what_each_channel_means() -> None:
    answer = document("--explain", "--channels", "root:2,mail:8")
    assert answer["channels"][1]["explanation"] == "at most 2 jobs at a time, here and below; bounded by root"
    assert "bounded by root" in check("--explain", "--channels", "root:2,mail:8").stdout


def test_warnings_are_told_and_strict_makes_them_errors() -> None:
    result = check("--channels", "mail:2")
    assert result.exit_code == 0
    assert "warning: channel root: it has no capacity" in result.stderr
    assert "warning" not in result.stdout
    strict = check("--strict", "--json", "--channels", "mail:2")
    assert strict.exit_code == 2
    assert json.loads(strict.stdout)["valid"] is False
    assert len(json.loads(strict.stdout)["warnings"]) == 1
    assert check("--strict", "--channels", "root:2,mail:2").exit_code == 0


@pytest.mark.parametrize(
    ("uid", "user", "warned"),
    [(0, "", []), (0, "root", []), (0, "nobody", ["root.keen"]), (1000, "", ["root.keen"])],
)
def test_a_niceness_that_will_be_refused_is_a_warning(
    uid: int, user: str, warned: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    answer = document("--channels", "root:2,keen:1:nice=-5,kind:1:nice=5", "--set", f"user={user}")
    assert [message.split(":")[0].removeprefix("channel ") for message in answer["warnings"]] == warned
    assert all("nice=-5: only root's workers may go below 0" in message for message in answer["warnings"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--channels", "root:many"], "option channels = 'root:many' (from --channels)"),
        (["--set", "max_workers=0"], "expected a whole number from 1 to 4096"),
        (["--set", "max_worker=1"], "did you mean max_workers?"),
        (["-c", "/nonexistent.conf"], "configuration file /nonexistent.conf: No such file"),
    ],
)
def test_an_error_is_a_message_and_exit_code_2(arguments: list[str], message: str) -> None:
    result = check(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stdout == ""
    as_json = check(*arguments, "--json")
    assert as_json.exit_code == 2
    assert message in json.loads(as_json.stdout)["errors"][0]


def test_what_is_no_flag_is_a_usage_error() -> None:
    assert check("--nonsense").exit_code == 2
    assert CliRunner().invoke(main, ["nonsense"]).exit_code == 2


def test_a_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "odoo.conf"
    file.write_text("[queue_job]\nchannels = root:3, mail:1\nkill_grace = 10s\nchanels = x\n")
    result = check("-c", file, "--json")
    answer = json.loads(result.stdout)
    assert answer["options"]["kill_grace"] == {"value": 10.0, "source": str(file)}
    assert "did you mean channels?" in answer["warnings"][0]


def test_a_switched_off_runner_is_said() -> None:
    assert "switched off" in check("--channels", "root:0").stdout
    assert document("--channels", "root:0")["off"] is True


def test_what_it_takes_is_counted_asked_and_measured(database: str) -> None:
    arguments = ("--explain", "--database", database, "--channels", "root:4,mail:2", "--set", "http=")
    takes = document(*arguments)["takes"]
    assert takes["pools"] == {"root": 4, "root.mail": 2}
    assert takes["workers"] == {"ready": 6, "at_most": 6}
    assert takes["processes"] == {"master": 1, "template": 1, "dispatcher": 1, "at_most": 9}
    (server,) = takes["connections"]["servers"]
    assert server["needed"] == takes["connections"]["each_database"] == 7
    assert 0 < server["room"] < server["max_connections"]
    assert takes["memory"]["measured"] is True
    assert 5 << 20 < takes["memory"]["interpreter"] < takes["memory"]["at_most"]
    output = check(*arguments).stdout
    assert "2 workers kept ready" in output
    assert "needed, room for" in output


def test_too_few_connections_are_a_warning(database: str) -> None:
    result = check(
        "--explain",
        "--database",
        database,
        "--channels",
        "root:4000",
        "--set",
        "max_workers=4000",
        "--strict",
    )
    assert result.exit_code == 2
    assert "4002 connections may be needed" in result.stderr


def test_an_application_that_cannot_be_imported_is_a_warning() -> None:
    result = check("--explain", "--set", "app=no_such_module")
    assert result.exit_code == 0
    assert "cannot be imported: module no_such_module: ModuleNotFoundError" in result.stderr
    assert "(a guess)" in result.stdout
