"""What ``status``, ``status --watch`` and ``why`` show of a running supervisor."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from support.supervised import PATIENCE, Queue, Supervised, environment, queue, supervised
from support.waiting import wait_until

CHANNELS = "root:4,mail:1,slow:1:sequential"


def run(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command as the same user, with the supervisor's pid file."""
    return subprocess.run(
        [sys.executable, "-m", "queuemaster", *arguments, "--pidfile", str(directory / "pid")],
        capture_output=True, text=True, env=environment(), timeout=PATIENCE, check=False,
    )  # fmt: skip


def document(directory: Path, *arguments: str) -> dict[str, Any]:
    result = run(directory, *arguments, "--json")
    assert result.returncode == 0, result.stderr
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def start_held_job(jobs: Queue, channel: str = "root.mail") -> str:
    """Start a job that runs until the test releases its lock; return its uuid."""
    jobs.rows("select pg_advisory_lock(4711, 1)")
    job = jobs.sample(1).with_delay(channel=channel).write_and_wait(1)
    jobs.wait_for(job.uuid, "started")
    return str(job.uuid)


def test_status_and_why_name_the_job_that_holds_the_slot(database: str, tmp_path: Path) -> None:
    with queue(database) as jobs, supervised(database, tmp_path, CHANNELS) as running:
        holder = start_held_job(jobs)
        waiting = jobs.sample(2).with_delay(channel="root.mail").write()

        def busy() -> dict[str, Any] | None:
            status = document(tmp_path, "status")
            slots = status["channels"].get("root.mail", {}).get("in_use")
            # a worker that was just handed to the dispatcher has a slot too, before the dispatcher leads
            leads = any(state and state["leader"] for state in status["databases"].values())
            at_work = status["channels"]["root.mail"]["workers"]["busy"] == 1
            return status if leads and slots == 1 and at_work else None

        status = wait_until(busy, PATIENCE, lambda: f"a busy worker in the status; log:\n{running.log}")
        (at_work,) = (worker for worker in status["workers"] if worker["job"])
        assert (at_work["job"]["uuid"], at_work["job"]["call"]) == (holder, "sample.write_and_wait")
        assert at_work["pid"] in {child.pid for child in running.children("worker")}
        assert status["master"]["pid"] == running.process.pid
        assert [state["leader"] for state in status["databases"].values()] == [True]
        answer = document(tmp_path, "why", waiting.uuid)
        assert answer["summary"].startswith(
            "It waits because the slot of channel root.mail is in use, by " + holder
        )
        assert [gate["gate"] for gate in answer["gates"] if gate["verdict"] == "shut"] == ["capacity"]
        jobs.rows("select pg_advisory_unlock(4711, 1)")
        jobs.wait_for(waiting.uuid, "done")
        assert document(tmp_path, "why", waiting.uuid)["waits"] is False
    result = run(tmp_path, "status", "--json")
    assert result.returncode == 1
    assert json.loads(result.stdout)["running"] is False
    assert "not running" in result.stderr


def test_why_finds_a_pause_a_failure_before_it_and_that_nobody_serves(database: str, tmp_path: Path) -> None:
    with queue(database) as jobs:
        with supervised(database, tmp_path, CHANNELS):
            failing = jobs.sample(1).with_delay(channel="root.slow").fail()
            jobs.wait_for(failing.uuid, "failed")
            blocked = jobs.sample(2).with_delay(channel="root.slow").write()
            assert (
                f"{failing.uuid} (sample.fail, failed: " in document(tmp_path, "why", blocked.uuid)["summary"]
            )
            paused = subprocess.run(
                [sys.executable, "-m", "queuemaster", "channel", "mail", "--pause", "--database", database],
                env=environment(), check=False, capture_output=True,
            )  # fmt: skip
            assert paused.returncode == 0
            letter = jobs.sample(3).with_delay(channel="root.mail").write()
            assert "channel root.mail was paused live" in document(tmp_path, "why", letter.uuid)["summary"]
        after = run(tmp_path, "why", letter.uuid, "--database", database, "--channels", CHANNELS)
        assert after.stdout.startswith("It waits because no supervisor serves database")


