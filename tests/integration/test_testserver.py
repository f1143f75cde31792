"""The server that ``make t`` keeps is reused, never shared, replaced when it is gone, and stopped on request."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg2
import pytest

from queuemaster import embedded
from support.postgres import connected
from support.processes import has_ended
from support.testserver import PATIENCE, VARIABLE, kept_server, stop_all
from support.waiting import wait_until

ROOT = Path(__file__).parents[2]
SOME_TEST = "tests/integration/test_notifications.py::test_nothing_is_told_before_the_commit"


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory for kept servers, which are stopped after the test."""
    path = Path(tempfile.mkdtemp(prefix="queuemaster-test-"))
    yield path
    stop_all(path)
    shutil.rmtree(path, ignore_errors=True)


def holder(directory: Path, place: int = 0) -> psutil.Process:
    return psutil.Process(int((directory / str(place) / "held").read_text()))


def run_tests(directory: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """One run of ``make t``, as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options],
        env={**os.environ, VARIABLE: str(directory)}, cwd=ROOT,
        capture_output=True, text=True, check=False, timeout=PATIENCE * 2,
    )  # fmt: skip


def test_it_is_used_again_and_as_clean_as_a_new_one(directory: Path) -> None:
    with kept_server(directory) as plan:
        first = plan.pid
        with connected(embedded.dsn(plan, "postgres")) as admin, admin.cursor() as cursor:
            for statement in ("database test_1", "database odoo_crm is_template true", "role nobodys"):
                cursor.execute(f"create {statement}")
    with kept_server(directory) as plan:
        assert plan.pid == first
        with connected(embedded.dsn(plan, "postgres")) as admin, admin.cursor() as cursor:
            cursor.execute(
                "select datname from pg_database union select rolname from pg_roles where oid > 16383"
            )
            assert sorted(name for (name,) in cursor.fetchall()) == ["postgres", "template0", "template1"]


def test_two_runs_at_the_same_time_have_a_server_each(directory: Path) -> None:
    with kept_server(directory) as server:
        beside = run_tests(directory, SOME_TEST)
        assert "1 passed" in beside.stdout, beside.stdout
        assert holder(directory, 0).pid != holder(directory, 1).pid
        other_server = embedded.attached(Path((directory / "1" / "server").read_text()))
        assert other_server is not None
        assert other_server.pid != server.pid
    result = run_tests(directory, SOME_TEST)
    assert "1 passed" in result.stdout, result.stdout
    assert sorted(path.name for path in directory.iterdir()) == ["0", "1"]


def test_after_a_crash_there_is_another(directory: Path) -> None:
    with kept_server(directory) as plan:
        server, keeper = plan.pid, holder(directory)
    os.kill(server, signal.SIGKILL)
    with kept_server(directory) as plan:
        assert plan.pid != server
        assert has_ended(keeper.pid)
        server, keeper = plan.pid, holder(directory)
    keeper.kill()  # the server ends with its keeper
    wait_until(lambda: has_ended(keeper.pid), PATIENCE)
    with kept_server(directory) as plan:
        assert plan.pid != server
        psycopg2.connect(embedded.dsn(plan, "postgres")).close()
    wait_until(lambda: has_ended(server), PATIENCE, "the server of the dead keeper to end")


def test_after_a_reboot_there_is_another(directory: Path) -> None:
    """After a reboot the files are left, the pid belongs to another process, and the data in memory is lost."""
    place = directory / "0"
    place.mkdir()
    (place / "held").write_text(str(os.getpid()))
    (place / "server").write_text("/dev/shm/queuemaster-server-lost/data")
    with kept_server(directory) as plan:
        psycopg2.connect(embedded.dsn(plan, "postgres")).close()


def test_it_ends_when_it_is_told_to(directory: Path) -> None:
    with kept_server(directory) as plan:
        pass
    keeper = holder(directory)
    stop_all(directory)
    wait_until(lambda: has_ended(plan.pid) and has_ended(keeper.pid), PATIENCE)
    assert not Path(plan.data_dir).exists()
    stop_all(directory)  # a second call finds nothing to stop
    stop_all(directory / "never used")


def test_it_ends_when_its_directory_is_gone(directory: Path) -> None:
    with kept_server(directory) as plan:
        keeper = holder(directory)
        shutil.rmtree(directory)
    wait_until(lambda: has_ended(plan.pid) and has_ended(keeper.pid), PATIENCE)
    assert not Path(plan.data_dir).exists()


def test_the_target_of_make_wants_to_know_which_tests() -> None:
    def make(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["make", "--no-print-directory", "-n", *arguments],
            cwd=ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip

    recipe = make("t", "T=tests/unit/channels").stdout
    assert f'{VARIABLE}="' in recipe
    assert "-m pytest -q tests/unit/channels" in recipe
    assert "mypy" not in recipe
    assert f"{VARIABLE}=" not in make("test").stdout
    assert "support.testserver stop" in make("clean").stdout
