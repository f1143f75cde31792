"""The job model with running workers: failures, transactions, policies, context, logs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import modelapp  # noqa: F401 - registers the model that is delayed here
import pytest

from queuejobs import group
from support.supervised import PATIENCE, Queue, Supervised, supervised
from support.waiting import wait_until

pytestmark = pytest.mark.timeout(300)
CHANNELS = "root:8, again:2:on_error=retry, short:2:timeout=1"
OPTIONS = ("--set", "kill_grace=0.5")


@pytest.fixture
def running(jobs: Queue, database: str, tmp_path: Path) -> Iterator[Supervised]:
    with supervised(database, tmp_path, CHANNELS, OPTIONS, app="modelapp") as service:
        yield service


def shown_records(jobs: Queue, *numbers: int) -> Any:
    return jobs.env["shown"].browse(numbers)


def postponed(jobs: Queue, uuid: str) -> dict[str, Any]:
    """Wait until the job is pending with an eta; return its row."""
    return wait_until(partial(_postponed, jobs, uuid), PATIENCE, f"job {uuid} to wait for its time")


def _postponed(jobs: Queue, uuid: str) -> dict[str, Any]:
    row = jobs.job(uuid)
    return row if row["state"] == "pending" and row["eta"] else {}


def due(jobs: Queue, uuid: str) -> None:
    jobs.rows("update queuemaster.queue_job set eta = null where uuid = %s", (uuid,))


# after the end


@pytest.mark.usefixtures("running")
def test_on_fail_method_runs_once_after_the_final_failure_in_a_transaction_of_its_own(jobs: Queue) -> None:
    at_once = shown_records(jobs, 1).with_delay().fail_at_last("now")
    after_tries = shown_records(jobs, 2).with_delay(max_retries=3).fail_at_last("retry")
    for job in (at_once, after_tries):
        jobs.wait_for(job.uuid, "failed")
    wait_until(
        lambda: jobs.effects() == [101, 102],
        PATIENCE,
        lambda: f"the effects of the methods, but: {jobs.effects()}",
    )


def test_an_on_fail_method_that_fails_changes_nothing(jobs: Queue, running: Supervised) -> None:
    job = shown_records(jobs, 1).with_delay().fail_twice()
    jobs.wait_for(job.uuid, "failed")
    wait_until(lambda: "on_fail_method explode failed" in running.log, PATIENCE)
    jobs.wait_for(shown_records(jobs, 2).with_delay().write().uuid, "done")
    assert jobs.effects() == [2]
    assert jobs.job(job.uuid)["exc_message"] == "first"


# transactions


@pytest.mark.usefixtures("running")
def test_allow_commit_keeps_what_was_committed_before_the_failure(jobs: Queue) -> None:
    jobs.wait_for(shown_records(jobs, 1).with_delay().commit_and_crash().uuid, "failed")
    assert jobs.effects() == [1]


def test_isolation_levels_and_the_children_of_such_jobs(jobs: Queue, running: Supervised) -> None:
    parents = list(range(1, 9))
    tops = [shown_records(jobs, number).delayable().read_repeatably() for number in parents]
    child = shown_records(jobs, 50).delayable().follow(*parents)
    for top in tops:
        top.on_done(child)
    stored = jobs.env["queue.job"]
    uuids = [job.uuid for job in group(*tops).delay()]
    level = shown_records(jobs, 1).with_delay().serialize()
    assert jobs.wait_for(level.uuid, "done")["result"] == "serializable"
    jobs.wait_until_drained()
    results = {job.result for job in stored.search([("uuid", "in", uuids)])}
    assert results == {"repeatable read", None}
    assert jobs.states() == {"done": 10}
    # A transaction with an old snapshot does not see its siblings' ends, so it must not decide what is released.
    assert "sweep repaired" not in running.log


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize("code", ["40001", "40P01"])
def test_a_concurrency_error_is_tried_again_and_costs_no_try(jobs: Queue, code: str) -> None:
    job = shown_records(jobs, 1).with_delay(max_retries=1).collide(code)
    row = postponed(jobs, job.uuid)
    assert (row["retry"], row["concurrency_retries"], row["attempt"]) == (0, 1, 1)
    due(jobs, job.uuid)
    jobs.wait_for(job.uuid, "done")
    assert jobs.effects() == [1]


@pytest.mark.usefixtures("running")
def test_of_two_jobs_that_collide_in_the_database_one_runs_again(jobs: Queue) -> None:
    jobs.rows("create table counter as select 0 as value")
    jobs.rows("select pg_advisory_lock(4711, 1)")
    pair = [shown_records(jobs, number).with_delay(max_retries=1).count_up() for number in (1, 2)]
    for job in pair:
        jobs.wait_for(job.uuid, "started")
    waiting = "select count(*) from pg_locks where locktype = 'advisory' and classid = 4711 and not granted"
    wait_until(lambda: jobs.value(waiting) == 2, PATIENCE)
    jobs.rows("select pg_advisory_unlock(4711, 1)")
    loser = wait_until(lambda: next((job for job in pair if _postponed(jobs, job.uuid)), None), PATIENCE)
    assert "could not serialize" in jobs.job(loser.uuid)["exc_message"]
    due(jobs, loser.uuid)
    jobs.wait_until_drained()
    assert jobs.states() == {"done": 2}
    assert jobs.value("select value from counter") == 2


# policies


@pytest.mark.usefixtures("running")
def test_policies_of_channels_and_of_functions(jobs: Queue) -> None:
    in_channel = shown_records(jobs, 1).with_delay(channel="again").crash()
    elsewhere = shown_records(jobs, 1).with_delay().crash()
    function_fails = shown_records(jobs, 1).with_delay(channel="again").crash_for_good()
    function_retries = shown_records(jobs, 1).with_delay().crash_and_retry()
    for job in (elsewhere, function_fails):
        assert jobs.wait_for(job.uuid, "failed")["retry"] == 1
    for job in (in_channel, function_retries):
        row = postponed(jobs, job.uuid)
        assert (row["retry"], row["exc_message"]) == (1, "a bug")
        seconds = jobs.value(
            "select extract(epoch from eta - queuemaster.utc_now())::float from queuemaster.queue_job"
            " where uuid = %s",
            (job.uuid,),
        )
        assert 0 < seconds <= 10, "the backoff begins with ten seconds"


@pytest.mark.usefixtures("running")
def test_timeouts_of_functions_and_of_channels(jobs: Queue) -> None:
    of_function = shown_records(jobs, 1).with_delay(max_retries=1).sleep_too_long()
    of_channel = shown_records(jobs, 1).with_delay(max_retries=1, channel="short").sleep(600)
    own = shown_records(jobs, 1).with_delay(max_retries=1, channel="short", timeout=0).sleep(1.5)
    for job in (of_function, of_channel):
        row = jobs.wait_for(job.uuid, "failed")
        assert row["exc_message"] == "Max. retries (1) reached: timeout after 1 s"
    jobs.wait_for(own.uuid, "done")


# context, logs


@pytest.mark.usefixtures("running")
def test_a_model_says_which_context_travels_for_itself_and_as_an_argument(jobs: Queue) -> None:
    records = shown_records(jobs, 1).with_context(lang="de", tenant=7, secret="no")
    job = records.with_delay().what(shown_records(jobs, 2).with_context(tenant=8, secret="no"))
    result = json.loads(jobs.wait_for(job.uuid, "done")["result"])
    assert result == [{"lang": "de", "tenant": 7, "job_uuid": True}, {"tenant": 8, "job_uuid": True}]


@pytest.mark.usefixtures("running")
def test_auto_delay_is_a_plain_call_inside_a_running_job(jobs: Queue) -> None:
    records = shown_records(jobs, 1).with_context(delay_it=True)
    delayed = records.write_by_itself(5)
    assert jobs.wait_for(delayed.uuid, "done")["priority"] == 5
    jobs.wait_for(records.with_delay().call_plainly(6).uuid, "done")
    jobs.wait_for(records.with_delay().write_by_itself(7).uuid, "done")
    assert jobs.effects() == [5, 6, 7]
    assert jobs.states() == {"done": 3}


@pytest.mark.parametrize("form", ["text", "json"])
def test_what_the_application_logs_says_in_which_job(
    jobs: Queue, database: str, tmp_path: Path, form: str
) -> None:
    options = ("--log-format", form)
    with supervised(database, tmp_path, CHANNELS, options, app="modelapp") as running:
        job = shown_records(jobs, 1).with_delay(channel="again").say("hello")
        jobs.wait_for(job.uuid, "done")
        wait_until(lambda: "hello" in running.log, PATIENCE)
        line = next(line for line in running.log.splitlines() if "hello" in line)
    tags = {"job_uuid": job.uuid, "model": "shown", "method": "say", "channel": "root.again", "attempt": 1}
    if form == "json":
        assert tags.items() <= json.loads(line).items()
    else:
        assert all(f"{name}={value}" in line.split() for name, value in tags.items()), line


# identity


@pytest.mark.usefixtures("running")
def test_a_started_job_whose_identity_was_taken_goes_back_without_it_and_runs(jobs: Queue) -> None:
    jobs.rows("select pg_advisory_lock(4711, 1)")
    first = shown_records(jobs, 1).with_delay(identity_key="one").hold_then_retry()
    jobs.wait_for(first.uuid, "started")
    second = shown_records(jobs, 2).with_delay(identity_key="one", eta=3600).write()
    assert second.uuid != first.uuid
    assert shown_records(jobs, 3).with_delay(identity_key="one").write().uuid == second.uuid
    jobs.rows("select pg_advisory_unlock(4711, 1)")
    assert jobs.wait_for(first.uuid, "done")["identity_key"] is None
    due(jobs, second.uuid)
    assert jobs.wait_for(second.uuid, "done")["identity_key"] == "one"
    assert jobs.effects() == [1, 2]
