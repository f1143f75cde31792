"""A dead worker's last run, read from its entry of the scoreboard."""

from __future__ import annotations

import pytest

from queuejobs.shared.scoreboard import Entry, Scoreboard, State
from queuejobs.shared.work_counts import RunOutcome
from queuemaster.master.core.events import Run
from queuemaster.master.core.pools import Worker, WorkerState
from queuemaster.master.measure import obituary, read

KILLED = 9


@pytest.fixture
def board() -> Scoreboard:
    board = Scoreboard.create()
    board.entry(3).reserve(7, 0)
    return board


@pytest.fixture
def entry(board: Scoreboard) -> Entry:
    return board.entry(3)


@pytest.fixture
def worker() -> Worker:
    return Worker(3, 7, "root", 0.0, state=WorkerState.GREETED, pid=50)


def test_a_busy_worker_leaves_its_run(board: Scoreboard, entry: Entry, worker: Worker) -> None:
    entry.count(RunOutcome.DONE, 0.1)
    entry.change(State.BUSY, 1, database=1, job=8, attempt=2)
    event = obituary(board, worker, KILLED, "a traceback")
    assert (event.pid, event.status, event.words) == (50, KILLED, "a traceback")
    assert (event.busy, event.useful, event.run) == (True, True, Run(1, 8, 2))


def test_an_idle_worker_leaves_none(board: Scoreboard, entry: Entry, worker: Worker) -> None:
    entry.change(State.IDLE, 1)
    event = obituary(board, worker, KILLED, "")
    assert (event.busy, event.useful, event.run) == (False, False, None)


def test_one_that_died_while_it_changed_its_entry_counts_as_busy(board: Scoreboard, worker: Worker) -> None:
    half_written = Entry(board.entry(3)._words)
    half_written._words[8] += 1  # an odd sequence number marks an unfinished write
    event = obituary(board, worker, KILLED, "")
    assert (event.busy, event.useful, event.run) == (True, True, None)


def test_the_counts_of_a_later_worker_are_not_its_own(
    board: Scoreboard, entry: Entry, worker: Worker
) -> None:
    entry.reserve(8, 0)
    entry.count(RunOutcome.DONE, 0.1)
    event = obituary(board, worker, KILLED, "")
    assert event.counts is None
    assert not event.useful


@pytest.mark.parametrize("state", [state for state in WorkerState if state is not WorkerState.GREETED])
def test_only_a_worker_that_said_hello_and_lives_is_read(board: Scoreboard, state: WorkerState) -> None:
    assert read(board, Worker(3, 7, "root", 0.0, state=state, pid=50)) is None
