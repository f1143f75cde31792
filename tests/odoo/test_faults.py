"""Killed workers, a killed supervisor, runaways and memory hogs, on a real Odoo."""

from __future__ import annotations

import os
import signal
from datetime import datetime
from functools import partial

import pytest

from support.processes import end_of, has_ended
from support.realodoo import PATIENCE, Odoo
from support.waiting import wait_until


def test_a_killed_workers_job_runs_again_at_once_and_counts_once(odoo: Odoo) -> None:
    with odoo.supervised("root:2"):
        uuid = odoo.delay("sleep(2)")
        first = odoo.wait_for(uuid, "started")
        os.kill(first["worker_pid"], signal.SIGKILL)
        second = wait_until(
            lambda: (row := odoo.job(uuid))["worker_pid"] not in (None, 0, first["worker_pid"]) and row,
            PATIENCE, "another worker to start the job",
        )  # fmt: skip
        job = odoo.wait_for(uuid, "done", "failed")
    assert (job["state"], job["retry"]) == ("done", 2)
    # the addon's own runner requeues a dead job ten seconds after its start at the earliest
    assert _seconds(first["date_started"], second["date_started"]) < 10


def test_every_row_is_written_once_however_everything_dies(odoo: Odoo) -> None:
    odoo.run("for number in range(500): env['queuemaster.effect'].with_delay().add(number)")
    for share in (0.2, 0.5):
        with odoo.supervised("root:4") as service:
            wait_until(partial(_has_effects, odoo, int(500 * share)), PATIENCE, "some of the jobs to be done")
            everything = service.everything()
            for process in everything:
                process.kill()
            assert end_of(everything, PATIENCE) == []
    with odoo.supervised("root:4"):
        odoo.wait_until_drained()
    assert odoo.effects() == list(range(500))
    assert odoo.rows("select state, count(*) from queue_job group by 1") == [("done", 500)]


@pytest.mark.parametrize("call", ["sleep(600)", "sleep_in_sql(600)", "spin(600)", "sleep_with_a_child(600)"])
def test_a_runaway_is_ended_with_the_cause_on_its_job(odoo: Odoo, call: str) -> None:
    with odoo.supervised("root:2:timeout=1") as service:
        uuid = odoo.delay(call, max_retries=1)
        job = odoo.wait_for(uuid, "failed")
        assert "timeout after 1 s" in job["exc_message"]
        assert job["exc_name"] == "queuejobs.exception.TimeoutJobError"
        if "child" in call:
            child = odoo.value("select last_value from queuemaster_runs")
            wait_until(lambda: has_ended(child), PATIENCE, "the job's child process to end")
        # the job's channel goes on
        assert odoo.wait_for(odoo.delay("add(1)"), "done", "failed")["state"] == "done"
    assert "run is stopped" in service.log


def test_a_runaway_on_the_addons_path_is_ended_as_well(odoo: Odoo) -> None:
    with odoo.supervised("root:2:timeout=1", direct="no"):
        job = odoo.wait_for(odoo.delay("spin(600)", max_retries=1), "failed")
        assert "timeout after 1 s" in job["exc_message"]
        later = odoo.wait_for(odoo.delay("sleep(600)", max_retries=2), "pending", "failed")
    # with tries left it is retried, like a job that raised RetryableJobError
    assert (later["state"], later["retry"]) in (("pending", 0), ("pending", 1))


def test_a_memory_hog_is_ended_with_the_cause_on_its_job(odoo: Odoo) -> None:
    with odoo.supervised("root:2:memory=400M") as service:

        def workers() -> set[int]:
            return {worker.pid for worker in service.children("worker")}

        before = wait_until(lambda: len(pids := workers()) == 2 and pids, PATIENCE)
        job = odoo.wait_for(odoo.delay("eat(2000)", max_retries=1), "failed")
        assert "memory" in job["exc_message"]
        assert "> 400 MiB" in job["exc_message"] + (job["exc_info"] or "")
        assert odoo.wait_for(odoo.delay("add(1)"), "done", "failed")["state"] == "done"
        wait_until(lambda: workers() - before, PATIENCE)


def test_a_lost_connection_gives_the_try_back(odoo: Odoo) -> None:
    with odoo.supervised("root:1"):
        uuid = odoo.delay("sleep(3)")
        odoo.wait_for(uuid, "started")
        end_sessions = (
            "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name like %s"
        )
        # the claim is committed before Odoo opens the session of the job
        wait_until(lambda: odoo.value(end_sessions, "queuemaster: job %"))
        job = odoo.wait_for(uuid, "done", "failed")
    assert (job["state"], job["retry"]) == ("done", 1)


def test_a_shutdown_lets_jobs_end(odoo: Odoo) -> None:
    with odoo.supervised("root:1") as service:
        uuid = odoo.delay("sleep(2)")
        odoo.wait_for(uuid, "started")
        assert service.stop() == 0
    assert odoo.job(uuid)["state"] == "done"


def test_a_job_that_somebody_cancels_is_stopped(odoo: Odoo) -> None:
    with odoo.supervised("root:1"):
        uuid = odoo.delay("sleep(600)")
        odoo.wait_for(uuid, "started")
        assert odoo.value("select queuemaster.cancel_job(%s)", uuid) == "started"
        assert odoo.wait_for(uuid, "cancelled")["retry"] == 0


def _seconds(earlier: str, later: str) -> float:
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()


def _has_effects(odoo: Odoo, least: int) -> bool:
    return len(odoo.effects()) >= least
