"""The hub's decisions: its messages to the master, and the effects of reloads, takeovers and other runs."""

from __future__ import annotations

from typing import Any

import pytest

from queuejobs.shared import messages, wire
from queuejobs.shared.process import Process
from queuejobs.shared.standing import Standing
from queuemaster.channels import Head, Override, parse_channels
from queuemaster.config.compiled import DatabaseConfig, Settings
from queuemaster.dispatcher.hub import DispatchHub
from queuemaster.dispatcher.links import Link

KEY = (10, "2026-01-01T00:00:00.000000", 1)
BASE = Settings(
    channels=parse_channels("root:4,a:1,b:2").channels,
    databases=(DatabaseConfig("one", "dbname=one", 0), DatabaseConfig("two", "dbname=two", 1)),
)


def settings(
    channels: str = "root:4,a:1,b:2", databases: tuple[int, ...] = (0, 1), **options: Any
) -> Settings:
    served = tuple(database for database in BASE.databases if database.id in databases)
    return Settings(parse_channels(channels).channels, served, **options)


class World:
    """A hub whose databases are never connected to."""

    def __init__(self, **options: Any) -> None:
        self.sent: list[messages.Message] = []
        self.hub = DispatchHub(settings(**options), self.sent.append)

    def lead(self, database: int, *channels: str) -> None:
        """Lead the database, with a ready job in each of these stored channels."""
        served = self.hub.databases[database]
        served.epoch = 1
        for channel in channels:
            served.heads[channel] = head = Head()
            head.read([KEY], False, None, False)

    def workers_wanted(self) -> list[dict[str, int]]:
        return [message.channels for message in self.sent if isinstance(message, messages.WorkersWanted)]


def test_workers_are_asked_for_once_for_each_channel_that_could_start_a_job() -> None:
    world = World()
    world.lead(0, "root.a", "root.b.deep")
    world.hub._grant_all()
    world.hub._grant_all()
    assert world.workers_wanted() == [{"root.a": 1, "root.b": 1}]
    world.hub.databases[0].heads.clear()
    world.hub._grant_all()
    assert world.workers_wanted()[1:] == [{}], "the hub wants no worker any more"


def test_nothing_is_asked_for_while_it_drains() -> None:
    world = World()
    world.lead(0, "root.a")
    world.hub.drain()
    world.hub._grant_all()
    assert world.sent == []


def test_runs_of_others_use_slots_until_they_are_gone() -> None:
    world = World()
    world.hub.orphans(0, ["root.a", "root.b.x", "root.b.x"])
    world.hub.orphans(1, ["root"])
    assert [world.hub.in_use(name) for name in ("root", "root.a", "root.b")] == [4, 1, 2]
    world.hub.orphans(0, ["root.b.x"])
    assert [world.hub.in_use(name) for name in ("root", "root.a", "root.b")] == [2, 0, 1]
    world.hub.orphans(0, [])
    world.hub.orphans(1, [])
    assert world.hub.in_use("root") == 0


def test_a_live_limit_counts_until_another_leader_is_seen() -> None:
    world = World()
    world.hub.overrides(0, (Override("root.b", 1, None, None),))
    assert world.hub.tree["root.b"].capacity == 1
    world.hub.overrides(0, ())
    assert world.hub.tree["root.b"].capacity == 2


def test_a_reload_keeps_what_it_knows_and_forgets_what_is_not_served_any_more() -> None:
    world = World()
    first = world.hub.databases[0]
    world.hub.standing(0, Standing.LEADS)
    world.hub.standing(1, Standing.LEADS)
    world.hub.orphans(1, ["root.a"])
    new, removed = world.hub.reconfigure(settings("root:9,a:1", databases=(0,)))
    assert (new, [database.index for database in removed]) == ([], [1])
    assert (world.hub.databases, world.hub.standings) == ({0: first}, {0: "leads"})
    assert (world.hub.in_use("root"), world.hub.tree["root"].capacity) == (0, 9)
    new, removed = world.hub.reconfigure(settings(databases=(0, 1)))
    assert ([database.index for database in new], removed) == ([1], [])


def test_signals_change_root_until_a_reload_and_never_below_one() -> None:
    world = World()
    for change, capacity in ((1, 5), (-9, 1)):
        world.hub.change_root(change)
        assert world.hub.tree["root"].capacity == capacity
    world.hub.reconfigure(settings())
    assert world.hub.tree["root"].capacity == 4


@pytest.mark.parametrize(
    ("standings", "served"),
    [
        (["leads", "stands by"], True),
        (["leads", "not served"], True),
        (["leads", "away"], False),
        (["leads", "quarantined"], False),
        (["leads"], False),
    ],
)
def test_when_all_databases_are_served(
    standings: list[str], served: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "queuemaster.dispatcher")
    world = World()
    for database, standing in enumerate(standings):
        world.hub.standing(database, Standing(standing))
    assert world.sent == [
        messages.DatabaseStanding(database, Standing(standing)) for database, standing in enumerate(standings)
    ]
    ready = [record for record in caplog.records if record.getMessage() == "all databases ready"]
    assert len(ready) == served


def test_a_worker_is_granted_the_best_job_and_told_to_end_its_slice_at_a_change() -> None:
    world = World(channels="root:1,a:1")
    own_end, worker_end = wire.pair()
    link = Link(1, 1, Process("host", "boot", 1, 1), "root.a", own_end)
    world.lead(0, "root.a")
    world.hub.databases[0].heads["root.a"].read([KEY, (*KEY[:2], 2), (*KEY[:2], 3)], False, None, False)
    world.hub.workers.adopt(link)
    attach = wire.receive(worker_end, messages.WORKER_READS)
    assert attach is not None
    assert isinstance(attach.message, messages.Attach)
    world.hub.workers.heard(link, messages.Attached(attach.message.incarnation))
    world.hub._grant_all()
    granted = wire.receive(worker_end, messages.WORKER_READS)
    assert granted is not None
    assert isinstance(granted.message, messages.Grant)
    assert (granted.message.channel, granted.message.epoch, granted.message.bound) == ("root.a", 1, KEY)
    assert granted.message.slice is not None
    world.hub.overrides(0, (Override("root.a", 1, None, True),))
    world.hub.overrides(0, ())
    revoked = wire.receive(worker_end, messages.WORKER_READS)
    assert revoked is not None
    assert revoked.message == messages.Revoke()
    worker_end.setblocking(False)
    with pytest.raises(BlockingIOError):
        wire.receive(worker_end, messages.WORKER_READS)
    own_end.close()
    worker_end.close()
