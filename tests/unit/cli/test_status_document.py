"""The document of ``queuemaster status`` merges the master's and the dispatcher's; unknown values are null."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from rich.console import Console

from queuejobs.shared.scoreboard import Scoreboard, State
from queuemaster.channels.channel import ChannelConfig
from queuemaster.cli.status_document import JobKey, JobName, status_document
from queuemaster.cli.status_view import view
from queuemaster.cli.supervisor import Supervisor
from queuemaster.config.compiled import DatabaseConfig, Settings
from queuemaster.status_board import DispatcherStatus, MasterStatus, StatusBoard

DATABASES = (DatabaseConfig("sales", "dbname=sales", 0), DatabaseConfig("crm", "dbname=crm", 1))


@pytest.fixture
def supervisor() -> Supervisor:
    settings = Settings((ChannelConfig("root"),), DATABASES)
    return Supervisor(os.getpid(), settings, StatusBoard.create(), Scoreboard.create())


def master(**changed: Any) -> MasterStatus:
    status: dict[str, Any] = {
        "pid": os.getpid(), "version": "1.2", "phase": "running", "started": time.time(), "pools": {}, "workers": [],
        "children": {}, "restarts": {}, "counters": {}, **changed,
    }  # fmt: skip
    return status  # type: ignore[return-value]


def dispatcher(**changed: Any) -> DispatcherStatus:
    status: dict[str, Any] = {
        "pid": 1, "draining": False, "channels": {}, "databases": {}, "links": {}, **changed
    }  # fmt: skip
    return status  # type: ignore[return-value]


def database(**changed: Any) -> dict[str, Any]:
    return {
        "up": True, "leader": False, "standing_by": False, "standing": "", "epoch": None, **changed
    }  # fmt: skip


def no_names(jobs: Iterable[JobKey]) -> Mapping[JobKey, JobName]:
    return {}


def text_of(document: Mapping[str, Any]) -> str:
    out = Console(width=200, no_color=True, highlight=False, markup=False, emoji=False)
    with out.capture() as capture:
        out.print(view(document, 200))
    return " ".join(capture.get().split())


def test_nothing_is_known_before_the_first_status() -> None:
    channels = (ChannelConfig("root"),)
    fresh = Supervisor(1, Settings(channels, DATABASES), StatusBoard.create(), Scoreboard.create())
    document = status_document(fresh, no_names)
    assert document["master"] == {
        "pid": 1, "phase": "starting", "version": None, "since": None, "silent": {}
    }  # fmt: skip
    assert document["databases"] == {"sales": None, "crm": None}
    assert (document["processes"], document["channels"], document["workers"]) == ({}, {}, [])


def test_a_channel_that_only_one_of_them_knows_has_nulls_for_the_rest(supervisor: Supervisor) -> None:
    pool = {"target": 2, "alive": 1, "backoff_seconds": 3.0}
    supervisor.board.master.write(master(pools={"root.old": pool}, restarts={"root.old": {"SIGKILL": 2}}))
    slots = {"capacity": 2, "effective": 2, "in_use": 1, "paused": False, "rate": 0.0}
    supervisor.board.dispatcher.write(dispatcher(channels={"root": slots}))
    channels = status_document(supervisor, no_names)["channels"]
    assert list(channels) == ["root", "root.old"]
    assert channels["root"]["in_use"] == 1
    assert channels["root"]["workers"]["target"] == 0
    old = channels["root.old"]
    assert [old[key] for key in ("capacity", "effective", "in_use", "paused")] == [None] * 4
    assert old["workers"] == {
        "target": 2, "alive": 1, "busy": 0, "idle": 0, "backoff": 3.0, "restarts": {"SIGKILL": 2}
    }  # fmt: skip


def test_a_database_that_is_not_configured_any_more_stands_after_the_others(supervisor: Supervisor) -> None:
    states = {"old": database(), "crm": database(leader=True, epoch=7)}
    supervisor.board.dispatcher.write(dispatcher(databases=states))
    document = status_document(supervisor, no_names)["databases"]
    assert list(document) == ["sales", "crm", "old"]
    assert document["sales"] is None
    assert document["crm"]["epoch"] == 7


def test_jobs_get_their_names_from_their_own_database(supervisor: Supervisor) -> None:
    now = time.monotonic_ns()
    workers = []
    for entry, number in enumerate((0, 1)):
        supervisor.scoreboard.entry(entry).reserve(entry + 1, 0)
        supervisor.scoreboard.entry(entry).change(State.BUSY, now, number, 5, 1)
        workers.append(
            {
                "entry": entry,
                "generation": entry + 1,
                "pid": 100 + entry,
                "channel": "root",
                "state": "greeted",
            }
        )
    supervisor.board.master.write(master(workers=workers))
    requested: list[JobKey] = []

    def names_of(jobs: Iterable[JobKey]) -> Mapping[JobKey, JobName]:
        requested.extend(jobs)
        return {(1, 5): ("uuid-of-crm", "partner.export")}

    first, second = status_document(supervisor, names_of)["workers"]
    assert requested == [(0, 5), (1, 5)]
    assert first["job"] == {"database": "sales", "id": 5, "attempt": 1, "uuid": None, "call": None}
    assert second["job"] == {
        "database": "crm", "id": 5, "attempt": 1, "uuid": "uuid-of-crm", "call": "partner.export"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (database(leader=True, epoch=3, standing="leads"), "we lead, epoch 3"),
        (database(standing_by=True, standing="stands by"), "another supervisor leads, standing by"),
        (database(standing="not served"), "not served: there is no queue in it"),
        (database(standing="quarantined"), "in quarantine"),
        (database(up=False, standing="away"), "away"),
        (database(), "connected, does not lead yet"),
        (None, "not known yet"),
    ],
)
def test_the_state_of_a_database_in_words(
    supervisor: Supervisor, status: dict[str, Any] | None, message: str
) -> None:
    supervisor.board.dispatcher.write(
        dispatcher(
            databases={} if status is None else {"sales": status, "crm": database(leader=True, epoch=1)}
        )
    )
    document = status_document(supervisor, no_names)
    assert f"sales {message}" in text_of({**document, "databases": {"sales": document["databases"]["sales"]}})


@pytest.mark.parametrize(
    ("pool", "message"),
    [
        ({"target": 2, "alive": 2, "backoff_seconds": 0.0}, "2, 0 busy"),
        ({"target": 2, "alive": 1, "backoff_seconds": 0.0}, "1, 0 busy 2 wanted"),
        ({"target": 2, "alive": 1, "backoff_seconds": 7.0}, "1, 0 busy workers die, the next in 7 s"),
    ],
)
def test_a_pool_that_is_not_complete_is_remarked(
    supervisor: Supervisor, pool: dict[str, Any], message: str
) -> None:
    supervisor.board.master.write(master(pools={"root": pool}))
    assert text_of(status_document(supervisor, no_names)).endswith(f"root - {message}")


def test_a_master_that_drains_started_so_long_ago_and_has_not_been_draining_since(
    supervisor: Supervisor,
) -> None:
    for phase, message in (("running", "running for 2 min"), ("draining", "draining, started 2 min")):
        supervisor.board.master.write(master(phase=phase, started=time.time() - 120))
        assert message in text_of(status_document(supervisor, no_names))
