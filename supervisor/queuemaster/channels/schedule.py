"""Slots in use, and which candidate starts next.

A job takes one slot in its channel and in every one above it. Among the jobs that may start the one with
the least key starts first. Work-conserving: a candidate that may not start, or has no worker, never holds
up those behind it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any

from queuejobs.shared.job_key import Key

from .bucket import Bucket
from .tree import Tree

NO_BARRIERS: Mapping[str, Key] = {}

# The channel above, the slots that may be in use, whether the time of earlier starts matters.
Gate = tuple[str | None, float, bool]


def _gates(tree: Tree) -> dict[str, Gate]:
    """What every choice looks at, computed once a tree. A paused channel is one without slots."""
    limits = {channel.name: math.inf if channel.capacity is None else channel.capacity for channel in tree}
    return {
        channel.name: (
            channel.parent,
            0 if channel.paused else limits[channel.name],
            channel.throttle > 0 or channel.rate > 0,
        )
        for channel in tree
    }


@dataclass(frozen=True)
class Candidate:
    """The first job of one head that could start."""

    channel: str  # configured, as Tree.resolve gives it
    key: Key
    source: Any  # the caller's, say (database, stored channel); orderable: decides between equal keys


class Scheduler:
    """The slots and tokens of a tree of channels. Times are seconds of one monotonic clock, the caller's.

    Buckets begin empty, whenever a scheduler or a rate begins: what was started just before it is not known.
    """

    def __init__(self, tree: Tree, now: float) -> None:
        self._tree = tree
        self._gates = _gates(tree)
        # By the name they were taken for, so that a change of the tree can count them anew.
        self._taken: Counter[str] = Counter()
        self._in_use: dict[str, int] = dict.fromkeys(tree.names, 0)
        self._last_start: dict[str, float] = {}  # in the channel or below it
        self._buckets: dict[str, Bucket] = {}  # of the channels that have a rate
        self._fit_buckets(now)

    @property
    def tree(self) -> Tree:
        return self._tree

    def reconfigure(self, tree: Tree, now: float) -> None:
        """A new tree. Slots in use stay so; those of a channel that is gone count at its nearest ancestor."""
        self._tree = tree
        self._gates = _gates(tree)
        self._fit_buckets(now)
        self._in_use = dict.fromkeys(tree.names, 0)
        for channel, slots in self._taken.items():
            for name in tree.path(tree.resolve(channel)):
                self._in_use[name] += slots

    def _fit_buckets(self, now: float) -> None:
        before = self._buckets
        self._buckets = {
            channel.name: before[channel.name].changed(channel.rate, channel.burst, now)
            if channel.name in before
            else Bucket(channel.rate, channel.burst, now)
            for channel in self._tree
            if channel.rate
        }

    def take(self, channel: str, now: float | None) -> None:
        """A job starts in the channel at this time; None: it runs already, which is no start for throttle and rate.

        Never refused: a job that runs holds its slots, even beyond a capacity that was lowered meanwhile.
        """
        self._taken[channel] += 1
        for name in self._tree.path(self._tree.resolve(channel)):
            self._in_use[name] += 1
            if now is not None:
                self._last_start[name] = now
                if name in self._buckets:
                    self._buckets[name] = self._buckets[name].taken(now)

    def give_back(self, channel: str) -> None:
        """A slot that was taken under this name started nothing: its tokens come back; the slot by :meth:`release`."""
        for name in self._tree.path(self._tree.resolve(channel)):
            if name in self._buckets:
                self._buckets[name] = self._buckets[name].given_back()

    def release(self, channel: str) -> None:
        """One slot that was taken under this name is free again."""
        if not self._taken[channel]:
            raise ValueError(f"no slot of channel {channel} is in use; expected take() before release()")
        self._taken[channel] -= 1
        if not self._taken[channel]:
            del self._taken[channel]
        for name in self._tree.path(self._tree.resolve(channel)):
            self._in_use[name] -= 1

    def in_use(self, channel: str) -> int:
        """Slots in use in a configured channel and below it."""
        return self._in_use[channel]

    def started_last(self, channel: str, ago: float, now: float) -> None:
        """Count a start that an earlier scheduler made, ``ago`` seconds before ``now``, for the channel's throttles."""
        for name in self._tree.path(self._tree.resolve(channel)):
            self._last_start[name] = max(now - ago, self._last_start.get(name, now - ago))

    def choose(
        self,
        candidates: Iterable[Candidate],
        now: float,
        has_worker: Callable[[str], bool],
        blocked: Collection[str] = (),
        barriers: Mapping[str, Key] = NO_BARRIERS,
    ) -> Candidate | None:
        """The candidate with the least key among those that may start and have a worker.

        ``blocked``: sequential channels with a failed job; nothing passes through them. ``barriers``:
        sequential channels with a delayed job, and its key; nothing with a larger key passes through them.
        """
        open_channels: dict[str, bool] = {}
        best: Candidate | None = None
        for candidate in candidates:
            key = candidate.key
            if best is not None and (key > best.key or (key == best.key and candidate.source >= best.source)):
                continue
            channel = candidate.channel
            known = open_channels.get(channel)
            if not (self._open(channel, now, blocked, open_channels) if known is None else known):
                continue
            if barriers and not self._before_barriers(candidate, barriers):
                continue
            if has_worker(channel):
                best = candidate
        return best

    def full(
        self,
        candidate: Candidate,
        now: float,
        blocked: Collection[str] = (),
        barriers: Mapping[str, Key] = NO_BARRIERS,
    ) -> frozenset[str] | None:
        """The channels on its way that are full: if one slot of each was released the candidate could start.

        None when anything else keeps it from starting.
        """
        full_channels = []
        for name in self._tree.path(candidate.channel):
            _, limit, timed = self._gates[name]
            if self._in_use[name] > limit or not limit or name in blocked:
                return None
            if timed and now < self._opening(name):
                return None
            if self._in_use[name] == limit:
                full_channels.append(name)
        return frozenset(full_channels) if self._before_barriers(candidate, barriers) else None

    def wanted(
        self,
        candidates: Iterable[Candidate],
        now: float,
        has_worker: Callable[[str], bool],
        blocked: Collection[str] = (),
        barriers: Mapping[str, Key] = NO_BARRIERS,
    ) -> tuple[str, ...]:
        """The channels that could start a job at once if they had a worker, in the order of their keys.

        To be called when :meth:`choose` has nothing more to start. No more channels than the free slots allow together:
        a root with one free slot wants one worker, however many channels wait.
        """
        trial = copy(self)
        trial._taken, trial._in_use = Counter(), dict(self._in_use)
        trial._last_start, trial._buckets = dict(self._last_start), dict(self._buckets)
        open_channels: dict[str, bool] = {}
        lacking = [candidate for candidate in candidates if not has_worker(candidate.channel)]
        names: list[str] = []
        for candidate in sorted(lacking, key=lambda candidate: (candidate.key, candidate.source)):
            channel = candidate.channel
            known = open_channels.get(channel)
            if not (trial._open(channel, now, blocked, open_channels) if known is None else known):
                continue
            if self._before_barriers(candidate, barriers):
                trial.take(channel, now)
                names.append(channel)
                open_channels.clear()
        return tuple(names)

    def next_opening(self, now: float) -> float | None:
        """The earliest time to come at which a throttle or a rate lets the next job through."""
        openings = (self._opening(name) for name, (_, _, timed) in self._gates.items() if timed)
        return min((opening for opening in openings if opening > now), default=None)

    def _open(self, name: str, now: float, blocked: Collection[str], known: dict[str, bool]) -> bool:
        """Whether a job could pass through the channel and all above it; ``known`` remembers the answers."""
        above, limit, timed = self._gates[name]
        # Its own gate first: it is shut more often than those above, which need not be looked at then.
        verdict = (
            self._in_use[name] < limit and name not in blocked and (not timed or now >= self._opening(name))
        )
        if verdict and above is not None:
            passed = known.get(above)
            verdict = self._open(above, now, blocked, known) if passed is None else passed
        known[name] = verdict
        return verdict

    def _opening(self, name: str) -> float:
        opening = self._last_start.get(name, -math.inf) + self._tree[name].throttle
        return max(opening, self._buckets[name].opening()) if name in self._buckets else opening

    def _before_barriers(self, candidate: Candidate, barriers: Mapping[str, Key]) -> bool:
        path = self._tree.path(candidate.channel)
        return all(name not in barriers or candidate.key < barriers[name] for name in path)
