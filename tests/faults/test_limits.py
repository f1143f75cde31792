"""Jobs that would run for ever: each is ended with the cause on its row, and no other job is affected."""

from __future__ import annotations

import signal
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from support.processes import end_of
from support.supervised import PATIENCE, Queue, queue, supervised
from support.waiting import wait_until

pytestmark = pytest.mark.timeout(300)
SOON = ["--set", "kill_grace=0.5"]

# how the job runs away, and what its traceback names
WAYS = [
    ("loop", "run_away"),
    ("sleep", "_go_on"),
    ("query", "_go_on"),
    ("child", "subprocess.run"),
    ("swallow", "_go_on"),
    ("interpreter lock", "_go_on"),
]


def test_a_runaway_ends_at_its_timeout(database: str, tmp_path: Path) -> None:
    """Each way has a channel with one slot, whose next job shows that its worker goes on or was replaced."""
    channels = ",".join(["root:6", *(f"{number}:1" for number in range(len(WAYS)))])
    with queue(database) as jobs, supervised(database, tmp_path, channels, SOON) as running:
        runaways = [
            jobs.sample(1).with_delay(timeout=1, max_retries=1, channel=str(number)).run_away(how)
            for number, (how, _) in enumerate(WAYS)
        ]
        for job, (how, traced) in zip(runaways, WAYS, strict=True):
            row = jobs.wait_for(job.uuid, "failed")
            assert row["exc_message"] == "Max. retries (1) reached: timeout after 1 s", (how, running.log)
            assert traced in row["exc_info"], f"{how}: the traceback shows where the job was"
        assert jobs.effects() == []
        assert end_of(left_children(tmp_path), PATIENCE) == [], "the job's child processes end with it"
        afterwards = [
            jobs.sample(2).with_delay(timeout=60, channel=str(number)).write() for number in range(len(WAYS))
        ]
        for job in afterwards:
            jobs.wait_for(job.uuid, "done")


def waiting_again(jobs: Queue, uuid: str) -> dict[str, Any]:
    row = jobs.job(uuid)
    return row if row["retry"] == 1 and row["eta"] else {}


def test_a_runaway_with_tries_left_waits_for_its_turn(database: str, tmp_path: Path) -> None:
    with queue(database) as jobs, supervised(database, tmp_path, "root:1", SOON):
        runaway = jobs.sample(1).with_delay(timeout=1).run_away("sleep")
        killed = jobs.sample(2).with_delay(timeout=1).run_away("swallow")
        for job in (runaway, killed):
            row = wait_until(partial(waiting_again, jobs, job.uuid), PATIENCE)
            assert (row["state"], row["exc_message"]) == ("pending", "timeout after 1 s")


def test_processor_time(database: str, tmp_path: Path) -> None:
    options = [*SOON, "--set", "limit_time_cpu=1"]
    with queue(database) as jobs, supervised(database, tmp_path, "root:1", options):
        job = jobs.sample(1).with_delay(max_retries=1).run_away("loop")
        row = jobs.wait_for(job.uuid, "failed")
        assert "cpu 1" in row["exc_message"]
        assert "sampleapp.py" in row["exc_info"], "the traceback shows where the job was"
        waiting = jobs.sample(2).with_delay().write_slowly(2)
        jobs.wait_for(waiting.uuid, "done")


# where the limit is declared, the job's own limits, how it runs away, the message that it ends with
OF_JOBS: list[tuple[str, dict[str, Any], str, str]] = [
    ("job", {"cpu": 1}, "loop", "cpu 1"),
    ("job", {"cpu": 1}, "busy child", "cpu 1"),
    ("job", {"memory": "300M"}, "memory", "> 300 MiB"),
    ("function", {}, "loop", "cpu 4"),
    ("function", {}, "busy child", "cpu 4"),
    ("function", {}, "memory", "> 300 MiB"),
]


def test_limits_of_jobs_and_of_their_functions(database: str, tmp_path: Path) -> None:
    with queue(database) as jobs, supervised(database, tmp_path, "root:3, free:1:cpu=1", SOON) as running:
        stored = []
        for where, limits, how, _ in OF_JOBS:
            sample = jobs.sample(1).with_delay(max_retries=1, **limits)
            stored.append(sample.run_away(how) if where == "job" else sample.run_away_within_limits(how))
        for job, (where, _, how, message) in zip(stored, OF_JOBS, strict=True):
            row = jobs.wait_for(job.uuid, "failed")
            assert message in row["exc_message"], (where, how, running.log)
            assert row["exc_name"].rpartition(".")[2] in ("LimitJobError", "JobKilled")
        assert left_children(tmp_path) == [], "the job's child processes end with it"
        # cpu=0 lifts the channel's limit of 1 s; without it a job is ended for the processor time of its child
        unlimited = jobs.sample(2).with_delay(channel="free", cpu=0, max_retries=1).use_children(2.5, False)
        limited = jobs.sample(2).with_delay(channel="free", max_retries=1).use_children(60, False)
        jobs.wait_for(unlimited.uuid, "done")
        assert "cpu 1" in jobs.wait_for(limited.uuid, "failed")["exc_message"]


