"""The plans of the hot statements on a full queue: each uses an index, without a full scan or a sort.

Sessions are opened, and their plans made, while the table is nearly empty: a worker may live longer than a backlog
takes to come, and nobody waits for ANALYZE.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest

from queuejobs.shared.job_key import LEAST
from queuejobs.shared.job_state import JobState
from queuejobs.store import claims, recovery, retention, schema
from queuejobs.store.claims import Ending
from queuemaster.config.compiled import ServerPlan
from queuemaster.dispatcher import statements
from queuemaster.dispatcher.statements import Wanted
from support.postgres import connected, new_database
from support.rows import Session, WorkerSession
from support.waiting import wait_until

# 200,000 ready in 20 channels, 50,000 done, and some of each other kind
FILL = """
insert into queuemaster.queue_job (uuid, model_name, method_name, records, state, channel, priority, eta, date_created)
select kind || n, 'sample', 'write', '{}', state, 'root.c' || n %% 20, n %% 7,
       case when later then timestamp '2999-01-01' + make_interval(secs => n) end,
       timestamp '2026-01-01' + make_interval(secs => n)
  from (values ('ready', 'pending', false, 200000), ('done', 'done', false, 50000),
               ('later', 'pending', true, 5000), ('failed', 'failed', false, 1000)) kinds (kind, state, later, many),
       generate_series(1, many) n
 where %s::text is not null
"""
LOG_PLANS = """
load 'auto_explain';
set auto_explain.log_min_duration = 0; set auto_explain.log_nested_statements = on; set client_min_messages = log
"""


@dataclass
class Full:
    """A full queue that was analyzed when nearly empty, with sessions opened before it was filled."""

    worker: WorkerSession
    dispatcher: Session

    def plans(self, session: Session) -> str:
        """The plans that the server has logged in the session since the last call."""
        notices = "\n".join(session.connection.notices)
        session.connection.notices.clear()
        return notices


FIRST = {"priority": 0, "date_created": "2000-01-01", "id": 0}
WANTED = [
    *(Wanted(f"root.c{number}", LEAST, 8) for number in range(20)),
    Wanted("root.none", (3, "2026-01-01T10:00:00.000000", 7), 8),
]


@pytest.fixture(scope="module")
def dsn(server: ServerPlan) -> Iterator[str]:
    with new_database(server) as created:
        yield created


@pytest.fixture(scope="module")
def full(dsn: str) -> Iterator[Full]:
    with connected(dsn) as opened:
        schema.upgrade(opened)
        with opened.cursor() as cursor:
            cursor.execute("alter table queuemaster.queue_job set (autovacuum_enabled = off)")
    world = Full(WorkerSession(dsn), Session(dsn))
    statements.prepare(world.dispatcher.cursor)
    # a plan is cached only after five executions with custom plans
    for channel in ("root.c1", "root.c2"):
        world.dispatcher.add(channel=channel)
    world.dispatcher.rows("analyze queuemaster.queue_job")  # the smallest estimate: one page
    for number in range(8):
        claim_all_ways(world.worker, number)
        end_all_ways(world, dsn)
        purge_all_ways(world.dispatcher)
        statements.heads(world.dispatcher.cursor, WANTED)
    application = Session(dsn)
    application.rows(FILL, "")
    application.close()
    for session in (world.worker, world.dispatcher):
        session.rows(LOG_PLANS)
    yield world
    for session in (world.worker, world.dispatcher):
        session.close()


def claim_all_ways(worker: WorkerSession, job: int) -> None:
    worker.claim("root.c1")
    worker.claim("root.c1", bound=(3, "2026-01-01T00:00:00.000000", 7))
    worker.claim("root.c1", job=job)
    claims.claim_next(worker.cursor, {"channel": "root.c1", **FIRST}, worker.id, 1)


def end_all_ways(world: Full, dsn: str) -> None:
    row = world.worker.start(world.dispatcher.add())
    world.dispatcher.depend(world.dispatcher.add("wait_dependencies"), row["id"])
    assert world.worker.finish(row)
    go_on(world.worker, world.worker.start(world.dispatcher.add()))
    assert claims.settle(
        world.worker.cursor, world.worker.start(world.dispatcher.add()), Ending(JobState.FAILED, None, True)
    )
    victim = WorkerSession(dsn)
    victim.start(world.dispatcher.add())
    victim.close()
    recover(world.dispatcher, victim)


def go_on(worker: WorkerSession, row: dict[str, Any]) -> None:
    bounds = claims.SliceBounds(worker.epoch(), row["channel"], (3, "2026-01-01T00:00:00.000000", 7), None)
    assert claims.finish_and_claim(worker.cursor, row, None, 0.1, bounds, 1)[0]


def purge_all_ways(session: Session) -> None:
    for state in ("done", "failed"):
        retention.channels(session.cursor, state)
        retention.purge(session.cursor, state, "root.c1", 86400)


def recover(session: Session, victim: WorkerSession) -> None:
    """Recover the victim's jobs as soon as its session has gone."""
    wait_until(lambda: recovery.recover(session.cursor, victim.id), 20)


