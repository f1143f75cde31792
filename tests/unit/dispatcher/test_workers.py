"""How workers' messages and ends change the dispatcher's slots, grants and recoveries."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from queuejobs.shared import messages, wire
from queuejobs.shared.process import Process
from queuejobs.shared.transitions import IllegalTransition
from queuemaster.channels import Scheduler, Tree, parse_channels
from queuemaster.dispatcher.grant import BatchSizes, OutstandingGrant
from queuemaster.dispatcher.links import Link, LinkState
from queuemaster.dispatcher.recovery import Death
from queuemaster.dispatcher.workers import Workers

INCARNATION = 7


class Database:
    """A database that records the calls it gets."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.calls: list[tuple[Any, ...]] = []
        self.recovery = SimpleNamespace(add=lambda death: self.calls.append(("death", death.entry)))

    def claimed(self, grant: OutstandingGrant, job: int, first: bool) -> None:
        self.calls.append(("claimed", grant.number, job, first))

    def came_back(self, grant: OutstandingGrant) -> None:
        self.calls.append(("came back", grant.number))

    def ended(self, grant: OutstandingGrant, lost: bool) -> None:
        self.calls.append(("ended", grant.number, lost))

    def wake(self) -> None:
        pass


class World:
    """Workers of one pool, two databases, and the messages to the master."""

    def __init__(self) -> None:
        self.scheduler = Scheduler(Tree(parse_channels("root:9,a:5").channels), 0.0)
        self.databases = {index: Database(index) for index in (0, 1)}
        self.batches = BatchSizes()
        self.master: list[messages.Message] = []
        self.changes = 0
        databases: Any = self.databases
        self.workers = Workers(
            self.scheduler, databases, self.batches, self.master.append, self.changed, INCARNATION
        )
        self.ends: list[Any] = []
        self.worker_ends: dict[int, Any] = {}  # by entry
        self.first_words: dict[int, list[messages.Message]] = {}  # the messages after the first

    def changed(self) -> None:
        self.changes += 1

    def adopt(self, entry: int = 1, generation: int = 1, channel: str = "root.a") -> Link:
        own_end, worker_end = wire.pair()
        worker_end.setblocking(False)
        self.ends += [own_end, worker_end]
        link = Link(entry, generation, Process("host", "boot", 1000 + entry, 1), channel, own_end)
        self.workers.adopt(link)
        first, *self.first_words[entry] = self.heard_by(worker_end)
        assert first == messages.Attach(INCARNATION)
        self.worker_ends[entry] = worker_end
        return link

    def idle(self, **options: Any) -> Link:
        link = self.adopt(**options)
        self.workers.heard(link, messages.Attached(INCARNATION))
        return link

    def granted(self, batch: int = 1, database: int = 0, **options: Any) -> Link:
        """Grant as ``Granting`` does."""
        link = self.idle(**options)
        self.scheduler.take(link.channel, 1.0)
        link.enter(LinkState.GRANTED)
        link.holds_slot, link.database = True, database
        link.grant = OutstandingGrant(5, database, 1, "root.a", False, batch, None)
        return link

    def heard_by(self, end: Any) -> list[messages.Message]:
        messages_read: list[messages.Message] = []
        while True:
            try:
                received = wire.receive(end, messages.WORKER_READS)
            except BlockingIOError:
                return messages_read
            assert received is not None
            messages_read.append(received.message)


@pytest.fixture
def world() -> Iterator[World]:
    new_world = World()
    yield new_world
    for end in new_world.ends:
        end.close()


def death_of(link: Link) -> Death:
    return Death(link.entry, link.generation, link.process, 0, None)


def test_an_adopted_worker_holds_a_slot_until_it_answers(world: World) -> None:
    link = world.adopt()
    assert world.scheduler.in_use("root.a") == world.scheduler.in_use("root") == 1
    world.workers.heard(link, messages.Attached(INCARNATION - 1))
    assert link.state is LinkState.ADOPTED, "the answer is for an earlier dispatcher"
    world.workers.heard(link, messages.Attached(INCARNATION))
    assert (link.state, world.scheduler.in_use("root.a"), world.changes) == (LinkState.IDLE, 0, 1)
    world.workers.heard(link, messages.Attached(INCARNATION))
    assert world.scheduler.in_use("root.a") == 0, "the slot is released only once"


def test_a_worker_of_old_code_retires_as_soon_as_it_comes(world: World) -> None:
    world.workers.retire(3)
    old, new = world.adopt(1, generation=3), world.adopt(2, generation=4)
    assert (old.retiring, new.retiring) == (True, False)
    assert world.first_words == {1: [messages.Retire()], 2: []}


def test_a_grant_that_is_used_up(world: World) -> None:
    link = world.granted()
    world.workers.heard(link, messages.Claimed(5, job=11))
    world.workers.heard(link, messages.Claimed(5, job=12))
    world.workers.heard(link, messages.Released(5, leaving=False, broken=False))
    assert world.databases[0].calls == [
        ("claimed", 5, 11, True),
        ("claimed", 5, 12, False),
        ("ended", 5, False),
    ]
    assert (link.state, link.grant, world.scheduler.in_use("root.a")) == (LinkState.IDLE, None, 0)


def test_a_grant_that_came_to_nothing(world: World) -> None:
    link = world.granted()
    world.workers.heard(link, messages.Released(5, leaving=True, broken=False))
    assert world.databases[0].calls == [("came back", 5)]
    assert (link.state, link.retiring) == (LinkState.IDLE, True)


