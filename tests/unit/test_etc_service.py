"""The systemd unit: its settings, and that systemd accepts it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from queuemaster.cli.pidfile import OF_THE_SERVICE
from queuemaster.config.sources import compile_settings
from support.programs import program

ETC = Path(__file__).parents[2] / "etc"
UNIT = ETC / "queuemaster.service"


def settings(section: str) -> dict[str, list[str]]:
    """The values of each key of a section; a key may occur more than once."""
    options: dict[str, list[str]] = {}
    body = re.search(rf"^\[{section}\]$(.*?)(?=^\[|\Z)", UNIT.read_text(), re.MULTILINE | re.DOTALL)
    assert body is not None
    for line in body[1].splitlines():
        if line and not line.startswith("#"):
            key, _, value = line.partition("=")
            options.setdefault(key, []).append(value)
    return options


SERVICE = settings("Service")


def single(key: str) -> str:
    """The value of a key that occurs once."""
    (value,) = SERVICE[key]
    return value


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("Type", "notify"),
        ("NotifyAccess", "main"),
        ("KillMode", "mixed"),  # a signal to the whole group would end workers in the middle of their jobs
        ("Restart", "on-failure"),
        ("RestartPreventExitStatus", "2"),
        ("OOMPolicy", "continue"),  # one job that is killed for its memory must not stop the service
        ("ExecReload", "/bin/kill -HUP $MAINPID"),
        ("NoNewPrivileges", "yes"),
        ("CapabilityBoundingSet", ""),
    ],
)
def test_what_the_service_depends_on(key: str, value: str) -> None:
    assert single(key) == value


def test_stopping_takes_longer_than_jobs_may() -> None:
    defaults = compile_settings(None, {}, [], {}).settings
    assert int(single("TimeoutStopSec")) > defaults.graceful_timeout + 20
    assert int(single("WatchdogSec")) > 10
    assert "ExecStop" not in SERVICE, "the unit is stopped by a signal, so it needs no ExecStop"


def test_it_is_not_root_and_has_its_directories() -> None:
    assert single("User") == single("Group") == "queuemaster"
    for key in ("RuntimeDirectory", "StateDirectory", "LogsDirectory"):
        assert single(key) == "queuemaster"
    assert f"QUEUEMASTER_PIDFILE={OF_THE_SERVICE}" in SERVICE["Environment"]
    assert re.search(r"^u queuemaster - ", (ETC / "queuemaster.sysusers").read_text(), re.MULTILINE)


def test_unit_init_script_and_logrotate_mean_the_same_files() -> None:
    script = (ETC / "queuemaster.init").read_text()
    assert f"\nPIDFILE={OF_THE_SERVICE}\n" in script
    rotation = (ETC / "queuemaster.logrotate").read_text()
    assert f"--pidfile {OF_THE_SERVICE} " in rotation
    log = re.search(r"^LOGFILE=(.*)$", script, re.MULTILINE)
    assert log is not None
    assert Path(log[1]).match(rotation[rotation.index("/var") : rotation.index(" {")])
    program, config = re.findall(r"^(?:DAEMON|CONFIG)=(.*)$", script, re.MULTILINE)
    assert single("ExecStart") == f"{program} run -c {config}"
    assert single("EnvironmentFile").removeprefix("-") in script


def test_systemd_accepts_it(tmp_path: Path) -> None:
    analyze = program("systemd-analyze", "systemd")
    unit = tmp_path / "queuemaster.service"

    def complaints(text: str) -> list[str]:
        # our command need not be installed here
        unit.write_text(text.replace("/usr/local/bin/queuemaster", "/bin/sh"))
        argv = [analyze, "verify", "--man=no", str(unit)]
        result = subprocess.run(argv, capture_output=True, text=True, check=False)
        return [line for line in result.stderr.splitlines() if unit.name in line]

    assert complaints(UNIT.read_text()) == []
    assert complaints(UNIT.read_text().replace("KillMode=mixed", "KillMode=blended")) != []


def test_the_settings_for_both_are_plain_lines() -> None:
    """Systemd reads the file too and does not run a shell."""
    lines = (ETC / "queuemaster.default").read_text().splitlines()
    active = [line for line in lines if line and not line.startswith("# ")]
    assert active
    assert [line for line in active if not re.fullmatch(r"#|#?[A-Z_]+=[\w./:-]*", line)] == []
