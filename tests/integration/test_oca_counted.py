"""The metrics count and estimate Odoo's jobs like native ones. A database without a queue keeps no session open."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from queuemaster.config.compiled import DatabaseConfig, ServerPlan
from queuemaster.exporter import statements
from queuemaster.exporter.job_counts import QueueRows
from support.ocaqueue import OcaSession, new_oca_database
from support.rows import Session


@pytest.fixture
def database(server: ServerPlan, request: pytest.FixtureRequest) -> Iterator[str]:
    with new_oca_database(server, request.param) as dsn:
        yield dsn


@pytest.mark.parametrize("database", [14, 19], indirect=True)
def test_odoos_jobs_are_counted_by_channel_and_state(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    odoo = OcaSession(database)
    for state in ("pending", "pending", "started", "failed", "done", "done", "done"):
        odoo.add(state, channel="root.sale")
    odoo.close()
    queue_rows = QueueRows(DatabaseConfig("sales", database))
    queue_rows.ask()
    exactly = {(count.channel, count.state): count.jobs for count in queue_rows.rows or ()}
    assert exactly == {
        ("root.sale", "pending"): 2,
        ("root.sale", "started"): 1,
        ("root.sale", "failed"): 1,
        ("root.sale", "done"): 3,
    }
    monkeypatch.setattr(statements, "COUNT_JOBS", "select pg_sleep(60)")
    queue_rows.ask()
    assert queue_rows.estimated
    assert {(count.channel, count.state): count.jobs for count in queue_rows.rows or ()} == exactly
    queue_rows._disconnect()


def test_where_nothing_is_served_nothing_is_counted_and_no_session_stays(empty_database: str) -> None:
    queue_rows = QueueRows(DatabaseConfig("empty", empty_database))
    queue_rows.ask()
    assert queue_rows.rows is None
    session = Session(empty_database)
    assert (
        session.value(
            "select count(*) from pg_stat_activity where application_name = 'queuemaster: exporter'"
        )
        == 0
    )
    session.close()
