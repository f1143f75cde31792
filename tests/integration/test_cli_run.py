"""``queuemaster run``: what is refused before a master starts, and the command's exit codes and streams."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

import queuejobs
import queuemaster
from queuemaster import __main__ as command
from queuemaster import embedded
from queuemaster.cli.commands.run import attach_or_start
from queuemaster.cli.output import Failure
from queuemaster.embedded.server import postmaster
from support.places import open_directory
from support.postgres import connected
from support.waiting import wait_until

ROOTS = [str(Path(package.__path__[0]).parent) for package in (queuemaster, queuejobs)]
NOWHERE = "host=127.0.0.1 port=1 dbname=nowhere password=hunter2"


def queuemaster_(*arguments: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the real command."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(ROOTS), **environ}
    argv = [sys.executable, "-m", "queuemaster", *map(str, arguments)]
    return subprocess.run(argv, capture_output=True, text=True, check=False, env=env, timeout=60)


def run(tmp_path: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return queuemaster_("run", "--pidfile", tmp_path / "queuemaster.pid", *arguments)


def assert_refused(result: subprocess.CompletedProcess[str], *messages: str) -> None:
    assert result.returncode == 2, result.stderr
    for words in messages:
        assert words in result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert "hunter2" not in result.stderr


def test_a_database_that_cannot_be_reached(tmp_path: Path) -> None:
    result = run(tmp_path, "--database", NOWHERE)
    assert_refused(result, "nowhere (host 127.0.0.1, port 1, database nowhere)", "Connection refused")


def test_a_database_that_does_not_exist(tmp_path: Path, database: str) -> None:
    result = run(tmp_path, "--database", database.replace("test_", "absent_"))
    assert_refused(result, 'database "absent_', "does not exist")


def test_a_database_without_a_queue(tmp_path: Path, empty_database: str) -> None:
    result = run(tmp_path, "--database", empty_database)
    assert_refused(result, "has no queue yet", "queuemaster init --database")


def test_a_database_with_an_older_queue(tmp_path: Path, database: str) -> None:
    with connected(database) as connection, connection.cursor() as cursor:
        cursor.execute("update queuemaster.schema_version set version = 0")
    assert_refused(run(tmp_path, "--database", database), "older than this program", "queuemaster init")


def test_a_database_of_oca(tmp_path: Path, empty_database: str) -> None:
    with connected(empty_database) as connection, connection.cursor() as cursor:
        cursor.execute("create table queue_job (id serial primary key, job_function_id integer)")
    result = run(tmp_path, "--database", empty_database)
    assert_refused(result, "Odoo's addon queue_job", "served beside Odoo: queuemaster run -c odoo.conf")


def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path, database: str) -> None:
    wrong = ["--python", "/nonexistent/python", "--logfile", str(tmp_path / "no" / "log")]
    result = run(tmp_path, "--database", NOWHERE, "--database", database, *wrong)
    assert_refused(result, "option python = '/nonexistent/python'", "option logfile = ", "cannot be reached")
    assert not (tmp_path / "queuemaster.pid").exists()


def test_a_wrong_option_and_a_wrong_flag(tmp_path: Path) -> None:
    assert_refused(run(tmp_path, "--set", "max_workers=x", "--channels", "a:b"), "max_workers = 'x'", "'a:b'")
    assert_refused(run(tmp_path, "--nonsense"), "No such option")


def test_a_pid_file_that_is_another_programs_is_left_as_it_is(tmp_path: Path, database: str) -> None:
    path = tmp_path / "queuemaster.pid"
    path.write_text("not a pid\n")
    assert_refused(run(tmp_path, "--database", database), "option pidfile", "something else than a pid")
    assert path.read_text() == "not a pid\n"


def test_a_second_master_is_not_started(tmp_path: Path, database: str) -> None:
    path = tmp_path / "queuemaster.pid"
    with path.open("w") as file:
        file.write(f"{os.getpid()}\n")
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        result = run(tmp_path, "--database", database)
    assert result.returncode == 1
    assert f"already running as process {os.getpid()}" in result.stderr


def test_root_0_is_switched_off(tmp_path: Path) -> None:
    result = run(tmp_path, "--channels", "root:0")
    assert result.returncode == 0
    assert "switched off" in result.stderr


def test_version_help_and_json_on_the_right_streams(database: str) -> None:
    assert queuemaster_("--version").stdout == f"queuemaster {queuemaster.__version__}\n"
    assert "check" in queuemaster_("--help").stdout
    listed = queuemaster_("jobs", "list", "--json", "--database", database)
    assert json.loads(listed.stdout) == {"jobs": [], "more": False}
    assert listed.stderr == ""
    narrow = queuemaster_("jobs", "list", "--database", database, COLUMNS="40")
    assert narrow.stdout.split() == ["uuid", "state", "channel", "try", "created", "(UTC)", "job"]


def test_the_bare_package_says_what_is_missing_and_how_to_get_it() -> None:
    """An interpreter without site-packages behaves as if only the bare distribution were installed."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(ROOTS)}
    argv = [sys.executable, "-S", "-m", "queuemaster", "--version"]
    result = subprocess.run(argv, capture_output=True, text=True, check=False, env=env)
    assert_refused(result, 'pip install "queuemaster[service]"', *command.NEEDED.values())


def test_another_import_error_is_not_hidden(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nsys.modules['queuemaster.cli.commands.run'] = None\n"
    )
    result = queuemaster_("run", PYTHONPATH=os.pathsep.join([str(tmp_path), *ROOTS]))
    assert result.returncode == 1
    assert "queuemaster.cli.commands.run" in result.stderr
    assert "Traceback" in result.stderr


@pytest.fixture
def data_dir() -> Iterator[Path]:
    with open_directory() as directory:
        yield directory / "postgresql"


def test_the_embedded_server_is_our_child_unless_it_runs_already(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    child = attach_or_start(data_dir)
    try:
        assert child.pid > 0
        assert child.argv
        attached = attach_or_start(data_dir)
        assert attached.pid == 0
        assert attached.port == child.port
        assert "already runs" in capsys.readouterr().err
    finally:
        embedded.stop(child.pid)
        os.waitpid(child.pid, 0)


def test_a_server_that_is_ending_is_waited_for(data_dir: Path) -> None:
    plan = embedded.prepare(data_dir)
    old = embedded.start(plan)
    embedded.wait_ready(plan, old)
    session = psycopg2.connect(embedded.dsn(plan, "postgres"))
    old.terminate()  # smart shutdown: no new connections, and the server stays as long as the session
    wait_until(lambda: _status(data_dir) == "stopping", message="the server to begin its shutdown")
    with pytest.raises(Failure, match=r"stopping.* takes no connections"):
        attach_or_start(data_dir, patience=0.2)
    leaving = threading.Timer(0.3, session.close)
    leaving.start()
    new = attach_or_start(data_dir)
    try:
        leaving.join()
        assert old.wait(10) == 0
        assert new.pid not in (0, old.pid)
    finally:
        embedded.stop(new.pid)
        os.waitpid(new.pid, 0)


def _status(data_dir: Path) -> str | None:
    running = postmaster(data_dir)
    return running.status if running is not None else None
