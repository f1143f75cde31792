"""``nice`` of a channel: its workers have that niceness; a value that the kernel refuses stops no job."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from support.supervised import queue, supervised

pytestmark = pytest.mark.timeout(200)
# PR_CAPBSET_DROP of CAP_SYS_NICE: root without it. An ordinary user does not have it, and the call fails.
WITHOUT_PRIVILEGE = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(24, 23, 0, 0, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_niceness_given_and_refused(database: str, tmp_path: Path) -> None:
    through = [sys.executable, "-c", WITHOUT_PRIVILEGE]
    channels = "root:2,kind:1:nice=7,keen:1:nice=-5"
    usual = os.getpriority(os.PRIO_PROCESS, 0)
    with queue(database) as jobs, supervised(database, tmp_path, channels, through=through) as running:
        for channel, expected in (("kind", min(usual + 7, 19)), ("keen", usual)):
            job = jobs.sample(1).with_delay(channel=f"root.{channel}").write()
            row = jobs.wait_for(job.uuid, "done")
            assert os.getpriority(os.PRIO_PROCESS, row["worker_pid"]) == expected
        assert "niceness refused channel=root.keen nice=-5" in running.log
        assert "niceness refused channel=root.kind" not in running.log
        assert "worker lost at boot" not in running.log
        assert running.stop() == 0
