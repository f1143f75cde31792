"""``queuemaster stop``: which process a pid file names, and when the file is not trusted."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from queuemaster.cli import main, pidfile
from queuemaster.config.sources import compile_settings
from support.waiting import wait_until

# Locks the pid file as the master does, and ends at the signals that it should get, printing which.
HOLDER = """
import fcntl, os, signal, sys, time
held = open(sys.argv[1], "w")
fcntl.flock(held, fcntl.LOCK_EX)
def leave(number, frame):
    time.sleep(float(sys.argv[2]))
    print(signal.Signals(number).name, flush=True)
    os._exit(0)
for name in (signal.SIGTERM, signal.SIGINT):
    signal.signal(name, leave)
held.write(f"{os.getpid()}\\n")
held.flush()
while True:
    signal.pause()
"""


def stop(path: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["stop", "--pidfile", str(path), *arguments])


@contextlib.contextmanager
def holding(path: Path, patience: float = 0.0) -> Iterator[subprocess.Popen[str]]:
    argv = [sys.executable, "-c", HOLDER, str(path), str(patience)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            wait_until(
                lambda: path.exists() and path.read_text().endswith("\n"),
                message="the pid file to be written",
            )
            yield process
        finally:
            process.kill()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queuemaster.pid"


@pytest.mark.parametrize(("arguments", "signal"), [([], "SIGTERM"), (["--now"], "SIGINT")])
def test_the_master_is_told_and_waited_for(path: Path, arguments: list[str], signal: str) -> None:
    with holding(path, patience=0.3) as master:
        result = stop(path, *arguments)
        assert result.exit_code == 0, result.stderr
        assert f"stopped (pid {master.pid})" in result.stdout
        # the process ended before the command, which waits for it
        assert master.poll() == 0
        assert master.stdout is not None
        assert master.stdout.read().strip() == signal


def test_the_master_of_the_service_is_found_when_none_runs_at_the_default(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def looked_at(where: Path, flags: dict[str, str]) -> Path:
        compiled = compile_settings(None, flags, [], {})
        return pidfile.pidfile_of(replace(compiled, settings=replace(compiled.settings, pidfile=str(where))))

    monkeypatch.setattr(pidfile, "OF_THE_SERVICE", path)
    default, stale = tmp_path / "default.pid", tmp_path / "left.pid"
    stale.write_text("4711\n")
    assert looked_at(default, {}) == default
    with holding(path):
        assert looked_at(default, {}) == path
        assert looked_at(stale, {}) == path, "a stale pid file names no master"
        assert looked_at(default, {"pidfile": str(default)}) == default, "the pid file was named explicitly"
        with holding(default):
            assert looked_at(default, {}) == default


def test_it_does_not_return_before_the_master_has_gone(path: Path) -> None:
    with holding(path, patience=30) as master:
        results: list[Result] = []
        stopping = threading.Thread(target=lambda: results.append(stop(path)))
        stopping.start()
        stopping.join(0.5)
        assert stopping.is_alive()
        master.kill()
        stopping.join(10)
        assert [result.exit_code for result in results] == [0]


def test_without_a_pid_file_none_runs(path: Path) -> None:
    result = stop(path)
    assert result.exit_code == 1
    assert f"not running: there is no {path}" in result.stderr


def test_a_file_that_a_dead_master_left_names_nobody(path: Path) -> None:
    with holding(path) as master:
        master.kill()
        master.wait()
    # the pid may have been reused; here it is that of an unrelated process, which must get no signal
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as innocent:
        path.write_text(f"{innocent.pid}\n")
        result = stop(path)
        assert result.exit_code == 1
        assert "left from a master that has ended" in result.stderr
        assert innocent.poll() is None
        innocent.kill()


@pytest.mark.parametrize("content", ["root:x:0:0\n", "12 34\n", "12\n5432\n", "-1\n"])
def test_a_file_of_another_program_is_refused(path: Path, content: str) -> None:
    path.write_text(content)
    result = stop(path)
    assert result.exit_code == 2
    assert str(path) in result.stderr


@pytest.mark.parametrize("pid", ["4194305", "9" * 30])
def test_a_locked_file_that_names_no_process_here_is_refused(path: Path, pid: str) -> None:
    with holding(path):
        path.write_text(f"{pid}\n")
        result = stop(path)
        assert result.exit_code == 2
        assert "does not exist here" in result.stderr


def test_a_directory_is_no_pid_file(tmp_path: Path) -> None:
    assert stop(tmp_path).exit_code == 2


def test_the_pid_file_may_be_configured(path: Path) -> None:
    result = CliRunner().invoke(main, ["stop"], env={"QUEUEMASTER_PIDFILE": str(path)})
    assert result.exit_code == 1
    assert str(path) in result.stderr
