"""Children are released in the transaction that ends their last parent, also when two parents end at once."""

from __future__ import annotations

import random
from collections.abc import Iterator
from threading import Barrier

import psycopg2
import pytest

from support.rows import Session, WorkerSession, in_background, wait_until_blocked


@pytest.fixture
def workers(database: str) -> Iterator[list[WorkerSession]]:
    opened = [WorkerSession(database) for _ in range(2)]
    yield opened
    for worker in opened:
        worker.close()


def test_a_child_waits_for_all_its_parents(app: Session, workers: list[WorkerSession]) -> None:
    parent, other_parent, child = app.add(), app.add(), app.add("wait_dependencies")
    app.depend(child, parent, other_parent)
    assert workers[0].finish(workers[0].start(parent))
    assert app.state(child) == "wait_dependencies"
    assert workers[0].finish(workers[0].start(other_parent))
    assert app.state(child) == "pending"


@pytest.mark.parametrize("state", ["cancelled", "done", "failed"])
def test_only_waiting_children_are_released(app: Session, workers: list[WorkerSession], state: str) -> None:
    parent, child = app.add(), app.add(state)
    app.depend(child, parent)
    assert workers[0].finish(workers[0].start(parent))
    assert app.state(child) == state


def test_nothing_is_released_when_the_job_is_rolled_back(app: Session, workers: list[WorkerSession]) -> None:
    parent, child = app.add(), app.add("wait_dependencies")
    app.depend(child, parent)
    row = workers[0].start(parent)
    workers[0].begin()
    assert workers[0].finish(row)
    assert app.state(child) == "wait_dependencies"
    workers[0].rollback()
    assert (app.state(parent), app.state(child)) == ("started", "wait_dependencies")


def test_two_parents_that_end_at_once_do_not_strand_the_child(
    app: Session, workers: list[WorkerSession]
) -> None:
    """The second transaction waits for the first, and then sees that the other parent is done."""
    first, second = workers
    parent, other_parent, child = app.add(), app.add(), app.add("wait_dependencies")
    app.depend(child, parent, other_parent)
    rows = first.start(parent), second.start(other_parent)
    for worker in workers:
        worker.begin()
    assert first.finish(rows[0])
    with in_background(lambda: second.finish(rows[1])) as answer:
        wait_until_blocked(app, second.pid)
        first.commit()
    assert answer == [True]
    second.commit()
    assert app.state(child) == "pending"


def test_children_are_locked_in_the_order_of_their_ids(app: Session, workers: list[WorkerSession]) -> None:
    """While another transaction holds the child with the least id, no other child is locked: so none can deadlock."""
    parent = app.add()
    # stored in descending order: the first row in the table is not the one with the least id
    children = [app.add("wait_dependencies", id=number) for number in range(1_000_300, 1_000_000, -1)]
    for child in children:
        app.depend(child, parent)
    app.begin()
    app.rows("select 1 from queuemaster.queue_job where id = %s for update", children[-1])
    row = workers[0].start(parent)
    free = "select count(*) from (select 1 from queuemaster.queue_job where id = any(%s) for update nowait) x"
    with in_background(lambda: workers[0].finish(row)) as answer:
        wait_until_blocked(workers[1], workers[0].pid)
        assert workers[1].value(free, children[:-1]) == len(children) - 1
        app.rollback()
    assert answer == [True]


def test_many_diamonds_finished_by_two_at_once(app: Session, workers: list[WorkerSession]) -> None:
    """Shared children, their edges stored in opposite orders: no deadlock, and every child is released."""
    dice = random.Random(4711)
    for _ in range(20):
        parents = [app.add(), app.add()]
        children = [app.add("wait_dependencies") for _ in range(20)]
        for parent in parents:
            for child in dice.sample(children, len(children)):
                app.depend(child, parent)
        rows = [worker.start(parent) for worker, parent in zip(workers, parents, strict=True)]
        together = Barrier(2)

        def finish(number: int, together: Barrier = together, rows: list[dict[str, object]] = rows) -> bool:
            together.wait(20)
            return workers[number].finish(rows[number])

        with (
            in_background(lambda finish=finish: finish(0)) as first_answer,  # type: ignore[misc]
            in_background(lambda finish=finish: finish(1)) as second_answer,  # type: ignore[misc]
        ):
            pass
        assert first_answer + second_answer == [True, True]
        assert {app.state(child) for child in children} == {"pending"}


def test_a_frozen_worker_does_not_hold_its_rows_for_long(app: Session, workers: list[WorkerSession]) -> None:
    """Between finish() and COMMIT the server allows 5 s, then the session is ended and the run rolled back."""
    job = app.add()
    row = workers[0].start(job)
    workers[0].begin()
    assert workers[0].finish(row)
    assert workers[0].value("show idle_in_transaction_session_timeout") == "5s"
    workers[0].commit()
    assert workers[0].value("show idle_in_transaction_session_timeout") == "0"
    next_job = app.add()
    row = workers[1].start(next_job)
    workers[1].begin()
    # the same timeout, but shorter
    workers[1].finish(row)
    workers[1].rows("set local idle_in_transaction_session_timeout = '50ms'")
    app.rows("select 1 from queuemaster.queue_job where id = %s for update", next_job)
    assert app.state(next_job) == "started"
    with pytest.raises(psycopg2.Error):
        workers[1].commit()
