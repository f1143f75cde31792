"""Where a value comes from, which one counts, and the warnings about the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from queuemaster.config.option_values import ConfigurationError
from queuemaster.config.options import ALIASES, Options
from queuemaster.config.sources import Compiled, compile_settings, default_pidfile


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "odoo.conf"


def value_of(compiled: Compiled, option: str) -> tuple[object, str]:
    return next((value.value, value.source) for value in compiled.values if value.option == option)


def test_a_flag_beats_the_environment_beats_the_file_beats_the_default(file: Path) -> None:
    file.write_text("[queue_job]\nmax_workers = 2\n")
    environ = {"QUEUEMASTER_MAX_WORKERS": "3"}
    assert value_of(compile_settings(None, {}, [], {}), "max_workers") == (64, "default")
    assert value_of(compile_settings(file, {}, [], {}), "max_workers") == (2, str(file))
    assert value_of(compile_settings(file, {}, [], environ), "max_workers") == (
        3,
        "environment QUEUEMASTER_MAX_WORKERS",
    )
    assert value_of(compile_settings(file, {}, ["max-workers=4"], environ), "max_workers") == (
        4,
        "--set max_workers",
    )
    assert value_of(compile_settings(file, {"log_level": "debug"}, [], environ), "log_level") == (
        "DEBUG",
        "--log-level",
    )


def test_our_environment_variable_beats_that_of_oca() -> None:
    oca = {"ODOO_QUEUE_JOB_CHANNELS": "root:2"}
    assert value_of(compile_settings(None, {}, [], oca), "channels") == (
        "root:2",
        "environment ODOO_QUEUE_JOB_CHANNELS",
    )
    environ = {**oca, "QUEUEMASTER_CHANNELS": "root:3"}
    assert value_of(compile_settings(None, {}, [], environ), "channels")[0] == "root:3"


def test_an_empty_variable_counts_as_not_set() -> None:
    compiled = compile_settings(None, {}, [], {"QUEUEMASTER_MAX_WORKERS": "", "QUEUEMASTER_NONSENSE": ""})
    assert value_of(compiled, "max_workers") == (64, "default")
    assert compiled.warnings == ()


def test_options_of_the_addon_that_only_count_beside_odoo_are_said_to_do_nothing(file: Path) -> None:
    file.write_text("[queue_job]\nchannels = root:4,\n    sale:2\nscheme = https\njobrunner_db_host = db1\n")
    compiled = compile_settings(file, {}, [], {})
    assert [channel.name for channel in compiled.settings.channels] == ["root", "root.sale"]
    assert len(compiled.warnings) == 2
    assert all("ignored" in warning for warning in compiled.warnings)
    assert compiled.settings.odoo == ""


def test_an_unknown_option_is_a_warning_with_the_nearest_name(file: Path) -> None:
    file.write_text("[queue_job]\nchannel = root:4\n")
    (warning,) = compile_settings(file, {}, [], {}).warnings
    assert warning == f"unknown option channel (from {file}), ignored; did you mean channels?"
    (warning,) = compile_settings(None, {}, [], {"QUEUEMASTER_MAXWORKERS": "4"}).warnings
    assert "environment QUEUEMASTER_MAXWORKERS" in warning
    assert "did you mean max_workers?" in warning


def test_the_variable_of_the_postgresql_programs_is_no_option() -> None:
    assert compile_settings(None, {}, [], {"QUEUEMASTER_PG_BINDIR": "/opt/pg/bin"}).warnings == ()


def test_all_errors_are_told_at_once_each_with_value_source_and_expectation(file: Path) -> None:
    file.write_text("[queue_job]\nmax_workers = many\nchannels = a:b\n")
    with pytest.raises(ConfigurationError) as caught:
        compile_settings(file, {}, ["nonsense=1", "channls=x", "oops"], {"QUEUEMASTER_ON_ERROR": "shrug"})
    problems = "\n".join(caught.value.problems)
    assert len(caught.value.problems) == 6
    assert f"option max_workers = 'many' (from {file}): expected a whole number from 1 to 4096" in problems
    assert f"option channels = 'a:b' (from {file}): channel entry 'a:b'" in problems
    assert "option on_error = 'shrug' (from environment QUEUEMASTER_ON_ERROR): expected one of" in problems
    assert "--set nonsense: unknown option" in problems
    assert "--set channls: unknown option; did you mean channels?" in problems
    assert "--set 'oops': expected OPTION=VALUE" in problems


def test_an_option_given_by_set_and_by_its_flag_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="channels: given by --set and by a flag of its own"):
        compile_settings(None, {"channels": "root:1"}, ["channels=root:2"], {})


def test_passwords_are_in_the_settings_and_nowhere_else() -> None:
    environ = {"QUEUEMASTER_DATABASE": "postgresql://odoo:hunter2@db1/sales"}
    compiled = compile_settings(None, {}, [], environ)
    assert "hunter2" in compiled.settings.databases[0].dsn
    assert "hunter2" not in repr(compiled.values) + repr(compiled.warnings)
    with pytest.raises(ConfigurationError) as caught:
        compile_settings(None, {"database": "host=h passwrd=hunter2"}, [], {})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"channels = root:4\n", "line 1: expected a section first"),
        (b"[queue_job]\nchannels\n", "line 2: expected OPTION = VALUE"),
        (b"[queue_job]\nchannels=a\nchannels=b\n", "line 3: channels is given twice"),
        (b"[queue_job]\n[queue_job]\n", "line 2: [queue_job] is there twice"),
        (b"\xff\xfe\x00", "not UTF-8"),
    ],
)
def test_a_file_that_cannot_be_parsed_is_refused_by_line(file: Path, content: bytes, message: str) -> None:
    file.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        compile_settings(file, {}, [], {})
    assert message in str(caught.value)
    assert str(file) in str(caught.value)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.conf", tmp_path):
        with pytest.raises(ConfigurationError, match=f"configuration file {path}: "):
            compile_settings(path, {}, [], {})


def test_a_file_without_our_section_is_a_warning(file: Path) -> None:
    file.write_text("[option]\nworkers = 4\n[DEFAULT]\nchannels = root:9\n")
    compiled = compile_settings(file, {}, [], {})
    assert compiled.warnings == (f"configuration file {file} has no section [queue_job]: nothing was read",)


def test_keys_of_a_default_section_are_not_ours(file: Path) -> None:
    file.write_text("[DEFAULT]\nmax_workers = 9\n[queue_job]\n")
    assert value_of(compile_settings(file, {}, [], {}), "max_workers") == (64, "default")


def test_a_switched_off_runner_is_seen() -> None:
    assert compile_settings(None, {"channels": "root:0"}, [], {}).off
    assert not compile_settings(None, {"channels": "root:1"}, [], {}).off


def test_the_default_pidfile_depends_on_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert default_pidfile({"XDG_RUNTIME_DIR": "/run/user/0"}) == Path("/run/queuemaster.pid")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert default_pidfile({"XDG_RUNTIME_DIR": "/run/user/1000"}) == Path("/run/user/1000/queuemaster.pid")
    monkeypatch.setenv("XDG_DATA_HOME", "/home/me/data")
    assert default_pidfile({}) == Path("/home/me/data/queuemaster/queuemaster.pid")


@pytest.mark.parametrize(("alias", "option"), ALIASES.items())
def test_a_limit_is_read_by_odoos_name_wherever_an_option_can_be_given(
    file: Path, alias: str, option: str
) -> None:
    file.write_text(f"[queue_job]\n{alias} = 2\n")
    variable = f"QUEUEMASTER_{alias.upper()}"
    for compiled, value, source in (
        (compile_settings(file, {}, [], {}), 2, f"{file} [queue_job] {alias}"),
        (compile_settings(file, {}, [], {variable: "3"}), 3, f"environment {variable}"),
        (compile_settings(file, {}, [f"{alias}=4"], {variable: "3"}), 4, f"--set {alias}"),
        (compile_settings(file, {}, [f"{alias.replace('_', '-')}=5"], {}), 5, f"--set {alias}"),
    ):
        assert value_of(compiled, option) == (value, source)
        assert getattr(compiled.settings, option) == value
        assert alias not in [entry.option for entry in compiled.values]
        assert compiled.warnings == compiled.notes == ()


def test_an_alias_stands_for_an_option_and_is_none_itself() -> None:
    assert set(ALIASES.values()) <= set(Options.model_fields)
    assert not set(ALIASES) & set(Options.model_fields)


@pytest.mark.parametrize(("alias", "option"), ALIASES.items())
def test_a_stronger_source_wins_by_whichever_name(file: Path, alias: str, option: str) -> None:
    file.write_text(f"[queue_job]\n{alias} = 2\n")
    compiled = compile_settings(file, {}, [f"{option}=4"], {f"QUEUEMASTER_{alias.upper()}": "3"})
    assert value_of(compiled, option) == (4, f"--set {option}")
    compiled = compile_settings(file, {}, [], {f"QUEUEMASTER_{option.upper()}": "3"})
    assert value_of(compiled, option) == (3, f"environment QUEUEMASTER_{option.upper()}")


@pytest.mark.parametrize(("alias", "option"), ALIASES.items())
def test_both_names_of_a_limit_in_one_source_are_refused(file: Path, alias: str, option: str) -> None:
    file.write_text(f"[queue_job]\n{option} = 1\n{alias} = 2\n")
    environ = {f"QUEUEMASTER_{option.upper()}": "3", f"QUEUEMASTER_{alias.upper()}": "3"}
    with pytest.raises(ConfigurationError) as caught:
        compile_settings(file, {}, [f"{alias}=4", f"{option}=4"], environ)
    assert len(caught.value.problems) == 3
    in_file, in_environment, in_assignments = caught.value.problems
    assert in_file == (
        f"options {option} (from {file}) and {alias} (from {file} [queue_job] {alias}) are two names of one option;"
        f" expected {option} alone"
    )
    assert all(variable in in_environment for variable in environ)
    assert f"--set {alias}" in in_assignments
    assert f"--set {option}" in in_assignments


def test_a_bad_limit_is_named_by_its_option_and_its_alias(file: Path) -> None:
    file.write_text("[queue_job]\nlimit_memory_hard = much\n")
    with pytest.raises(ConfigurationError) as caught:
        compile_settings(file, {}, [], {})
    assert str(caught.value).startswith(
        f"option memory = 'much' (from {file} [queue_job] limit_memory_hard): expected a size"
    )


def test_the_nearest_name_of_an_unknown_option_may_be_an_alias() -> None:
    (warning,) = compile_settings(None, {}, [], {"QUEUEMASTER_LIMIT_TIME_CPUS": "4"}).warnings
    assert warning.endswith("did you mean limit_time_cpu?")
