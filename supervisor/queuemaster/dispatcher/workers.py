"""The workers of our master, as the dispatcher sees them: adopted, granted, gone, recovered.

A worker's slot is in use while a grant is out, while an adopted worker has not answered, and from its death until every
database that it may have worked for has recovered it. It is never freed by a clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from queuejobs.shared import messages
from queuejobs.shared.process import Process
from queuemaster.channels import Scheduler

from .database import QueueDatabase
from .grant import BatchSizes
from .links import Link, Links, LinkState
from .recovery import Death

TellMaster = Callable[[messages.Message], None]


class Workers:
    """Mutates the scheduler's slots; tells databases what became of their grants, and the master who is recovered."""

    def __init__(
        self,
        scheduler: Scheduler,
        databases: Mapping[int, QueueDatabase],
        batches: BatchSizes,
        tell_master: TellMaster,
        changed: Callable[[], None],
        incarnation: int,
    ) -> None:
        self.links = Links()
        self._scheduler = scheduler
        self._databases = databases
        self._batches = batches
        self._tell_master = tell_master
        self._changed = changed
        self._incarnation = incarnation  # grants of an earlier dispatcher must not be taken for ours
        self._retired = 0  # workers up to this generation run old code
        self._recovering: dict[Death, set[int]] = {}  # databases that have not recovered it yet

    def adopt(self, link: Link) -> None:
        """The master hands over a worker; until it answers, it may be at work for an earlier dispatcher."""
        self.links[link.entry] = link
        self._scheduler.take(link.channel, None)
        link.send(messages.Attach(self._incarnation))
        if link.generation <= self._retired:
            link.retire()  # it was forked before a reload, and came up after it

    def heard(self, link: Link, message: messages.Message) -> None:
        """A message of a worker. Answers to another dispatcher's grants are passed over."""
        if isinstance(message, messages.Attached):
            if message.incarnation == self._incarnation and link.state is LinkState.ADOPTED:
                self._idle(link)
        elif isinstance(message, messages.Claimed):
            self._claimed(link, message)
        elif isinstance(message, messages.Released):
            self._released(link, message)

    def _claimed(self, link: Link, message: messages.Claimed) -> None:
        grant = link.grant
        if grant is None or grant.number != message.number:
            return
        database = self._databases.get(grant.database)
        if database is not None:  # else it is not served any more
            database.claimed(grant, message.job, first=not grant.claimed)
        grant.claimed = True

    def _released(self, link: Link, message: messages.Released) -> None:
        grant = link.grant
        if grant is None or grant.number != message.number:
            return
        link.retiring = link.retiring or message.leaving
        if not grant.claimed:
            self._scheduler.give_back(self._scheduler.tree.resolve(grant.channel))
        if message.broken:
            self._batches.broke(grant)
        self._answer(link, lost=False)
        self._idle(link)

    def _answer(self, link: Link, *, lost: bool) -> None:
        """The grant is used up, came back, or is lost with its worker: tells the database that it was for."""
        grant, link.grant = link.grant, None
        database = None if grant is None else self._databases.get(grant.database)
        if grant is None or database is None:  # no grant, or not served any more
            return
        if grant.claimed:
            database.ended(grant, lost=lost)
        else:
            database.came_back(grant)

    def _idle(self, link: Link) -> None:
        link.enter(LinkState.IDLE)
        link.idle_since, link.holds_slot = time.monotonic(), False
        self._scheduler.release(link.channel)
        self._changed()

    # the end of a worker

    def retire(self, generation: int) -> None:
        """Workers up to this generation get no job any more: idle ones leave at once, others after their job."""
        self._retired = generation
        for link in self.links.values():
            if link.generation <= generation:
                link.retire()
        self._changed()

    def gone(self, link: Link) -> None:
        """The link has ended. Its slot stays in use until the worker is reaped and recovered."""
        if link.state is LinkState.GONE:
            return
        link.enter(LinkState.GONE)
        if link.grant is not None and link.grant.claimed:
            self._batches.broke(link.grant)
        self._answer(link, lost=True)
        self._changed()

    def died(self, death: Death) -> None:
        """The master reaped a worker. It is answered once every database that the worker may have used recovered it."""
        link = self._of(death)
        concerned = set(self._databases)
        if link is not None:
            self.gone(link)
            if link.database in concerned:
                # its slot waits for the one that it worked for; the others forget its session when they can
                concerned = {link.database}
        if death in self._recovering:
            return
        self._recovering[death] = concerned
        for database in self._databases.values():
            database.recovery.add(death)
            database.wake()

    def recovered(self, death: Death, database: int) -> None:
        """One database holds nothing of this worker any more."""
        waiting = self._recovering.get(death)
        if waiting is None:
            return
        waiting.discard(database)
        if waiting:
            return
        del self._recovering[death]
        link = self._of(death)
        if link is not None:
            del self.links[death.entry]
            if link.holds_slot:
                self._scheduler.release(link.channel)
            link.socket.close()
        self._tell_master(messages.WorkerRecovered(death.entry, death.generation))
        self._changed()

    def _of(self, death: Death) -> Link | None:
        """The dead worker, unless its entry has been given to a later one."""
        link = self.links.get(death.entry)
        return link if link is not None and link.generation == death.generation else None

    # what others ask

    def alive(self) -> set[Process]:
        """The workers of our master that were not recovered yet."""
        return {link.process for link in self.links.values()}

    def by_state(self) -> dict[str, dict[str, int]]:
        """How many workers each channel has, by what we know of them."""
        counts: dict[str, dict[str, int]] = {}
        for link in self.links.values():
            states = counts.setdefault(link.channel, {})
            states[link.state.value] = states.get(link.state.value, 0) + 1
        return counts

    def cancel(self, process: Process, job: int, attempt: int) -> None:
        """A run was cancelled: the master stops it, if it is one of our workers'."""
        for link in self.links.values():
            if link.process == process and link.state in (LinkState.GRANTED, LinkState.ADOPTED):
                self._tell_master(messages.CancelRun(link.entry, link.generation, job, attempt))

    def warm_up(self, database: int) -> None:
        """A job may be there: the worker that is likely to get it wakes its session while we look."""
        idle = self.links.idle()
        if idle:
            max(idle, key=lambda link: link.idle_since).send(messages.WarmUp(database))

    def make_room(self, lacking: int, max_workers: int) -> None:
        """At ``max_workers``, idle workers of other pools leave for the ``lacking`` ones that are asked for.

        Called each time: workers that were busy when the others were asked for may be idle now.
        """
        room = max_workers - len(self.links.staying())
        idle = sorted(self.links.idle(), key=lambda link: link.idle_since)
        for link in idle[: max(lacking - room, 0)]:
            link.retire()
