"""The true state of queues in two databases, which a simulated dispatcher learns late and in parts."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from queuejobs.shared.job_key import Key
from queuemaster.channels.channel import ChannelConfig

Place = tuple[str, str]  # database, stored channel

READY, DELAYED, RUNNING, FAILED, GONE = "ready", "delayed", "running", "failed", "gone"
CONFIGURED = ("root", "root.a", "root.a.x", "root.b", "root.c", "root.c.y")
STORED = ("root", "root.a", "root.a.x", "root.b", "root.b.unknown", "root.c", "root.c.y")
CROWDED = [("one", "root.a"), ("one", "root.a.x"), ("two", "root.a")]
PLACES = [(db, name) for db in ("one", "two") for name in STORED]


@dataclass
class Job:
    place: Place
    key: Key
    state: str
    eta: float = 0.0


class Queues:
    """All jobs by id, and the notifications that are still on their way."""

    def __init__(self) -> None:
        self.jobs: dict[int, Job] = {}
        self.notices: list[tuple[Place, Key | None]] = []

    def insert(self, place: Place, priorities: list[int]) -> None:
        """One statement inserts jobs; its notification carries the least key only."""
        created = self._now()
        keys = [(priority, created, len(self.jobs) + i) for i, priority in enumerate(priorities)]
        self.jobs.update({key[2]: Job(place, key, READY) for key in keys})
        self.notices.append((place, min(keys)))

    def insert_delayed(self, place: Place, priority: int, eta: float) -> None:
        key = (priority, self._now(), len(self.jobs))
        self.jobs[key[2]] = Job(place, key, DELAYED, eta)
        self.notices.append((place, None))

    def requeue(self, job: Job) -> None:
        job.state = READY
        self.notices.append((job.place, job.key))

    def promote(self, now: float) -> None:
        """Make the jobs ready whose eta has come."""
        for job in self.in_state(DELAYED):
            if job.eta <= now:
                self.requeue(job)

    def in_state(self, state: str) -> list[Job]:
        return [job for job in self.jobs.values() if job.state == state]

    def ready(self, place: Place, bound: Key | None) -> list[Key]:
        """The keys of the ready jobs from ``bound`` on, in their order."""
        keys = [job.key for job in self.jobs.values() if job.place == place and job.state == READY]
        return sorted(key for key in keys if bound is None or key >= bound)

    def look(self, place: Place, bound: Key | None, limit: int) -> tuple[list[Key], bool, Key | None, bool]:
        """What a read gives: the first ready jobs, whether there are more, the first delayed job, any failed one."""
        jobs = [job for job in self.jobs.values() if job.place == place]
        ready = self.ready(place, bound)
        delayed = min((job.key for job in jobs if job.state == DELAYED), default=None)
        return ready[:limit], len(ready) > limit, delayed, any(job.state == FAILED for job in jobs)

    def _now(self) -> str:
        """A time of creation that grows with each statement."""
        return f"2026-01-01T00:00:{len(self.jobs):09.6f}"


@dataclass
class Tokens:
    """The bucket of a channel, filled step by step. Rates and times are chosen so that nothing is rounded."""

    level: float = 0.0

    def fill(self, config: ChannelConfig, seconds: float) -> None:
        self.level = min(self.level + config.rate * seconds, config.burst)


@dataclass
class Run:
    """A grant and its progress, of which the dispatcher learns later."""

    place: Place
    channel: str
    bound: Key | None
    named: int | None
    job: int | None = None
    tried: bool = False
    answered: bool = False
    ended: bool = False


def channel_configs() -> st.SearchStrategy[list[ChannelConfig]]:
    def channel_named(name: str) -> st.SearchStrategy[ChannelConfig]:
        finite = st.integers(1, 4)
        capacity = finite if name == "root" else st.one_of(finite, st.none())
        throttle, paused = st.sampled_from((0.0, 0.0, 2.0, 5.0)), st.sampled_from((False, False, False, True))
        plain = st.builds(
            ChannelConfig, st.just(name), capacity, st.just(False), throttle, paused,
            rate=st.sampled_from((0.0, 0.0, 0.25, 0.5, 2.0)), burst=st.integers(1, 3),
        )  # fmt: skip
        return st.one_of(plain, plain, st.just(ChannelConfig(name, 1, sequential=name != "root")))

    return st.tuples(*(channel_named(name) for name in CONFIGURED)).map(list)
