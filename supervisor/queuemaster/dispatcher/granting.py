"""Grants: which job's turn it is, which worker gets it, and for how long."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from queuemaster.channels import Candidate, Key, Scheduler

from .batches import Batches
from .database import QueueDatabase
from .links import Grant, Link, Links, LinkState, retire, send
from .slices import Rivals, Slice, must_end, slice_of

PASSED_OVER = 0.5  # seconds


@dataclass(frozen=True)
class Situation:
    """What could start, as far as the queues go."""

    now: float
    candidates: list[Candidate]
    blocked: set[str]  # sequential channels with a failed job
    barriers: dict[str, Key]  # sequential channels with a delayed job that stands before the others
    idle: set[str]  # channels with a worker that waits for a grant
    no_more: bool  # there are as many workers as may be


@dataclass(frozen=True)
class Lacking:
    """The channels that need another worker each."""

    now: tuple[str, ...]  # they could start a job at once
    passed: set[str]  # others went first, whose jobs are not as good


class Granting:
    """Links, databases and slots are the hub's; what is done with them here is remembered in them."""

    def __init__(
        self,
        scheduler: Scheduler,
        links: Links,
        databases: Mapping[int, QueueDatabase],
        first: int,
        max_workers: int,
        slice_seconds: float,
    ) -> None:
        self.batches = Batches()
        self._scheduler = scheduler
        self._links = links
        self._databases = databases
        self._numbers = itertools.count(first)
        self._passed: dict[str, float] = {}  # channels without an idle worker: since when others go first
        self.configure(max_workers, slice_seconds)

    def configure(self, max_workers: int, slice_seconds: float) -> None:
        """From now on."""
        self._max_workers, self._slice_seconds = max_workers, slice_seconds

    def grant_all(self) -> Lacking:
        """Whatever can start."""
        while True:
            found = self._situation(time.monotonic())
            choice = self._choose(found, found.idle)
            if choice is None:
                break
            without = {one.channel for one in found.candidates} - found.idle
            better = self._choose(found, without) if without else None
            if better is not None and better.key < choice.key and self._has_waited(better, found):
                continue
            self._grant(choice, found)
        self._revoke(found)
        waiting = {one.channel for one in found.candidates}
        self._passed = {channel: since for channel, since in self._passed.items() if channel in waiting}
        wanted = self._scheduler.wanted(
            found.candidates, found.now, found.idle.__contains__, found.blocked, found.barriers
        )
        return Lacking(wanted, set(self._passed))

    def end_slices(self) -> None:
        """What they were given for may not hold any more; of a batch neither."""
        for link in self._links.values():
            _end_slice(link)

    def _situation(self, now: float) -> Situation:
        idle = {link.channel for link in self._links.idle()}
        found = Situation(now, [], set(), {}, idle, len(self._links.staying()) >= self._max_workers)
        tree = self._scheduler.tree
        for database in self._databases.values():
            if database.epoch is None:
                continue
            for stored, head in database.heads.items():
                channel = tree.resolve(stored)
                sequential = tree[channel].sequential
                if sequential and head.failed:
                    found.blocked.add(channel)
                if sequential and head.delayed is not None:
                    found.barriers[channel] = min(head.delayed, found.barriers.get(channel, head.delayed))
                key = head.candidate(sequential, now)
                if key is not None:
                    found.candidates.append(Candidate(channel, key, (database.index, stored)))
        return found

    def _choose(self, found: Situation, channels: set[str]) -> Candidate | None:
        return self._scheduler.choose(
            found.candidates, found.now, channels.__contains__, found.blocked, found.barriers
        )

    def _has_waited(self, passed: Candidate, found: Situation) -> bool:
        """A job is passed over for want of a worker: when there are as many as may be, one leaves for it after a while.

        At once would mean a fork for each job where the jobs of many channels come in turns.
        """
        since = self._passed.setdefault(passed.channel, found.now)
        if found.now < since + PASSED_OVER or not found.no_more:
            return False
        self._passed[passed.channel] = found.now
        retire(min(self._links.idle(), key=lambda idle: idle.idle_since))
        return True

    def _grant(self, choice: Candidate, found: Situation) -> None:
        index, stored = choice.source
        database = self._databases[index]
        head = database.heads[stored]
        # the one that worked last is warm; those that wait longest may retire
        link = max(self._links.idle(choice.channel), key=lambda idle: idle.idle_since)
        sequential = self._scheduler.tree[choice.channel].sequential
        assert database.epoch is not None  # else it has no candidates
        link.state, link.claimed, link.revoked = LinkState.GRANTED, False, False
        link.holds_slot, link.database = True, index
        self._passed.pop(choice.channel, None)
        self._scheduler.take(choice.channel, found.now)
        batch = self.batches.size(choice.source, self._scheduler.tree, choice.channel)
        given = self._slice(choice, head.candidate(False, found.now, behind=1), found) if batch == 1 else None
        head.grant(sliced=given is not None)
        link.grant = Grant(
            next(self._numbers), index, database.epoch, stored, sequential, batch, head.bound, given
        )
        send(
            link,
            {
                "type": "grant", "number": link.grant.number, "database": index, "epoch": database.epoch,
                "channel": stored, "job": choice.key[2] if sequential else None, "bound": head.bound,
                "batch": batch, "slice": given and given.message(),
            },
        )  # fmt: skip

    def _slice(self, choice: Candidate, following: Key | None, found: Situation) -> Slice | None:
        if following is None or self._scheduler.tree.ordered_or_timed(choice.channel):
            return None
        rivals = self._rivals_of(self._rivals(found), choice.channel, choice.source, found)
        return slice_of(self._slice_seconds, following, rivals)

    def _revoke(self, found: Situation) -> None:
        """Have the slices end that stand in the way of another job."""
        sliced = [
            (link, link.grant, link.grant.slice)
            for link in self._links.values()
            if link.grant is not None and link.grant.slice is not None and not link.revoked
        ]
        if not sliced:
            return
        all_rivals = self._rivals(found)
        for link, grant, given in sliced:
            database = self._databases.get(grant.database)
            head = database.heads.get(grant.channel) if database is not None else None
            rivals = self._rivals_of(all_rivals, link.channel, (grant.database, grant.channel), found)
            if head is None or must_end(given, grant.bound, head.bound, rivals):
                _end_slice(link)

    def _rivals(self, found: Situation) -> Rivals:
        return Rivals(
            (one, full)
            for one in found.candidates
            if (full := self._scheduler.full(one, found.now, found.blocked, found.barriers)) is not None
        )

    def _rivals_of(self, rivals: Rivals, holder: str, source: Any, found: Situation) -> Iterator[Candidate]:
        """Those that could start if a worker of the channel ``holder`` and its slot were free."""
        tree = self._scheduler.tree
        for one in rivals.of(tree.path(tree.resolve(holder)), source):
            # where there are no more workers to be had, that one would make room
            if found.no_more or one.channel == holder or one.channel in found.idle:
                yield one


def _end_slice(link: Link) -> None:
    several = link.grant is not None and (link.grant.slice or link.grant.batch > 1)
    # being told to retire ends it as well, and is the last that a worker reads
    if several and not link.revoked and not link.retiring:
        link.revoked = True
        send(link, {"type": "revoke"})
