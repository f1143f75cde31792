"""Cancelling a running job stops it, rolls it back, and cancels it with every job that waits for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.supervised import PATIENCE, Queue, queue, supervised
from support.waiting import wait_until

pytestmark = pytest.mark.timeout(300)


def cancel(jobs: Queue, uuid: str) -> str:
    state: str = jobs.value("select queuemaster.cancel_job(%s)", (uuid,))
    return state


@pytest.mark.parametrize("how", ["query", "sleep", "swallow"])
def test_cancel_a_running_job(database: str, tmp_path: Path, how: str) -> None:
    with (
        queue(database) as jobs,
        supervised(database, tmp_path, "root:1", ["--set", "kill_grace=0.5"]) as running,
    ):
        job = jobs.sample(1).with_delay().run_away(how)
        after = jobs.sample(2).with_delay().write()
        jobs.wait_for(job.uuid, "started")
        assert cancel(jobs, job.uuid) == "started", "it stays started until its worker has stopped it"
        row = jobs.wait_for(job.uuid, "cancelled")
        assert row["date_cancelled"]
        assert not row["cancel_requested"]
        assert "cancelled on request" in row["exc_info"], running.log
        jobs.wait_for(after.uuid, "done")
        assert jobs.effects() == [2]


def test_a_cancelled_run_that_a_dead_dispatcher_did_not_see(database: str, tmp_path: Path) -> None:
    with queue(database) as jobs, supervised(database, tmp_path, "root:1") as running:
        job = jobs.sample(1).with_delay().write_slowly(600)
        jobs.wait_for(job.uuid, "started")
        dispatcher = running.one("dispatcher")
        dispatcher.suspend()
        cancel(jobs, job.uuid)
        dispatcher.kill()
        jobs.wait_for(job.uuid, "cancelled")
        wait_until(lambda: running.one("dispatcher").pid != dispatcher.pid, PATIENCE)


def test_waiting_descendants_go_with_it_and_come_back_by_hand(database: str, tmp_path: Path) -> None:
    with queue(database) as jobs:
        top, middle, last = (jobs.sample(n).delayable() for n in (1, 2, 3))
        top.write().on_done(middle.write().on_done(last.write()))
        top.delay()
        uuids = [row[0] for row in jobs.rows("select uuid from queuemaster.queue_job order by records::text")]
        assert cancel(jobs, uuids[0]) == "cancelled"
        assert jobs.states() == {"cancelled": 3}
        for uuid, state in zip(uuids, ("pending", "wait_dependencies", "wait_dependencies"), strict=True):
            assert jobs.value("select queuemaster.requeue_job(%s)", (uuid,)) == state
        with supervised(database, tmp_path, "root:1"):
            jobs.wait_until_drained()
        assert jobs.effects() == [1, 2, 3]


def test_set_to_done_by_hand_lets_the_children_go(database: str, tmp_path: Path) -> None:
    with queue(database) as jobs, supervised(database, tmp_path, "root:1"):
        top = jobs.sample(1).delayable().fail()
        top.on_done(jobs.sample(2).delayable().write())
        job = top.delay()
        jobs.wait_for(job.uuid, "failed")
        assert jobs.value("select queuemaster.set_job_done(%s, %s)", (job.uuid, "by hand")) == "done"
        jobs.wait_until_drained()
        assert jobs.states() == {"done": 2}
        assert jobs.effects() == [2]


def test_what_may_not_be_done_changes_nothing(database: str, tmp_path: Path) -> None:
    with queue(database) as jobs, supervised(database, tmp_path, "root:1"):
        job = jobs.sample(1).with_delay().write()
        before = jobs.wait_for(job.uuid, "done")
        assert cancel(jobs, job.uuid) == "done"
        assert jobs.value("select queuemaster.set_job_done(%s, '')", (job.uuid,)) == "done"
        assert jobs.job(job.uuid) == before
        running = jobs.sample(2).with_delay().write_slowly(600)
        jobs.wait_for(running.uuid, "started")
        assert jobs.value("select queuemaster.requeue_job(%s)", (running.uuid,)) == "started"
        assert jobs.value("select queuemaster.set_job_done(%s, '')", (running.uuid,)) == "started"
        assert jobs.value("select queuemaster.cancel_job('nobody')") is None
        cancel(jobs, running.uuid)
        jobs.wait_for(running.uuid, "cancelled")
