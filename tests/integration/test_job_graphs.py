"""Graphs in the database: stored whole or not at all."""

from __future__ import annotations

import itertools
from typing import Any

import psycopg2
import pytest

from queuejobs import Environment, Job, Model, chain, group


class Step(Model):
    _name = "test.graph.step"

    def run(self, *args: Any) -> None:
        """Do a step."""


@pytest.fixture
def steps(connection: Any) -> Any:
    return Environment(connection)["test.graph.step"]


def stored(steps: Any) -> dict[str, tuple[str, set[str]]]:
    """State and parents of each job, by its first argument."""
    steps.env.cr.execute(
        "select job.args->>0, job.state, array_agg(parent.args->>0) filter (where parent.id is not null)"
        "  from queuemaster.queue_job job"
        "  left join queuemaster.queue_job_edge edge on edge.child_id = job.id"
        "  left join queuemaster.queue_job parent on parent.id = edge.parent_id group by job.id"
    )
    return {name: (state, set(parents or ())) for name, state, parents in steps.env.cr.fetchall()}


def test_a_graph_is_stored_with_its_edges(steps: Any) -> None:
    a, b, c, d = (steps.delayable().run(name) for name in "abcd")
    jobs = chain(group(a, b), c).on_done(d).delay()
    assert stored(steps) == {
        "a": ("pending", set()),
        "b": ("pending", set()),
        "c": ("wait_dependencies", {"a", "b"}),
        "d": ("wait_dependencies", {"c"}),
    }
    assert [job.args[0] for job in jobs] == ["a", "b", "c", "d"]
    assert len({job.graph_uuid for job in jobs}) == 1
    assert jobs[0].graph_uuid
    assert jobs[2].state == "wait_dependencies"


def test_a_single_job_has_no_graph(steps: Any) -> None:
    assert steps.delayable().run("a").delay().graph_uuid is None
    assert chain(group(steps.delayable().run("b"))).delay()[0].graph_uuid is None
    assert group().delay() == []


def test_many_graphs_are_one_insert_of_jobs_and_one_of_edges(steps: Any) -> None:
    cr = steps.env.cr
    cr.execute(
        "create table statements(name text); create function counted() returns trigger language plpgsql as $$"
        " begin insert into statements values (tg_table_name); return null; end $$;"
        " create trigger counted after insert on queuemaster.queue_job for each statement"
        " execute function counted();"
        " create trigger counted after insert on queuemaster.queue_job_edge for each statement"
        " execute function counted()"
    )
    single = steps.delayable().run("s")
    members, last = [steps.delayable().run(str(n)) for n in range(500)], steps.delayable().run("end")
    job, jobs = steps.env.delay_many([single, chain(group(*members), last)])
    cr.execute("select name from statements")
    assert cr.fetchall() == [("queue_job",), ("queue_job_edge",)]
    assert (job.graph_uuid, len(jobs)) == (None, 501)
    assert len(stored(steps)["end"][1]) == 500


def test_ten_thousand_jobs_in_a_chain(steps: Any) -> None:
    top = chain(*(steps.delayable().run(n) for n in range(10_000)))
    assert len(top.delay()) == 10_000
    steps.env.cr.execute("select count(*) from queuemaster.queue_job_edge")
    assert steps.env.cr.fetchone() == (9_999,)


def test_the_top_is_what_is_stored(steps: Any, caplog: Any) -> None:
    group_a, group_b = group(steps.delayable().run("a")), group(steps.delayable().run("b"))
    top = chain(group_a, group_b)
    group_a.delay()
    assert set(stored(steps)) == {"a"}
    del top, group_b
    assert "was prepared but never delayed" in caplog.text


def test_a_delayed_job_cannot_join_another_graph(steps: Any) -> None:
    a, b, c = (steps.delayable().run(name) for name in "abc")
    job = a.delay()
    for delayable in (a, chain(a, b), c.on_done(a)):
        with pytest.raises(ValueError, match=f"was delayed already, as job {job.uuid}"):
            delayable.delay()
    d = steps.delayable().run("d")
    with pytest.raises(ValueError, match="part of two graphs"):
        steps.env.delay_many([chain(d, steps.delayable().run("e")), d])
    assert set(stored(steps)) == {"a"}