def test_a_job_does_not_pay_for_what_another_left_behind(database: str, tmp_path: Path) -> None:
    with queue(database) as jobs, supervised(database, tmp_path, "root:1", SOON):
        leaver = jobs.sample(1).with_delay().use_children(600, True)
        jobs.wait_for(leaver.uuid, "done")
        used = wait_until(
            lambda: sum(child.cpu_times().user > 2 for child in left_children(tmp_path)),
            PATIENCE,
            "the leftover child process to use processor time",
        )
        assert used == 1
        job = jobs.sample(2).with_delay(cpu=1, max_retries=1).write_slowly(3)
        assert jobs.wait_for(job.uuid, "done", "failed")["state"] == "done"


def left_children(place: Path) -> list[psutil.Process]:
    """Processes that jobs of the supervisor in this directory started; other tests have such processes too."""
    children = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        if "600.4711" in " ".join(process.info["cmdline"] or []) and process.info["cwd"] == str(place):
            children.append(process)
    return children


def test_memory(database: str, tmp_path: Path) -> None:
    options = [*SOON, "--set", "limit_memory_hard=300M"]
    with queue(database) as jobs, supervised(database, tmp_path, "root:1", options):
        job = jobs.sample(1).with_delay(max_retries=1).run_away("memory")
        row = jobs.wait_for(job.uuid, "failed")
        assert "memory " in row["exc_message"]
        assert "> 300 MiB" in row["exc_message"]
        assert "sampleapp.py" in row["exc_info"], "the traceback shows where the job was"


def test_limits_of_a_channel_hold_in_it_and_nowhere_else(database: str, tmp_path: Path) -> None:
    channels = "root:3, small:1:memory=300M, quick:1:cpu=1"
    with queue(database) as jobs, supervised(database, tmp_path, channels, SOON) as running:
        outside = jobs.sample(3).with_delay(max_retries=1).use_children(2.5, False)
        hogs = [("root.small", "memory", "> 300 MiB"), ("root.quick", "loop", "cpu 1")]
        rows = [jobs.sample(1).with_delay(channel=name, max_retries=1).run_away(how) for name, how, _ in hogs]
        for job, (channel, _, message) in zip(rows, hogs, strict=True):
            row = jobs.wait_for(job.uuid, "failed")
            assert message in row["exc_message"], (channel, running.log)
            assert "sampleapp.py" in row["exc_info"], "the traceback shows where the job was"
            jobs.wait_for(jobs.sample(2).with_delay(channel=channel).write().uuid, "done")
        jobs.wait_for(outside.uuid, "done")
        assert jobs.effects() == [2, 2]


def test_a_timeout_names_its_run_and_spares_the_next(database: str, tmp_path: Path) -> None:
    """Jobs that end just when their time is up, one after the other in one worker: no other job is stopped."""
    with queue(database) as jobs, supervised(database, tmp_path, "root:1", SOON):
        env = jobs.env
        env.delay_many(
            [
                jobs.sample(n).delayable(timeout=0.5, max_retries=1).write_slowly(0.45 + n % 4 * 0.35)
                if n % 2
                else jobs.sample(n).delayable(max_retries=1).write_slowly(0.1)
                for n in range(24)
            ]
        )
        jobs.wait_until_drained(2 * PATIENCE)
        innocent = jobs.rows(
            "select state, exc_info from queuemaster.queue_job where timeout is null and state <> 'done'"
        )
        assert innocent == []
        stopped = jobs.rows("select exc_message from queuemaster.queue_job where state = 'failed'")
        assert stopped, "no job was stopped: the test proves nothing"
        assert {row[0] for row in stopped} == {"Max. retries (1) reached: timeout after 0.5 s"}
        assert sorted(jobs.effects()) == sorted(
            row[0]
            for row in jobs.rows(
                "select (records::jsonb #>> '{ids,0}')::integer from queuemaster.queue_job where state = 'done'"
            )
        )


