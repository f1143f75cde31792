"""Where another runner's choices differ from ours, by one look at the queues after the other. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from queuemaster.channels import Candidate, Key, Scheduler, Tree

PATIENCE = 2.0  # seconds that a job may be ready beside a free slot before it is called late

JobId = tuple[str, int]  # the database, the number


@dataclass(frozen=True)
class Seen:
    """A job at a look."""

    database: str
    uuid: str
    channel: str  # as stored
    key: Key

    @property
    def id(self) -> JobId:
        return (self.database, self.key[2])


@dataclass(frozen=True)
class Look:
    """The queues at one moment of a monotonic clock."""

    now: float
    ready: tuple[Seen, ...]  # the first ones of each stored channel
    taken: tuple[Seen, ...]  # enqueued or started
    passed: tuple[Seen, ...] = ()  # taken and ended since the last look
    failed: frozenset[str] = frozenset()  # stored channels with a failed job
    delayed: Mapping[str, Key] = field(
        default_factory=dict
    )  # by stored channel: the least key that is not due


@dataclass(frozen=True)
class Difference:
    """The runner did otherwise: ``kind`` is one of KINDS."""

    kind: str
    job: Seen
    why: str


KINDS = {
    "too many": "started jobs that we would have let wait",
    "out of order": "started jobs before others that come first",
    "late": "left jobs waiting beside a free slot",
}


class Comparison:
    """Follows the runner's starts with a scheduler of our own."""

    def __init__(self, tree: Tree, now: float) -> None:
        self._tree = tree
        self._scheduler = Scheduler(tree, now)
        self._taken: dict[JobId, Seen] = {}
        self._waiting: dict[JobId, Seen] = {}  # what was ready at the last look
        self._since: dict[JobId, float] = {}  # from when we would have started it
        self._late: set[JobId] = set()
        self._begun = False
        self.starts = 0
        self.counts: Counter[str] = Counter()

    def look(self, look: Look) -> list[Difference]:
        """What is to be said after this look."""
        blocked, barriers = self._in_order(look)
        new = [job for job in (*look.taken, *look.passed) if job.id not in self._taken]
        gone = self._taken.keys() - {job.id for job in look.taken}
        for number in gone:
            self._scheduler.release(self._channel(self._taken.pop(number)))
        found: list[Difference] = []
        if self._begun:  # what runs at the first look was not started before our eyes
            found += self._starts(new, look, blocked, barriers)
        for job in look.taken:
            if job.id not in self._taken:
                self._taken[job.id] = job
                self._scheduler.take(self._channel(job), look.now if self._begun else None)
        found += self._idle(look, blocked, barriers)
        self._waiting = {job.id: job for job in look.ready}
        self._begun = True
        self.counts.update(difference.kind for difference in found)
        return found

    def _channel(self, job: Seen) -> str:
        return self._tree.resolve(job.channel)

    def _in_order(self, look: Look) -> tuple[set[str], dict[str, Key]]:
        def sequential(stored: str) -> bool:
            return self._tree[self._tree.resolve(stored)].sequential

        blocked = {self._tree.resolve(stored) for stored in look.failed if sequential(stored)}
        barriers: dict[str, Key] = {}
        for stored, key in look.delayed.items():
            if sequential(stored):
                name = self._tree.resolve(stored)
                barriers[name] = min(key, barriers.get(name, key))
        return blocked, barriers

    def _starts(
        self, new: list[Seen], look: Look, blocked: set[str], barriers: Mapping[str, Key]
    ) -> list[Difference]:
        found = []
        still = {job.id: job for job in look.ready}
        for job in sorted(new, key=lambda one: one.key):
            self.starts += 1
            channel = self._channel(job)
            # those before it were ready at the last look and are so now: they were passed over
            better = [
                other
                for other in self._waiting.values()
                if other.key < job.key and other.id in still and self._channel(other) == channel
            ]
            if better:
                found.append(
                    Difference("out of order", job, f"job {min(better, key=_key).uuid} comes before it")
                )
            # a slot that was free for a moment between two looks may have been used more than once
            mine = Candidate(channel, job.key, job.id)
            if (
                job in look.taken
                and self._scheduler.choose([mine], look.now, _anybody, blocked, barriers) is None
            ):
                found.append(Difference("too many", job, self._gate(channel, blocked)))
        return found

    def _gate(self, channel: str, blocked: set[str]) -> str:
        """The narrowest reason why a job of this channel should have waited."""
        for name in self._tree.path(channel):
            limits = self._tree[name]
            if limits.paused:
                return f"channel {name} is paused"
            if name in blocked:
                return f"channel {name} is sequential and has a failed job"
            if limits.capacity is not None and self._scheduler.in_use(name) >= limits.capacity:
                return f"channel {name} has {self._scheduler.in_use(name)} of {limits.capacity} slots in use"
        return f"channel {channel} has to wait between two starts, or for a delayed job"

    def _idle(self, look: Look, blocked: set[str], barriers: Mapping[str, Key]) -> list[Difference]:
        """What we would start at once, one after the other, and for how long already."""
        candidates = [Candidate(self._channel(job), job.key, job.id) for job in look.ready]
        trial: list[str] = []
        chosen: dict[JobId, float] = {}
        while True:
            choice = self._scheduler.choose(candidates, look.now, _anybody, blocked, barriers)
            if choice is None:
                break
            candidates.remove(choice)
            chosen[choice.source] = self._since.get(choice.source, look.now)
            self._scheduler.take(choice.channel, None)
            trial.append(choice.channel)
        for channel in trial:
            self._scheduler.release(channel)
        self._since = chosen
        late = [
            job
            for job in look.ready
            if job.id in chosen and look.now - chosen[job.id] >= PATIENCE and job.id not in self._late
        ]
        self._late = (self._late & {job.id for job in look.ready}) | {job.id for job in late}
        return [
            Difference("late", job, f"ready for {look.now - chosen[job.id]:.0f} s, with a free slot")
            for job in late
        ]


def _anybody(_channel: str) -> bool:
    return True


def _key(job: Seen) -> Key:
    return job.key
