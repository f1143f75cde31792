"""``queuemaster status`` from a board as master and dispatcher write it, and from a real database."""

from __future__ import annotations

import contextlib
import os
import time
from typing import Any

import pytest
from rich.console import Console

from queuejobs.shared.scoreboard import Scoreboard, State
from queuemaster.channels.channel import ChannelConfig
from queuemaster.cli.status_document import RunningJobNames, status_document
from queuemaster.cli.status_view import view
from queuemaster.cli.supervisor import Supervisor
from queuemaster.config.compiled import DatabaseConfig, Settings
from queuemaster.status_board import DispatcherStatus, MasterStatus, StatusBoard
from support.rows import Session

MASTER: MasterStatus = {
    "pid": 4711,
    "version": "1.2",
    "phase": "running",
    "started": 0.0,
    "pools": {
        "root": {"target": 2, "alive": 2, "backoff_seconds": 0.0},
        "root.mail": {"target": 2, "alive": 0, "backoff_seconds": 7.0},
    },
    "workers": [
        {"entry": 0, "generation": 1, "pid": 4720, "channel": "root", "state": "greeted"},
        {"entry": 1, "generation": 2, "pid": 4721, "channel": "root", "state": "greeted"},
        {"entry": 2, "generation": 3, "pid": 0, "channel": "root.mail", "state": "asked"},
    ],
    "children": {
        "template": {"pid": 4712, "ready": True, "backoff_seconds": 0.0},
        "dispatcher": {"pid": 0, "ready": False, "backoff_seconds": 3.0},
    },
    "restarts": {"root.mail": {"SIGSEGV": 4}},
    "counters": {},
}
DISPATCHER: DispatcherStatus = {
    "pid": 4713,
    "draining": False,
    "channels": {
        "root": {"capacity": 2, "effective": 2, "in_use": 1, "paused": False, "rate": 0.0},
        "root.mail": {"capacity": 4, "effective": 2, "in_use": 0, "paused": True, "rate": 0.0},
    },
    "databases": {
        "sales": {"up": True, "leader": True, "standing_by": False, "standing": "leads", "epoch": 3}
    },
    "links": {},
}


def supervisor(dsn: str, job: int = 0) -> Supervisor:
    """A supervisor whose worker 4720 runs this job, while 4721 is idle."""
    scoreboard = Scoreboard.create()
    for entry, generation in enumerate((1, 2, 3)):
        scoreboard.entry(entry).reserve(generation, 0)
    now = time.monotonic_ns()
    scoreboard.entry(0).change(State.BUSY, now - 5_000_000_000, 0, job, 2)
    scoreboard.entry(1).change(State.IDLE, now)
    settings = Settings((ChannelConfig("root"),), (DatabaseConfig("sales", dsn),))
    return Supervisor(os.getpid(), settings, StatusBoard.create(), scoreboard)


def document(served: Supervisor) -> dict[str, Any]:
    with contextlib.closing(RunningJobNames(served.settings.databases)) as names:
        return status_document(served, names.of)


def drawn(status: dict[str, Any], width: int, most: int | None = None) -> str:
    out = Console(width=width, no_color=True, highlight=False, markup=False, emoji=False)
    with out.capture() as capture:
        out.print(view(status, width, most))
    return capture.get()


def test_before_anything_was_written() -> None:
    status = document(supervisor("host=127.0.0.1 port=1"))
    assert status["master"]["phase"] == "starting"
    assert status["databases"] == {"sales": None}
    assert "not known yet" in drawn(status, 60)


def test_who_does_what(database: str, session: Session) -> None:
    served = supervisor(database, session.add(uuid="c8c0d125-a7e9-4c47-a5e0-b1781ba41473"))
    served.board.master.write({**MASTER, "started": time.time() - 90})
    served.board.dispatcher.write(DISPATCHER)
    status = document(served)
    busy, idle, coming = status["workers"]
    assert busy["job"] == {
        "database": "sales", "id": 1, "attempt": 2, "call": "sample.write",
        "uuid": "c8c0d125-a7e9-4c47-a5e0-b1781ba41473",
    }  # fmt: skip
    assert (busy["state"], idle["state"], coming["state"]) == ("busy", "idle", "asked")
    assert busy["since"] >= 5
    assert status["channels"]["root"] == {
        "capacity": 2, "effective": 2, "in_use": 1, "paused": False,
        "workers": {"target": 2, "alive": 2, "busy": 1, "idle": 1, "backoff": 0.0, "restarts": {}},
    }  # fmt: skip
    assert status["databases"]["sales"]["epoch"] == 3
    assert 90 <= status["master"]["since"] < 3600


@pytest.mark.parametrize("width", [60, 80, 120, 100_000])
def test_no_line_is_wider_than_the_terminal_and_no_uuid_is_cut(
    database: str, session: Session, width: int
) -> None:
    served = supervisor(database, session.add(uuid="c8c0d125-a7e9-4c47-a5e0-b1781ba41473"))
    served.board.master.write({**MASTER, "started": time.time() - 90})
    served.board.dispatcher.write(DISPATCHER)
    text = drawn(document(served), width)
    assert max(map(len, text.splitlines())) <= width
    for message in (
        "c8c0d125-a7e9-4c47-a5e0-b1781ba41473", "sample.write (attempt 2)", "we lead, epoch 3", "2, 1 busy",
        "running for 1 min", "not running, starts in 3 s",
    ):  # fmt: skip
        assert message in text
    assert "paused; workers die, the next in 7 s; restarts: SIGSEGV 4" in " ".join(text.split())
    assert "\x1b" not in text


def test_a_database_that_is_away_leaves_the_numbers() -> None:
    served = supervisor("host=127.0.0.1 port=1", 17)
    served.board.master.write({**MASTER, "started": time.time() - 90})
    assert document(served)["workers"][0]["job"] == {
        "database": "sales", "id": 17, "attempt": 2, "uuid": None, "call": None,
    }  # fmt: skip
    assert "job 17" in drawn(document(served), 80)


def test_an_entry_that_belongs_to_the_next_worker_says_nothing_of_the_last() -> None:
    served = supervisor("host=127.0.0.1 port=1", 17)
    served.board.master.write({**MASTER, "started": time.time() - 90})
    served.scoreboard.entry(0).reserve(9, 0)
    served.scoreboard.entry(0).change(State.BUSY, time.monotonic_ns(), 0, 18, 1)
    assert document(served)["workers"][0]["job"] is None


def test_a_screen_that_is_too_small_says_what_is_missing() -> None:
    workers = [
        {"pid": 5000 + n, "channel": "root", "state": "busy", "since": float(n),
         "job": {"database": "sales", "id": n, "attempt": 1, "uuid": None, "call": None}} for n in range(9)
    ]  # fmt: skip
    status = {**document(supervisor("host=127.0.0.1 port=1")), "workers": workers}
    text = drawn(status, 80, most=2)
    assert "job 8" in text
    assert "job 6" not in text
    assert "and 7 workers more" in text