def test_a_leader_that_is_stopped_is_seen(database: str, tmp_path: Path) -> None:
    with queue(database) as jobs, supervised(database, tmp_path, CHANNELS) as running:
        jobs.wait_for(jobs.sample(1).with_delay().write().uuid, "done")
        dispatcher = running.one("dispatcher")
        dispatcher.suspend()
        try:
            wait_until(
                lambda: "dispatcher" in document(tmp_path, "status")["master"]["silent"],
                PATIENCE, "the status to show a silent dispatcher",
            )  # fmt: skip
            assert "silent for" in run(tmp_path, "status").stdout
        finally:
            dispatcher.resume()


def _screen(fd: int, expected: str) -> str:
    """Read what the terminal receives until the expected text is in it; return all of it."""
    text = ""
    deadline = time.monotonic() + PATIENCE
    while expected not in text:
        assert time.monotonic() < deadline, f"{expected!r} is not on the screen: {text!r}"
        if select.select([fd], [], [], 0.2)[0]:
            text += os.read(fd, 65536).decode(errors="replace")
    return text


def _with_ctrl_c() -> None:
    # a shell makes its background jobs ignore SIGINT, and child processes inherit that
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _watching(running: Supervised) -> tuple[subprocess.Popen[bytes], int]:
    own_end, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "queuemaster", "status", "--watch", "--pidfile", str(running.directory / "pid")],
        stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True,
        preexec_fn=_with_ctrl_c,  # noqa: PLW1509  (one system call)
        env={**environment(), "TERM": "xterm", "COLUMNS": "60", "LINES": "30"},
    )  # fmt: skip
    os.close(terminal)
    return process, own_end


def test_watch_shows_changes_and_ends_with_ctrl_c(database: str, tmp_path: Path) -> None:
    with queue(database) as jobs, supervised(database, tmp_path, CHANNELS) as running:
        running.one("dispatcher")
        watching, screen = _watching(running)
        try:
            _screen(screen, "we lead")
            uuid = start_held_job(jobs)
            _screen(screen, uuid)
            watching.send_signal(signal.SIGINT)
            _screen(screen, "\x1b[?1049l")  # the terminal's earlier content is shown again
            assert watching.wait(PATIENCE) == 0
        finally:
            jobs.rows("select pg_advisory_unlock_all()")
            watching.kill()
            watching.wait()
            os.close(screen)


def test_the_log_says_when_it_is_ready_and_in_which_database_a_job_ran(database: str, tmp_path: Path) -> None:
    with queue(database) as jobs, supervised(database, tmp_path, CHANNELS) as running:
        job = jobs.sample(1).with_delay().log("here I am")
        jobs.wait_for(job.uuid, "done")
        wait_until(lambda: "job done" in running.log, PATIENCE)
        text, name = running.log, jobs.value("select current_database()")
    places = [
        text.index(f": {event}")
        for event in ("starting", "connecting to databases", "leads", "all databases ready")
    ]
    assert places == sorted(places)
    (line,) = (line.split() for line in text.splitlines() if "here I am" in line)
    assert {f"job_uuid={job.uuid}", f"db={name}", "channel=root", f"worker={line[2]}"} <= set(line)


def test_commands_that_are_told_no_database_ask_that_of_the_supervisor_here(
    database: str, tmp_path: Path
) -> None:
    env = {**environment(), "QUEUEMASTER_PIDFILE": str(tmp_path / "pid")}
    env.pop("QUEUEMASTER_DATA_DIR", None)

    def ask(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "queuemaster", *arguments], capture_output=True, text=True, timeout=PATIENCE,
            check=False, env={**env, **more},
        )  # fmt: skip

    with queue(database) as jobs, supervised(database, tmp_path, CHANNELS):
        job = jobs.sample(1).with_delay(channel="root.mail").fail()
        jobs.wait_for(job.uuid, "failed")
        assert job.uuid in ask("jobs", "list").stdout
        paused = json.loads(ask("channel", "mail", "--pause", "--json").stdout)
        assert jobs.value("select paused from queuemaster.control where channel = 'root.mail'"), paused
        assert "root.slow" in ask("channel").stdout, "the command knows the supervisor's channels too"
        requeued = ask("jobs", "requeue", job.uuid)
        assert requeued.returncode == 0, requeued.stderr
        assert jobs.job(job.uuid)["state"] == "pending", "the job's channel is paused"
        elsewhere = ask("jobs", "list", QUEUEMASTER_DATA_DIR=str(tmp_path / "nowhere"))
        assert elsewhere.returncode == 2, "the named directory is not the supervisor's"
