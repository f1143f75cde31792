"""The master's document is written rarely, but always before an entry of the scoreboard is cleared."""

from __future__ import annotations

import time

import pytest

from queuemaster.master.core import events as ev
from queuemaster.master.core.counters import ExitCause
from queuemaster.master.core.events import Limits, Plan, Role
from queuemaster.master.core.supervision import Supervision
from queuemaster.master.status_writer import StatusWriter
from queuemaster.status_board import INTERVAL, StatusBoard

NOW = 100.0


@pytest.fixture
def core() -> Supervision:
    running = Supervision((Role.TEMPLATE, Role.DISPATCHER), Plan({"root": 1}, 4, Limits(30.0, 20.0, 5.0)), 8)
    for event in (ev.Tick(), ev.Started(Role.TEMPLATE, 11), ev.Ready(Role.TEMPLATE)):
        running.handle(event, NOW)
    return running


@pytest.fixture
def board() -> StatusBoard:
    return StatusBoard.create()


def restarts(board: StatusBoard) -> dict[str, dict[str, int]]:
    document = board.master.read()
    assert document is not None
    return document["restarts"]


def test_the_document(core: Supervision, board: StatusBoard) -> None:
    StatusWriter(board).look(core, NOW)
    document = board.master.read()
    assert document is not None
    assert document["phase"] == "running"
    assert document["pools"] == {"root": {"target": 1, "alive": 1, "backoff_seconds": 0.0}}
    assert document["workers"] == [
        {"entry": 0, "generation": 1, "pid": 0, "channel": "root", "state": "asked"}
    ]
    assert document["children"]["template"] == {"pid": 11, "ready": True, "backoff_seconds": 0.0}


def test_it_is_written_once_in_an_interval(core: Supervision, board: StatusBoard) -> None:
    writer = StatusWriter(board)
    writer.look(core, NOW)
    core.counters.count_exit("root", ExitCause.EXIT)
    writer.look(core, NOW + INTERVAL / 2)
    assert restarts(board) == {}
    writer.look(core, NOW + INTERVAL)
    assert restarts(board) == {"root": {"exit": 1}}


def test_before_an_entry_is_cleared_its_counts_are_written_at_once(
    core: Supervision, board: StatusBoard
) -> None:
    writer = StatusWriter(board)
    writer.look(core, NOW)
    core.counters.count_exit("root", ExitCause.EXIT)
    writer.before_reuse(core, NOW)
    assert restarts(board) == {"root": {"exit": 1}}


def test_that_the_loop_turns_is_seen_without_a_new_document(core: Supervision, board: StatusBoard) -> None:
    writer = StatusWriter(board)
    writer.look(core, NOW)
    began = time.monotonic()
    writer.look(core, NOW)
    assert board.master.age() <= time.monotonic() - began
