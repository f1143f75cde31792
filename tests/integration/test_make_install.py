"""``make install``: files where Debian has them, with matching paths, and no file of the operator overwritten."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``make`` in the checkout as from a shell, without the variables of a make that runs these tests."""
    env = {
        name: value for name, value in os.environ.items() if not name.startswith("MAKE") and name != "MFLAGS"
    }
    argv = ["make", "--no-print-directory", "-C", str(ROOT), *arguments]
    return subprocess.run(argv, capture_output=True, text=True, check=False, env=env)


def files(top: Path) -> dict[str, str]:
    """The text of every file below the directory, by path."""
    return {str(path.relative_to(top)): path.read_text() for path in sorted(top.rglob("*")) if path.is_file()}


@pytest.mark.parametrize(
    ("prefix", "units"), [("/usr", "lib/systemd/system"), ("/usr/local", "usr/local/lib/systemd/system")]
)
def test_the_layout(tmp_path: Path, prefix: str, units: str) -> None:
    result = make("install-files", f"DESTDIR={tmp_path}", f"PREFIX={prefix}")
    assert result.returncode == 0, result.stderr
    installed = files(tmp_path)
    share = f"{prefix[1:]}/share"
    assert {
        "etc/queuemaster/queuemaster.conf", "etc/queuemaster/prometheus-rules.yml", "etc/default/queuemaster",
        "etc/init.d/queuemaster", "etc/logrotate.d/queuemaster", f"{units}/queuemaster.service",
        f"{prefix[1:]}/lib/sysusers.d/queuemaster.conf", f"{share}/man/man1/queuemaster.1",
        f"{share}/queuemaster/grafana-dashboard.json", f"{share}/queuemaster/odoo.conf",
        f"{share}/doc/queuemaster/operations.md",
    } <= set(installed)  # fmt: skip
    assert (tmp_path / "etc/init.d/queuemaster").stat().st_mode & stat.S_IXOTH
    assert f"\nDAEMON={prefix}/bin/queuemaster\n" in installed["etc/init.d/queuemaster"]
    assert f"\nExecStart={prefix}/bin/queuemaster run " in installed[f"{units}/queuemaster.service"]
    assert [path for path, text in installed.items() if str(tmp_path) in text] == [], "DESTDIR is in no file"
    assert [path for path in installed if path.endswith(".new")] == []


def test_what_the_operator_has_changed_stays(tmp_path: Path) -> None:
    assert make("install-files", f"DESTDIR={tmp_path}").returncode == 0
    changed = ["queuemaster/queuemaster.conf", "default/queuemaster", "logrotate.d/queuemaster"]
    for name in changed:
        (tmp_path / "etc" / name).write_text("# mine\n")
    script = tmp_path / "etc/init.d/queuemaster"
    script.write_text("# of an older version\n")
    result = make("install-files", f"DESTDIR={tmp_path}")
    assert result.returncode == 0, result.stderr
    for name in changed:
        assert (tmp_path / "etc" / name).read_text() == "# mine\n"
        assert f"kept as it is: {tmp_path}/etc/{name}" in result.stdout
    assert "### BEGIN INIT INFO" in script.read_text()


def test_below_one_directory_for_who_is_not_root(tmp_path: Path) -> None:
    result = make("install-files", f"PREFIX={tmp_path}")
    assert result.returncode == 0, result.stderr
    script = (tmp_path / "etc/init.d/queuemaster").read_text()
    for name, path in {
        "DEFAULTS": "etc/default/queuemaster", "DAEMON": "bin/queuemaster",
        "CONFIG": "etc/queuemaster/queuemaster.conf",
        "PIDFILE": "run/queuemaster/queuemaster.pid", "LOGFILE": "var/log/queuemaster/queuemaster.log",
        "DIRECTORY": "var/lib/queuemaster",
    }.items():  # fmt: skip
        assert f"\n{name}={tmp_path}/{path}\n" in script
    assert "\nRUN_AS=\n" in (tmp_path / "etc/default/queuemaster").read_text()


@pytest.mark.parametrize(("prefix", "why"), [("here", "not an absolute path"), ("/a b", "not supported")])
def test_what_cannot_be_a_prefix(tmp_path: Path, prefix: str, why: str) -> None:
    refused = make("install-files", f"DESTDIR={tmp_path}", f"PREFIX={prefix}")
    assert refused.returncode != 0
    assert why in refused.stderr
    assert files(tmp_path) == {}