def assert_by_index(plans: str, *indexes: str) -> None:
    """Check that every plan reads jobs by an index and in its order, and that these indexes are among them."""
    assert "queue_job" in plans, "no plan was logged"
    for bad in ("Seq Scan on queue_job", "Sort", "Bitmap"):
        offender = next((plan for plan in re.split(r"(?=LOG: )", plans) if bad in plan), "")
        assert not offender, f"{bad} in:\n{offender}"
    for index in indexes:
        assert index in plans, f"{index} is not used:\n{plans}"


def test_the_queue_is_full(full: Full) -> None:
    counts = dict(full.dispatcher.rows("select state, count(*) from queuemaster.queue_job group by 1"))
    assert counts["pending"] >= 204_000
    assert counts["done"] >= 50_000
    estimate = "select reltuples from pg_class where oid = 'queuemaster.queue_job'::regclass"
    assert full.dispatcher.value(estimate) < 10, (
        "the server's statistics must not know that the queue is full"
    )


@pytest.mark.parametrize("bound", [None, (3, "2026-01-01T10:00:00.000000", 7)])
def test_claim(full: Full, bound: Any) -> None:
    full.plans(full.worker)
    row = full.worker.claim("root.c4", bound=bound)
    assert row is not None
    assert_by_index(full.plans(full.worker), "queue_job_ready", "queue_job_pkey")


def test_claim_of_the_next_of_a_batch(full: Full) -> None:
    full.plans(full.worker)
    assert (
        claims.claim_next(full.worker.cursor, {"channel": "root.c5", **FIRST}, full.worker.id, 1) is not None
    )
    assert_by_index(full.plans(full.worker), "queue_job_ready", "queue_job_pkey")


def test_claim_of_the_next_of_a_slice(full: Full) -> None:
    row = full.worker.claim("root.c10")
    assert row is not None
    full.plans(full.worker)
    go_on(full.worker, row)
    assert_by_index(full.plans(full.worker), "queue_job_ready", "queue_job_pkey")


def test_leaving_a_batch(full: Full) -> None:
    row = full.worker.claim("root.c6")
    assert row is not None
    full.plans(full.worker)
    claims.leave_batch(full.worker.cursor, row)
    assert_by_index(full.plans(full.worker), "queue_job_pkey")


def test_claim_of_a_named_job(full: Full) -> None:
    ready = statements.heads(full.dispatcher.cursor, [Wanted("root.c5", LEAST, 1)])["root.c5"][0][2]
    full.plans(full.worker)
    full.worker.start(ready)
    assert_by_index(full.plans(full.worker), "queue_job_pkey")


@pytest.mark.parametrize("children", [0, 3])
def test_finish(full: Full, children: int) -> None:
    row = full.worker.claim("root.c6")
    assert row is not None
    for _ in range(children):
        full.dispatcher.depend(full.dispatcher.add("wait_dependencies"), row["id"])
    full.plans(full.worker)
    assert full.worker.finish(row)
    assert_no_whole_index(full.plans(full.worker))


