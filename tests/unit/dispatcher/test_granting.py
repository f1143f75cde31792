"""Which worker makes room for a job whose channel has no worker, and when."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from queuejobs.shared import messages, wire
from queuejobs.shared.process import Process
from queuemaster.channels import Head, Scheduler, Tree, parse_channels
from queuemaster.dispatcher import granting
from queuemaster.dispatcher.grant import BatchSizes
from queuemaster.dispatcher.granting import PASSED_OVER, Granting
from queuemaster.dispatcher.links import Link, Links, LinkState


class World:
    """One slot and one worker of channel a, many jobs in a, and a more urgent job in b."""

    def __init__(self, max_workers: int) -> None:
        self.now = 100.0
        scheduler = Scheduler(Tree(parse_channels("root:1,a:1,b:1").channels), self.now)
        own_end, self.worker = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.link = Link(
            1, 1, Process("host", "boot", 1, 1), "root.a", own_end, LinkState.IDLE, holds_slot=False
        )
        links = Links({1: self.link})
        heads = {"root.a": Head(), "root.b": Head()}
        heads["root.a"].read([(10, "2026-01-01T00:00:00.000000", n) for n in range(5)], False, None, False)
        heads["root.b"].read([(1, "2026-01-02T00:00:00.000000", 99)], False, None, False)
        databases: Any = {0: SimpleNamespace(index=0, epoch=1, heads=heads)}
        self.scheduler = scheduler
        self.granting = Granting(scheduler, links, databases, BatchSizes(), 1, max_workers, 0.0)

    def next_message(self) -> str:
        received = wire.receive(self.worker, messages.WORKER_READS)
        assert received is not None
        return type(received.message).__name__

    def ends(self) -> None:
        """The worker's job ends, and its link forgets the grant."""
        self.scheduler.release("root.a")
        self.link.enter(LinkState.IDLE)
        self.link.grant = None


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[World]:
    new_world = World(getattr(request, "param", 1))
    monkeypatch.setattr(granting, "time", SimpleNamespace(monotonic=lambda: new_world.now))
    yield new_world
    new_world.link.socket.close()
    new_world.worker.close()


def test_others_go_first_for_a_while_and_then_one_leaves(world: World) -> None:
    assert world.granting.grant_all().passed == {"root.b"}
    assert world.next_message() == "Grant"
    world.now += PASSED_OVER * 0.9
    world.ends()
    world.granting.grant_all()
    assert world.next_message() == "Grant"
    world.now += PASSED_OVER * 0.2
    world.ends()
    lacking = world.granting.grant_all()
    assert (world.next_message(), world.link.retiring) == ("Retire", True)
    assert lacking.now == ("root.b",)


@pytest.mark.parametrize("world", [2], indirect=True)
def test_nobody_leaves_where_there_is_room_for_another(world: World) -> None:
    world.granting.grant_all()
    world.now += PASSED_OVER * 2
    world.ends()
    assert world.granting.grant_all().passed == {"root.b"}
    assert not world.link.retiring
