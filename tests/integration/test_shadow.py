"""``queuemaster run --shadow`` beside a runner that a test plays: it reads, compares, and changes nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import psutil

from queuemaster.config.compiled import ServerPlan
from support.besideodoo import odoo_conf
from support.ocaqueue import OcaSession, new_oca_database
from support.supervised import PATIENCE, environment
from support.waiting import wait_until


def printed(output: Path, text: str) -> bool:
    return text in output.read_text()


def test_a_runner_that_does_otherwise(server: ServerPlan, tmp_path: Path) -> None:
    with new_oca_database(server, 19, install=False) as dsn:
        runner = OcaSession(dsn)
        jobs = [runner.add() for _ in range(3)]
        output = tmp_path / "output"
        with output.open("w") as stream:
            process = psutil.Popen(
                [sys.executable, "-m", "queuemaster", "run", "-c", str(odoo_conf(tmp_path, dsn, "root:1")), "--shadow"],
                stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, env=environment(), cwd=tmp_path,
            )  # fmt: skip
        try:
            wait_until(
                lambda: f"late: db={runner.connection.info.dbname}" in output.read_text(),
                PATIENCE,
                output.read_text,
            )
            # the other runner runs two jobs at once, where our root has one slot
            for job in jobs[1:]:
                runner.rows(
                    "update queue_job set state = 'started', date_enqueued = now() at time zone 'utc',"
                    " date_started = now() at time zone 'utc' where id = %s", job,
                )  # fmt: skip
                wait_until(partial(printed, output, runner.uuid(job)), PATIENCE, output.read_text)
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=PATIENCE) == 0
        text = output.read_text()
        assert f"out of order: db={runner.connection.info.dbname} job={runner.uuid(jobs[1])}" in text
        assert f"too many: db={runner.connection.info.dbname} job={runner.uuid(jobs[2])}" in text
        assert "channel root has 1 of 1 slots in use" in text
        assert "the other runner started 2 jobs" in text
        assert runner.rows("select 1 from pg_namespace where nspname = 'queuemaster'") == [], (
            "shadow mode writes nothing into the database"
        )
        runner.close()