def test_settle(full: Full) -> None:
    row = full.worker.claim("root.c7")
    assert row is not None
    full.plans(full.worker)
    assert claims.settle(full.worker.cursor, row, Ending(JobState.FAILED, None, True))
    assert_no_whole_index(full.plans(full.worker))


@pytest.mark.parametrize("by", ["worker", "dispatcher"])
def test_recover(full: Full, by: str, dsn: str) -> None:
    victim = WorkerSession(dsn)
    assert victim.claim("root.c8") is not None
    victim.close()
    session: Session = getattr(full, by)
    full.plans(session)
    recover(session, victim)
    assert_no_whole_index(full.plans(session))


def assert_no_whole_index(plans: str) -> None:
    """A graph's few rows may be sorted, but its jobs must be found by an index."""
    assert "Update on queue_job" in plans
    assert "Seq Scan on queue_job" not in plans, plans
    for scan in re.findall(r"Scan using (?:queue_job_pkey|queue_job_ready) .*\n.*", plans):
        assert "Index Cond" in scan, f"{scan}\nin:\n{plans}"


def test_heads(full: Full) -> None:
    full.plans(full.dispatcher)
    heads = statements.heads(full.dispatcher.cursor, WANTED)
    assert [len(heads[item.channel]) for item in WANTED] == [8] * 20 + [0]
    assert_by_index(full.plans(full.dispatcher), "Index Only Scan using queue_job_ready")


def test_channels(full: Full) -> None:
    full.plans(full.dispatcher)
    assert len(statements.ready_channels(full.dispatcher.cursor)) >= 20
    assert_by_index(full.plans(full.dispatcher), "queue_job_ready")
    assert len(statements.blocking_channels(full.dispatcher.cursor)) >= 20
    assert_by_index(full.plans(full.dispatcher), "queue_job_eta_order", "queue_job_failed")


def test_blockers(full: Full) -> None:
    full.plans(full.dispatcher)
    blockers = statements.blockers(full.dispatcher.cursor, ["root.c1", "root.none"])
    delayed, failed = blockers["root.c1"]
    assert delayed is not None
    assert failed
    assert blockers["root.none"] == (None, False)
    assert_by_index(full.plans(full.dispatcher), "queue_job_eta_order", "queue_job_failed")


def test_etas(full: Full) -> None:
    full.plans(full.dispatcher)
    wait = statements.next_eta(full.dispatcher.cursor)
    assert wait is not None
    assert wait > (datetime(2500, 1, 1) - datetime.now()).total_seconds()
    assert_by_index(full.plans(full.dispatcher), "queue_job_eta")
    assert statements.promote(full.dispatcher.cursor, 1000) == 0
    assert_by_index(full.plans(full.dispatcher), "queue_job_eta")


def test_retention(full: Full) -> None:
    full.plans(full.dispatcher)
    channels = retention.channels(full.dispatcher.cursor, "done")
    assert {f"root.c{number}" for number in range(20)} <= {entry.channel for entry in channels}
    assert_by_index(full.plans(full.dispatcher), "queue_job_ended")
    # nothing is that old: a deleted batch would log more plans
    nothing = retention.purge(full.dispatcher.cursor, "done", "root.c9", 1e9)
    assert nothing.looked_at == 0
    plans = full.plans(full.dispatcher)
    assert "Seq Scan on queue_job" not in plans
    (scan,) = re.findall(r"Scan using queue_job_ended .*\n.*", plans)
    assert "Index Cond: ((state = " in scan
    assert "(channel = " in scan
    batch = retention.purge(full.dispatcher.cursor, "done", "root.c9", 1)
    assert (batch.removed, batch.looked_at) == (1000, 1000)
    full.plans(full.dispatcher)


def test_what_runs(full: Full) -> None:
    full.plans(full.dispatcher)
    statements.started(full.dispatcher.cursor)
    statements.requeue_enqueued(full.dispatcher.cursor)
    statements.release_stranded(full.dispatcher.cursor)
    assert_by_index(full.plans(full.dispatcher), "queue_job_started", "queue_job_waiting")
