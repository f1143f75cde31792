"""An application may cancel, requeue and set its jobs to done, as far as the job's state allows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg2
import pytest

from queuejobs import Environment, Job, JobError, Model, NoSuchJobError, chain, group
from queuejobs.store.jobs import STATES
from support.rows import Session, WorkerSession


class Task(Model):
    _name = "test.actions.task"

    def run(self) -> None: ...


@pytest.fixture
def env(database: str) -> Iterator[Environment]:
    connection = psycopg2.connect(database)
    yield Environment(connection)
    connection.close()


@pytest.fixture
def tasks(env: Environment) -> Any:
    return env["test.actions.task"]


POSSIBLE = {
    "cancel": {"wait_dependencies", "pending", "enqueued", "started", "failed", "cancelled"},
    "requeue": {"failed", "done", "cancelled", "pending", "wait_dependencies"},
    "set_done": {"wait_dependencies", "pending", "enqueued", "failed", "cancelled", "done"},
}


@pytest.mark.parametrize("action", POSSIBLE)
@pytest.mark.parametrize("state", STATES)
def test_what_each_state_allows(database: str, env: Environment, action: str, state: str) -> None:
    session = Session(database)
    columns = {"worker_id": 1} if state == "started" else {}
    session.add(state, uuid="the job", model_name="test.actions.task", **columns)
    job = Job.load(env, "the job")
    if state in POSSIBLE[action]:
        assert getattr(job, action)() is job
        env.cr.connection.commit()
        assert session.value("select state from queuemaster.queue_job") == job.state
    else:
        before = session.job(job.id)
        with pytest.raises(JobError, match=f"the job is {state}: .* possible now: "):
            getattr(job, action)()
        env.cr.connection.commit()
        assert session.job(job.id) == before
    session.connection.close()


def test_a_refusal_names_what_is_possible(database: str, env: Environment) -> None:
    session = Session(database)
    session.add("done", uuid="the job")
    with pytest.raises(JobError, match=r"job the job is done: .* possible now: requeue$"):
        Job.load(env, "the job").cancel()
    session.connection.close()


def test_a_running_job_is_asked_to_stop(database: str, env: Environment) -> None:
    worker = WorkerSession(database)
    worker.start(worker.add(uuid="the job"))
    job = Job.load(env, "the job").cancel()
    assert (job.state, job.cancel_requested) == ("started", True)
    worker.connection.close()


def test_it_is_part_of_the_callers_transaction(database: str, env: Environment, tasks: Any) -> None:
    job = tasks.with_delay().run()
    env.cr.connection.commit()
    assert job.cancel().state == "cancelled"
    env.cr.connection.rollback()
    assert job.refresh().state == "pending"


def test_a_cancelled_job_takes_its_descendants_along(tasks: Any) -> None:
    other = tasks.with_delay().run()
    first, second, third = chain(*(tasks.delayable().run() for _ in range(3))).delay()
    first.cancel()
    assert [job.refresh().state for job in (first, second, third, other)] == [*["cancelled"] * 3, "pending"]
    assert [job.requeue().state for job in (third, first, second)] == [
        "wait_dependencies", "pending", "wait_dependencies",
    ]  # fmt: skip


def test_set_to_done_keeps_a_result_and_lets_the_children_go(tasks: Any) -> None:
    first, second, last = chain(
        group(tasks.delayable().run(), tasks.delayable().run()), tasks.delayable().run()
    ).delay()
    assert first.set_done({"by": "hand"}).result == '{"by": "hand"}'
    assert last.refresh().state == "wait_dependencies"
    assert second.set_done().result is None
    assert last.refresh().state == "pending"


def test_a_requeued_job_begins_anew_and_gives_up_an_identity_that_was_taken(
    database: str, tasks: Any, env: Environment
) -> None:
    job = tasks.with_delay(identity_key="one").run()
    env.cr.connection.commit()
    session = Session(database)
    session.rows(
        "update queuemaster.queue_job set state = 'failed', retry = 5, exc_name = 'X', exc_info = 'why'"
    )
    other = tasks.with_delay(identity_key="one").run()
    assert other != job
    job.requeue()
    assert (job.state, job.retry, job.exc_name, job.identity_key) == ("pending", 0, None, None)
    assert job.exc_info == "why", "the earlier diagnosis stays on the row"
    session.connection.close()


def test_all_that_were_found_at_once(env: Environment, tasks: Any) -> None:
    for _ in range(3):
        tasks.with_delay().run()
    queue = env["queue.job"]
    assert {job.state for job in queue.search([("state", "=", "pending")]).cancel()} == {"cancelled"}
    ids = [job.id for job in queue.search()]
    assert {job.state for job in queue.browse(ids).requeue()} == {"pending"}
    assert {job.result for job in queue.browse(ids[:2]).set_done("so")} == {"so"}
    with pytest.raises(JobError, match="is done"):
        queue.search().cancel()


def test_a_job_that_is_gone(tasks: Any, env: Environment) -> None:
    job = tasks.with_delay().run()
    env.cr.execute("delete from queuemaster.queue_job")
    with pytest.raises(NoSuchJobError):
        job.cancel()
