"""A job that forks, starts processes or leaves a thread harms no other job: its children never run a line of ours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import forkapp  # noqa: F401  (registers the model)
import pytest

from support.supervised import Queue, Supervised, queue, supervised
from support.transitions import LOG, most_at_once

WAYS = {
    "return": "exit 0",
    "raise": "exit 1",
    "exit": "exit 3",
    "use the session": "exit 1",
    "commit": "exit 1",
    "close the session": "exit 1",
    "log": "exit 0",
    "end by a signal": "SIGTERM",
    "crash": "SIGSEGV",
}


@pytest.fixture
def jobs(database: str) -> Iterator[Queue]:
    with queue(database) as opened:
        opened.rows(LOG)
        yield opened


@pytest.fixture
def running(database: str, tmp_path: Path) -> Iterator[Supervised]:
    with supervised(database, tmp_path, "root:1", app="forkapp") as made:
        yield made


def check(jobs: Queue, running: Supervised, worker: int, numbers: int) -> None:
    """Each effect is there once, no more than one job ran at a time, and the worker lives."""
    assert jobs.effects() == list(range(numbers))
    assert set(most_at_once(jobs).values()) == {1}
    assert running.one("worker").pid == worker, "nothing of it concerns the worker"
    assert "worker's last words" not in running.log


@pytest.mark.parametrize("method", ["fork", "fork_twice", "fork_in_a_thread"])
def test_the_child_ends_by_whatever_way_it_comes_back(jobs: Queue, running: Supervised, method: str) -> None:
    worker = running.one("worker").pid
    model = jobs.env["forking"]
    forked, number = {}, 0
    for how in WAYS:
        forked[how] = getattr(model.browse([number]).with_delay(), method)(how).uuid
        model.browse([number + 1]).with_delay().write()
        number += 2
    jobs.wait_until_drained()
    assert jobs.states() == {"done": number}
    if method != "fork_twice":
        ended = {how: jobs.job(uuid)["result"] for how, uuid in forked.items()}
        expected = dict(WAYS)
        if method == "fork_in_a_thread":  # an error of a thread is reported, and is no error of its process
            expected |= dict.fromkeys(
                ("raise", "exit", "use the session", "commit", "close the session"), "exit 0"
            )
        assert ended == expected
    check(jobs, running, worker, number)


def test_the_parents_job_ends_as_its_own_outcome_says(jobs: Queue, running: Supervised) -> None:
    worker = running.one("worker").pid
    model = jobs.env["forking"]
    failing = [
        model.browse([100 + number]).with_delay().fork_and_fail(how).uuid for number, how in enumerate(WAYS)
    ]
    for number in range(5):
        model.browse([number]).with_delay().write()
    jobs.wait_until_drained()
    assert {jobs.job(uuid)["exc_message"] for uuid in failing} == {"the parent fails"}
    assert jobs.states() == {"done": 5, "failed": len(WAYS)}
    check(jobs, running, worker, 5)


def test_a_fork_after_the_final_failure(jobs: Queue, running: Supervised) -> None:
    worker = running.one("worker").pid
    model = jobs.env["forking"]
    for number, how in enumerate(WAYS):
        model.browse([number]).with_delay().fail(how)
    jobs.wait_until_drained()
    model.browse([len(WAYS)]).with_delay().write()
    jobs.wait_until_drained()
    check(jobs, running, worker, len(WAYS) + 1)


def test_processes_that_python_starts(jobs: Queue, running: Supervised) -> None:
    worker = running.one("worker").pid
    model = jobs.env["forking"]
    pools = [
        model.browse([n]).with_delay().compute_in_processes(how) for n, how in enumerate(["fork", "spawn"])
    ]
    command = model.browse([2]).with_delay().run_a_command()
    model.browse([3]).with_delay().write()
    jobs.wait_until_drained()
    assert [jobs.job(job.uuid)["result"] for job in pools] == ["30", "30"]
    assert jobs.job(command.uuid)["result"] == "through\n"
    check(jobs, running, worker, 4)


def test_a_thread_that_a_job_leaves_does_not_write_into_the_next_job(
    jobs: Queue, running: Supervised
) -> None:
    worker = running.one("worker")
    model = jobs.env["forking"]
    model.browse([0]).with_delay().leave_a_thread(0.2)
    for number in range(1, 40):
        model.browse([number]).with_delay().write()
    jobs.wait_until_drained()
    assert jobs.effects() == list(range(40)), "nothing of the thread's"
    assert 'reason="a job has left a thread"' in running.log
    assert not worker.is_running() or running.one("worker").pid != worker.pid
