"""The database server is killed under load and comes back: no job is lost or done twice, and no try is counted."""

from __future__ import annotations

from pathlib import Path

import psutil
import psycopg2
import pytest

from queuemaster import embedded
from support.postgres import make_template
from support.processes import end_of
from support.supervised import PATIENCE, queue, supervised
from support.waiting import wait_until

pytestmark = pytest.mark.timeout(300)
COUNT = 300


def test_a_server_killed_and_restarted_under_load(place: Path, tmp_path: Path) -> None:
    plan = embedded.prepare(place / "data")  # with fsync, since committed rows must survive
    server = embedded.start(plan)
    embedded.wait_ready(plan, server)
    dsn = embedded.dsn(plan, make_template(plan))
    try:
        with supervised(dsn, tmp_path, "root:4") as running:
            with queue(dsn) as jobs:
                jobs.env.delay_many(
                    [jobs.sample(n).delayable(max_retries=1).write_slowly(0.05) for n in range(COUNT)]
                )
                wait_until(lambda: jobs.states().get("done", 0) > 20, PATIENCE, lambda: running.log)
                backends = psutil.Process(server.pid).children(recursive=True)
                server.kill()
                server.wait()
                assert end_of(backends, PATIENCE) == []
                with pytest.raises(psycopg2.Error):
                    jobs.states()
            wait_until(lambda: "database is away" in running.log, PATIENCE)
            server = embedded.start(plan)
            embedded.wait_ready(plan, server)
            with queue(dsn) as jobs:
                jobs.wait_until_drained()
                assert jobs.states() == {"done": COUNT}
                assert jobs.effects() == list(range(COUNT))
                assert jobs.value("select max(attempt) from queuemaster.queue_job") > 1, (
                    "the server was not killed during a job: the test proves nothing"
                )
                assert jobs.value("select max(retry) from queuemaster.queue_job") == 1
            assert running.process.poll() is None
            assert " died " not in running.log, "none of our processes ends because the server is away"
            assert running.stop() == 0
    finally:
        embedded.stop(server.pid)
        server.wait()
