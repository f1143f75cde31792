"""How many worker processes there are: those that are kept ready, and those that are forked on demand."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from support.supervised import PATIENCE, Supervised, queue, supervised
from support.waiting import wait_until

pytestmark = pytest.mark.timeout(300)
HELD = 16  # key of the advisory lock that the jobs wait for


def workers(running: Supervised) -> set[int]:
    """The pids of all live workers, including those that have not said hello yet."""
    other_pids = {process.pid for role in ("template", "dispatcher") for process in running.children(role)}
    return {
        process.pid
        for process in running.process.children(recursive=True)
        if process.pid not in other_pids and process.status() != psutil.STATUS_ZOMBIE
    }


def test_prefork_says_how_many_are_kept_ready(database: str, tmp_path: Path) -> None:
    channels = "root:7:prefork=0,a:4:prefork=1,b:2"
    with queue(database) as jobs, supervised(database, tmp_path, channels) as running:
        wait_until(
            lambda: len(running.children("worker", "root.a [idle]")) == 1, PATIENCE, lambda: running.log
        )
        wait_until(
            lambda: len(running.children("worker", "root.b [idle]")) == 2, PATIENCE, lambda: running.log
        )
        (ready,) = running.children("worker", "root.a")
        # the master requests all workers that are kept ready at once, before the first of them can do a job
        row = jobs.wait_for(jobs.sample(1).with_delay(channel="root.a").write().uuid, "done")
        assert row["worker_pid"] == ready.pid
        assert len(workers(running)) == 3, "one worker of a, two of b, none of root"
        jobs.value("select pg_advisory_lock(4711, %s)", (HELD,))
        held_jobs = [jobs.sample(n).with_delay(channel="root.a").write_and_wait(HELD) for n in range(2, 7)]
        wait_until(
            lambda: jobs.states().get("started") == 4,
            PATIENCE,
            lambda: f"four jobs to start, but: {jobs.states()}",
        )
        busy = {
            jobs.job(job.uuid)["worker_pid"] for job in held_jobs if jobs.job(job.uuid)["state"] == "started"
        }
        assert ready.pid in busy
        assert len(busy) == 4
        assert len(workers(running)) == 6, "four workers of a, two of b, none of root"
        jobs.value("select pg_advisory_unlock(4711, %s)", (HELD,))
        jobs.wait_until_drained()
        alone = jobs.wait_for(jobs.sample(7).with_delay(channel="root").write().uuid, "done")
        assert alone["worker_pid"] not in busy
        assert running.stop() == 0
