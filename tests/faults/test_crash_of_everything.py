"""kill -9 of the master or of all processes: none is left, and after a new start each job has its effect once."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from support.processes import end_of
from support.supervised import PATIENCE, Queue, Supervised, queue, supervised
from support.waiting import wait_until

pytestmark = pytest.mark.timeout(300)
CHANNELS = "root:4,root.mail:2"


def enqueue(jobs: Queue, count: int) -> None:
    """Enqueue jobs that take a moment; some of them need a second try."""
    env = jobs.env
    env.delay_many(
        [
            jobs.sample(number).delayable(channel="root.mail" if number % 3 else "root").write_slowly(0.02)
            if number % 10
            else jobs.sample(number).delayable().write_when_tried_again()
            for number in range(count)
        ]
    )


def many_are_done(jobs: Queue, count: int) -> bool:
    return jobs.states().get("done", 0) > count


def assert_all_done_once(jobs: Queue, count: int) -> None:
    jobs.wait_until_drained()
    assert jobs.states() == {"done": count}
    assert jobs.effects() == list(range(count))


def test_kill_9_of_the_master(database: str, tmp_path: Path) -> None:
    with queue(database) as jobs:
        enqueue(jobs, 300)
        with supervised(database, tmp_path, CHANNELS) as first:
            wait_until(
                partial(many_are_done, jobs, 20), PATIENCE, lambda: f"some jobs to be done; log:\n{first.log}"
            )
            orphans = first.process.children(recursive=True)
            assert orphans
            first.process.kill()
            assert end_of(orphans, PATIENCE) == [], "children outlive their master"
        states = jobs.states()
        assert states.get("pending", 0) > 0, "the master was killed too late to prove anything"
        assert states.get("started", 0) == 0, "workers finish their running jobs before they leave"
        with supervised(database, tmp_path, CHANNELS):
            assert_all_done_once(jobs, 300)


def test_kill_9_of_everything(database: str, tmp_path: Path) -> None:
    with queue(database) as jobs:
        enqueue(jobs, 300)
        for round_of_kills in range(1, 4):
            with supervised(database, tmp_path, CHANNELS) as running:
                wait_until(partial(many_are_done, jobs, 20 * round_of_kills), PATIENCE, lambda: running.log)
                victims = running.everything()
                for process in victims:
                    process.suspend()  # so that no process cleans up after another one is killed
                for process in victims:
                    process.kill()
                assert end_of(victims, PATIENCE) == []
        assert jobs.states().get("pending", 0) + jobs.states().get("started", 0) > 0
        with supervised(database, tmp_path, CHANNELS):
            assert_all_done_once(jobs, 300)
        assert (
            jobs.value("select max(retry) from queuemaster.queue_job where method_name = 'write_slowly'") == 1
        ), "a death of the whole supervisor does not count as a try of the job"


def test_workers_leave_within_the_grace_when_their_master_is_gone(database: str, tmp_path: Path) -> None:
    """A job that would run for ever is ended with its worker, and so are the job's child processes."""
    with queue(database) as jobs:
        job = jobs.sample(1).with_delay().write_slowly(600)
        with supervised(database, tmp_path, "root:1", ["--set", "graceful_timeout=1"]) as running:
            jobs.wait_for(job.uuid, "started")
            orphans = running.process.children(recursive=True)
            running.process.kill()
            assert end_of(orphans, PATIENCE) == []
        row = jobs.job(job.uuid)
        assert row["state"] == "started", "no process was left that could put it back"
        with supervised(database, tmp_path, "root:1") as running:
            wait_until(lambda: jobs.job(job.uuid)["attempt"] == 2, PATIENCE, "the job to run again")
            assert jobs.job(job.uuid)["retry"] == 1
            assert running.stop(signal.SIGINT) == 0


