"""Where another runner's decisions differ from ours, from one snapshot of the queues to the next. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from queuejobs.shared.job_key import Key
from queuemaster.channels import Candidate, Scheduler, Tree

PATIENCE = 2.0  # seconds that a job may be ready beside a free slot before it is called late

JobId = tuple[str, int]  # database, id


@dataclass(frozen=True)
class SeenJob:
    """A job in a snapshot."""

    database: str
    uuid: str
    channel: str  # as stored
    key: Key

    @property
    def id(self) -> JobId:
        """Unique over all databases."""
        return (self.database, self.key[2])


@dataclass(frozen=True)
class Snapshot:
    """The queues at one moment of a monotonic clock."""

    now: float
    ready: tuple[SeenJob, ...]  # the first ones of each stored channel
    taken: tuple[SeenJob, ...]  # enqueued or started
    passed: tuple[SeenJob, ...] = ()  # taken and ended since the last snapshot
    failed: frozenset[str] = frozenset()  # stored channels with a failed job
    # by stored channel: the least key of a job that is not due
    delayed: Mapping[str, Key] = field(default_factory=dict)


@dataclass(frozen=True)
class Difference:
    """A decision of the runner that is not ours. ``kind``: one of KINDS."""

    kind: str
    job: SeenJob
    why: str


KINDS = {
    "too many": "started jobs that we would have let wait",
    "out of order": "started jobs before others that come first",
    "late": "left jobs waiting beside a free slot",
}


class Comparison:
    """Follows the runner's starts with our own scheduler."""

    def __init__(self, tree: Tree, now: float) -> None:
        self._tree = tree
        self._scheduler = Scheduler(tree, now)
        self._taken: dict[JobId, SeenJob] = {}
        self._waiting: dict[JobId, SeenJob] = {}  # ready in the last snapshot
        self._since: dict[JobId, float] = {}  # since when we would have started it
        self._late: set[JobId] = set()  # already reported
        self._begun = False
        self.starts = 0
        self.counts: Counter[str] = Counter()

    def compare(self, snapshot: Snapshot) -> list[Difference]:
        """The differences since the last snapshot; the first one has no starts to compare."""
        blocked, barriers = self._sequential_limits(snapshot)
        new = [job for job in (*snapshot.taken, *snapshot.passed) if job.id not in self._taken]
        gone = self._taken.keys() - {job.id for job in snapshot.taken}
        for job_id in gone:
            self._scheduler.release(self._channel(self._taken.pop(job_id)))
        differences: list[Difference] = []
        if self._begun:  # jobs of the first snapshot were started at an unknown time
            differences += self._wrong_starts(new, snapshot, blocked, barriers)
        for job in snapshot.taken:
            if job.id not in self._taken:
                self._taken[job.id] = job
                self._scheduler.take(self._channel(job), snapshot.now if self._begun else None)
        differences += self._late_starts(snapshot, blocked, barriers)
        self._waiting = {job.id: job for job in snapshot.ready}
        self._begun = True
        self.counts.update(difference.kind for difference in differences)
        return differences

    def _channel(self, job: SeenJob) -> str:
        return self._tree.resolve(job.channel)

    def _sequential_limits(self, snapshot: Snapshot) -> tuple[set[str], dict[str, Key]]:
        """The sequential channels with a failed job; by sequential channel the least key of a job that is not due."""

        def sequential(stored: str) -> bool:
            return self._tree[self._tree.resolve(stored)].sequential

        blocked = {self._tree.resolve(stored) for stored in snapshot.failed if sequential(stored)}
        barriers: dict[str, Key] = {}
        for stored, key in snapshot.delayed.items():
            if sequential(stored):
                name = self._tree.resolve(stored)
                barriers[name] = min(key, barriers.get(name, key))
        return blocked, barriers

    def _wrong_starts(
        self, new: list[SeenJob], snapshot: Snapshot, blocked: set[str], barriers: Mapping[str, Key]
    ) -> list[Difference]:
        differences = []
        still_ready = {job.id for job in snapshot.ready}
        for job in sorted(new, key=_key):
            self.starts += 1
            channel = self._channel(job)
            # jobs with a smaller key that were ready in both snapshots: the runner passed them over
            better = [
                other
                for other in self._waiting.values()
                if other.key < job.key and other.id in still_ready and self._channel(other) == channel
            ]
            if better:
                differences.append(
                    Difference("out of order", job, f"job {min(better, key=_key).uuid} comes before it")
                )
            # a job that ended since the last snapshot proves nothing: its slot may have been free for a moment
            candidate = Candidate(channel, job.key, job.id)
            if (
                job in snapshot.taken
                and self._scheduler.choose([candidate], snapshot.now, _has_worker, blocked, barriers) is None
            ):
                differences.append(Difference("too many", job, self._gate(channel, blocked)))
        return differences

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

    def _late_starts(
        self, snapshot: Snapshot, blocked: set[str], barriers: Mapping[str, Key]
    ) -> list[Difference]:
        """Ready jobs that we would have started a while ago; they are found by trying what we would start now."""
        candidates = [Candidate(self._channel(job), job.key, job.id) for job in snapshot.ready]
        trial: list[str] = []
        chosen: dict[JobId, float] = {}
        while True:
            choice = self._scheduler.choose(candidates, snapshot.now, _has_worker, blocked, barriers)
            if choice is None:
                break
            candidates.remove(choice)
            chosen[choice.source] = self._since.get(choice.source, snapshot.now)
            self._scheduler.take(choice.channel, None)
            trial.append(choice.channel)
        for channel in trial:
            self._scheduler.release(channel)
        self._since = chosen
        late = [
            job
            for job in snapshot.ready
            if job.id in chosen and snapshot.now - chosen[job.id] >= PATIENCE and job.id not in self._late
        ]
        self._late = (self._late & {job.id for job in snapshot.ready}) | {job.id for job in late}
        return [
            Difference("late", job, f"ready for {snapshot.now - chosen[job.id]:.0f} s, with a free slot")
            for job in late
        ]


def _has_worker(_channel: str) -> bool:
    return True


def _key(job: SeenJob) -> Key:
    return job.key
