"""What master and dispatcher publish on the status board, read the way a command reads it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from queuejobs.shared.scoreboard import Scoreboard
from queuemaster.status_board import (
    SCOREBOARD,
    DispatcherStatus,
    MasterStatus,
    NoStatus,
    StatusBoard,
    descriptor_of,
)
from support.supervised import PATIENCE, Queue, Supervised, supervised
from support.waiting import wait_until

pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def running(database: str, jobs: Queue, tmp_path: Path) -> Iterator[Supervised]:
    with supervised(database, tmp_path, "root:2,a:1") as opened:
        opened.one("worker")
        yield opened


def master(running: Supervised) -> MasterStatus:
    document = StatusBoard.of_process(running.process.pid).master.read()
    assert document is not None
    return document


def dispatcher(running: Supervised) -> DispatcherStatus:
    slot = StatusBoard.of_process(running.process.pid).dispatcher
    return wait_until(slot.read, PATIENCE, "the dispatcher's document")


def outcomes(running: Supervised, channel: str) -> dict[str, int]:
    document = master(running)
    return dict(document["counters"][channel]["outcomes"]) if channel in document["counters"] else {}


def test_pools_processes_and_databases(running: Supervised) -> None:
    wait_until(lambda: sum(p["alive"] for p in master(running)["pools"].values()) == 3, PATIENCE)
    document = master(running)
    assert (document["phase"], document["pid"]) == ("running", running.process.pid)
    assert {name: pool["target"] for name, pool in document["pools"].items()} == {"root": 2, "root.a": 1}
    assert document["children"]["dispatcher"]["pid"] == running.one("dispatcher").pid
    wait_until(lambda: all(d["leader"] for d in dispatcher(running)["databases"].values()), PATIENCE)
    published = dispatcher(running)
    assert published["channels"]["root.a"] == {
        "capacity": 1, "effective": 1, "in_use": 0, "paused": False, "rate": 0.0
    }  # fmt: skip
    (database,) = published["databases"].values()
    assert database["up"]
    assert database["epoch"]


def test_what_a_worker_is_at(running: Supervised, jobs: Queue) -> None:
    jobs.rows("select pg_advisory_lock(4711, 1)")
    job = jobs.sample(1).with_delay().write_and_wait(1)
    row = jobs.wait_for(job.uuid, "started")
    board = Scoreboard.view(descriptor_of(running.process.pid, SCOREBOARD))
    entries = wait_until(
        lambda: [w["entry"] for w in master(running)["workers"] if w["pid"] == row["worker_pid"]], PATIENCE
    )
    entry = board.entry(entries[0])
    # the worker writes its entry after its claim
    wait_until(lambda: (snapshot := entry.snapshot()) is not None and snapshot.job == row["id"], PATIENCE)
    wait_until(lambda: dispatcher(running)["channels"]["root"]["in_use"] == 1, PATIENCE)
    jobs.rows("select pg_advisory_unlock(4711, 1)")
    jobs.wait_until_drained()


def test_what_the_dead_had_done_is_kept_and_why_they_went(running: Supervised, jobs: Queue) -> None:
    for number in (1, 2):
        jobs.wait_for(jobs.sample(number).with_delay(channel="root.a").write().uuid, "done")
    job = jobs.sample(3).with_delay(channel="root.a").die("SIGKILL")
    jobs.wait_for(job.uuid, "done")
    wait_until(lambda: outcomes(running, "root.a").get("lost") == 1, PATIENCE)
    assert outcomes(running, "root.a")["done"] == 2
    counts = master(running)["counters"]["root.a"]
    assert sum(counts["duration"][:-1]) == 2, "the dead worker could not record the duration of its last run"
    assert sum(counts["wait"][:-1]) == 3
    assert master(running)["restarts"] == {"root.a": {"signal": 1}}


def test_a_run_over_its_limit_counts_as_that(running: Supervised, jobs: Queue) -> None:
    job = jobs.sample(1).with_delay(timeout=0.5, max_retries=1).run_away("sleep")
    jobs.wait_for(job.uuid, "failed")
    wait_until(lambda: outcomes(running, "root").get("timeout") == 1, PATIENCE)
    assert outcomes(running, "root")["failed"] == 0


def test_a_master_that_stands_still_is_seen(running: Supervised) -> None:
    board = StatusBoard.of_process(running.process.pid)
    assert board.master.age() < PATIENCE
    os.kill(running.process.pid, signal.SIGSTOP)
    try:
        wait_until(lambda: board.master.age() > 3, PATIENCE)
    finally:
        os.kill(running.process.pid, signal.SIGCONT)
    wait_until(lambda: board.master.age() < 1, PATIENCE)


def test_after_its_end_there_is_nothing(running: Supervised) -> None:
    running.stop()
    with pytest.raises(NoStatus, match="has ended"):
        StatusBoard.of_process(running.process.pid)
