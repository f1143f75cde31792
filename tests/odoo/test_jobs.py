"""Jobs of every kind on a real Odoo, run by our supervisor."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from support.realodoo import ADMIN, Odoo
from support.supervised import Supervised


@pytest.fixture(scope="module")
def odoo(new_odoo: Callable[[], Odoo]) -> Odoo:
    """One database for all tests of this module."""
    return new_odoo()


@pytest.fixture(scope="module")
def service(odoo: Odoo) -> Iterator[Supervised]:
    with odoo.supervised("root:4") as running:
        yield running


@pytest.fixture(autouse=True)
def _clean(odoo: Odoo, service: Supervised) -> None:
    odoo.rows("delete from queuemaster_effect")
    odoo.rows("alter sequence queuemaster_runs restart")


def test_a_job_runs_as_its_user_in_its_company_and_context(odoo: Odoo) -> None:
    uuid = odoo.run(
        """
        company = env["res.company"].create({"name": "Second"})
        env.user.company_ids += company
        effects = env["queuemaster.effect"].with_context(
            allowed_company_ids=[company.id], lang="en_US", tz="Europe/Paris", private="not stored")
        result = effects.with_delay().where().uuid
        """
    )
    result = json.loads(odoo.wait_for(uuid, "done", "failed")["result"])
    company = odoo.value("select id from res_company where name = 'Second'")
    assert (result["uid"], result["su"], result["company"]) == (ADMIN, False, company)
    assert result["context"] == {
        "allowed_company_ids": [company], "lang": "en_US", "tz": "Europe/Paris", "job_uuid": uuid,
    }  # fmt: skip


def test_arguments_arrive_as_they_were_given(odoo: Odoo) -> None:
    uuid = odoo.run(
        """
        records = env["queuemaster.effect"].create([{"number": 4}, {"number": 5}])
        result = records.with_delay().on_records().uuid
        """
    )
    assert odoo.wait_for(uuid, "done", "failed")["result"].endswith("[4, 5]")


def test_a_failure_is_notified_and_its_hook_called(odoo: Odoo) -> None:
    job = odoo.wait_for(odoo.delay("fail(1)"), "failed")
    assert (job["exc_name"], job["exc_message"], job["retry"]) == (
        "ValueError",
        "planned failure",
        1,
    )
    assert 'raise ValueError("planned failure")' in job["exc_info"]
    # the effect of the job is rolled back, that of its hook stays
    assert odoo.rows("select number, note from queuemaster_effect") == [
        (-1, "ValueError: planned failure: True")
    ]
    assert _notified(odoo, job)
    followers = odoo.value(
        "select count(*) from mail_followers where res_model = 'queue.job' and res_id = %s", job["id"]
    )
    assert followers >= 1


def test_retries_follow_the_pattern_and_their_limit(odoo: Odoo) -> None:
    uuid = odoo.delay("again(1, until=10)", max_retries=3)
    # the retry pattern waits one second after the first and second try; the third try is the last
    job = odoo.wait_for(uuid, "failed")
    assert (job["retry"], job["exc_message"]) == (3, "Max. retries (3) reached: not yet")
    assert job["exc_name"] == "odoo.addons.queue_job.exception.FailedJobError"
    assert odoo.effects() == []


def test_a_retry_waits_with_its_reason_and_then_is_done(odoo: Odoo) -> None:
    uuid = odoo.delay("again(1, until=2, seconds=2, ignore_retry=True)")
    waiting = odoo.wait_for(uuid, "pending") if odoo.job(uuid)["state"] != "pending" else odoo.job(uuid)
    job = odoo.wait_for(uuid, "done", "failed")
    assert (job["state"], job["retry"]) == ("done", 1)  # the first try was not counted
    assert waiting["retry"] == 0
    assert odoo.effects() == [1]


def test_a_concurrency_error_is_tried_again(odoo: Odoo) -> None:
    uuid = odoo.delay("conflict(1)")
    job = odoo.wait_for(uuid, "done", "failed")
    assert (job["state"], job["retry"]) == ("done", 1)
    assert odoo.effects() == [1]


def test_a_job_may_commit_only_when_its_function_says_so(odoo: Odoo, service: Supervised) -> None:
    allowed = odoo.wait_for(odoo.delay("commit_midway(1)"), "done", "failed")
    assert allowed["state"] == "done"
    odoo.run("env['queue.job.function'].search([('method', '=', 'commit_midway')]).allow_commit = False")
    try:
        refused = odoo.wait_for(odoo.delay("commit_midway(5)"), "done", "failed")
    finally:
        odoo.run("env['queue.job.function'].search([('method', '=', 'commit_midway')]).allow_commit = True")
    assert refused["state"] == "failed"
    assert "Commit is forbidden in queue jobs" in refused["exc_message"]
    assert odoo.effects() == [1, 2]
    assert 'path=addon reason="its function may commit"' in _path_of(service, allowed)
    assert "path=direct" in _path_of(service, refused)


def test_an_exit_is_the_jobs_not_the_workers(odoo: Odoo, service: Supervised) -> None:
    before = {worker.pid for worker in service.children("worker")}
    job = odoo.wait_for(odoo.delay("exit()"), "failed")
    assert job["exc_name"] == "SystemExit"
    assert {worker.pid for worker in service.children("worker")} == before


def test_a_job_that_closes_its_cursor_fails(odoo: Odoo) -> None:
    job = odoo.wait_for(odoo.delay("close_cursor()"), "failed")
    assert job["exc_name"] == "psycopg2.InterfaceError"


def test_a_method_that_is_gone_fails_and_says_so(odoo: Odoo) -> None:
    uuid = odoo.delay("add(1)", eta=3600)
    odoo.rows("update queue_job set method_name = 'gone', eta = null where uuid = %s", uuid)
    job = odoo.wait_for(uuid, "failed")
    assert "gone" in job["exc_message"]
    assert _notified(odoo, job)


def test_an_eta_is_waited_for(odoo: Odoo) -> None:
    uuid = odoo.delay("add(1)", eta=3)
    eta = datetime.datetime.fromisoformat(odoo.job(uuid)["eta"])
    job = odoo.wait_for(uuid, "done", "failed")
    assert datetime.datetime.fromisoformat(job["date_started"]) >= eta


def test_an_identity_is_stored_once_while_it_waits(odoo: Odoo) -> None:
    first = odoo.delay("add(1)", identity_key="only one", eta=3600)
    assert odoo.delay("add(1)", identity_key="only one") == first
    odoo.rows("update queue_job set eta = null where uuid = %s", first)
    odoo.wait_for(first, "done")
    assert odoo.delay("add(2)", identity_key="only one") != first
    odoo.wait_until_drained()
    assert odoo.effects() == [1, 2]


@pytest.mark.parametrize("direct", [True, False], ids=["direct", "after a job that may commit"])
def test_a_graph_goes_step_by_step(odoo: Odoo, direct: bool) -> None:
    uuids = odoo.run(
        f"""
        from odoo.addons.queue_job.delay import chain, group
        effects = env["queuemaster.effect"]
        first = effects.delayable().{"add(1)" if direct else "commit_midway(1)"}
        middle = [effects.delayable().add(10 + number) for number in range(8)]
        last = effects.delayable().add(100)
        chain(first, group(*middle), last).delay()
        result = [one._generated_job.uuid for one in [first, *middle, last]]
        """
    )
    odoo.wait_until_drained()
    jobs = [odoo.job(uuid) for uuid in uuids]
    assert [job["state"] for job in jobs] == ["done"] * 10
    done = [job["date_done"] for job in jobs]
    started = [job["date_started"] for job in jobs]
    assert min(started[1:9]) >= done[0]
    assert started[9] >= max(done[1:9])


def test_children_of_a_failed_job_wait_until_it_succeeds(odoo: Odoo) -> None:
    parent, child = odoo.run(
        """
        from odoo.addons.queue_job.delay import chain
        effects = env["queuemaster.effect"]
        parent, child = effects.delayable(max_retries=1).again(1), effects.delayable().add(2)
        chain(parent, child).delay()
        result = [parent._generated_job.uuid, child._generated_job.uuid]
        """
    )
    odoo.wait_for(parent, "failed")
    assert odoo.job(child)["state"] == "wait_dependencies"
    odoo.run(f"env['queue.job'].search([('uuid', '=', '{parent}')]).requeue()")
    odoo.wait_for(child, "done")
    assert odoo.effects() == [1, 2]


def test_a_job_that_kills_its_worker_runs_again_at_once(odoo: Odoo) -> None:
    job = odoo.wait_for(odoo.delay("die_once(1)"), "done", "failed")
    assert (job["state"], job["retry"]) == ("done", 2)  # the try that died counts
    assert odoo.effects() == [1]


def test_a_job_that_kills_every_worker_fails_and_its_managers_know(odoo: Odoo) -> None:
    job = odoo.wait_for(odoo.delay("die()", max_retries=0), "failed")
    assert "died 3 times in a row" in job["exc_message"]
    assert "SIGKILL" in job["exc_message"] + job["exc_info"]
    assert _notified(odoo, job)


def _notified(odoo: Odoo, job: dict[str, Any]) -> bool:
    """Whether the addon has notified the managers of the failure exactly once."""
    count = odoo.value(
        "select count(*) from mail_message message"
        " join mail_message_subtype subtype on subtype.id = message.subtype_id"
        " where message.model = 'queue.job' and message.res_id = %s and subtype.name->>'en_US' = 'Job failed'",
        job["id"],
    )
    return bool(count == 1)


def _path_of(service: Supervised, job: dict[str, Any]) -> str:
    """The log line that names the path of a job."""
    lines = [line for line in service.log.splitlines() if job["uuid"] in line and ": path " in line]
    assert lines, f"no line in the log names the path of {job['uuid']}"
    return lines[-1]
