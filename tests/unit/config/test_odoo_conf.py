"""Beside Odoo: which options of its file are used, in which order, and what the notes say."""

from __future__ import annotations

from pathlib import Path

import pytest
from psycopg2.extensions import parse_dsn

from queuemaster.config.compiled import Discovery, Settings
from queuemaster.config.option_values import ConfigurationError
from queuemaster.config.sources import Compiled, compile_settings

ODOO = """[options]
admin_passwd = $pbkdf2-sha512$600000$abc%%d
addons_path = /usr/lib/python3/dist-packages/odoo/addons
db_host = db1
db_port = 5433
db_user = odoo
db_password = pass%word
db_sslmode = require
db_name = sales,  crm
dbfilter = ^only_for_the_web$
list_db = False
limit_memory_soft = 2147483648
limit_memory_hard = 2684354560
limit_time_cpu = 60
limit_time_real = 120
logfile = /var/log/odoo/odoo.log
pidfile = False
workers = 4

[queue_job]
channels = root:4,
    sale:2
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "odoo.conf"
    path.write_text(ODOO)
    return path


def source_of(compiled: Compiled, option: str) -> str:
    return next(value.source for value in compiled.values if value.option == option)


def places(compiled: Compiled) -> list[dict[str, str]]:
    return [parse_dsn(database.dsn) for database in compiled.settings.databases]


def test_an_odoo_conf_is_taken_as_it_is(file: Path) -> None:
    compiled = compile_settings(file, {}, ["python=python3"], {})
    settings = compiled.settings
    assert settings.odoo == str(file)
    assert [(database.name, database.id) for database in settings.databases] == [("crm", 0), ("sales", 1)]
    assert places(compiled)[1] == {
        "host": "db1", "port": "5433", "user": "odoo", "password": "pass%word", "sslmode": "require",
        "dbname": "sales",
    }  # fmt: skip
    assert (settings.timeout, settings.cpu) == (120, 60)
    assert (settings.memory_soft, settings.memory) == (2 << 30, 5 << 29)
    assert [channel.name for channel in settings.channels] == ["root", "root.sale"]
    assert settings.logfile == ""  # Odoo's logfile is for Odoo alone
    assert settings.discovery is None
    assert compiled.warnings == compiled.notes == ()
    assert Settings.from_json(settings.to_json()) == settings


def test_each_value_says_where_it_was_taken_from_and_no_password_is_shown(file: Path) -> None:
    compiled = compile_settings(file, {}, ["python=python3"], {})
    assert source_of(compiled, "timeout") == f"{file} [options] limit_time_real"
    assert source_of(compiled, "database") == f"{file} [options] db_name"
    assert source_of(compiled, "db_password") == f"{file} [options] db_password"
    assert source_of(compiled, "channels") == str(file)
    assert source_of(compiled, "kill_grace") == "default"
    assert next(value.value for value in compiled.values if value.option == "direct") == "yes"
    assert "pass%word" not in repr(compiled.values)


def test_the_environment_beats_our_section_beats_odoos_own_option(file: Path) -> None:
    file.write_text(
        ODOO + "timeout = 300\njobrunner_db_host = db2\njobrunner_db_user = runner\njobrunner_db_port =\n"
    )
    environ = {"ODOO_QUEUE_JOB_JOBRUNNER_DB_HOST": "db3", "QUEUEMASTER_LIMIT_TIME_CPU": "9"}
    compiled = compile_settings(file, {}, ["python=python3"], environ)
    assert compiled.settings.timeout == 300
    assert compiled.settings.cpu == 9
    where = places(compiled)[0]
    assert (where["host"], where["user"], where["port"]) == ("db3", "runner", "5433")
    assert source_of(compiled, "db_host") == "environment ODOO_QUEUE_JOB_JOBRUNNER_DB_HOST"
    assert source_of(compiled, "timeout") == str(file)
    assert compiled.warnings == compiled.notes == ()


def test_a_limit_in_our_section_beats_odoos_own_by_either_name(file: Path) -> None:
    for name in ("memory", "limit_memory_hard"):
        file.write_text(ODOO + f"{name} = 4G\n")
        compiled = compile_settings(file, {}, ["python=python3"], {})
        assert (compiled.settings.memory, compiled.settings.memory_soft) == (4 << 30, 2 << 30)
        assert source_of(compiled, "memory_soft") == f"{file} [options] limit_memory_soft"
        assert compiled.warnings == compiled.notes == ()


@pytest.mark.parametrize("unset", ["False", "false", "None", ""])
def test_what_odoo_writes_for_an_option_that_is_not_set_is_not_set(file: Path, unset: str) -> None:
    options = ("db_host", "db_port", "db_user", "db_password", "db_name", "dbfilter", "limit_time_real")
    file.write_text("[options]\n" + "".join(f"{option} = {unset}\n" for option in options))
    settings = compile_settings(file, {}, ["python=python3"], {}).settings
    assert settings.discovery == Discovery("dbname=postgres")
    assert settings.databases == ()
    assert settings.timeout == 0


def test_an_application_means_the_native_queue(file: Path) -> None:
    for compiled in (
        compile_settings(file, {"app": "sales.jobs"}, [], {}),
        compile_settings(file, {}, [], {"QUEUEMASTER_APP": "sales.jobs"}),
    ):
        assert compiled.settings.odoo == ""
        assert compiled.settings.databases == ()
        assert compiled.settings.timeout == 0
    assert compile_settings(file, {}, ["app=", "python=python3"], {}).settings.odoo == str(file)


def test_databases_that_are_named_are_the_only_ones_and_lie_where_odoos_lie(file: Path) -> None:
    flags = {"database": "stock, host=elsewhere dbname=old"}
    compiled = compile_settings(file, flags, ["python=python3"], {})
    assert [(where["host"], where["dbname"]) for where in places(compiled)] == [
        ("elsewhere", "old"),
        ("db1", "stock"),
    ]
    assert source_of(compiled, "database") == "--database"


def test_two_databases_of_one_name_are_refused(file: Path) -> None:
    flags = {"database": "host=a dbname=sales, host=b dbname=sales"}
    with pytest.raises(ConfigurationError, match="two of the name 'sales'"):
        compile_settings(file, flags, ["python=python3"], {})


def test_without_a_name_the_server_is_to_be_asked(file: Path) -> None:
    file.write_text(ODOO.replace("db_name = sales,  crm\n", "db_template = mine\n"))
    compiled = compile_settings(file, {}, ["python=python3"], {})
    discovery = compiled.settings.discovery
    assert discovery is not None
    assert parse_dsn(discovery.dsn)["dbname"] == "postgres"
    assert parse_dsn(discovery.dsn)["host"] == "db1"
    assert (discovery.pattern, discovery.template) == ("^only_for_the_web$", "mine")
    assert source_of(compiled, "dbfilter") == f"{file} [options] dbfilter"


@pytest.mark.parametrize("placeholder", ["%h", "%d"])
def test_a_filter_by_host_cannot_be_applied(file: Path, placeholder: str) -> None:
    file.write_text(f"[options]\ndbfilter = ^{placeholder}$\n")
    compiled = compile_settings(file, {}, ["python=python3"], {})
    assert compiled.settings.discovery == Discovery("dbname=postgres")
    (warning,) = compiled.warnings
    assert "depends on the host of a web request" in warning


def test_what_has_no_use_here_is_a_note_and_no_warning(file: Path) -> None:
    file.write_text(ODOO + "scheme = https\nhost = odoo.example.com\nhttp_auth_password = hunter2\n")
    compiled = compile_settings(file, {}, ["python=python3"], {"ODOO_QUEUE_JOB_PORT": "8070"})
    assert compiled.warnings == ()
    assert len(compiled.notes) == 4
    assert "environment ODOO_QUEUE_JOB_PORT" in " ".join(compiled.notes)
    assert "hunter2" not in " ".join(compiled.notes)


def test_variables_of_libpq_that_odoo_19_would_follow_are_said(file: Path) -> None:
    environ = {"PGHOST": "elsewhere", "PGUSER": "odoo", "PGPASSWORD": "hunter2"}
    compiled = compile_settings(file, {}, ["python=python3"], environ)
    assert [warning.split()[1] for warning in compiled.warnings] == ["PGHOST", "PGPASSWORD"]
    assert "hunter2" not in " ".join(compiled.warnings)
    assert places(compiled)[0]["host"] == "db1"


def test_removing_old_jobs_is_odoos_own_business(file: Path) -> None:
    file.write_text(ODOO + "retention = 7d\n")
    (note,) = compile_settings(file, {}, ["python=python3"], {}).notes
    assert "option retention" in note
    assert "jobs purge only" in note


def test_what_is_wrong_in_odoos_section_is_named_with_its_place(file: Path) -> None:
    file.write_text("[options]\ndb_port = none of yours\ndbfilter = (\nlimit_time_real = long\n")
    with pytest.raises(ConfigurationError) as caught:
        compile_settings(file, {}, [], {})
    problems = "\n".join(caught.value.problems)
    assert len(caught.value.problems) == 3
    assert f"option db_port = 'none of yours' (from {file} [options] db_port): expected a port" in problems
    assert f"option dbfilter = '(' (from {file} [options] dbfilter)" in problems
    assert f"option timeout = 'long' (from {file} [options] limit_time_real): expected a duration" in problems


def test_a_root_of_capacity_0_switches_off_as_in_the_addon(file: Path) -> None:
    assert compile_settings(file, {}, ["python=python3"], {"ODOO_QUEUE_JOB_CHANNELS": "root:0"}).off
    environ = {"ODOO_QUEUE_JOB_CHANNELS": "root:0", "QUEUEMASTER_CHANNELS": "root:2"}
    assert not compile_settings(file, {}, ["python=python3"], environ).off


def test_the_capacity_of_newer_addons_is_that_of_root_where_no_channels_are_given(file: Path) -> None:
    environ = {"ODOO_QUEUE_JOB_MAX_CAPACITY": "8"}
    named = compile_settings(file, {}, ["python=python3"], environ)
    assert named.settings.channels[0].capacity == 4
    assert "option max_capacity (from environment ODOO_QUEUE_JOB_MAX_CAPACITY)" in named.notes[0]
    file.write_text(ODOO + "max_capacity = 9\n")
    with_both = compile_settings(file, {}, ["python=python3"], {})
    assert (with_both.settings.channels[0].capacity, with_both.channels_given, len(with_both.notes)) == (
        4,
        True,
        1,
    )
    file.write_text("[options]\n[queue_job]\nmax_capacity = 3\ndb_max_capacity = sales:2\n")
    compiled = compile_settings(file, {}, ["python=python3"], {})
    assert [(channel.name, channel.capacity) for channel in compiled.settings.channels] == [("root", 3)]
    assert not compiled.channels_given
    assert [note.split()[1] for note in compiled.notes] == ["db_max_capacity"]
    compiled = compile_settings(file, {}, ["python=python3"], environ)
    assert compiled.settings.channels[0].capacity == 8
    assert source_of(compiled, "channels") == "environment ODOO_QUEUE_JOB_MAX_CAPACITY"
    assert compile_settings(file, {}, ["python=python3"], {"ODOO_QUEUE_JOB_MAX_CAPACITY": "0"}).off
    with pytest.raises(ConfigurationError, match="ODOO_QUEUE_JOB_MAX_CAPACITY"):
        compile_settings(file, {}, ["python=python3"], {"ODOO_QUEUE_JOB_MAX_CAPACITY": "many"})


def test_shadow_needs_another_runner(file: Path) -> None:
    assert compile_settings(file, {"shadow": "yes"}, ["python=python3"], {}).settings.shadow
    with pytest.raises(ConfigurationError, match="option shadow: there is no other runner"):
        compile_settings(None, {"shadow": "yes"}, [], {})


def executable(path: Path, first_line: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{first_line}\nimport odoo\n")
    path.chmod(0o755)
    return path


def test_the_interpreter_is_that_of_the_command_odoo(file: Path, tmp_path: Path) -> None:
    python = executable(tmp_path / "venv/bin/python3", "")
    odoo = executable(tmp_path / "bin/odoo", f"#!{python} -E")
    compiled = compile_settings(file, {}, [], {"PATH": str(odoo.parent)})
    assert compiled.settings.python == str(python)
    assert source_of(compiled, "python") == f"the first line of {odoo}"
    named = compile_settings(file, {}, ["python=/opt/python"], {"PATH": str(odoo.parent)})
    assert named.settings.python == "/opt/python"


def test_the_interpreter_of_a_source_tree_is_that_of_its_own_command(file: Path, tmp_path: Path) -> None:
    python = executable(tmp_path / "bin/python3", "")
    executable(tmp_path / "tree/odoo-bin", "#!/usr/bin/env python3")
    environ = {"PATH": str(python.parent)}
    compiled = compile_settings(file, {}, [f"odoo_path={tmp_path / 'tree'}"], environ)
    assert compiled.settings.python == str(python)
    assert compiled.settings.odoo_path == str(tmp_path / "tree")


def test_without_the_command_the_interpreter_is_the_one_on_path(file: Path, tmp_path: Path) -> None:
    python = executable(tmp_path / "bin/python3", "")
    # a shell script does not name the interpreter
    executable(tmp_path / "bin/odoo", "#!/bin/sh")
    compiled = compile_settings(file, {}, [], {"PATH": str(python.parent)})
    assert compiled.settings.python == str(python)
    assert source_of(compiled, "python") == "python3 on PATH"
