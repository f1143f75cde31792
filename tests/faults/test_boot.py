"""Workers that never come up: an application's fork hook may hang, so there is a deadline."""

from __future__ import annotations

import re
from pathlib import Path

import psutil
import pytest

from support.supervised import PATIENCE, queue, supervised
from support.waiting import wait_until

pytestmark = pytest.mark.timeout(300)
# The hook runs in a child before our code does: in the process between template and worker, and in the worker.
HOOK = """
import os, subprocess, time
from sampleapp import *

TEMPLATE = os.getpid()

def hang():
    where = "middle" if os.getppid() == TEMPLATE else "worker"
    if os.path.exists(where):
        os.unlink(where)
        sleeper = subprocess.Popen(["sleep", "600"])
        with open("sleepers", "a") as stream:
            print(sleeper.pid, os.getpgid(0) == os.getpid(), file=stream)
        time.sleep(600)

os.register_at_fork(after_in_child=hang)
"""


@pytest.mark.parametrize(
    ("where", "message"),
    [("middle", "the template could not fork"), ("worker", "why=SIGABRT")],
)
def test_a_fork_that_hangs(database: str, tmp_path: Path, where: str, message: str) -> None:
    """The fork is killed together with all its children, and its traceback is logged."""
    (tmp_path / "hooked.py").write_text(HOOK)
    (tmp_path / where).touch()
    options = ["--set", "heartbeat_timeout=2"]
    with queue(database) as jobs, supervised(database, tmp_path, "root:1", options, app="hooked") as running:
        job = jobs.sample(1).with_delay(max_retries=1).write()
        wait_until(lambda: "worker lost at boot" in running.log, PATIENCE, lambda: running.log)
        assert message in running.log
        assert re.search(r"worker's last words .*hooked\.py.* in hang", running.log), running.log
        lines = [line.split() for line in (tmp_path / "sleepers").read_text().splitlines()]
        assert {leads for _, leads in lines} == {"True"}, "a hook ran before its process led a process group"
        wait_until(
            lambda: not psutil.pid_exists(int(lines[0][0])), PATIENCE, "the end of what the hook started"
        )
        row = jobs.wait_for(job.uuid, "done")
        assert row["attempt"] == 1, "the worker that hung never claimed the job"
        assert running.stop() == 0
