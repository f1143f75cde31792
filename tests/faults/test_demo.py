"""``queuemaster demo`` kills workers with SIGKILL, and every job has its effect once."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from support.supervised import environment


@pytest.mark.timeout(400)
def test_demo_loses_and_duplicates_nothing() -> None:
    completed = subprocess.run(
        [sys.executable, "-m", "queuemaster", "demo", "--jobs", "5000", "--kill", "10", "--json",
         "--channels", "root:4,root.mail:2,root.export:1:sequential"],
        capture_output=True, text=True, env=environment(), check=False,
    )  # fmt: skip
    assert completed.returncode == 0, completed.stderr
    result = json.loads(completed.stdout)
    assert set(result) == {
        "jobs", "done", "failed", "retried", "lost", "duplicated", "killed_workers", "seconds", "jobs_per_second",
    }  # fmt: skip
    assert result["jobs"] == result["done"] + result["failed"] == 5000
    assert result["failed"] > 0
    assert result["retried"] > 0
    assert (result["lost"], result["duplicated"]) == (0, 0)
    assert result["killed_workers"] >= 10


def test_demo_refuses_channels_that_cannot_be() -> None:
    completed = subprocess.run(
        [sys.executable, "-m", "queuemaster", "demo", "--channels", "root:many"],
        capture_output=True, text=True, env=environment(), check=False,
    )  # fmt: skip
    assert completed.returncode == 2
    assert "root:many" in completed.stderr
