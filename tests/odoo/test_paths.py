"""Which path a job takes, and that jobs of both paths end as with the addon's own runner."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from support import realodoo
from support.realodoo import Odoo
from support.waiting import wait_until

# columns that may differ between two runs of the same job
_VARIES = ("id", "uuid", "date_", "exec_time", "eta", "worker_pid", "graph_uuid", "dependencies", "exc_info")
_CALLS: list[tuple[str, dict[str, Any]]] = [
    ("add(1, note='x')", {}),
    ("where()", {"priority": 3}),
    ("on_records()", {"description": "On no record"}),
    ("fail(2)", {}),
    ("fail_finally()", {}),
    ("again(3, until=100)", {"max_retries": 1}),
    ("again(4, until=100, seconds=3600)", {}),
    ("again(5, until=100, seconds=3600, ignore_retry=True)", {}),
    ("commit_midway(6)", {}),
    ("set_parameter('queuemaster.test', 'set')", {}),
]


def _ends(odoo: Odoo) -> list[dict[str, Any]]:
    """Run one job of each kind; return their rows without the columns that vary, with messages and waits."""
    odoo.rows("alter sequence queuemaster_runs restart")
    uuids = [odoo.delay(call, **properties) for call, properties in _CALLS]
    rows = []
    for uuid in uuids:
        row = wait_until(partial(_end, odoo, uuid), realodoo.PATIENCE, f"the end of job {uuid}")
        stable = {key: value for key, value in row.items() if not key.startswith(_VARIES)}
        count_messages = "select count(*) from mail_message where model = 'queue.job' and res_id = %s"
        rows.append(
            {**stable, "messages": odoo.value(count_messages, row["id"]), "waits": row["eta"] is not None}
        )
    return rows


def _end(odoo: Odoo, uuid: str) -> dict[str, Any] | None:
    """The job's row once it is done, failed, or waits for its next try."""
    job = odoo.job(uuid)
    ended = job["state"] in ("done", "failed") or (job["state"] == "pending" and job["eta"])
    return job if ended else None


def test_jobs_end_on_both_paths_as_with_the_addons_runner(new_odoo: Callable[[], Odoo]) -> None:
    stock, direct, addon = new_odoo(), new_odoo(), new_odoo()
    stock.configure("root:4")
    with stock.web("root:4"):
        expected, effects = _ends(stock), stock.effects()
    assert {row["state"] for row in expected} == {"done", "failed", "pending"}
    for odoo, direct_or_not in ((direct, "yes"), (addon, "no")):
        with odoo.supervised("root:4", direct=direct_or_not):
            for addon_row, own_row in zip(expected, _ends(odoo), strict=True):
                differ = {key for key in addon_row if _plain(addon_row[key]) != _plain(own_row[key])}
                differences = {key: (addon_row[key], own_row[key]) for key in differ}
                assert differences == {}, addon_row["method_name"]
        assert odoo.effects() == effects


def _plain(value: Any) -> Any:
    """The value without job uuids, and null for "" and 0, which Odoo does not distinguish from null."""
    return re.sub(r"[0-9a-f-]{36}", "…", value) if isinstance(value, str) else value or None


def test_who_overrides_the_write_of_a_job_sees_each_call(odoo: Odoo, tmp_path: Path) -> None:
    realodoo.install(odoo.server, odoo.name, tmp_path, "queuemaster_test_override")
    with odoo.supervised("root:2") as service:
        job = odoo.wait_for(odoo.delay("add(1)"), "done", "failed")
        failed = odoo.wait_for(odoo.delay("fail(2)"), "failed")
        states = "select state from queuemaster_witnessed where job_uuid = %s order by id"
        assert [state for (state,) in odoo.rows(states, job["uuid"])] == ["started", "done"]
        # first the job's own "started", then the failure, which the addon writes with exc_message
        assert [state for (state,) in odoo.rows(states, failed["uuid"])][:2] == ["started", "failed"]
    assert "odoo.addons.queuemaster_test_override.models overrides queue.job.write" in service.log
    assert "path=direct" not in service.log


def test_without_such_overrides_jobs_are_direct(odoo: Odoo) -> None:
    with odoo.supervised("root:2") as service:
        odoo.wait_for(odoo.delay("add(1)"), "done", "failed")
    assert "path=direct" in service.log
    assert "path=addon" not in service.log


def test_many_workers_on_the_addons_path_do_not_get_in_each_others_way(odoo: Odoo) -> None:
    odoo.run("for number in range(200): env['queuemaster.effect'].with_delay().add(number)")
    with odoo.supervised("root:4", direct="no") as service:
        odoo.wait_until_drained()
    assert odoo.effects() == list(range(200))
    assert "was requested to run job" not in service.log
    assert "put off" not in service.log
