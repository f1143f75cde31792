"""Started by root for an ordinary user: the user of each process, and the files that root trusts."""

from __future__ import annotations

import json
import os
import pwd
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import psycopg2
import pytest
from psycopg2.extensions import parse_dsn

from queuemaster.master.account import UnknownAccount, account
from support.postgres import connected
from support.supervised import APPS, PATIENCE, Queue, Supervised, environment, queue
from support.waiting import wait_until

pytestmark = pytest.mark.timeout(300)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
NOBODY = pwd.getpwnam("nobody")
SITE = Path(psycopg2.__file__).parents[1]


def python() -> str:
    """A Python of our own version, since our packages are compiled for it, that ``nobody`` can run."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for path in (sys.executable, f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        try:
            result = subprocess.run(
                [path, "-c", "import gevent, psycopg2, queuemaster"],
                user=NOBODY.pw_uid, group=NOBODY.pw_gid, extra_groups=[], cwd="/", env=paths(),
                capture_output=True, check=False,
            )  # fmt: skip
        except OSError:
            continue
        if result.returncode == 0:
            return path
    pytest.skip(f"no {version} with our packages that user nobody can run")


def paths() -> dict[str, str]:
    env = environment()
    return {**env, "PYTHONPATH": f"{env['PYTHONPATH']}:{SITE}"}


@pytest.fixture
def reachable(database: str) -> str:
    """The database by TCP with a password, since the server's socket is private to the server's user."""
    with connected(database) as connection, connection.cursor() as cursor:
        cursor.execute("alter role postgres password 'known'")
    parameters = parse_dsn(database)
    return (
        f"host=127.0.0.1 port={parameters['port']} user=postgres password=known dbname={parameters['dbname']}"
    )


def run(place: Path, *options: str) -> psutil.Popen:
    arguments = [python(), "-m", "queuemaster", "run", "--pidfile", str(place / "pid"), *options]
    with (place / "err").open("w") as stream:
        return psutil.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, cwd=place, env=paths()
        )


def refused(place: Path, *options: str) -> str:
    process = run(place, *options)
    assert process.wait(PATIENCE) == 2, (place / "err").read_text()
    return (place / "err").read_text()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def owner_of(path: Path) -> int:
    return path.stat().st_uid


@as_root
def test_only_the_master_is_root(reachable: str, place: Path) -> None:
    dsn = reachable
    process = run(
        place, "--database", dsn, "--app", "sampleapp", "--channels", "root:2", "--set", "user=nobody",
        "--http", f"127.0.0.1:{free_port()}",
        "--set", "graceful_timeout=5", "--logfile", str(place / "log"), "--log-level", "DEBUG",
    )  # fmt: skip
    running = Supervised(process, place)
    try:
        with queue(dsn) as jobs:
            assert_runs_as_nobody(running, jobs)
            assert_logs_are_reopened(running, jobs)
            assert_children_leave_with_a_killed_master(running, jobs)
    finally:
        for child in [process, *process.children(recursive=True)] if process.is_running() else []:
            child.kill()


def assert_runs_as_nobody(running: Supervised, jobs: Queue) -> None:
    job = jobs.sample(1).with_delay().backend()
    try:
        row = jobs.wait_for(job.uuid, "done")
    except AssertionError as error:
        raise AssertionError((running.directory / "err").read_text()) from error
    worker = psutil.Process(row["worker_pid"])
    assert set(worker.uids()) == {NOBODY.pw_uid}
    assert set(worker.gids()) == {NOBODY.pw_gid}
    status = Path(f"/proc/{worker.pid}/status").read_text()
    groups = next(line for line in status.splitlines() if line.startswith("Groups:"))
    assert "0" not in groups.split()[1:], "the worker has none of root's groups"
    assert running.process.uids().effective == 0
    children = running.process.children(recursive=True)
    assert len(children) == 5, "template, dispatcher, exporter, two workers"
    assert {child.uids().real for child in children} == {NOBODY.pw_uid}
    home = jobs.wait_for(jobs.sample(1).with_delay().environment("HOME", "USER").uuid, "done")["result"]
    assert json.loads(home) == {"HOME": NOBODY.pw_dir, "USER": "nobody"}
    directory = running.directory
    assert owner_of(directory / "log") == NOBODY.pw_uid, (
        "every process appends to the log, so it belongs to the user"
    )
    assert owner_of(directory / "pid") == owner_of(directory / "pid.children") == 0
    assert "queuemaster.dispatcher: leads" in running.log


def assert_logs_are_reopened(running: Supervised, jobs: Queue) -> None:
    log = running.directory / "log"
    log.rename(running.directory / "log.1")
    running.process.send_signal(signal.SIGUSR1)
    wait_until(lambda: log.exists() and "logs reopened" in running.log, PATIENCE)
    assert owner_of(log) == NOBODY.pw_uid
    jobs.wait_for(jobs.sample(1).with_delay().log("after").uuid, "done")
    assert "after" in running.log, "the user may not create files here, so root has created the log"


def assert_children_leave_with_a_killed_master(running: Supervised, jobs: Queue) -> None:
    job = jobs.sample(1).with_delay().write_slowly(600)
    jobs.wait_for(job.uuid, "started")
    children = running.process.children(recursive=True)
    running.process.kill()
    _, alive = psutil.wait_procs(children, timeout=PATIENCE)
    assert [child for child in alive if child.status() != psutil.STATUS_ZOMBIE] == []


@as_root
def test_what_cannot_be(reachable: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no such user" in refused(place, "--database", reachable, "--set", "user=nosuchuser")
    assert "no such group" in refused(
        place, "--database", reachable, "--set", "user=nobody", "--set", "group=nosuchgroup"
    )
    assert "it needs the option user" in refused(place, "--database", reachable, "--set", "group=nogroup")
    (place / "data").mkdir()
    os.chown(place / "data", 12345, 12345)
    monkeypatch.setenv("QUEUEMASTER_DATA_DIR", str(place / "data"))
    words = refused(place, "--set", "user=nobody")
    assert "the embedded PostgreSQL" in words
    assert "runs as 12345" in words
    (place / "log").symlink_to(place / "err")
    words = refused(place, "--database", reachable, "--set", "user=nobody", "--logfile", str(place / "log"))
    assert "cannot be made a file of nobody" in words
    assert owner_of(place / "err") == 0


def test_an_ordinary_user_can_only_be_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY.pw_uid)
    monkeypatch.setattr(os, "getegid", lambda: NOBODY.pw_gid)
    assert account("nobody") is None
    assert account(str(NOBODY.pw_uid)) is None
    with pytest.raises(UnknownAccount, match="only root can start the service for another user"):
        account("root")
    assert account("") is None


CONFIGURATION = "[queue_job]\nchannels = root:0\n"


@pytest.mark.parametrize(
    ("mode", "uid", "gid", "message"),
    [
        (0o644, None, None, ""),
        (0o666, None, None, "everybody may write it, and so have anything run as"),
        pytest.param(0o664, 0, 12345, "its group may write it", marks=as_root),
        pytest.param(0o664, 0, 0, "", marks=as_root),
        pytest.param(0o644, 12345, 0, "it belongs to 12345", marks=as_root),
    ],
)
def test_a_configuration_that_others_may_write(
    place: Path, mode: int, uid: int | None, gid: int | None, message: str
) -> None:
    file = place / "queuemaster.conf"
    file.write_text(CONFIGURATION)
    file.chmod(mode)
    if uid is not None and gid is not None:
        os.chown(file, uid, gid)
    result = subprocess.run(
        [sys.executable, "-m", "queuemaster", "run", "-c", str(file)],
        env=environment(), capture_output=True, text=True, check=False, timeout=PATIENCE,
    )  # fmt: skip
    assert result.returncode == (2 if message else 0), result.stderr
    assert message in result.stderr
    assert ("chmod" in result.stderr or "chown" in result.stderr) is bool(message), (
        "the message says how to fix it"
    )


def test_the_sample_application_can_be_read_by_all() -> None:
    assert APPS.stat().st_mode & 0o005 == 0o005, (
        "the user nobody must be able to read the applications, or the tests above prove nothing"
    )