def test_the_next_start_waits_for_what_still_lives_and_then_kills_it(database: str, tmp_path: Path) -> None:
    with queue(database) as jobs:
        job = jobs.sample(1).with_delay().write_slowly(600)
        with supervised(database, tmp_path, "root:1") as first:
            jobs.wait_for(job.uuid, "started")
            worker = first.one("worker", "[job")
            worker.suspend()  # a suspended worker cannot leave by itself
            first.process.kill()
            first.process.wait()
        with supervised(database, tmp_path, "root:1", ["--set", "graceful_timeout=1"]) as second:
            wait_until(lambda: "killing worker" in second.log, PATIENCE, "the surviving worker to be killed")
            assert end_of([worker], PATIENCE) == []
            wait_until(lambda: jobs.job(job.uuid)["attempt"] == 2, PATIENCE, "the job to run again")


def test_a_second_supervisor_stands_by_and_takes_over(database: str, tmp_path: Path) -> None:
    first_dir, second_dir = tmp_path / "one", tmp_path / "two"
    first_dir.mkdir()
    second_dir.mkdir()
    with queue(database) as jobs, supervised(database, first_dir, "root:2") as first:
        wait_until(lambda: "leads" in first.log, PATIENCE)
        with supervised(database, second_dir, "root:2") as second:
            wait_until(lambda: "standing by" in second.log, PATIENCE)
            job = jobs.sample(1).with_delay().write_slowly(600)
            row = jobs.wait_for(job.uuid, "started")
            assert psutil.Process(row["worker_pid"]).ppid() == first.process.pid
            kill_all(first)
            wait_until(
                lambda: jobs.job(job.uuid)["attempt"] == 2, PATIENCE, "the other supervisor to run the job"
            )
            assert psutil.Process(jobs.job(job.uuid)["worker_pid"]).ppid() == second.process.pid


def test_a_supervisor_that_stands_still_is_deposed(database: str, tmp_path: Path) -> None:
    """All its processes are stopped, as on a suspended machine. After it wakes, its jobs go on and it stands by."""
    first_dir, second_dir = tmp_path / "one", tmp_path / "two"
    first_dir.mkdir()
    second_dir.mkdir()
    with queue(database) as jobs, supervised(database, first_dir, "root:2") as first:
        wait_until(lambda: "leads" in first.log, PATIENCE)
        with supervised(database, second_dir, "root:2") as second:
            wait_until(lambda: "standing by" in second.log, PATIENCE)
            jobs.rows("select pg_advisory_lock(4711, 1), pg_advisory_lock(4711, 2)")
            held_job = jobs.sample(1).with_delay().write_and_wait(1)
            jobs.wait_for(held_job.uuid, "started")
            with standing_still(first):
                next_job = jobs.sample(2).with_delay().write_and_wait(2)
                # instead of waiting, the test makes the last heartbeat half a minute older; everything else is real
                jobs.rows("update queuemaster.leader set beat = beat - interval '31 seconds'")
                row = jobs.wait_for(next_job.uuid, "started")
                assert psutil.Process(row["worker_pid"]).ppid() == second.process.pid
                assert "ended the session of a leader that did not beat" in second.log
                assert jobs.job(held_job.uuid)["state"] == "started", (
                    "the session of its worker is alive, so the job may still finish"
                )
                late = jobs.sample(3).with_delay().write()
                jobs.rows("select pg_advisory_unlock(4711, 2)")
                jobs.wait_for(late.uuid, "done")
            wait_until(
                lambda: "another dispatcher leads, standing by" in first.log, PATIENCE, lambda: first.log
            )
            jobs.rows("select pg_advisory_unlock(4711, 1)")
            assert jobs.wait_for(held_job.uuid, "done")["attempt"] == 1
            assert jobs.effects() == [1, 2, 3]


@contextlib.contextmanager
def standing_still(running: Supervised) -> Iterator[None]:
    """Stop all processes, the master first, so that it does not see the others stop."""
    stopped = running.everything()
    for process in stopped:
        process.suspend()
    try:
        yield
    finally:
        for process in stopped:
            process.resume()


def kill_all(running: Supervised) -> None:
    victims = running.everything()
    for process in victims:
        process.suspend()
    for process in victims:
        process.kill()
    assert end_of(victims, PATIENCE) == []
