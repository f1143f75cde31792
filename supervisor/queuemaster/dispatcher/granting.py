"""Grants: which job's turn it is, which worker gets it, and for how long."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from queuejobs.shared import messages
from queuejobs.shared.job_key import Key
from queuejobs.shared.log import event
from queuejobs.shared.log_limit import LogLimit
from queuemaster.channels import Candidate, Scheduler

from .database import QueueDatabase
from .grant import BatchSizes, OutstandingGrant, Rivals, Source, must_end, slice_of
from .links import Links, LinkState

PASSED_OVER = 0.5  # seconds that other channels may go first, until an idle worker leaves for this one
LONGEST_NAME = 10_000  # characters of a stored channel: a grant is one message
_log = logging.getLogger("queuemaster.dispatcher")


@dataclass(frozen=True)
class GrantRound:
    """What one grant is decided on: the candidates of all queues, and the state of the workers."""

    now: float
    candidates: list[Candidate]
    blocked: set[str]  # sequential channels with a failed job
    barriers: dict[str, Key]  # sequential channels with a delayed job that stands before the others
    idle: set[str]  # channels with a worker that waits for a grant
    no_more: bool  # there are max_workers workers already


@dataclass(frozen=True)
class Lacking:
    """The channels that need another worker each."""

    now: tuple[str, ...]  # they could start a job at once
    passed: set[str]  # jobs of other channels went first, although their keys are larger


class Granting:
    """Decides one grant after the other. Mutates the hub's links, the databases' heads and the scheduler's slots."""

    def __init__(
        self,
        scheduler: Scheduler,
        links: Links,
        databases: Mapping[int, QueueDatabase],
        batches: BatchSizes,
        first: int,
        max_workers: int,
        slice_seconds: float,
    ) -> None:
        self._batches = batches
        self._scheduler = scheduler
        self._links = links
        self._databases = databases
        self._numbers = itertools.count(first)
        self._too_long = LogLimit()
        self._passed: dict[str, float] = {}  # channels without an idle worker: since when others go first
        self.configure(max_workers, slice_seconds)

    def configure(self, max_workers: int, slice_seconds: float) -> None:
        """These values are in force from now on."""
        self._max_workers, self._slice_seconds = max_workers, slice_seconds

    def grant_all(self) -> Lacking:
        """Grant every job that can start now; returns the channels that lack a worker."""
        while True:
            current = self._look(time.monotonic())
            choice = self._choose(current, current.idle)
            if choice is None:
                break
            without = {candidate.channel for candidate in current.candidates} - current.idle
            better = self._choose(current, without) if without else None
            if better is not None and better.key < choice.key and self._sends_one_away_for(better, current):
                continue
            self._grant(choice, current)
        self._revoke(current)
        waiting = {candidate.channel for candidate in current.candidates}
        self._passed = {channel: since for channel, since in self._passed.items() if channel in waiting}
        wanted = self._scheduler.wanted(
            current.candidates, current.now, current.idle.__contains__, current.blocked, current.barriers
        )
        return Lacking(wanted, set(self._passed))

    def end_slices(self) -> None:
        """End the slices and batches of all workers: the reasons for their grants may not hold any more."""
        for link in self._links.values():
            link.end_slice()

    def _look(self, now: float) -> GrantRound:
        idle = {link.channel for link in self._links.idle()}
        current = GrantRound(now, [], set(), {}, idle, len(self._links.staying()) >= self._max_workers)
        tree = self._scheduler.tree
        for database in self._databases.values():
            if database.epoch is None:
                continue
            for stored, head in database.heads.items():
                if len(stored) > LONGEST_NAME:  # only beside Odoo, where nothing limits it
                    self._say_too_long(database.name, stored)
                    continue
                channel = tree.resolve(stored)
                sequential = tree[channel].sequential
                if sequential and head.failed:
                    current.blocked.add(channel)
                if sequential and head.delayed is not None:
                    current.barriers[channel] = min(head.delayed, current.barriers.get(channel, head.delayed))
                key = head.candidate(sequential, now)
                if key is not None:
                    current.candidates.append(Candidate(channel, key, (database.index, stored)))
        return current

    def _say_too_long(self, database: str, stored: str) -> None:
        left_out = self._too_long.admit(time.monotonic())
        if left_out is not None:
            event(
                _log, logging.ERROR, "channel name is too long, its jobs cannot be granted",
                db=database, channel=stored[:100], left_out=left_out or None,
            )  # fmt: skip

    def _choose(self, current: GrantRound, channels: set[str]) -> Candidate | None:
        return self._scheduler.choose(
            current.candidates, current.now, channels.__contains__, current.blocked, current.barriers
        )

    def _sends_one_away_for(self, passed: Candidate, current: GrantRound) -> bool:
        """Send an idle worker away for the job ``passed``, whose channel has none; true if one was sent.

        Only at ``max_workers``, and after a while: at once would mean a fork for each job where channels take turns.
        """
        since = self._passed.setdefault(passed.channel, current.now)
        if current.now < since + PASSED_OVER or not current.no_more:
            return False
        self._passed[passed.channel] = current.now
        min(self._links.idle(), key=lambda idle: idle.idle_since).retire()
        return True

    def _grant(self, choice: Candidate, current: GrantRound) -> None:
        index, stored = choice.source
        database = self._databases[index]
        head = database.heads[stored]
        # the one that worked last is warm; those that wait longest may retire
        link = max(self._links.idle(choice.channel), key=lambda idle: idle.idle_since)
        sequential = self._scheduler.tree[choice.channel].sequential
        assert database.epoch is not None  # else it has no candidates
        self._passed.pop(choice.channel, None)
        self._scheduler.take(choice.channel, current.now)
        batch = self._batches.next_size(choice.source, self._scheduler.tree, choice.channel)
        following = head.candidate(False, current.now, behind=1)
        terms = self._slice(choice, following, current) if batch == 1 else None
        head.grant(sliced=terms is not None)
        link.enter(LinkState.GRANTED)
        link.holds_slot, link.database = True, index
        grant = link.grant = OutstandingGrant(
            next(self._numbers), index, database.epoch, stored, sequential, batch, head.bound, terms
        )
        job = choice.key[2] if sequential else None
        link.send(
            messages.Grant(grant.number, index, grant.epoch, stored, job, grant.bound, batch, grant.slice)
        )

    def _slice(
        self, choice: Candidate, following: Key | None, current: GrantRound
    ) -> messages.SliceTerms | None:
        if following is None or self._scheduler.tree.ordered_or_timed(choice.channel):
            return None
        rivals = self._rivals_of(self._rivals(current), choice.channel, choice.source, current)
        return slice_of(self._slice_seconds, following, rivals)

    def _revoke(self, current: GrantRound) -> None:
        """End the slices that stand in the way of another job."""
        sliced = [
            (link, link.grant, link.grant.slice)
            for link in self._links.values()
            if link.grant is not None and link.grant.slice is not None and not link.grant.revoked
        ]
        if not sliced:
            return
        all_rivals = self._rivals(current)
        for link, grant, terms in sliced:
            database = self._databases.get(grant.database)
            head = database.heads.get(grant.channel) if database is not None else None
            rivals = self._rivals_of(all_rivals, link.channel, grant.source, current)
            if head is None or must_end(terms, grant.bound, head.bound, rivals):
                link.end_slice()

    def _rivals(self, current: GrantRound) -> Rivals:
        return Rivals(
            (candidate, full)
            for candidate in current.candidates
            if (full := self._scheduler.full(candidate, current.now, current.blocked, current.barriers))
            is not None
        )

    def _rivals_of(
        self, rivals: Rivals, holder: str, source: Source, current: GrantRound
    ) -> Iterator[Candidate]:
        """Those that could start if a worker of the channel ``holder`` and its slot were free."""
        tree = self._scheduler.tree
        for candidate in rivals.of(tree.path(tree.resolve(holder)), source):
            # at max_workers the holder's worker would leave to make room
            if current.no_more or candidate.channel == holder or candidate.channel in current.idle:
                yield candidate