@pytest.mark.parametrize("job_of", ["interpreter lock", "stopped"])
def test_a_worker_that_does_not_beat(database: str, tmp_path: Path, job_of: str) -> None:
    options = ["--set", "heartbeat_timeout=3"]
    with queue(database) as jobs, supervised(database, tmp_path, "root:1", options) as running:
        sample = jobs.sample(1).with_delay(max_retries=1)
        job = sample.run_away(job_of) if job_of != "stopped" else sample.stop()
        row = jobs.wait_for(job.uuid, "failed")
        assert "hung: no heartbeat for" in row["exc_message"]
        assert "sampleapp.py" in row["exc_info"], "the row has the tracebacks of the worker's threads"
        assert "worker's last words" in running.log


def test_a_dispatcher_that_hangs_is_replaced(database: str, tmp_path: Path) -> None:
    with (
        queue(database) as jobs,
        supervised(database, tmp_path, "root:1", ["--set", "heartbeat_timeout=3"]) as running,
    ):
        jobs.wait_for(jobs.sample(1).with_delay().write().uuid, "done")
        dispatcher = running.one("dispatcher")
        dispatcher.suspend()
        jobs.wait_for(jobs.sample(2).with_delay().write().uuid, "done")
        assert "dispatcher hung, killed" in running.log
        assert running.one("dispatcher").pid != dispatcher.pid


def test_nobody_is_killed_because_the_master_stood_still(database: str, tmp_path: Path) -> None:
    with (
        queue(database) as jobs,
        supervised(database, tmp_path, "root:2", ["--set", "heartbeat_timeout=2"]) as running,
    ):
        job = jobs.sample(1).with_delay().write_slowly(6)
        jobs.wait_for(job.uuid, "started")
        wait_until(lambda: len(running.children("worker")) == 2, PATIENCE)
        before = {process.pid for process in running.children("worker")}
        workers = running.children("worker")
        for process in (*workers, running.process):
            process.suspend()
        jobs.rows("select pg_sleep(4)")
        # the master wakes first and sees only old heartbeats
        running.process.resume()
        jobs.rows("select pg_sleep(0.6)")
        for process in workers:
            process.resume()
        assert jobs.wait_for(job.uuid, "done")["attempt"] == 1
        assert {process.pid for process in running.children("worker")} == before


def test_a_poisonous_job_fails_and_the_pool_lives(database: str, tmp_path: Path) -> None:
    with queue(database) as jobs, supervised(database, tmp_path, "root:2"):
        poison = jobs.sample(1).with_delay(max_retries=0).always_die()
        row = jobs.wait_for(poison.uuid, "failed")
        assert row["attempt"] == 3
        assert "its worker died 3 times in a row" in row["exc_message"]
        jobs.wait_for(jobs.sample(2).with_delay().write().uuid, "done")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--set", "max_jobs=5"], "jobs"),
        (["--set", "max_age=0.2"], "age"),
        (["--set", "limit_memory_soft=1M"], "memory"),
    ],
)
def test_workers_are_replaced_between_jobs(
    database: str, tmp_path: Path, options: list[str], reason: str
) -> None:
    with queue(database) as jobs, supervised(database, tmp_path, "root:1", options) as running:
        jobs.env.delay_many([jobs.sample(n).delayable().write_slowly(0.02) for n in range(30)])
        jobs.wait_until_drained()
        assert jobs.states() == {"done": 30}
        assert jobs.effects() == list(range(30))
        assert jobs.value("select max(attempt) from queuemaster.queue_job") == 1
        assert jobs.value("select count(distinct worker_pid) from queuemaster.queue_job") > 1
        assert "worker is replaced" in running.log
        assert reason in running.log


def sessions(jobs: Queue) -> int:
    count: int = jobs.value(
        "select count(*) from pg_stat_activity where application_name like 'queuemaster: worker%'"
    )
    return count


def test_the_session_of_a_killed_worker_goes_at_once(database: str, tmp_path: Path) -> None:
    with queue(database) as jobs, supervised(database, tmp_path, "root:1", SOON) as running:
        job = jobs.sample(1).with_delay(max_retries=1).run_away("query")
        row = jobs.wait_for(job.uuid, "started")
        psutil.Process(row["worker_pid"]).send_signal(signal.SIGKILL)
        jobs.wait_for(job.uuid, "failed")
        wait_until(
            lambda: sessions(jobs) == 0,
            PATIENCE,
            lambda: f"the sessions of dead workers to be gone; {running.log}",
        )
