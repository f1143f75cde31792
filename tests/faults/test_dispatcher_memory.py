"""The dispatcher never loads the queue: its memory does not grow with the number of jobs."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.supervised import PATIENCE, queue, supervised
from support.waiting import wait_until

MIB = 1024 * 1024
FILL = """
insert into queuemaster.queue_job (uuid, model_name, method_name, records, channel, priority)
select 'fill-' || n, 'sample', 'write', '{"_type": "odoo_recordset", "model": "sample", "ids": [1]}',
       'root.bulk', 20 from generate_series(1, 200000) n
"""


@pytest.mark.timeout(400)
def test_memory_with_200_000_pending_jobs(database: str, tmp_path: Path) -> None:
    with queue(database) as jobs, supervised(database, tmp_path, "root:2,root.bulk:1") as running:
        jobs.wait_for(jobs.sample(1).with_delay().write().uuid, "done")
        dispatcher = running.one("dispatcher")
        before = dispatcher.memory_full_info().uss
        jobs.rows(FILL)
        count_done = (
            "select count(*) from queuemaster.queue_job where channel = 'root.bulk' and state = 'done'"
        )
        wait_until(lambda: jobs.value(count_done) > 200, PATIENCE, "the dispatcher to work on the backlog")
        jobs.wait_for(jobs.sample(2).with_delay(priority=1).write().uuid, "done")
        grown = dispatcher.memory_full_info().uss - before
        assert running.one("dispatcher").pid == dispatcher.pid
        assert grown < 5 * MIB, f"{grown / MIB:.1f} MiB more"
