"""Large graphs beside Odoo: a job of a group does not lock all children of the group, and every child is released."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator

import pytest

from queuemaster.config.compiled import ServerPlan
from support.ocaqueue import OcaSession, OcaWorkerSession, new_oca_database

SIZE = 30


@pytest.fixture
def odoo(server: ServerPlan) -> Iterator[OcaSession]:
    with new_oca_database(server, 19) as dsn:
        opened = OcaWorkerSession(dsn)
        yield opened
        opened.close()


@pytest.fixture
def groups(odoo: OcaSession) -> tuple[list[int], list[int]]:
    """Two groups in a chain: each job of the second waits for all of the first, of which all but two are done."""
    above, below = ([str(uuid.uuid4()) for _ in range(SIZE)] for _ in range(2))
    leads = json.dumps({"depends_on": [], "reverse_depends_on": below})
    waits = json.dumps({"depends_on": above, "reverse_depends_on": []})
    parents = [
        odoo.add("done", uuid=parent_uuid, graph_uuid="g", dependencies=leads) for parent_uuid in above
    ]
    children = [
        odoo.add("wait_dependencies", uuid=child_uuid, graph_uuid="g", dependencies=waits)
        for child_uuid in below
    ]
    odoo.rows("update public.queue_job set state = 'started' where id = any(%s)", parents[-2:])
    return parents, children


def release(odoo: OcaSession, parent: int) -> int:
    return int(odoo.value("select queuemaster.release_children(%s)", parent))


def locked(odoo: OcaSession, jobs: list[int]) -> int:
    """How many of the rows were locked or changed since they were stored."""
    return int(odoo.value("select count(*) from public.queue_job where id = any(%s) and xmax <> '0'", jobs))


def test_who_is_not_the_last_touches_no_child(odoo: OcaSession, groups: tuple[list[int], list[int]]) -> None:
    parents, children = groups
    assert release(odoo, parents[0]) == 0
    assert locked(odoo, children) == 0
    odoo.rows("update public.queue_job set state = 'done' where id = %s", parents[-1])
    assert release(odoo, parents[-1]) == 0
    odoo.rows("update public.queue_job set state = 'done' where id = %s", parents[-2])
    assert release(odoo, parents[-2]) == SIZE


def test_a_done_that_is_not_committed_looks_at_every_child(
    odoo: OcaSession, groups: tuple[list[int], list[int]]
) -> None:
    """A worker's job ends while a person's transaction sets another to done: one of the two must see both ends."""
    parents, children = groups
    odoo.rows("begin")
    state = odoo.value("select queuemaster.set_job_done(%s, null)", odoo.uuid(parents[-1]))
    assert state == "started"  # a job that a worker runs is not set to done
    odoo.rows("update public.queue_job set state = 'done' where id = %s", parents[-1])
    assert release(odoo, parents[-1]) == 0
    odoo.rows("commit")
    assert locked(odoo, children) == SIZE


def test_the_sweep_locks_nobody_that_still_waits(
    odoo: OcaSession, groups: tuple[list[int], list[int]]
) -> None:
    parents, children = groups
    stranded = odoo.add("wait_dependencies")
    odoo.depend(stranded, parents[0])
    assert odoo.value("select released from queuemaster.sweep()") == 1
    assert odoo.value("select state from public.queue_job where id = %s", stranded) == "pending"
    assert locked(odoo, children) == 0


def test_children_of_others_are_released_all_the_same(
    odoo: OcaSession, groups: tuple[list[int], list[int]]
) -> None:
    parents, children = groups
    own = odoo.add("wait_dependencies", graph_uuid="g")
    odoo.depend(own, parents[0])
    assert release(odoo, parents[0]) == 1
    assert odoo.value("select state from public.queue_job where id = %s", own) == "pending"
    assert locked(odoo, children) == 0
