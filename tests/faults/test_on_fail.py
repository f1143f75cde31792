"""Jobs that fail for good because their worker died: their on_fail_method is called all the same."""

from __future__ import annotations

import signal
from functools import partial
from pathlib import Path

import psutil
import pytest

from support.supervised import PATIENCE, Queue, queue, supervised
from support.waiting import wait_until

pytestmark = pytest.mark.timeout(300)
OPTIONS = ["--set", "kill_grace=0.5"]


def ended(jobs: Queue, uuid: str) -> dict[str, object]:
    """Wait until the job has failed and its on_fail_method has written; return the job's row."""
    row = jobs.wait_for(uuid, "failed")
    wait_until(jobs.effects, PATIENCE, "the effect of its on_fail_method")
    return row


def test_a_job_whose_workers_die(database: str, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    with queue(database) as jobs, supervised(database, tmp_path, "root:2", OPTIONS) as running:
        job = jobs.sample(1).with_delay(max_retries=0).run_into_the_end(str(marker), "die")
        row = ended(jobs, job.uuid)
        assert marker.read_text() == "1\n" * 3, "the job does not run a fourth time"
        assert (row["retry"], row["deaths"], row["doomed"]) == (3, 3, False)
        assert row["exc_name"] == "WorkerDied"
        assert "its worker died 3 times in a row" in str(row["exc_message"])
        assert str(row["exc_info"]).count("died: SIGKILL") == 3, "the row has one diagnosis for each death"
        # the next job finds a worker, and the failure is logged once
        jobs.wait_for(jobs.sample(2).with_delay().write().uuid, "done")
        assert jobs.effects() == [2, 101]
        assert running.log.count("job failed") == 1


def test_a_job_that_is_killed_at_its_limit(database: str, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    with queue(database) as jobs, supervised(database, tmp_path, "root:1", OPTIONS):
        sample = jobs.sample(1).with_delay(max_retries=1, timeout=1)
        row = ended(jobs, sample.run_into_the_end(str(marker), "swallow").uuid)
        assert marker.read_text() == "1\n"
        assert (row["retry"], row["exc_name"]) == (1, "JobKilled")
        assert row["exc_message"] == "Max. retries (1) reached: timeout after 1 s"
        assert "_go_on" in str(row["exc_info"]), "the traceback shows where the job was"
        assert jobs.effects() == [101]


# a worker that settles a doomed job waits in this trigger as long as the test holds the lock
STAND_STILL = """
create function stand_still() returns trigger language plpgsql as $$
begin
    perform pg_advisory_xact_lock_shared(4711, 1);
    return new;
end $$;
create trigger stand_still before update on queuemaster.queue_job for each row
    when (old.doomed and new.state = 'failed') execute function stand_still();
select pg_advisory_lock(4711, 1)
"""


def test_the_worker_that_ends_it_dies_too(database: str, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    with queue(database) as jobs, supervised(database, tmp_path, "root:1", OPTIONS):
        jobs.rows(STAND_STILL)
        job = jobs.sample(1).with_delay(max_retries=1).run_into_the_end(str(marker), "die")
        undertakers: list[int] = []
        for _ in range(3):
            undertakers.append(wait_until(partial(undertaker, jobs, job.uuid, undertakers), PATIENCE))
            if len(undertakers) < 3:
                psutil.Process(undertakers[-1]).send_signal(signal.SIGKILL)
        jobs.rows("select pg_advisory_unlock(4711, 1)")
        row = ended(jobs, job.uuid)
        assert marker.read_text() == "1\n", "the job never runs again"
        assert (row["retry"], row["deaths"], row["attempt"]) == (1, 1, 4)
        assert str(row["exc_message"]).startswith("Max. retries (1) reached: worker ")
        assert jobs.effects() == [101]


def undertaker(jobs: Queue, uuid: str, before: list[int]) -> int:
    """The pid of a new worker that has begun to end the doomed job; 0 while there is none."""
    row = jobs.job(uuid)
    at_work = row["state"] == "started" and row["doomed"] and row["worker_pid"] not in before
    return int(row["worker_pid"]) if at_work else 0