def test_one_transaction_stores_a_graph(steps: Any, database: str) -> None:
    other = psycopg2.connect(database)
    stranger = Environment(other)["test.graph.step"].delayable().run("b")
    with pytest.raises(ValueError, match="another database connection"):
        chain(steps.delayable().run("a"), stranger).delay()
    other.close()


def test_a_graph_is_whole_under_autocommit(connection: Any, steps: Any) -> None:
    connection.autocommit = True
    cr = connection.cursor()
    cr.execute("alter table queuemaster.queue_job_edge add constraint never check (parent_id < 0)")
    with pytest.raises(psycopg2.errors.CheckViolation):
        chain(steps.delayable().run("a"), steps.delayable().run("b")).delay()
    assert stored(steps) == {}
    cr.execute("alter table queuemaster.queue_job_edge drop constraint never")
    chain(steps.delayable(identity_key="k").run("a"), steps.delayable().run("b")).delay()
    assert len(stored(steps)) == 2
    assert connection.info.transaction_status == psycopg2.extensions.TRANSACTION_STATUS_IDLE


def test_a_failed_graph_leaves_the_transaction_usable(steps: Any) -> None:
    steps.with_delay().run("before")
    steps.env.cr.execute("alter table queuemaster.queue_job_edge add constraint never check (parent_id < 0)")
    with pytest.raises(psycopg2.errors.CheckViolation):
        chain(steps.delayable().run("a"), steps.delayable().run("b")).delay()
    assert set(stored(steps)) == {"before"}


def test_split_cuts_the_recordset(steps: Any) -> None:
    records = steps.browse(range(1, 8))
    jobs = records.delayable(priority=3, identity_key="sync", description="Sync").run("x").split(3).delay()
    assert [job.records.ids for job in jobs] == [[1, 2, 3], [4, 5, 6], [7]]
    assert [job.description for job in jobs] == [f"Sync (split {n}/3)" for n in (1, 2, 3)]
    assert [job.identity_key for job in jobs] == ["sync-1", "sync-2", "sync-3"]
    assert {(job.priority, job.state, job.args) for job in jobs} == {(3, "pending", ("x",))}

    jobs = records.delayable().run().on_done(steps.delayable().run("after")).split(4, chain=True).delay()
    assert [job.state for job in jobs] == ["pending", "wait_dependencies", "wait_dependencies"]
    assert [job.description for job in jobs] == [
        "Do a step. (split 1/2)",
        "Do a step. (split 2/2)",
        "Do a step.",
    ]
    assert stored(steps)["after"][0] == "wait_dependencies"
    assert steps.delayable().run().split(5).delay() == []


def test_split_needs_a_method_and_a_size(steps: Any) -> None:
    with pytest.raises(ValueError, match="no method to run"):
        steps.browse([1]).delayable().split(1)
    for size in (0, -1, "2", 1.5):
        with pytest.raises(ValueError, match="at least 1"):
            steps.browse([1]).delayable().run().split(size)


def keyed(steps: Any, names: str) -> Any:
    """A chain of jobs; those with an upper case name have it as identity key."""
    return chain(
        *(steps.delayable(identity_key=name if name.isupper() else None).run(name) for name in names)
    )


def test_a_graph_whose_identities_all_exist_is_not_stored(steps: Any) -> None:
    first = keyed(steps, "AbC").delay()
    second = keyed(steps, "CbA").delay()
    assert [job.uuid for job in second] == [first[2].uuid, first[0].uuid]
    assert len(stored(steps)) == 3


def test_a_graph_with_a_new_identity_is_stored_whole(steps: Any) -> None:
    first = keyed(steps, "A").delay()
    second = keyed(steps, "AB").delay()
    assert len(stored(steps)) == 2
    steps.env.cr.execute("select count(*) from queuemaster.queue_job")
    assert steps.env.cr.fetchone() == (3,)
    assert [job.identity_key for job in (*first, *second)] == ["A", None, "B"]


def test_identities_are_race_free_between_graphs(database: str) -> None:
    jobs: list[Job] = []
    for names in ("AB", "BA"):
        connection = psycopg2.connect(database)
        jobs += keyed(Environment(connection)["test.graph.step"], names).delay()
        connection.commit()
        connection.close()
    uuids = [job.uuid for job in jobs]
    assert uuids[2:] == uuids[1::-1]
    assert len(set(itertools.chain(uuids))) == 2