@pytest.mark.parametrize(
    "answer", [messages.Claimed(4, job=11), messages.Released(4, leaving=False, broken=True)]
)
def test_an_answer_to_another_grant_changes_nothing(world: World, answer: messages.Message) -> None:
    link = world.granted()
    world.workers.heard(link, answer)
    assert (world.databases[0].calls, link.state) == ([], LinkState.GRANTED)
    idle = world.idle(entry=2)
    world.workers.heard(idle, answer)
    assert idle.state is LinkState.IDLE


def test_answers_for_a_database_that_is_not_served_any_more(world: World) -> None:
    link = world.granted()
    del world.databases[0]
    world.workers.heard(link, messages.Claimed(5, job=11))
    world.workers.heard(link, messages.Released(5, leaving=False, broken=False))
    assert (link.state, world.scheduler.in_use("root.a")) == (LinkState.IDLE, 0)


@pytest.mark.parametrize(
    ("claimed", "told", "sizes"),
    [(True, ("ended", 5, True), [1, 1, 1, 3]), (False, ("came back", 5), [3, 3, 3, 3])],
)
def test_a_link_that_ends_in_a_batch(
    world: World, claimed: bool, told: tuple[Any, ...], sizes: list[int]
) -> None:
    link = world.granted(batch=3)
    if claimed:
        world.workers.heard(link, messages.Claimed(5, job=11))
    world.workers.gone(link)
    world.workers.gone(link)
    assert world.databases[0].calls[-1] == told
    assert world.scheduler.in_use("root.a") == 1, (
        "the slot is in use until the worker is reaped and recovered"
    )
    tree = Tree(parse_channels("root:9,a:5:batch=3").channels)
    assert [world.batches.next_size((0, "root.a"), tree, "root.a") for _ in range(4)] == sizes


def test_a_dead_worker_keeps_its_slot_until_the_database_that_it_worked_for_recovered_it(
    world: World,
) -> None:
    link = world.granted(database=1)
    death = death_of(link)
    world.workers.died(death)
    world.workers.died(death)
    assert [database.calls.count(("death", 1)) for database in world.databases.values()] == [1, 1]
    world.workers.recovered(death, 0)
    assert (world.scheduler.in_use("root.a"), world.master) == (1, [])
    assert world.workers.alive() == {link.process}
    world.workers.recovered(death, 1)
    assert (world.scheduler.in_use("root.a"), world.master) == (0, [messages.WorkerRecovered(1, 1)])
    assert (world.workers.alive(), world.workers.by_state()) == (set(), {})
    world.workers.recovered(death, 1)
    assert len(world.master) == 1, "the recovery is acknowledged only once"


def test_a_dead_worker_of_an_earlier_dispatcher_waits_for_every_database(world: World) -> None:
    link = world.adopt()
    death = death_of(link)
    world.workers.died(death)
    world.workers.recovered(death, 1)
    assert (world.scheduler.in_use("root.a"), world.master) == (1, [])
    world.workers.recovered(death, 0)
    assert (world.scheduler.in_use("root.a"), len(world.master)) == (0, 1)


def test_a_death_that_is_told_late_leaves_the_next_worker_of_its_entry_alone(world: World) -> None:
    dead = death_of(world.idle(entry=1, generation=1))
    link = world.idle(entry=1, generation=2)
    world.workers.died(dead)
    world.workers.recovered(dead, 0)
    world.workers.recovered(dead, 1)
    assert world.master == [messages.WorkerRecovered(1, 1)]
    assert (link.state, world.workers.links[1]) == (LinkState.IDLE, link)


def test_a_cancelled_run_is_stopped_where_it_may_run(world: World) -> None:
    granted, idle = world.granted(entry=1), world.idle(entry=2)
    world.workers.cancel(idle.process, 11, 2)
    world.workers.cancel(Process("elsewhere", "boot", 1, 1), 11, 2)
    assert world.master == []
    world.workers.cancel(granted.process, 11, 2)
    assert world.master == [messages.CancelRun(1, 1, 11, 2)]


def test_the_worker_that_idled_least_is_warmed_up(world: World) -> None:
    first, last = world.idle(entry=1), world.idle(entry=2)
    first.idle_since, last.idle_since = 1.0, 2.0
    world.workers.warm_up(1)
    assert world.heard_by(world.worker_ends[1]) == []
    assert world.heard_by(world.worker_ends[2]) == [messages.WarmUp(1)]


@pytest.mark.parametrize(("max_workers", "retiring"), [(4, []), (3, [1]), (2, [1, 2])])
def test_room_is_made_by_those_that_idle_longest(world: World, max_workers: int, retiring: list[int]) -> None:
    links = [world.idle(entry=entry) for entry in (1, 2)]
    for since, link in enumerate(links):
        link.idle_since = since
    world.workers.make_room(2, max_workers)
    assert [link.entry for link in links if link.retiring] == retiring


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (LinkState.ADOPTED, LinkState.GRANTED),
        (LinkState.IDLE, LinkState.ADOPTED),
        (LinkState.GRANTED, LinkState.ADOPTED),
        (LinkState.GONE, LinkState.IDLE),
        (LinkState.GONE, LinkState.GONE),
    ],
)
def test_a_change_of_state_that_cannot_be_is_a_mistake_of_ours(
    world: World, before: LinkState, after: LinkState
) -> None:
    link = world.adopt()
    link.state = before
    with pytest.raises(IllegalTransition, match=f"{after.value} cannot follow {before.value}"):
        link.enter(after)
